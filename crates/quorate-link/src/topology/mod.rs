//! Which server to connect to. Sentinel and Cluster will be further variants: the supervisor asks
//! again before every attempt, and so follows a server that has moved.

mod standalone;

use std::net::SocketAddr;

pub(crate) use standalone::Standalone;

use crate::error::LinkError;

/// Where the servers are.
#[derive(Clone, Debug)]
pub(crate) enum Topology {
    /// One server, at a fixed name.
    Standalone(Standalone),
}

impl Topology {
    /// The addresses to try for the server that takes writes, in order.
    pub(crate) async fn primary(&self) -> Result<Vec<SocketAddr>, LinkError> {
        match self {
            Self::Standalone(standalone) => standalone.resolve().await,
        }
    }
}
