//! One client in this process, for what has to be timed here.

use anyhow::{Context as _, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::crowd::wire::{self, Kind};

/// A connected client.
#[derive(Debug)]
pub(super) struct Probe {
    stream: TcpStream,
    bytes: Vec<u8>,
    /// How many of the bytes were taken.
    taken: usize,
}

impl Probe {
    /// Connects, and subscribes to a topic.
    ///
    /// # Errors
    /// If it is refused.
    pub(super) async fn subscribe(port: u16, topic: &str) -> Result<Self> {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        let request = wire::upgrade(&format!("127.0.0.1:{port}"));
        stream.write_all(request.as_bytes()).await?;
        let mut probe = Self {
            stream,
            bytes: Vec::new(),
            taken: 0,
        };
        while probe.taken == 0 {
            probe.read().await?;
            probe.taken = wire::upgraded(&probe.bytes)?.unwrap_or(0);
        }
        let request = wire::subscribe(topic, None);
        let request = wire::masked(Kind::Text, request.as_bytes())?;
        probe.stream.write_all(&request).await?;
        probe.hear(r#""ok":true"#).await.context("subscribe")?;
        Ok(probe)
    }

    /// Reads until a frame has `text` in it, and returns that frame.
    ///
    /// # Errors
    /// If the server ends the connection first.
    pub(super) async fn hear(&mut self, text: &str) -> Result<String> {
        loop {
            while let Some((frame, length)) = wire::frame(&self.bytes[self.taken..])? {
                self.taken += length;
                let payload = frame.payload;
                match frame.kind {
                    Kind::Ping => {
                        let pong = wire::masked(Kind::Pong, payload)?;
                        self.stream.write_all(&pong).await?;
                    }
                    Kind::Text if wire::contains(payload, text.as_bytes()) => {
                        return Ok(String::from_utf8(payload.to_vec())?);
                    }
                    _ => {}
                }
            }
            self.read().await?;
        }
    }

    async fn read(&mut self) -> Result<()> {
        self.bytes.drain(..self.taken);
        self.taken = 0;
        let length = self.stream.read_buf(&mut self.bytes).await?;
        ensure!(length > 0, "the server closed the connection");
        Ok(())
    }
}
