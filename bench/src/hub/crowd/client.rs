//! One client of the crowd.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddrV4, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rustix::net::sockopt::set_socket_linger;
use serde::Deserialize;

use super::order::{Totals, Until};
use super::wire::{self, Frame, Kind};

/// Loopback addresses in use: each gives as many connections as there are ports.
const ADDRESSES: usize = 4;

/// One of many.
#[derive(Debug)]
pub(super) struct Client {
    socket: TcpStream,
    phase: Phase,
    /// Bytes of a frame whose end has not come.
    rest: Vec<u8>,
    /// Where it is in a topic that is kept.
    position: Option<String>,
    offset: Option<u64>,
    pub(super) received: u32,
    pub(super) expected: u32,
}

#[derive(Debug, PartialEq, Eq)]
enum Phase {
    Upgrading,
    Arriving,
    Present,
    /// Sent away, for so long.
    Leaving(Duration),
}

/// What matters to the crowd of what a client has read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct News {
    /// It is there now.
    pub(super) arrived: bool,
    /// It has what was expected now.
    pub(super) complete: bool,
    /// Its connection is over, and it is to come back after so long.
    pub(super) gone: Option<Duration>,
}

impl Client {
    /// Connects, and asks for a WebSocket. `place` is the client's place in the crowd.
    ///
    /// # Errors
    /// Those of the socket.
    pub(super) fn connect(place: usize, port: u16) -> Result<Self> {
        let last = u8::try_from(place % ADDRESSES)? + 1;
        let address = SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, last), port);
        let mut socket = TcpStream::connect(address).context("connect")?;
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        socket.write_all(wire::upgrade(&address.to_string()).as_bytes())?;
        Ok(Self {
            socket,
            phase: Phase::Upgrading,
            rest: Vec::new(),
            position: None,
            offset: None,
            received: 0,
            expected: 0,
        })
    }

    /// Begins after this position, if there is one.
    pub(super) fn after(mut self, position: Option<&str>) -> Self {
        self.position = position.map(str::to_owned);
        self.offset = position.and_then(wire::offset);
        self
    }

    /// Takes the place of one that was sent away, and goes on where that one was.
    pub(super) fn instead_of(mut self, before: &Self) -> Self {
        self.received = before.received;
        self.expected = before.expected;
        self.after(before.position.as_deref())
    }

    /// Reads once.
    ///
    /// # Errors
    /// If the server says something it must not, or nothing any more.
    pub(super) fn read(
        &mut self,
        buffer: &mut [u8],
        until: &Until,
        totals: &mut Totals,
    ) -> Result<News> {
        let mut news = News::default();
        let length = match self.socket.read(buffer) {
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(news),
            Err(_) if matches!(self.phase, Phase::Leaving(_)) => 0,
            Err(error) => return Err(error).context("a connection broke"),
        };
        if length == 0 {
            let Phase::Leaving(away) = self.phase else {
                bail!("the server closed a connection");
            };
            // Its place is kept for when it comes back, its connection is not. It may be gone already.
            let _ = self.socket.shutdown(Shutdown::Both);
            news.gone = Some(away);
            return Ok(news);
        }
        if self.rest.is_empty() {
            let done = self.take(&buffer[..length], until, totals, &mut news)?;
            self.rest.extend_from_slice(&buffer[done..length]);
        } else {
            let mut bytes = std::mem::take(&mut self.rest);
            bytes.extend_from_slice(&buffer[..length]);
            let done = self.take(&bytes, until, totals, &mut news)?;
            bytes.drain(..done);
            self.rest = bytes;
        }
        Ok(news)
    }

    /// Takes whole frames, and returns how many bytes those were.
    fn take(
        &mut self,
        bytes: &[u8],
        until: &Until,
        totals: &mut Totals,
        news: &mut News,
    ) -> Result<usize> {
        let mut done = 0;
        if self.phase == Phase::Upgrading {
            let Some(end) = wire::upgraded(bytes)? else {
                return Ok(0);
            };
            done = end;
            self.upgraded(until, news)?;
        }
        while let Some((frame, length)) = wire::frame(&bytes[done..])? {
            done += length;
            self.hear(&frame, until, totals, news)?;
        }
        Ok(done)
    }

    fn upgraded(&mut self, until: &Until, news: &mut News) -> Result<()> {
        self.phase = Phase::Arriving;
        match until {
            Until::Upgraded => self.arrive(news),
            Until::Greeted => {}
            Until::Subscribed(topic) => {
                let request = wire::subscribe(topic, self.position.as_deref());
                self.say(Kind::Text, request.as_bytes())?;
            }
        }
        Ok(())
    }

    fn arrive(&mut self, news: &mut News) {
        self.phase = Phase::Present;
        news.arrived = true;
    }

    fn hear(
        &mut self,
        frame: &Frame<'_>,
        until: &Until,
        totals: &mut Totals,
        news: &mut News,
    ) -> Result<()> {
        match frame.kind {
            Kind::Text if frame.payload.starts_with(br#"{"event":"message""#) => {
                totals.messages += 1;
                totals.bytes += u64::try_from(frame.payload.len())?;
                self.received += 1;
                news.complete |= self.received == self.expected;
                self.advance(frame.payload)
            }
            Kind::Text if frame.payload.starts_with(br#"{"event":"gap""#) => {
                totals.gaps += 1;
                self.position = wire::position(frame.payload).map(str::to_owned);
                self.offset = self.position.as_deref().and_then(wire::offset);
                Ok(())
            }
            Kind::Text if frame.payload.starts_with(br#"{"event":"closing""#) => {
                let away = retry_after(frame.payload)?;
                totals.sent_away += 1;
                totals.longest_away = totals.longest_away.max(away);
                self.phase = Phase::Leaving(Duration::from_millis(away));
                Ok(())
            }
            Kind::Text if self.phase == Phase::Arriving => self.wait(frame.payload, until, news),
            Kind::Text | Kind::Pong => Ok(()),
            Kind::Ping => self.say(Kind::Pong, frame.payload),
            Kind::Close => {
                ensure!(
                    matches!(self.phase, Phase::Leaving(_)),
                    "a client was thrown out: {}",
                    String::from_utf8_lossy(frame.payload)
                );
                self.say(Kind::Close, frame.payload)
            }
        }
    }

    fn wait(&mut self, text: &[u8], until: &Until, news: &mut News) -> Result<()> {
        ensure!(
            !wire::contains(text, br#""error":"#),
            "refused: {}",
            String::from_utf8_lossy(text)
        );
        match until {
            // The state comes last of what a client is greeted with.
            Until::Greeted if text.starts_with(br#"{"event":"state""#) => self.arrive(news),
            Until::Subscribed(_) if wire::contains(text, br#""ok":true"#) => {
                if self.position.is_none() {
                    self.position = wire::position(text).map(str::to_owned);
                    self.offset = self.position.as_deref().and_then(wire::offset);
                }
                self.arrive(news);
            }
            _ => {}
        }
        Ok(())
    }

    /// Every message of a kept topic comes once, and in order.
    fn advance(&mut self, message: &[u8]) -> Result<()> {
        let Some(position) = wire::last_position(message) else {
            return Ok(());
        };
        let offset = wire::offset(position).context("a position without an offset")?;
        if let Some(before) = self.offset {
            ensure!(
                offset == before + 1,
                "message {offset} came after message {before}"
            );
        }
        self.offset = Some(offset);
        match &mut self.position {
            Some(known) => position.clone_into(known),
            unknown => *unknown = Some(position.to_owned()),
        }
        Ok(())
    }

    fn say(&mut self, kind: Kind, payload: &[u8]) -> Result<()> {
        let frame = wire::masked(kind, payload)?;
        let sent = self.socket.write(&frame).context("say something")?;
        ensure!(sent == frame.len(), "a server takes nothing");
        Ok(())
    }

    /// Goes without a word, and leaves no port behind that waits for late packets.
    ///
    /// # Errors
    /// Those of the socket.
    pub(super) fn leave(self) -> Result<()> {
        Ok(set_socket_linger(&self.socket, Some(Duration::ZERO))?)
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Milliseconds until a client that is sent away is to come back.
fn retry_after(closing: &[u8]) -> Result<u64> {
    #[derive(Deserialize)]
    struct Closing {
        retry_after_ms: u64,
    }
    let closing: Closing = serde_json::from_slice(closing)
        .with_context(|| format!("not a farewell: {}", String::from_utf8_lossy(closing)))?;
    Ok(closing.retry_after_ms)
}
