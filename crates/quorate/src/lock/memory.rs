//! Locks in this process.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

#[cfg(feature = "file")]
use super::ask::LockKind;
use super::ask::{AcquireReply, Ask, LockKey, LockStatus};
use super::lease::{FencingToken, LeaseId};
use super::news::News;
use super::port::{LockPort, ScannedLocks, announcement};
use super::state::{LockState, Told};
use crate::clock::Micros;
#[cfg(feature = "file")]
use crate::embedded::RowKey;
use crate::embedded::{Disk, State, Table, Ticket};
use crate::error::{Outcome, Result};
use crate::events::{Channel, EventsPort};
use crate::key::Namespace;
use crate::port::CallOptions;
use crate::scan::ScanCursor;

/// The locks of a home.
pub(crate) type LockTable = Table<LockState, LockKey>;

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
        Some(crate::embedded::encode(1, &self.last()))
    }

    fn from_row(row: &[u8]) -> Option<Self> {
        crate::embedded::decode(1, row).map(Self::after)
    }
}

/// The key of a mutex is that of its name; other kinds stand in front of it.
#[cfg(feature = "file")]
impl RowKey for LockKey {
    fn bytes(&self) -> Vec<u8> {
        let key = RowKey::bytes(self.key());
        if self.kind() == LockKind::Mutex {
            return key;
        }
        let mut bytes = format!("\u{1}{}\0", self.kind().as_str()).into_bytes();
        bytes.extend(key);
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let [1, rest @ ..] = bytes else {
            return Some(Self::new(LockKind::Mutex, RowKey::from_bytes(bytes)?));
        };
        let end = rest.iter().position(|byte| *byte == 0)?;
        let (kind, key) = (&rest[..end], &rest[end + 1..]);
        let is_it = |it: &LockKind| it.as_str().as_bytes() == kind && *it != LockKind::Mutex;
        let kind = LockKind::ALL.into_iter().find(is_it)?;
        Some(Self::new(kind, RowKey::from_bytes(key)?))
    }
}

/// One instance's access to the locks of its home.
pub(crate) struct MemoryLocks {
    table: Arc<LockTable>,
    disk: Disk,
    events: Arc<dyn EventsPort>,
}

impl MemoryLocks {
    pub(crate) fn new(table: Arc<LockTable>, disk: Disk, events: Arc<dyn EventsPort>) -> Self {
        Self {
            table,
            disk,
            events,
        }
    }

    /// One transition. Only the last token outlives the process.
    fn change<R>(
        &self,
        lock: &LockKey,
        apply: impl FnOnce(&mut LockState, Micros) -> Told<R>,
    ) -> (Told<R>, Ticket) {
        self.table.change(lock, |state, now| {
            let last = state.last();
            let told = apply(state, now);
            (told, state.last() != last)
        })
    }

    /// Announces what happened, once the tokens in it are on disk: nobody learns of one that could be given out again.
    async fn tell(
        &self,
        lock: &LockKey,
        news: Vec<News>,
        ticket: Ticket,
        options: CallOptions,
    ) -> Result<()> {
        let watched = lock.kind().is_watched();
        let mut news = news.into_iter();
        let news = news.by_ref().filter(|it| watched || !it.is_for_watchers());
        let news: Vec<_> = news.collect();
        if news.is_empty() {
            return Ok(());
        }
        let deadline = options.deadline;
        if let Some(on_disk) = self.disk.written(ticket, deadline, Outcome::Unknown) {
            on_disk.await?;
        }
        for it in news {
            // In-process the announcement is complete when the call returns.
            let text = Bytes::from(it.to_string());
            self.events.publish(&announcement(lock), text, options);
        }
        Ok(())
    }
}

#[async_trait]
impl LockPort for MemoryLocks {
    async fn acquire(
        &self,
        lock: &LockKey,
        ask: &Ask,
        options: CallOptions,
    ) -> Result<AcquireReply> {
        self.disk.check_writable()?;
        let ((reply, news), ticket) = self.change(lock, |state, now| state.acquire(now, ask));
        let deadline = options.deadline;
        if matches!(reply, AcquireReply::Acquired { .. })
            && let Some(on_disk) = self.disk.written(ticket, deadline, Outcome::Unknown)
        {
            on_disk.await?;
        }
        self.tell(lock, news, ticket, options).await?;
        Ok(reply)
    }

    async fn extend(
        &self,
        lock: &LockKey,
        lease: LeaseId,
        length: Duration,
        options: CallOptions,
    ) -> Result<bool> {
        self.disk.check_open()?;
        let ((extended, news), ticket) =
            self.change(lock, |state, now| state.extend(now, lease, length));
        self.tell(lock, news, ticket, options).await?;
        Ok(extended)
    }

    async fn release(&self, lock: &LockKey, lease: LeaseId, options: CallOptions) -> Result<bool> {
        let ((released, news), ticket) = self.change(lock, |state, now| state.release(now, lease));
        self.tell(lock, news, ticket, options).await?;
        Ok(released)
    }

    async fn force_release(
        &self,
        lock: &LockKey,
        token: Option<FencingToken>,
        options: CallOptions,
    ) -> Result<Vec<FencingToken>> {
        self.disk.check_open()?;
        let ((tokens, news), ticket) = self.change(lock, |state, now| state.force(now, token));
        self.tell(lock, news, ticket, options).await?;
        Ok(tokens)
    }

    async fn look(&self, lock: &LockKey, _options: CallOptions) -> Result<LockStatus> {
        self.disk.check_open()?;
        let status = self
            .table
            .look(lock, |state, clock| state.look(clock.now()));
        Ok(status.unwrap_or_default())
    }

    async fn scan(
        &self,
        namespace: &Namespace,
        prefix: &str,
        from: Option<&ScanCursor>,
        _options: CallOptions,
    ) -> Result<ScannedLocks> {
        self.disk.check_open()?;
        // A page is what one part of the table holds, which is locked meanwhile.
        let part = from.map_or(0, |cursor| cursor.as_str().parse().unwrap_or(usize::MAX));
        let mut locks = Vec::new();
        let more = self.table.each_of(part, |lock, _, _| {
            if lock.key().namespace() == namespace && lock.name().starts_with(prefix) {
                locks.push((lock.kind(), lock.name().to_owned()));
            }
        });
        let next = more.then(|| ScanCursor::new((part + 1).to_string()));
        Ok(ScannedLocks { locks, next })
    }

    fn announced_on(&self, lock: &LockKey) -> Option<Channel> {
        Some(announcement(lock))
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
