//! The state of the connections to a home, and how it changes.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::{Stream, StreamExt};
use tokio::sync::{broadcast, watch};
use tokio_stream::wrappers::BroadcastStream;

use crate::clock::system_now;
use crate::error::Error;
use crate::hooks::Hooks;
use crate::telemetry;

/// Changes kept for a reader that falls behind; it misses the oldest beyond them.
const KEPT_CHANGES: usize = 64;

/// The state of the connections to a home.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConnectionState {
    /// Nothing has been tried yet: the fleet connects at its first use.
    Idle,
    /// The first connection is being made.
    Connecting,
    /// Everything works.
    Ready,
    /// The connection was lost and is being made again.
    Reconnecting,
    /// Connected, but something does not work; the reason says what.
    Degraded,
    /// The server stopped being the primary; looking for the new one.
    Failover,
    /// Closed for good.
    Closed,
}

impl ConnectionState {
    /// All states, in the order of the enum.
    pub const ALL: [Self; 7] = [
        Self::Idle,
        Self::Connecting,
        Self::Ready,
        Self::Reconnecting,
        Self::Degraded,
        Self::Failover,
        Self::Closed,
    ];

    /// The name used in metrics and documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
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

    /// Whether commands reach the backend.
    #[must_use]
    pub const fn is_connected(self) -> bool {
        matches!(self, Self::Ready | Self::Degraded)
    }
}

impl fmt::Display for ConnectionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A change of the connection's state.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StateChange {
    /// The state before.
    pub previous: ConnectionState,
    /// The state now.
    pub new: ConnectionState,
    /// When it changed, by this machine's clock.
    pub at: SystemTime,
    /// Why, in words.
    pub reason: Arc<str>,
    /// How many times a connection had been established until then.
    pub epoch: u64,
}

/// The present state, and why.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectionStatus {
    /// The state.
    pub state: ConnectionState,
    /// Why, in words; free of secrets.
    pub reason: Arc<str>,
    /// How many times a connection had been established until then.
    pub epoch: u64,
}

/// What a look at the home found.
#[derive(Debug)]
#[non_exhaustive]
pub struct Health {
    /// Whether it answered in time and is in order.
    pub healthy: bool,
    /// How long the answer took.
    pub response_time: Duration,
    /// What the server says of itself; `None` in-process, and without an answer.
    pub server: Option<ServerSummary>,
    /// Why it is not healthy.
    pub error: Option<Error>,
    /// The second server, where one is configured.
    pub cache: Option<Box<Self>>,
}

/// What a server says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerSummary {
    /// `redis` or `valkey`.
    pub flavour: String,
    /// The program's own version.
    pub version: String,
    /// `standalone`, `cluster` or `sentinel`.
    pub mode: String,
    /// Connected clients.
    pub connected_clients: u64,
    /// Memory in use, in bytes.
    pub used_memory: u64,
}

/// Keeps the state of one instance and tells whoever wants to know of its changes.
#[derive(Debug)]
pub(crate) struct Monitor {
    status: watch::Sender<ConnectionStatus>,
    changes: broadcast::Sender<StateChange>,
    hooks: Hooks,
}

impl Monitor {
    pub(crate) fn new(state: ConnectionState, reason: &str, hooks: Hooks) -> Self {
        show(state);
        let status = ConnectionStatus {
            state,
            reason: reason.into(),
            epoch: 0,
        };
        Self {
            status: watch::Sender::new(status),
            changes: broadcast::Sender::new(KEPT_CHANGES),
            hooks,
        }
    }

    /// Sets the state that the first change will start from.
    #[cfg(feature = "redis")]
    pub(crate) fn begin(&self, state: ConnectionState, reason: &Arc<str>, epoch: u64) {
        self.status.send_replace(ConnectionStatus {
            state,
            reason: reason.clone(),
            epoch,
        });
        show(state);
    }

    /// Takes note of a change, and passes it on.
    pub(crate) fn report(&self, change: &StateChange) {
        let status = ConnectionStatus {
            state: change.new,
            reason: change.reason.clone(),
            epoch: change.epoch,
        };
        let before = self.status.send_replace(status);
        if before.state == ConnectionState::Closed || before.state == change.new {
            return;
        }
        show(change.new);
        if change.previous == ConnectionState::Reconnecting && change.new.is_connected() {
            metrics::counter!(telemetry::RECONNECTS).increment(1);
        }
        tracing::debug!(from = %change.previous, to = %change.new, reason = %change.reason, "connection state");
        // Nobody listening is fine.
        let _ = self.changes.send(change.clone());
        self.hooks.state_changed(change);
    }

    pub(crate) fn closed(&self) {
        self.set(ConnectionState::Closed, "closed by the application");
    }

    /// Changes the state without a new connection.
    pub(crate) fn set(&self, state: ConnectionState, reason: &str) {
        let before = self.status.borrow().clone();
        let at = UNIX_EPOCH + Duration::from_micros(system_now().get());
        self.report(&StateChange {
            previous: before.state,
            new: state,
            at,
            reason: reason.into(),
            epoch: before.epoch,
        });
    }

    pub(crate) fn status(&self) -> watch::Receiver<ConnectionStatus> {
        self.status.subscribe()
    }

    pub(crate) fn changes(&self) -> impl Stream<Item = StateChange> + Send + Unpin + use<> {
        let changes = BroadcastStream::new(self.changes.subscribe());
        Box::pin(changes.filter_map(|change| std::future::ready(change.ok())))
    }
}

/// Shows `state` in the metrics: one gauge per state, of which one is 1.
fn show(state: ConnectionState) {
    for each in ConnectionState::ALL {
        let value = if each == state { 1.0 } else { 0.0 };
        metrics::gauge!(telemetry::CONNECTION_STATE, "state" => each.as_str()).set(value);
    }
}
