//! One look at the server, for health endpoints.

use std::time::Duration;

use crate::error::LinkError;
use crate::probe::{Flavour, ServerMode, Version};

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
