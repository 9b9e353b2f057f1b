//! Locks in this process.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::lease::{AcquireReply, LeaseId, LockState};
use super::port::{LockPort, announcement};
use crate::clock::Micros;
use crate::embedded::{State, Table};
use crate::error::Result;
use crate::events::{Channel, EventsPort};
use crate::key::Key;
use crate::port::CallOptions;

impl State for LockState {
    fn forgotten_at(&self, now: Micros) -> Option<Micros> {
        // Nobody ever held it: nothing to remember.
        Some(if *self == Self::default() {
            now
        } else {
            self.retained_until(now)
        })
    }

    fn expire(&mut self, _now: Micros) {
        // All of it at once.
    }
}

/// One instance's access to the locks of its home.
pub(crate) struct MemoryLocks {
    table: Arc<Table<LockState>>,
    events: Arc<dyn EventsPort>,
}

impl MemoryLocks {
    pub(crate) fn new(table: Arc<Table<LockState>>, events: Arc<dyn EventsPort>) -> Self {
        Self { table, events }
    }
}

#[async_trait]
impl LockPort for MemoryLocks {
    async fn acquire(
        &self,
        key: &Key,
        lease: LeaseId,
        length: Duration,
        _options: CallOptions,
    ) -> Result<AcquireReply> {
        Ok(self
            .table
            .transition(key, |state, now| state.acquire(now, lease, length)))
    }

    async fn extend(
        &self,
        key: &Key,
        lease: LeaseId,
        length: Duration,
        _options: CallOptions,
    ) -> Result<bool> {
        Ok(self
            .table
            .transition(key, |state, now| state.extend(now, lease, length)))
    }

    async fn release(&self, key: &Key, lease: LeaseId, options: CallOptions) -> Result<bool> {
        let released = self
            .table
            .transition(key, |state, now| state.release(now, lease));
        if released {
            // In-process the announcement is complete when the call returns.
            self.events
                .publish(&announcement(key), Bytes::new(), options);
        }
        Ok(released)
    }

    fn announced_on(&self, key: &Key) -> Option<Channel> {
        Some(announcement(key))
    }
}

impl fmt::Display for MemoryLocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("in-process locks")
    }
}

impl fmt::Debug for MemoryLocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryLocks")
    }
}
