//! A client that writes whatever bytes it is told to.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::PATIENCE;

pub(super) const FIN: u8 = 0x80;
pub(super) const CONTINUATION: u8 = 0x0;
pub(super) const TEXT: u8 = 0x1;
pub(super) const BINARY: u8 = 0x2;
pub(super) const CLOSE: u8 = 0x8;
pub(super) const PING: u8 = 0x9;
pub(super) const PONG: u8 = 0xA;

/// The highest bit of the second byte: a client must set it.
pub(super) const MASKED: u8 = 0x80;

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A frame of a client: `first` is the flags and the opcode.
pub(super) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = header(first, MASKED, payload.len().try_into().unwrap());
    bytes.extend(MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(b, m)| b ^ m));
    bytes
}

/// A frame without a mask, as only servers may send it.
pub(super) fn unmasked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = header(first, 0, payload.len().try_into().unwrap());
    bytes.extend(payload);
    bytes
}

/// How a frame of this length begins, without its mask.
pub(super) fn header(first: u8, masked: u8, length: u64) -> Vec<u8> {
    let mut bytes = vec![first];
    match length {
        0..=125 => bytes.push(masked | u8::try_from(length).unwrap()),
        126..=0xffff => {
            bytes.push(masked | 126);
            bytes.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
        _ => {
            bytes.push(masked | 127);
            bytes.extend(length.to_be_bytes());
        }
    }
    bytes
}

/// A frame that says goodbye with `code` and `reason`.
pub(super) fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    frame(FIN | CLOSE, &[&code.to_be_bytes(), reason].concat())
}

/// What the other side sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Received {
    /// The flags and the opcode.
    pub(super) first: u8,
    pub(super) payload: Vec<u8>,
}

impl Received {
    /// The code of a farewell, if it has one.
    pub(super) fn code(&self) -> Option<u16> {
        let code = self.payload.first_chunk()?;
        Some(u16::from_be_bytes(*code))
    }
}

pub(super) struct RawClient {
    stream: TcpStream,
    input: Vec<u8>,
}

impl RawClient {
    /// Connects, and says nothing yet.
    pub(super) async fn dial(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            input: Vec::new(),
        }
    }

    /// Connects and becomes a WebSocket.
    pub(super) async fn open(address: SocketAddr) -> Self {
        let mut client = Self::dial(address).await;
        client.send(upgrade(address).as_bytes()).await;
        let head = client.head().await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        client
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Sends, if the connection still takes it.
    pub(super) async fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).await.is_ok()
    }

    /// Sends byte by byte. Stops when the other side has closed.
    pub(super) async fn dribble(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if self.stream.write_all(&[*byte]).await.is_err() {
                return;
            }
            // Lets the server, which runs on this thread, have it before the next.
            tokio::task::yield_now().await;
        }
    }

    /// Sends a byte now and then, until the server says goodbye. The code of the farewell.
    pub(super) async fn dribble_until_farewell(&mut self, pause: Duration) -> Option<u16> {
        let mut ticks = tokio::time::interval(pause);
        loop {
            tokio::select! {
                received = self.next() => {
                    let received = received?;
                    if received.first == FIN | CLOSE {
                        return received.code();
                    }
                }
                _ = ticks.tick() => self.dribble(b" ").await,
            }
        }
    }

    /// Says that nothing more comes, but goes on reading.
    pub(super) async fn shut_down(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// The head of a response.
    pub(super) async fn head(&mut self) -> String {
        loop {
            if let Some(end) = self.input.windows(4).position(|four| four == b"\r\n\r\n") {
                let head: Vec<_> = self.input.drain(..end + 4).collect();
                return String::from_utf8(head).unwrap();
            }
            assert!(self.fill().await, "closed before a response");
        }
    }

    /// The next frame; `None` once the connection is closed.
    pub(super) async fn next(&mut self) -> Option<Received> {
        loop {
            if let Some((received, length)) = parse(&self.input) {
                self.input.drain(..length);
                return Some(received);
            }
            if !self.fill().await {
                assert!(self.input.is_empty(), "closed within a frame");
                return None;
            }
        }
    }

    /// The next answer. Greetings, states and heartbeats are passed over.
    pub(super) async fn answer(&mut self) -> Value {
        loop {
            let received = self.next().await.expect("a frame");
            match received.first & 0xf {
                PING => {}
                TEXT => {
                    let value: Value = serde_json::from_slice(&received.payload).unwrap();
                    if !matches!(value["event"].as_str(), Some("hello" | "state")) {
                        return value;
                    }
                }
                _ => panic!("{received:?}"),
            }
        }
    }

    /// Passes over everything up to a frame with this opcode.
    pub(super) async fn payload_of(&mut self, opcode: u8) -> Vec<u8> {
        loop {
            let received = self.next().await.expect("a frame");
            if received.first == FIN | opcode {
                return received.payload;
            }
            assert_ne!(received.first, FIN | CLOSE, "{received:?}");
        }
    }

    /// Whether it is answered when it asks whether the server is there.
    pub(super) async fn assert_alive(&mut self) {
        self.send(&frame(FIN | TEXT, br#"{"ping":true}"#)).await;
        assert_eq!(self.answer().await, json!({"pong": true}));
    }

    /// Passes over everything up to the server's farewell, answers that, and waits for the end of the
    /// connection. The code of the farewell, if there was one with a code.
    pub(super) async fn farewell(&mut self) -> Option<u16> {
        let mut code = None;
        while let Some(received) = self.next().await {
            if received.first == FIN | CLOSE {
                assert_eq!(code, None, "two farewells");
                code = received.code();
                // The server need not wait for it.
                let _ = self
                    .stream
                    .write_all(&frame(FIN | CLOSE, &received.payload))
                    .await;
            }
        }
        code
    }

    /// Reads something. `false` at the end.
    async fn fill(&mut self) -> bool {
        let read = timeout(PATIENCE, self.stream.read_buf(&mut self.input)).await;
        // A reset is an end too.
        read.expect("something to read")
            .is_ok_and(|length| length > 0)
    }
}

/// A request that asks for a WebSocket.
pub(super) fn upgrade(address: SocketAddr) -> String {
    request(
        address,
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n",
    )
}

/// A request that asks for an upgrade, with these headers besides.
pub(super) fn request(address: SocketAddr, headers: &str) -> String {
    format!(
        "GET /ws HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{headers}\r\n"
    )
}

/// The first frame of `input`, and how long it is there; `None` while it is not complete.
fn parse(input: &[u8]) -> Option<(Received, usize)> {
    let (first, second) = (*input.first()?, *input.get(1)?);
    assert_eq!(second & MASKED, 0, "a server must not mask");
    let (length, start) = match second {
        126 => (u64::from(u16::from_be_bytes(*input[2..].first_chunk()?)), 4),
        127 => (u64::from_be_bytes(*input[2..].first_chunk()?), 10),
        length => (u64::from(length), 2),
    };
    let end = start + usize::try_from(length).unwrap();
    let payload = input.get(start..end)?.to_vec();
    Some((Received { first, payload }, end))
}
