//! The `fred` crate.

use std::sync::Arc;

use anyhow::Result;
use bytes::Bytes;
use fred::interfaces::{ClientLike, KeysInterface};
use fred::types::config::{Config, ServerConfig, TcpConfig};
use fred::types::{Builder, Key};

use super::{Place, check};
use crate::measure::Load;

/// `GET` through one client, as it comes, with TCP_NODELAY.
#[derive(Clone)]
pub(crate) struct FredGet {
    client: fred::clients::Client,
    key: Key,
}

impl FredGet {
    /// Connects.
    ///
    /// # Errors
    /// Those of the client.
    pub(crate) async fn connect(place: &Place) -> Result<Self> {
        let config = Config {
            server: ServerConfig::new_centralized("127.0.0.1", place.port),
            ..Config::default()
        };
        let client = Builder::from_config(config)
            .with_connection_config(|connection| {
                connection.tcp = TcpConfig {
                    nodelay: Some(true),
                    ..TcpConfig::default()
                };
            })
            .build()?;
        client.init().await?;
        Ok(Self {
            client,
            key: Key::from(&*Arc::clone(&place.key)),
        })
    }
}

impl Load for FredGet {
    async fn step(&mut self) -> Result<()> {
        let value: Bytes = self.client.get(&self.key).await?;
        check(value.len())
    }
}
