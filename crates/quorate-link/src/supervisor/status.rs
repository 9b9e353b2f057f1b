//! What state the link is in.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

/// The state of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LinkState {
    /// Nothing was asked of it yet and it is configured to connect on first use.
    Idle,
    /// Making its first command connection.
    Connecting,
    /// Connected; everything in use works.
    Ready,
    /// The command connection was lost; trying again.
    Reconnecting,
    /// Connected, but something in use does not work: another lane or the push connection is down,
    /// or the server recently refused commands because of a condition of its own (`LOADING`,
    /// `MISCONF`, `OOM`, `BUSY`, `NOREPLICAS`, `CLUSTERDOWN`, `MASTERDOWN`).
    Degraded,
    /// The server is not, or no longer, one that takes writes; looking for the one that does.
    Failover,
    /// Closed, or given up by the reconnect policy.
    Closed,
}

impl LinkState {
    /// A stable lower-case name, for metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Connecting => "connecting",
            Self::Ready => "ready",
            Self::Reconnecting => "reconnecting",
            Self::Degraded => "degraded",
            Self::Failover => "failover",
            Self::Closed => "closed",
        }
    }

    /// Whether commands can be sent in this state.
    #[must_use]
    pub fn is_connected(self) -> bool {
        matches!(self, Self::Ready | Self::Degraded | Self::Failover)
    }
}

impl fmt::Display for LinkState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The present state, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// The state.
    pub state: LinkState,
    /// Why, in words for a person; free of secrets.
    pub reason: Arc<str>,
    /// Grows by one whenever the command or the push connection is made anew.
    pub epoch: u64,
    /// Since when.
    pub since: SystemTime,
}

/// One change of state.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StateChange {
    /// The state before.
    pub previous: LinkState,
    /// The state after.
    pub new: LinkState,
    /// When.
    pub at: SystemTime,
    /// Why, in words for a person; free of secrets.
    pub reason: Arc<str>,
    /// The epoch after the change.
    pub epoch: u64,
}
