//! One server at a fixed name.

use std::net::SocketAddr;

use crate::error::{LinkError, LinkErrorKind, Outcome};

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Standalone {
    host: String,
    port: u16,
}

impl Standalone {
    pub(crate) fn new(host: impl Into<String>, port: u16) -> Self {
        Self {
            host: host.into(),
            port,
        }
    }

    /// Resolved anew each time: after a failover the name may mean another machine.
    pub(crate) async fn resolve(&self) -> Result<Vec<SocketAddr>, LinkError> {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let found: Vec<_> = tokio::net::lookup_host((host, self.port))
            .await
            .map_err(|error| {
                LinkError::with_source(
                    LinkErrorKind::Disconnected,
                    Outcome::NotApplied,
                    format!("cannot resolve {host}: {error}"),
                    error,
                )
            })?
            .collect();
        if found.is_empty() {
            return Err(LinkError::new(
                LinkErrorKind::Disconnected,
                Outcome::NotApplied,
                format!("{host} has no address"),
            ));
        }
        Ok(found)
    }
}
