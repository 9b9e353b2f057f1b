//! The queues of a fleet.

use super::Fleet;
use crate::durable::DurableBuilder;
use crate::queue::{AllQueues, Queue, QueueSpec};

impl Fleet {
    /// The queue of a spec.
    #[must_use]
    pub fn queue<I, O>(&self, spec: &QueueSpec<I, O>) -> Queue<I, O> {
        Queue::new(self.inner.queues.clone(), &self.namespace, spec)
    }

    /// All queues, whatever their types: for who operates them.
    #[must_use]
    pub fn queues(&self) -> AllQueues {
        AllQueues::new(self.inner.queues.clone(), &self.namespace)
    }

    /// Durable functions: their runs continue where they stopped.
    pub fn durable(&self) -> DurableBuilder {
        DurableBuilder::new(self.inner.queues.clone(), &self.namespace)
    }
}
