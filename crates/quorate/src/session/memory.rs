//! Sessions in this process.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::id::{IdDigest, Serial};
use super::partition::{Change, Claim, Creation, Deleted, NewSession, Partition, Rotated, Updated};
use super::port::{Found, RevokedWhy, SessionPort, announcement};
#[cfg(feature = "file")]
use super::record::Record;
use crate::clock::Micros;
use crate::embedded::{Disk, State, Table, Ticket};
use crate::error::{Outcome, Result};
use crate::events::{Channel, EventsPort};
use crate::key::Key;
use crate::port::CallOptions;

impl State for Partition {
    fn forgotten_at(&self, now: Micros) -> Option<Micros> {
        Some(self.next_end().unwrap_or(now))
    }

    fn expire(&mut self, now: Micros) {
        self.expire(now);
    }

    fn changed_sides(&mut self) -> Vec<Arc<str>> {
        let changed = self.take_changed();
        changed
            .iter()
            .map(|serial| serial.to_string().into())
            .collect()
    }
}

/// Each session has a side row, so that a use of one does not write the others.
#[cfg(feature = "file")]
impl crate::embedded::Kept for Partition {
    const TABLE: &'static str = "session";

    fn row(&self) -> Option<Vec<u8>> {
        None
    }

    fn from_row(_row: &[u8]) -> Option<Self> {
        None
    }

    const SIDES: Option<&'static str> = Some("session-of");

    fn side_row(&self, name: &str) -> Option<Vec<u8>> {
        self.record(Serial::parse(name)?).map(Record::encode)
    }

    fn take_side(&mut self, name: &str, row: &[u8]) -> Option<()> {
        self.put(Serial::parse(name)?, Record::decode(row)?);
        Some(())
    }
}

/// One instance's access to the sessions of its home.
pub(crate) struct MemorySessions {
    table: Arc<Table<Partition>>,
    disk: Disk,
    events: Arc<dyn EventsPort>,
}

impl MemorySessions {
    pub(crate) fn new(
        table: Arc<Table<Partition>>,
        disk: Disk,
        events: Arc<dyn EventsPort>,
    ) -> Self {
        Self {
            table,
            disk,
            events,
        }
    }

    /// One transition, which says what it changed and whom to tell, at once; answered when that is on disk.
    async fn change<R>(
        &self,
        key: &Key,
        options: CallOptions,
        apply: impl FnOnce(&mut Partition, Micros) -> (R, bool, RevokedWhy, Vec<Serial>),
    ) -> Result<R> {
        self.disk.check_writable()?;
        let ((reply, why, gone), ticket) = self.table.change(key, |partition, now| {
            let (reply, changed, why, gone) = apply(partition, now);
            ((reply, why, gone), changed)
        });
        // Not behind the wait: who gives up meanwhile does not bring back what is gone, and nobody else would tell.
        if !gone.is_empty() {
            self.events
                .publish(&announcement(key), why.encode(&gone), options);
        }
        self.written(ticket, options, Outcome::Unknown).await?;
        Ok(reply)
    }

    /// Waits until what was seen is on disk.
    async fn written(&self, ticket: Ticket, options: CallOptions, outcome: Outcome) -> Result<()> {
        match self.disk.written(ticket, options.deadline, outcome) {
            Some(written) => written.await,
            None => Ok(()),
        }
    }

    /// What can be seen without a change.
    async fn look<R: Default>(
        &self,
        key: &Key,
        options: CallOptions,
        look: impl FnOnce(&Partition, Micros) -> R,
    ) -> Result<R> {
        self.disk.check_open()?;
        let (seen, ticket) = self
            .table
            .look_kept(key, |partition, clock| look(partition, clock.now()));
        self.written(ticket, options, Outcome::NotApplied).await?;
        Ok(seen.unwrap_or_default())
    }
}

/// Tells nobody.
fn quietly<R>(reply: R, changed: bool) -> (R, bool, RevokedWhy, Vec<Serial>) {
    (reply, changed, RevokedWhy::Deleted, Vec::new())
}

#[async_trait]
impl SessionPort for MemorySessions {
    async fn create(&self, key: &Key, new: &NewSession, options: CallOptions) -> Result<Creation> {
        self.change(key, options, |partition, now| {
            let creation = partition.create(now, new);
            let evicted = creation.evicted.clone();
            (creation, true, RevokedWhy::Evicted, evicted)
        })
        .await
    }

    async fn get(&self, key: &Key, claim: &Claim, options: CallOptions) -> Result<Option<Found>> {
        self.look(key, options, |partition, now| {
            let record = partition.get(now, claim)?.clone();
            Some(Found { now, record })
        })
        .await
    }

    async fn touch(
        &self,
        key: &Key,
        claim: &Claim,
        ttl: Option<Duration>,
        options: CallOptions,
    ) -> Result<Option<Found>> {
        self.change(key, options, |partition, now| {
            let (record, is_written) = partition.touch(now, claim, ttl);
            quietly(record.map(|record| Found { now, record }), is_written)
        })
        .await
    }

    async fn update(
        &self,
        key: &Key,
        claim: &Claim,
        changes: &[Change],
        options: CallOptions,
    ) -> Result<Updated> {
        self.change(key, options, |partition, now| {
            let updated = partition.update(now, claim, changes);
            let is_done = matches!(updated, Updated::Done { .. });
            quietly(updated, is_done)
        })
        .await
    }

    async fn rotate(
        &self,
        key: &Key,
        claim: &Claim,
        digest: IdDigest,
        overlap: Duration,
        options: CallOptions,
    ) -> Result<Rotated> {
        self.change(key, options, |partition, now| {
            let rotated = partition.rotate(now, claim, digest, overlap);
            quietly(rotated, matches!(rotated, Rotated::Done { .. }))
        })
        .await
    }

    async fn delete(
        &self,
        key: &Key,
        claim: &Claim,
        changes: Option<u64>,
        why: RevokedWhy,
        options: CallOptions,
    ) -> Result<Deleted> {
        self.change(key, options, |partition, now| {
            let deleted = partition.delete(now, claim, changes);
            let is_done = deleted == Deleted::Done;
            let gone = is_done.then_some(claim.serial).into_iter().collect();
            (deleted, is_done, why, gone)
        })
        .await
    }

    async fn clear(
        &self,
        key: &Key,
        keep: Option<Serial>,
        options: CallOptions,
    ) -> Result<Vec<Serial>> {
        self.change(key, options, |partition, now| {
            let gone = partition.clear(now, keep);
            (gone.clone(), !gone.is_empty(), RevokedWhy::Deleted, gone)
        })
        .await
    }

    async fn list(&self, key: &Key, options: CallOptions) -> Result<Vec<(Serial, Found)>> {
        self.look(key, options, |partition, now| {
            let list = partition.list(now).into_iter();
            list.map(|(serial, record)| (serial, Found { now, record }))
                .collect()
        })
        .await
    }

    async fn count(&self, key: &Key, options: CallOptions) -> Result<u64> {
        self.look(key, options, |partition, now| partition.count(now) as u64)
            .await
    }

    fn announced_on(&self, key: &Key) -> Option<Channel> {
        Some(announcement(key))
    }
}

impl fmt::Display for MemorySessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("in-process sessions")
    }
}

impl fmt::Debug for MemorySessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemorySessions")
    }
}
