//! Stores in this process.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::area::{Area, StoreKey};
use super::entry::{Entry, Expiry, Once, Remaining, When, Write, Written};
#[cfg(feature = "file")]
use super::fence::Fence;
use super::port::{StorePort, WriteOptions};
#[cfg(feature = "file")]
use super::remembered::Remembered;
use crate::clock::Micros;
use crate::durability::Reached;
use crate::embedded::{Disk, State, Table, Ticket};
use crate::error::{Outcome, Result};
use crate::lock::FencingToken;
use crate::port::CallOptions;
use crate::scan::{ScanCursor, ScanPage};

/// What the fence of an entry is called among what is remembered of it: no id of a write, which has no control characters.
const FENCE: &str = "\u{1}fence";

impl State for Entry {
    fn forgotten_at(&self, now: Micros) -> Option<Micros> {
        self.due(now)
    }

    fn expire(&mut self, now: Micros) {
        self.expire(now);
    }

    fn changed_sides(&mut self) -> Vec<Arc<str>> {
        let mut changed = self.done.changed();
        changed.extend(self.fence.changed().then(|| FENCE.into()));
        changed
    }
}

#[cfg(feature = "file")]
impl crate::embedded::Kept for Entry {
    const TABLE: &'static str = "store";

    fn row(&self) -> Option<Vec<u8>> {
        let has_value = self.value.is_some();
        has_value.then(|| crate::embedded::encode(2, &(&self.value, self.ends)))
    }

    fn from_row(row: &[u8]) -> Option<Self> {
        let (value, ends, done) = match row.first() {
            // Which had everything that is remembered in it.
            Some(1) => crate::embedded::decode(1, row)?,
            _ => {
                let (value, ends) = crate::embedded::decode(2, row)?;
                (value, ends, Vec::new())
            }
        };
        Some(Self {
            value,
            ends,
            done: Remembered::from(done),
            fence: Fence::default(),
        })
    }

    const SIDES: Option<&'static str> = Some("store-once");

    fn side_row(&self, id: &str) -> Option<Vec<u8>> {
        if id == FENCE {
            return Some(crate::embedded::encode(1, self.fence.kept()?));
        }
        Some(crate::embedded::encode(1, self.done.of(id)?))
    }

    fn take_side(&mut self, id: &str, row: &[u8]) -> Option<()> {
        if id == FENCE {
            self.fence = Fence::of(crate::embedded::decode(1, row)?);
            return Some(());
        }
        self.done.put_back(id, crate::embedded::decode(1, row)?)
    }
}

/// One instance's access to the stores of its home.
pub(crate) struct MemoryStores {
    table: Arc<Table<Entry, Arc<str>>>,
    disk: Disk,
}

impl MemoryStores {
    pub(crate) fn new(table: Arc<Table<Entry, Arc<str>>>, disk: Disk) -> Self {
        Self { table, disk }
    }

    fn value(&self, key: &str) -> (Option<Bytes>, Ticket) {
        let (value, ticket) = self
            .table
            .look_kept(key, |entry, clock| entry.value(|| clock.now()).cloned());
        (value.flatten(), ticket)
    }

    fn apply(
        &self,
        key: &StoreKey,
        write: &Write,
        once: Option<&Once>,
        token: Option<FencingToken>,
    ) -> (Written, Ticket) {
        self.table.change(key.text(), |entry, now| {
            let written = entry.write(now, write, once, token);
            let is_made = matches!(written, Written::Applied | Written::Count(_));
            // A refusal may be remembered, and so is the token that it came with.
            (written, is_made || once.is_some() || token.is_some())
        })
    }

    /// Waits until what was read is on disk.
    async fn seen<T>(&self, seen: T, ticket: Ticket, options: CallOptions) -> Result<T> {
        let outcome = Outcome::NotApplied;
        if let Some(written) = self.disk.written(ticket, options.deadline, outcome) {
            written.await?;
        }
        Ok(seen)
    }
}

#[async_trait]
impl StorePort for MemoryStores {
    fn looks_at_once(&self) -> bool {
        true
    }

    fn look(&self, key: &str) -> Option<Option<Bytes>> {
        self.disk.check_open().ok()?;
        let (value, ticket) = self.value(key);
        // What is not yet on disk is waited for.
        (ticket == Ticket::NONE).then_some(value)
    }

    async fn get(&self, key: &StoreKey, options: CallOptions) -> Result<Option<Bytes>> {
        self.disk.check_open()?;
        let (value, ticket) = self.value(key.text());
        self.seen(value, ticket, options).await
    }

    async fn get_many(
        &self,
        keys: &[StoreKey],
        options: CallOptions,
    ) -> Result<Vec<Option<Bytes>>> {
        self.disk.check_open()?;
        let mut last = Ticket::NONE;
        let mut value = |key: &StoreKey| {
            let (value, ticket) = self.value(key.text());
            last = last.max(ticket);
            value
        };
        let values = keys.iter().map(&mut value).collect();
        self.seen(values, last, options).await
    }

    async fn write(
        &self,
        key: &StoreKey,
        write: &Write,
        options: WriteOptions,
    ) -> Result<(Written, Reached)> {
        self.disk.check_writable()?;
        let (written, ticket) = self.apply(key, write, options.once.as_ref(), options.token);
        let deadline = options.call.deadline;
        if let Some(on_disk) = self.disk.written(ticket, deadline, Outcome::Unknown) {
            let Some(durability) = options.durability else {
                on_disk.await?;
                return Ok((written, Reached::alone(true)));
            };
            // Who asks how safe it is, is told so in time.
            match tokio::time::timeout(durability.within, on_disk).await {
                Ok(on_disk) => on_disk?,
                Err(_) => return Ok((written, Reached::alone(false))),
            }
        }
        Ok((written, Reached::alone(self.disk.is_there())))
    }

    async fn set_many(
        &self,
        entries: &[(StoreKey, Bytes)],
        ttl: Option<Duration>,
        options: CallOptions,
    ) -> Result<()> {
        self.disk.check_writable()?;
        let mut last = Ticket::NONE;
        for (key, value) in entries {
            let write = Write::Set {
                value: value.clone(),
                expiry: ttl.map_or(Expiry::Never, Expiry::After),
                when: When::Always,
            };
            last = last.max(self.apply(key, &write, None, None).1);
        }
        let deadline = options.deadline;
        if let Some(on_disk) = self.disk.written(last, deadline, Outcome::Unknown) {
            on_disk.await?;
        }
        Ok(())
    }

    async fn remaining(&self, key: &StoreKey, options: CallOptions) -> Result<Option<Remaining>> {
        self.disk.check_open()?;
        let (remaining, ticket) = self
            .table
            .look_kept(key.text(), |entry, clock| entry.remaining(clock.now()));
        self.seen(remaining.flatten(), ticket, options).await
    }

    async fn scan(
        &self,
        area: &Area,
        prefix: &str,
        from: Option<&ScanCursor>,
        options: CallOptions,
    ) -> Result<ScanPage> {
        self.disk.check_open()?;
        let begins = area.beginning_with(prefix);
        // A page is what one part of the table holds, which is locked meanwhile.
        let part = from.map_or(0, |cursor| cursor.as_str().parse().unwrap_or(usize::MAX));
        let mut names = Vec::new();
        let more = self.table.each_of(part, |key, entry, clock| {
            if key.starts_with(&begins) && entry.value(|| clock.now()).is_some() {
                names.extend(area.name_of(key));
            }
        });
        let next = more.then(|| ScanCursor::new((part + 1).to_string()));
        let ticket = self.table.ticket_of(part);
        self.seen(ScanPage { names, next }, ticket, options).await
    }
}

impl fmt::Display for MemoryStores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("in-process stores")
    }
}

impl fmt::Debug for MemoryStores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryStores")
    }
}
