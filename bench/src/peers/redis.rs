//! The `redis` crate.

use std::sync::Arc;

use anyhow::Result;
use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{AsyncCommands, IntoConnectionInfo};

use super::{Place, check};
use crate::measure::Load;

/// `GET` through a multiplexed connection, as it comes, with TCP_NODELAY.
#[derive(Clone)]
pub(crate) struct RedisGet {
    connection: MultiplexedConnection,
    key: Arc<str>,
}

impl RedisGet {
    /// Connects.
    ///
    /// # Errors
    /// Those of the client.
    pub(crate) async fn connect(place: &Place) -> Result<Self> {
        let tcp = TcpSettings::default().set_nodelay(true);
        let server = ("127.0.0.1", place.port).into_connection_info()?;
        let client = redis::Client::open(server.set_tcp_settings(tcp))?;
        Ok(Self {
            connection: client.get_multiplexed_async_connection().await?,
            key: place.key.clone(),
        })
    }
}

impl Load for RedisGet {
    async fn step(&mut self) -> Result<()> {
        let value: Vec<u8> = self.connection.get(&*self.key).await?;
        check(value.len())
    }
}
