//! Those who are measured, each behind the same small face: one key, read again and again.

mod fred;
mod ours;
mod redis;
mod rustis;

pub(crate) use self::fred::FredGet;
pub(crate) use self::ours::LinkGet;
pub(crate) use self::redis::RedisGet;
pub(crate) use self::rustis::RustisGet;

use std::sync::Arc;

use anyhow::{Result, ensure};

use crate::floor::Floor;
use crate::measure::Load;

/// Bytes of the value that is read.
pub(crate) const VALUE_LENGTH: usize = 100;

/// What to read, and where.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The server's port on the loopback.
    pub(crate) port: u16,
    /// A key with a value of [`VALUE_LENGTH`] bytes.
    pub(crate) key: Arc<str>,
}

/// An answer that is not the whole value would make a client look fast.
pub(crate) fn check(length: usize) -> Result<()> {
    ensure!(
        length == VALUE_LENGTH,
        "expected {VALUE_LENGTH} bytes, got {length}"
    );
    Ok(())
}

/// The floor.
#[derive(Clone, Debug)]
pub(crate) struct FloorGet {
    floor: Floor,
    key: Arc<str>,
}

impl FloorGet {
    /// Connects.
    ///
    /// # Errors
    /// Those of the socket.
    pub(crate) async fn connect(place: &Place) -> Result<Self> {
        Ok(Self {
            floor: Floor::connect(("127.0.0.1", place.port)).await?,
            key: place.key.clone(),
        })
    }
}

impl Load for FloorGet {
    async fn step(&mut self) -> Result<()> {
        let reply = self.floor.call(&[b"GET", self.key.as_bytes()]).await?;
        // `$100\r\n` in front and `\r\n` behind.
        check(reply.len().saturating_sub(8))
    }
}
