//! Backends of the user's own, instead of the home's.

use std::sync::Arc;

use super::FleetBuilder;
use crate::cache::CachePort;
use crate::context::Context;
use crate::events::EventsPort;
use crate::execution::{ExecutionPort, MemoryExecutions, SharedExecutions};
use crate::fleet::Home;
use crate::history::{GroupPort, HistoryPort};
use crate::limit::LimitPort;
use crate::lock::LockPort;
use crate::presence::PresencePort;
use crate::queue::QueuePort;
use crate::session::SessionPort;
use crate::store::StorePort;

impl FleetBuilder {
    /// Carries events over a transport of your own.
    pub fn events_port(mut self, port: Arc<dyn EventsPort>) -> Self {
        self.events = Some(port);
        self
    }

    /// Keeps the messages of kept topics in a backend of your own.
    pub fn history_port(mut self, port: Arc<dyn HistoryPort>) -> Self {
        self.history = Some(port);
        self
    }

    /// Keeps consumer groups in a backend of your own: the one that
    /// [`history_port`](Self::history_port) keeps the messages in.
    pub fn group_port(mut self, port: Arc<dyn GroupPort>) -> Self {
        self.groups = Some(port);
        self
    }

    /// Keeps limits in a backend of your own.
    pub fn limit_port(mut self, port: Arc<dyn LimitPort>) -> Self {
        self.limits = Some(port);
        self
    }

    /// Keeps locks in a backend of your own.
    pub fn lock_port(mut self, port: Arc<dyn LockPort>) -> Self {
        self.locks = Some(port);
        self
    }

    /// Keeps rosters in a backend of your own.
    pub fn presence_port(mut self, port: Arc<dyn PresencePort>) -> Self {
        self.presence = Some(port);
        self
    }

    /// Keeps queues in a backend of your own.
    pub fn queue_port(mut self, port: Arc<dyn QueuePort>) -> Self {
        self.queues = Some(port);
        self
    }

    /// Keeps caches in a backend of your own.
    pub fn cache_port(mut self, port: Arc<dyn CachePort>) -> Self {
        self.caches = Some(port);
        self
    }

    /// Keeps sessions in a backend of your own.
    pub fn session_port(mut self, port: Arc<dyn SessionPort>) -> Self {
        self.sessions = Some(port);
        self
    }

    /// Keeps executions in a backend of your own.
    pub fn execution_port(mut self, port: Arc<dyn ExecutionPort>) -> Self {
        self.executions = Some(port);
        self
    }

    /// Keeps stores in a backend of your own.
    pub fn store_port(mut self, port: Arc<dyn StorePort>) -> Self {
        self.stores = Some(port);
        self
    }
}

/// What is made of the home, where there is no backend of the user's own.
impl FleetBuilder {
    pub(super) fn executions_on(&self, home: &Home, context: &Arc<Context>) -> SharedExecutions {
        let port: Arc<dyn ExecutionPort> = match (&self.executions, home) {
            (Some(port), _) => port.clone(),
            (None, Home::Embedded(home)) => {
                Arc::new(MemoryExecutions::new(home.executions(), home.disk()))
            }
            #[cfg(feature = "redis")]
            (None, Home::Redis(home)) => Arc::new(home.executions()),
        };
        SharedExecutions {
            context: context.clone(),
            port,
        }
    }
}
