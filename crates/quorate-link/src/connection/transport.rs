//! Sockets: plain or encrypted.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::config::LinkConfig;
use crate::error::{LinkError, LinkErrorKind, Outcome};
use crate::tls::TlsSetup;

/// A connected socket.
#[derive(Debug)]
pub(crate) enum Transport {
    Plain(TcpStream),
    // Boxed: its state is a kilobyte that plain connections need not carry.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Transport {
    /// Connects to the first address that answers.
    pub(crate) async fn connect(
        addresses: &[SocketAddr],
        config: &LinkConfig,
        tls: Option<&TlsSetup>,
    ) -> Result<Self, LinkError> {
        // A share of the time for each, so that one that swallows packets leaves some for the others.
        let shares = u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
        let share = config.connect_timeout / shares;
        let mut last = None;
        for &address in addresses {
            let attempt = tokio::time::timeout(share, TcpStream::connect(address)).await;
            match attempt.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                Ok(stream) => {
                    configure(&stream, config).map_err(|e| disconnected(address, e))?;
                    return match tls {
                        None => Ok(Self::Plain(stream)),
                        Some(tls) => Ok(Self::Tls(Box::new(tls.connect(stream).await?))),
                    };
                }
                Err(error) => last = Some(disconnected(address, error)),
            }
        }
        Err(last.unwrap_or_else(|| {
            LinkError::new(
                LinkErrorKind::Disconnected,
                Outcome::NotApplied,
                "no address to try",
            )
        }))
    }
}

fn configure(stream: &TcpStream, config: &LinkConfig) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    if let Some(idle) = config.tcp_keepalive {
        let keepalive = TcpKeepalive::new().with_time(idle).with_interval(idle / 3);
        socket.set_tcp_keepalive(&keepalive)?;
    }
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket.set_tcp_user_timeout(config.tcp_user_timeout)?;
    Ok(())
}

fn disconnected(address: SocketAddr, error: io::Error) -> LinkError {
    LinkError::with_source(
        LinkErrorKind::Disconnected,
        Outcome::NotApplied,
        format!("cannot connect to {address}: {error}"),
        error,
    )
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(s) => Pin::new(s).poll_read(cx, buf),
            Self::Tls(s) => Pin::new(s).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(s) => Pin::new(s).poll_write(cx, buf),
            Self::Tls(s) => Pin::new(s).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(s) => Pin::new(s).poll_flush(cx),
            Self::Tls(s) => Pin::new(s).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(s) => Pin::new(s).poll_shutdown(cx),
            Self::Tls(s) => Pin::new(s).poll_shutdown(cx),
        }
    }
}
