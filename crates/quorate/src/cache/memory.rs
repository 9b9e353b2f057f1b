//! Caches in this process.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::area::{CacheArea, CacheKey, CacheLook, PARTITIONS, tags_key};
use super::port::{CachePort, Changes, Sought, Tracked};
use super::slot::{FailedLoad, Fence, LoadId, NotAdded, Put, Slot, Stored, Take, Taken};
use super::table::CacheTable;
use super::tags::Tags;
use crate::error::Result;
use crate::events::{Channel, EventsPort};
use crate::glob;
use crate::key::Namespace;
use crate::port::CallOptions;
use crate::scan::{ScanCursor, ScanPage};

/// One instance's access to the caches of its home.
pub(crate) struct MemoryCaches {
    table: Arc<CacheTable>,
    events: Arc<dyn EventsPort>,
}

impl MemoryCaches {
    pub(crate) fn new(table: Arc<CacheTable>, events: Arc<dyn EventsPort>) -> Self {
        Self { table, events }
    }

    fn announce(&self, key: &CacheKey, options: CallOptions) {
        self.table
            .tell(|changes| changes.changed(key.entry().as_bytes()));
        // In-process the announcement is complete when the call returns.
        self.events.publish(&channel(key), Bytes::new(), options);
    }
}

fn channel(key: &CacheKey) -> Channel {
    Channel {
        name: key.announced_on().into(),
        sharded: true,
    }
}

#[async_trait]
impl CachePort for MemoryCaches {
    fn looks_at_once(&self) -> bool {
        true
    }

    fn look(&self, entry: CacheLook<'_>) -> Option<Option<Stored>> {
        let read = |slot: &Slot, tags: &Tags, now| slot.read(tags, now);
        Some(self.table.look(entry, read).flatten())
    }

    async fn get(&self, key: &CacheKey, _options: CallOptions) -> Result<Option<Stored>> {
        Ok(self.look(key.look()).flatten())
    }

    async fn get_many(
        &self,
        keys: &[CacheKey],
        _options: CallOptions,
    ) -> Result<Vec<Option<Stored>>> {
        let read = |key: &CacheKey| self.look(key.look()).flatten();
        Ok(keys.iter().map(read).collect())
    }

    async fn put(
        &self,
        key: &CacheKey,
        put: &Put,
        fence: Fence,
        options: CallOptions,
    ) -> Result<bool> {
        let kept = self.table.put(key, put, fence);
        if kept {
            self.announce(key, options);
        }
        Ok(kept)
    }

    async fn put_many(
        &self,
        entries: &[(CacheKey, Put, Fence)],
        options: CallOptions,
    ) -> Result<Vec<bool>> {
        let put = |(key, put, fence): &(CacheKey, Put, Fence)| {
            let kept = self.table.put(key, put, *fence);
            if kept {
                self.announce(key, options);
            }
            kept
        };
        Ok(entries.iter().map(put).collect())
    }

    async fn take(
        &self,
        keys: &[CacheKey],
        take: Take,
        _options: CallOptions,
    ) -> Result<Vec<Taken>> {
        let take = |key| {
            self.table
                .transition(key, |slot, tags, now| slot.take(tags, now, take))
        };
        Ok(keys.iter().map(take).collect())
    }

    async fn renew(
        &self,
        keys: &[CacheKey],
        id: LoadId,
        lease: Duration,
        _options: CallOptions,
    ) -> Result<Vec<bool>> {
        let renew = |key| {
            self.table
                .transition(key, |slot, _, now| slot.renew(now, id, lease))
        };
        Ok(keys.iter().map(renew).collect())
    }

    async fn give_up(
        &self,
        keys: &[CacheKey],
        id: LoadId,
        options: CallOptions,
    ) -> Result<Vec<bool>> {
        let give_up = |key| {
            let held = self
                .table
                .transition(key, |slot, _, now| slot.give_up(now, id));
            if held {
                self.announce(key, options);
            }
            held
        };
        Ok(keys.iter().map(give_up).collect())
    }

    async fn end_loads(&self, keys: &[CacheKey], options: CallOptions) -> Result<u64> {
        let mut ended = 0;
        for key in keys {
            let held = self
                .table
                .transition(key, |slot, _, now| slot.end_load(now));
            if held {
                ended += 1;
                self.announce(key, options);
            }
        }
        Ok(ended)
    }

    async fn fail(
        &self,
        keys: &[CacheKey],
        id: LoadId,
        failed: &FailedLoad,
        options: CallOptions,
    ) -> Result<Vec<Option<Stored>>> {
        let fail = |key| {
            let (held, found) = self.table.fail(key, id, failed);
            if held {
                self.announce(key, options);
            }
            found
        };
        Ok(keys.iter().map(fail).collect())
    }

    async fn remove(&self, keys: &[CacheKey], options: CallOptions) -> Result<u64> {
        let mut removed = 0;
        for key in keys {
            let there = self
                .table
                .transition(key, |slot, tags, now| slot.remove(tags, now));
            removed += u64::from(there);
            self.announce(key, options);
        }
        Ok(removed)
    }

    async fn remaining(&self, key: &CacheKey, _options: CallOptions) -> Result<Option<Duration>> {
        let left = |slot: &Slot, tags: &Tags, now| slot.remaining(tags, now);
        Ok(self.table.look(key.look(), left).flatten())
    }

    async fn expire(&self, key: &CacheKey, keep: Duration, _options: CallOptions) -> Result<bool> {
        // It may have tags, whose invalidations are then remembered for as long.
        let namespace = key.area().namespace().clone();
        let mut known = self.table.tags.write();
        known.entry(namespace).or_default().will_keep(keep);
        drop(known);
        let there = self
            .table
            .transition(key, |slot, tags, now| slot.expire(tags, now, keep));
        self.table
            .tell(|changes| changes.changed(key.entry().as_bytes()));
        Ok(there)
    }

    async fn add(
        &self,
        key: &CacheKey,
        by: i64,
        keep: Duration,
        options: CallOptions,
    ) -> Result<Result<i64, NotAdded>> {
        let added = self
            .table
            .transition(key, |slot, tags, now| slot.add(tags, now, by, keep));
        if added.is_ok() {
            self.announce(key, options);
        }
        Ok(added)
    }

    async fn invalidate(
        &self,
        namespace: &Namespace,
        tags: &[String],
        _options: CallOptions,
    ) -> Result<()> {
        let now = self.table.slots.now();
        let mut known = self.table.tags.write();
        let known = known.entry(namespace.clone()).or_default();
        for tag in tags {
            known.invalidate(tag, now);
        }
        for partition in 0..PARTITIONS {
            let key = tags_key(namespace, partition);
            self.table.tell(|changes| changes.changed(key.as_bytes()));
        }
        Ok(())
    }

    async fn scan(
        &self,
        area: &Arc<CacheArea>,
        glob: &str,
        sought: Sought,
        from: Option<&ScanCursor>,
        _options: CallOptions,
    ) -> Result<ScanPage> {
        // A page is what one part of the table holds, which is locked meanwhile.
        let part = from.map_or(0, |cursor| cursor.as_str().parse().unwrap_or(usize::MAX));
        let known = self.table.tags.read();
        let none = Tags::default();
        let tags = known.get(area.namespace()).unwrap_or(&none);
        let mut names = Vec::new();
        let more = self.table.slots.each_of(part, |key, slot, clock| {
            let Some(name) = area.name_of(key) else {
                return;
            };
            let is_sought = match sought {
                Sought::Entries => slot.slot.read(tags, clock.now()).is_some(),
                Sought::EntriesAndLoads => true,
                Sought::Loads => slot.slot.is_loading(clock.now()),
            };
            if is_sought && glob::matches(glob.as_bytes(), name.as_bytes()) {
                names.push(name.to_owned());
            }
        });
        let next = more.then(|| ScanCursor::new((part + 1).to_string()));
        Ok(ScanPage { names, next })
    }

    fn announced_on(&self, key: &CacheKey) -> Option<Channel> {
        Some(channel(key))
    }

    fn track(&self, changes: Arc<dyn Changes>) {
        let mut listeners = self.table.listeners.write();
        // Those of instances that are gone.
        listeners.retain(|listener| listener.strong_count() > 0);
        listeners.push(Arc::downgrade(&changes));
    }

    async fn get_tracked(&self, keys: &[CacheKey], options: CallOptions) -> Result<Vec<Tracked>> {
        let found = self.get_many(keys, options).await?;
        let tracked = |stored| Tracked {
            stored,
            is_told: true,
        };
        Ok(found.into_iter().map(tracked).collect())
    }

    async fn confirm(&self, _options: CallOptions) -> Result<()> {
        // In-process a change is told when the call that made it returns.
        Ok(())
    }
}

impl fmt::Display for MemoryCaches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("in-process caches")
    }
}

impl fmt::Debug for MemoryCaches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryCaches")
    }
}
