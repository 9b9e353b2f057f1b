//! One look at the server, for health endpoints.

use std::time::Duration;

use tokio::time::Instant;

use super::link::Link;
use super::options::CallOptions;
use crate::config::LONGEST;
use crate::connection::Batch;
use crate::error::LinkError;
use crate::frame::Frame;
use crate::probe::{Fields, Flavour, ServerMode, Version};

/// The result of [`Link::health`](crate::Link::health).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Health {
    /// Whether the server answered in time and is in order.
    pub healthy: bool,
    /// How long the round trip took, waiting for a connection included.
    pub response_time: Duration,
    /// What the server says about itself, where it answered.
    pub server: Option<HealthServer>,
    /// Why not, where it is not healthy.
    pub error: Option<LinkError>,
}

/// What the server says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HealthServer {
    /// Redis or Valkey.
    pub flavour: Flavour,
    /// The program's own version.
    pub version: Version,
    /// Standalone, cluster node or sentinel.
    pub mode: ServerMode,
    /// Connected clients.
    pub connected_clients: u64,
    /// Memory used, in bytes.
    pub used_memory: u64,
}

/// One round trip: a ping, which a server that is loading or busy refuses, and its figures.
pub(crate) async fn check(link: &Link, timeout: Duration) -> Health {
    let began = Instant::now();
    let mut batch = Batch::new();
    batch.command(&[b"PING"]).command(&[b"INFO"]);
    let options = CallOptions::new().deadline(began + timeout.min(LONGEST));
    let (server, error) = match link.pipeline(&batch, &options).await {
        Err(error) => (None, Some(error)),
        Ok(replies) => {
            let server = replies
                .get(1)
                .and_then(|r| r.as_ref().ok())
                .and_then(figures);
            (server, replies.into_iter().find_map(Result::err))
        }
    };
    Health {
        healthy: error.is_none(),
        response_time: began.elapsed(),
        server,
        error,
    }
}

fn figures(info: &Frame) -> Option<HealthServer> {
    let fields = Fields::parse(info.as_str()?);
    let (flavour, version, mode) = fields.identity()?;
    Some(HealthServer {
        flavour,
        version,
        mode,
        connected_clients: fields.number("connected_clients")?,
        used_memory: fields.number("used_memory")?,
    })
}
