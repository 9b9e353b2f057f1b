//! The `rustis` crate.

use std::sync::Arc;

use anyhow::Result;
use rustis::client::Client;
use rustis::commands::StringCommands;
use rustis::resp::BulkString;

use super::{Place, check};
use crate::measure::Load;

/// `GET` through one multiplexed client, as it comes (TCP_NODELAY is its default).
#[derive(Clone)]
pub(crate) struct RustisGet {
    client: Client,
    key: Arc<str>,
}

impl RustisGet {
    /// Connects.
    ///
    /// # Errors
    /// Those of the client.
    pub(crate) async fn connect(place: &Place) -> Result<Self> {
        Ok(Self {
            client: Client::connect(format!("127.0.0.1:{}", place.port)).await?,
            key: place.key.clone(),
        })
    }
}

impl Load for RustisGet {
    async fn step(&mut self) -> Result<()> {
        let value: BulkString = self.client.get(&*self.key).await?;
        check(value.len())
    }
}
