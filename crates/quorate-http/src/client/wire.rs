//! A WebSocket connection: frames in, frames out, and neither waits for the other.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

/// What a connection runs over: TCP, or TLS over TCP.
pub(super) trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

pub(super) type Socket = WebSocketStream<Box<dyn Transport>>;

/// What came in.
#[derive(Debug)]
pub(super) enum Incoming {
    Text(Utf8Bytes),
    /// A ping, a pong, or what this protocol has no use for: a sign of life.
    Sign,
    /// The server closed the connection.
    Closed(Option<CloseFrame>),
    /// It broke.
    Broken(Error),
}

pub(super) struct Wire {
    socket: Socket,
    /// Something was handed to the socket that it may still hold.
    unflushed: bool,
    /// A close was handed to it.
    closed: bool,
}

impl Wire {
    pub(super) const fn new(socket: Socket) -> Self {
        Self {
            socket,
            unflushed: false,
            closed: false,
        }
    }

    /// Writes what is in `out`, and returns what comes in.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing, in neither direction.
    pub(super) async fn next(&mut self, out: &mut VecDeque<Utf8Bytes>) -> Incoming {
        std::future::poll_fn(|cx| self.poll(out, cx)).await
    }

    /// Says goodbye, behind what is in `out`, and waits until the server has understood.
    pub(super) async fn close(&mut self, out: &mut VecDeque<Utf8Bytes>) {
        loop {
            let done = std::future::poll_fn(|cx| {
                if let Err(error) = self.poll_write(out, true, cx) {
                    return Poll::Ready(Some(Incoming::Broken(error)));
                }
                self.poll_read(cx).map(Some)
            });
            if let Some(Incoming::Closed(_) | Incoming::Broken(_)) | None = done.await {
                return;
            }
        }
    }

    fn poll(&mut self, out: &mut VecDeque<Utf8Bytes>, cx: &mut Context<'_>) -> Poll<Incoming> {
        match self.poll_write(out, false, cx) {
            Ok(()) => self.poll_read(cx),
            // What the server said before it went away is still to be read.
            Err(error) => match self.poll_read(cx) {
                Poll::Ready(incoming) => Poll::Ready(incoming),
                Poll::Pending => Poll::Ready(Incoming::Broken(error)),
            },
        }
    }

    /// Hands over as much as the socket takes.
    fn poll_write(
        &mut self,
        out: &mut VecDeque<Utf8Bytes>,
        close: bool,
        cx: &mut Context<'_>,
    ) -> Result<(), Error> {
        let mut socket = Pin::new(&mut self.socket);
        while !self.closed && (close || !out.is_empty()) {
            match socket.as_mut().poll_ready(cx) {
                Poll::Ready(ready) => ready?,
                Poll::Pending => return Ok(()),
            }
            let message = match out.pop_front() {
                Some(frame) => Message::Text(frame),
                None => {
                    self.closed = true;
                    Message::Close(None)
                }
            };
            socket.as_mut().start_send(message)?;
            self.unflushed = true;
        }
        if self.unflushed
            && let Poll::Ready(flushed) = socket.poll_flush(cx)
        {
            flushed?;
            self.unflushed = false;
        }
        Ok(())
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Incoming> {
        let socket = Pin::new(&mut self.socket);
        socket.poll_next(cx).map(|next| match next {
            Some(Ok(Message::Text(text))) => Incoming::Text(text),
            Some(Ok(Message::Close(frame))) => Incoming::Closed(frame),
            Some(Ok(_)) => Incoming::Sign,
            None => Incoming::Closed(None),
            Some(Err(error)) => Incoming::Broken(error),
        })
    }
}
