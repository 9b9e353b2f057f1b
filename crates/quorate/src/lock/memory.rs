//! Locks in this process.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;

use super::lease::{AcquireReply, LeaseId, LockState};
use super::port::LockPort;
use crate::clock::{HomeClock, Micros};
use crate::embedded::ExpiryIndex;
use crate::error::Result;
use crate::events::{CallOptions, Channel, EventsPort};
use crate::key::Key;

/// Forgotten locks dropped per operation: more than one operation can add, so that none pile up.
const SWEEP: usize = 2;

/// What the instances of one in-process home share.
#[derive(Debug)]
pub(crate) struct LockTable {
    clock: HomeClock,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    locks: HashMap<Key, LockState>,
    forgotten: ExpiryIndex<Key>,
}

impl LockTable {
    pub(crate) fn new(clock: HomeClock) -> Self {
        Self {
            clock,
            table: Mutex::default(),
        }
    }

    /// One transition: the time is read under the lock, so that transitions and time have one order.
    fn transition<R>(&self, key: &Key, apply: impl FnOnce(&mut LockState, Micros) -> R) -> R {
        let mut table = self.table.lock();
        let now = self.clock.now();
        table.sweep(now);
        let mut state = table.locks.get(key).copied().unwrap_or_default();
        let reply = apply(&mut state, now);
        // An operation on a lock that nobody ever held leaves nothing behind.
        if state != LockState::default() {
            let at = state.forgotten_at(now);
            table.locks.insert(key.clone(), state);
            table.forgotten.set(key.clone(), at);
        }
        reply
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.table.lock().locks.len()
    }
}

impl Table {
    fn sweep(&mut self, now: Micros) {
        for _ in 0..SWEEP {
            let Some(key) = self.forgotten.pop_due(now) else {
                return;
            };
            self.locks.remove(&key);
        }
    }
}

/// One instance's access to the table.
pub(crate) struct MemoryLocks {
    shared: Arc<LockTable>,
    events: Arc<dyn EventsPort>,
}

impl MemoryLocks {
    pub(crate) fn new(shared: Arc<LockTable>, events: Arc<dyn EventsPort>) -> Self {
        Self { shared, events }
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
            .shared
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
            .shared
            .transition(key, |state, now| state.extend(now, lease, length)))
    }

    async fn release(&self, key: &Key, lease: LeaseId, options: CallOptions) -> Result<bool> {
        let released = self
            .shared
            .transition(key, |state, now| state.release(now, lease));
        if let (true, Some(channel)) = (released, self.announced_on(key)) {
            // In-process the announcement is complete when the call returns.
            self.events.publish(&channel, Bytes::new(), options);
        }
        Ok(released)
    }

    fn announced_on(&self, key: &Key) -> Option<Channel> {
        Some(super::announcement(key))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Namespace;
    use crate::lock::lease::RETENTION;

    #[tokio::test(start_paused = true)]
    async fn forgotten_locks_free_their_memory() {
        let table = LockTable::new(HomeClock::new(None));
        let second = Duration::from_secs(1);
        for number in 0..100 {
            let key = Key::new(&Namespace::default(), &format!("lock-{number}")).unwrap();
            table.transition(&key, |state, now| {
                state.acquire(now, LeaseId::random(), second)
            });
        }
        assert_eq!(table.len(), 100);
        tokio::time::advance(RETENTION + second * 2).await;
        let key = Key::new(&Namespace::default(), "other").unwrap();
        for _ in 0..60 {
            table.transition(&key, |state, now| {
                state.acquire(now, LeaseId::random(), second)
            });
        }
        assert_eq!(table.len(), 1);
    }
}
