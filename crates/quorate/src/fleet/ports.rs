//! The backends of a fleet, to be wrapped, or tested.

use std::sync::Arc;

use super::Fleet;
use crate::cache::CachePort;
use crate::execution::ExecutionPort;
use crate::history::{GroupPort, HistoryPort};
use crate::limit::LimitPort;
use crate::lock::{LockPort, VotePort};
use crate::presence::PresencePort;
use crate::queue::QueuePort;
use crate::session::SessionPort;
use crate::store::StorePort;

impl Fleet {
    /// The backend of kept topics, for tests of backends.
    #[must_use]
    pub fn history_port(&self) -> Arc<dyn HistoryPort> {
        self.inner.hub.history_port()
    }

    /// The backend of consumer groups, for tests of backends; `None` where kept topics are in a backend
    /// of the user's own that has none.
    #[must_use]
    pub fn group_port(&self) -> Option<Arc<dyn GroupPort>> {
        self.inner.hub.group_port()
    }

    /// The backend of this instance's locks: to wrap it in one of your own, or to run a conformance suite
    /// on it. It is past the fleet's deadlines, retries and metrics.
    #[must_use]
    pub fn lock_port(&self) -> Arc<dyn LockPort> {
        self.inner.locks.port.clone()
    }

    /// The vote of this instance's home in a [quorum](crate::QuorumLocks), as [`lock_port`](Self::lock_port) is the
    /// backend of its locks.
    #[must_use]
    pub fn vote_port(&self) -> Arc<dyn VotePort> {
        self.inner.votes.clone()
    }

    /// The backend of this instance's limits, as [`lock_port`](Self::lock_port) is that of its locks.
    #[must_use]
    pub fn limit_port(&self) -> Arc<dyn LimitPort> {
        self.inner.limiters.port.clone()
    }

    /// The backend of this instance's rosters, as [`lock_port`](Self::lock_port) is that of its locks.
    #[must_use]
    pub fn presence_port(&self) -> Arc<dyn PresencePort> {
        self.inner.presences.port.clone()
    }

    /// The backend of this instance's queues, as [`lock_port`](Self::lock_port) is that of its locks.
    #[must_use]
    pub fn queue_port(&self) -> Arc<dyn QueuePort> {
        self.inner.queues.port.clone()
    }

    /// The backend of this instance's sessions, as [`lock_port`](Self::lock_port) is that of its locks.
    #[must_use]
    pub fn session_port(&self) -> Arc<dyn SessionPort> {
        self.inner.sessions.port.clone()
    }

    /// The backend of this instance's executions, as [`lock_port`](Self::lock_port) is that of its locks.
    #[must_use]
    pub fn execution_port(&self) -> Arc<dyn ExecutionPort> {
        self.inner.executions.port.clone()
    }

    /// The backend of this instance's stores, as [`lock_port`](Self::lock_port) is that of its locks.
    #[must_use]
    pub fn store_port(&self) -> Arc<dyn StorePort> {
        self.inner.stores.port.clone()
    }

    /// The backend of this instance's caches, as [`lock_port`](Self::lock_port) is that of its locks.
    #[must_use]
    pub fn cache_port(&self) -> Arc<dyn CachePort> {
        self.inner.caches.port.clone()
    }
}
