//! One connection through the proxy.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio::time::sleep;

use super::ProxyStats;
use super::control::{Flow, Mode, Replies, Way};
use super::replies::Scanner;

/// How much is read at once.
const PIECE: usize = 64 * 1024;

/// What a connection shares with its proxy.
#[derive(Clone, Debug)]
pub(super) struct Controls {
    pub(super) mode: watch::Sender<Mode>,
    pub(super) stats: watch::Sender<ProxyStats>,
}

/// A socket that is reset when dropped, unless its connection came to an orderly end.
struct Abrupt {
    stream: TcpStream,
    orderly: bool,
}

impl Drop for Abrupt {
    fn drop(&mut self) {
        if !self.orderly {
            // Fails only on a socket that is gone already.
            let _ = self.stream.set_zero_linger();
        }
    }
}

/// Carries a connection to its end. Dropping the future resets both sides.
pub(super) async fn run(client: TcpStream, upstream: SocketAddr, controls: &Controls) {
    let mut client = Abrupt {
        stream: client,
        orderly: false,
    };
    // An unreachable server shows to the client as a reset.
    let Ok(server) = TcpStream::connect(upstream).await else {
        return;
    };
    let mut server = Abrupt {
        stream: server,
        orderly: false,
    };
    for side in [&client, &server] {
        // Only a matter of speed.
        let _ = side.stream.set_nodelay(true);
    }
    let (client_read, client_write) = client.stream.split();
    let (server_read, server_write) = server.stream.split();
    let ended = tokio::try_join!(
        pump(Way::ToServer, client_read, server_write, controls),
        pump(Way::ToClient, server_read, client_write, controls),
    );
    // Otherwise one side was reset, or the connection has a hole: so is the other, by dropping.
    if ended.is_ok() {
        client.orderly = true;
        server.orderly = true;
    }
}

/// Carries the bytes of one direction until the sender ends it.
async fn pump(
    way: Way,
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    controls: &Controls,
) -> io::Result<()> {
    let mut mode = controls.mode.subscribe();
    let mut buffer = vec![0; PIECE];
    let mut filter = Filter::default();
    loop {
        let length = tokio::select! {
            read = from.read(&mut buffer) => read?,
            _ = mode.changed() => {
                filter.refuse_to_go_on_with_a_hole(way, *mode.borrow_and_update())?;
                continue;
            }
        };
        let delay = mode.borrow().delay;
        if !delay.is_zero() {
            sleep(delay).await;
        }
        let now = passing(way, &mut mode).await;
        let bytes = &buffer[..length];
        if now.flow(way) == Flow::Swallow {
            count(controls, |stats| stats.discarded += length as u64);
            filter.has_hole = true;
            if length == 0 {
                // The end of the connection is swallowed too, until the fault ends.
                mode.wait_for(|mode| mode.flow(way) != Flow::Swallow)
                    .await
                    .map_err(io::Error::other)?;
                return Err(hole());
            }
            continue;
        }
        if length == 0 {
            return to.shutdown().await;
        }
        filter.refuse_to_go_on_with_a_hole(way, now)?;
        let forwarded = match way {
            Way::ToServer => length,
            Way::ToClient => filter.replies(bytes, controls),
        };
        to.write_all(&bytes[..forwarded]).await?;
        count(controls, |stats| {
            *stats.forwarded(way) += forwarded as u64;
            stats.discarded += (length - forwarded) as u64;
        });
        filter.refuse_to_go_on_with_a_hole(way, *mode.borrow())?;
    }
}

/// Waits while the direction is held, and returns what applies then.
async fn passing(way: Way, mode: &mut watch::Receiver<Mode>) -> Mode {
    // The sender lives in the controls that the caller holds, so this cannot fail; if it could, going
    // on unhindered would be right.
    match mode.wait_for(|mode| mode.flow(way) != Flow::Hold).await {
        Ok(mode) => *mode,
        Err(_) => Mode::default(),
    }
}

fn count(controls: &Controls, change: impl FnOnce(&mut ProxyStats)) {
    controls.stats.send_modify(change);
}

fn hole() -> io::Error {
    io::Error::new(
        io::ErrorKind::ConnectionReset,
        "bytes were taken from this connection",
    )
}

/// What one direction of a connection has been through.
#[derive(Debug, Default)]
struct Filter {
    scanner: Scanner,
    /// Bytes were taken out: nothing may follow them.
    has_hole: bool,
}

impl Filter {
    /// Fails if bytes are missing and the fault that took them is over.
    fn refuse_to_go_on_with_a_hole(&self, way: Way, mode: Mode) -> io::Result<()> {
        let over = mode.flow(way) != Flow::Swallow && mode.replies == Replies::Pass;
        if self.has_hole && over {
            Err(hole())
        } else {
            Ok(())
        }
    }

    /// How many of these bytes from the server may go to the client; the rest is dropped.
    fn replies(&mut self, bytes: &[u8], controls: &Controls) -> usize {
        let mut forwarded = 0;
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            let dropping = controls.mode.borrow().replies != Replies::Pass;
            // Only a whole reply is dropped, and a push message is none.
            if self.scanner.at_boundary() && dropping && rest[0] != b'>' {
                self.has_hole = true;
            }
            let end = self.scanner.next_end(rest);
            at += end.unwrap_or(rest.len());
            if !self.has_hole {
                forwarded = at;
            } else if end.is_some() {
                controls.mode.send_if_modified(Mode::count_dropped_reply);
            }
        }
        forwarded
    }
}
