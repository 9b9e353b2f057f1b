//! What an in-process home has of caches: slots, what is known of tags, and room.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::RwLock;

use super::area::{CacheKey, CacheLook};
use super::port::Changes;
use super::room::{Room, Roomed, Turn};
use super::slot::{FailedLoad, Fence, LoadId, Put, Slot, Stored};
use super::tags::Tags;
use crate::clock::Micros;
use crate::embedded::Table;
use crate::key::Namespace;

/// The caches of one home.
#[derive(Debug)]
pub(crate) struct CacheTable {
    pub(super) slots: Table<Roomed, Arc<str>>,
    // Taken before the lock of a slot. Read for each operation, written for what has to do with tags.
    pub(super) tags: RwLock<HashMap<Namespace, Tags>>,
    /// Who hears of changes: one for each instance that wants to.
    pub(super) listeners: RwLock<Vec<Weak<dyn Changes>>>,
    room: Arc<Room>,
}

impl CacheTable {
    /// With room for so many bytes.
    pub(crate) fn new(slots: Table<Roomed, Arc<str>>, most: u64) -> Self {
        Self {
            slots,
            tags: RwLock::default(),
            listeners: RwLock::default(),
            room: Arc::new(Room::new(most)),
        }
    }

    /// How many bytes it may keep from now on.
    pub(crate) fn set_room(&self, most: u64) {
        self.room.set_most(most);
        self.make_room("");
    }

    /// Tells all instances.
    pub(super) fn tell(&self, tell: impl Fn(&dyn Changes)) {
        for listener in &*self.listeners.read() {
            if let Some(listener) = listener.upgrade() {
                tell(&*listener);
            }
        }
    }

    /// One transition of a slot that changes nothing of tags.
    pub(super) fn transition<R>(
        &self,
        key: &CacheKey,
        apply: impl FnOnce(&mut Slot, &Tags, Micros) -> R,
    ) -> R {
        let known = self.tags.read();
        let none = Tags::default();
        let tags = known.get(key.area().namespace()).unwrap_or(&none);
        let entry = key.entry();
        let reply = self.change(entry, |slot, now| apply(slot, tags, now));
        drop(known);
        self.make_room(entry);
        reply
    }

    pub(super) fn look<R>(
        &self,
        entry: CacheLook<'_>,
        look: impl FnOnce(&Slot, &Tags, Micros) -> R,
    ) -> Option<R> {
        let known = self.tags.read();
        let none = Tags::default();
        let tags = known.get(entry.area().namespace()).unwrap_or(&none);
        self.slots.look(entry.entry(), |roomed, clock| {
            roomed.mark_used();
            look(&roomed.slot, tags, clock.now())
        })
    }

    pub(super) fn put(&self, key: &CacheKey, put: &Put, fence: Fence) -> bool {
        let namespace = key.area().namespace();
        if put.tags.is_empty() {
            return self.transition(key, |slot, tags, now| slot.put(tags, now, put, fence));
        }
        let mut known = self.tags.write();
        let tags = known.entry(namespace.clone()).or_default();
        tags.will_keep(put.keep);
        let entry = key.entry();
        let kept = self.change(entry, |slot, now| slot.put(tags, now, put, fence));
        drop(known);
        self.make_room(entry);
        kept
    }

    pub(super) fn fail(
        &self,
        key: &CacheKey,
        id: LoadId,
        failed: &FailedLoad,
    ) -> (bool, Option<Stored>) {
        if !failed.tags.is_empty() {
            let mut known = self.tags.write();
            let tags = known.entry(key.area().namespace().clone()).or_default();
            tags.will_keep(failed.told);
        }
        self.transition(key, |slot, tags, now| slot.fail(tags, now, id, failed))
    }

    /// One transition of a slot, after which it is weighed.
    fn change<R>(&self, entry: &str, apply: impl FnOnce(&mut Slot, Micros) -> R) -> R {
        self.slots.transition(entry, |roomed: &mut Roomed, now| {
            let reply = apply(&mut roomed.slot, now);
            roomed.weigh(entry, &self.room);
            reply
        })
    }

    /// Lets go what there is no room for. A value that goes was what it was: nobody has to be told.
    fn make_room(&self, newest: &str) {
        let turn = |key: &str| {
            let there = self.slots.look(key, |_, _| ()).is_some();
            // A transition of what is not there would make it.
            if there {
                self.slots.transition(key, |roomed, _| roomed.take_turn())
            } else {
                Turn::Gone
            }
        };
        self.room.make(newest, turn);
        self.room
            .tidy(|key| self.slots.look(key, |_, _| ()).is_some());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::super::area::CacheArea;
    use super::super::slot::{Take, Wish};
    use super::*;
    use crate::clock::HomeClock;

    const SECOND: Duration = Duration::from_secs(1);

    fn table(most: u64) -> (CacheTable, Arc<CacheArea>) {
        let table = CacheTable::new(Table::new(HomeClock::new(None)), most);
        let area = CacheArea::new(&Namespace::default(), "cache");
        (table, Arc::new(area))
    }

    fn put(bytes: usize) -> Put {
        Put {
            value: Bytes::from(vec![b'x'; bytes]),
            fresh: SECOND,
            keep: SECOND * 10,
            cost: Duration::ZERO,
            tags: Vec::new(),
            is_timed: false,
        }
    }

    fn is_there(table: &CacheTable, key: &CacheKey) -> bool {
        let read = table.look(key.look(), |slot, tags, now| slot.read(tags, now));
        read.flatten().is_some()
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_put_first_and_not_read_goes_first() {
        let (table, area) = table(100_000);
        let key = |number: u32| area.key(&number.to_string()).unwrap();
        for number in 0..1000 {
            table.put(&key(number), &put(1000), Fence::Always);
            assert!(is_there(&table, &key(0)), "it is read all the time");
        }
        let left = (1..1000).filter(|number| is_there(&table, &key(*number)));
        let left: Vec<u32> = left.collect();
        assert!((50..100).contains(&left.len()), "{left:?}");
        assert!(left.iter().all(|number| *number > 700), "{left:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_ended_or_was_removed_takes_no_room_and_no_place() {
        let (table, area) = table(10_000_000);
        for number in 0..50_000_u32 {
            let key = area.key(&number.to_string()).unwrap();
            table.put(&key, &put(10), Fence::Always);
            if number % 2 == 0 {
                table.transition(&key, |slot, tags, now| slot.remove(tags, now));
            }
            if number % 100 == 0 {
                tokio::time::advance(SECOND).await;
            }
        }
        let (kept, places) = table.room.weight();
        // Each part of the table frees what has ended in it when it is used.
        assert!(kept < 2_000 * 400, "{kept} bytes");
        assert!(places < 10_000, "{places} places");
        tokio::time::advance(SECOND * 20).await;
        for number in 0..5_000_u32 {
            let key = area.key(&format!("again {number}")).unwrap();
            table.transition(&key, |slot, tags, now| slot.remove(tags, now));
        }
        assert_eq!(table.room.weight().0, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_larger_than_all_there_may_be_does_not_stay() {
        let (table, area) = table(100_000);
        let key = area.key("large").unwrap();
        for _ in 0..3 {
            table.put(&key, &put(200_000), Fence::Always);
            assert!(!is_there(&table, &key));
            assert_eq!(table.room.weight().0, 0);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_value_that_goes_leaves_its_load() {
        let (table, area) = table(100_000);
        let key = area.key("old").unwrap();
        table.put(&key, &put(1000), Fence::Always);
        tokio::time::advance(SECOND * 2).await;
        let take = Take {
            id: LoadId::random(),
            lease: SECOND * 60,
            wish: Wish::Value,
        };
        table.transition(&key, |slot, tags, now| slot.take(tags, now, take));
        for number in 0..200_u32 {
            let other = area.key(&number.to_string()).unwrap();
            table.put(&other, &put(1000), Fence::Always);
        }
        assert!(!is_there(&table, &key));
        assert!(table.transition(&key, |slot, _, now| slot.renew(now, take.id, SECOND)));
    }
}
