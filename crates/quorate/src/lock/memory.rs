//! Locks in this process.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::lease::{AcquireReply, LeaseId, LockState};
use super::port::{LockPort, announcement};
use crate::clock::Micros;
use crate::embedded::{Disk, State, Table};
use crate::error::{Outcome, Result};
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

/// Who holds a lock is gone with the process; that tokens grow outlives it.
#[cfg(feature = "file")]
impl crate::embedded::Kept for LockState {
    const TABLE: &'static str = "lock";

    fn row(&self) -> Option<Vec<u8>> {
        Some(crate::embedded::encode(1, &self.last))
    }

    fn from_row(row: &[u8]) -> Option<Self> {
        let last = crate::embedded::decode(1, row)?;
        Some(Self {
            last,
            ..Self::default()
        })
    }
}

/// One instance's access to the locks of its home.
pub(crate) struct MemoryLocks {
    table: Arc<Table<LockState>>,
    disk: Disk,
    events: Arc<dyn EventsPort>,
}

impl MemoryLocks {
    pub(crate) fn new(
        table: Arc<Table<LockState>>,
        disk: Disk,
        events: Arc<dyn EventsPort>,
    ) -> Self {
        Self {
            table,
            disk,
            events,
        }
    }

    /// One transition of what only this process has to know.
    fn transition<R>(&self, key: &Key, apply: impl FnOnce(&mut LockState, Micros) -> R) -> R {
        let (reply, _) = self
            .table
            .change(key, |state, now| (apply(state, now), false));
        reply
    }
}

#[async_trait]
impl LockPort for MemoryLocks {
    async fn acquire(
        &self,
        key: &Key,
        lease: LeaseId,
        length: Duration,
        options: CallOptions,
    ) -> Result<AcquireReply> {
        self.disk.check_writable()?;
        let (reply, ticket) = self.table.change(key, |state, now| {
            let last = state.last;
            (state.acquire(now, lease, length), state.last != last)
        });
        let deadline = options.deadline;
        if let Some(on_disk) = self.disk.written(ticket, deadline, Outcome::Unknown)
            && matches!(reply, AcquireReply::Acquired { .. })
        {
            on_disk.await?;
        }
        Ok(reply)
    }

    async fn extend(
        &self,
        key: &Key,
        lease: LeaseId,
        length: Duration,
        _options: CallOptions,
    ) -> Result<bool> {
        self.disk.check_open()?;
        Ok(self.transition(key, |state, now| state.extend(now, lease, length)))
    }

    async fn release(&self, key: &Key, lease: LeaseId, options: CallOptions) -> Result<bool> {
        let released = self.transition(key, |state, now| state.release(now, lease));
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
