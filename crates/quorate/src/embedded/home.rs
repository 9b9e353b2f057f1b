//! The in-process home: what its instances share.

use std::sync::Arc;

use crate::cache::{CacheTable, MemoryCaches};
use crate::clock::{HomeClock, TestClock};
use crate::embedded::Table;
use crate::events::{Bus, EventsPort, MemoryEvents};
use crate::history::Log;
use crate::lock::LockState;
use crate::presence::RosterState;
use crate::store::{Entry, MemoryStores};

/// The state of one in-process home.
///
/// # Clone
/// Clones are the same home.
#[derive(Clone, Debug)]
pub(crate) struct EmbeddedHome {
    bus: Arc<Bus>,
    histories: Arc<Table<Log>>,
    locks: Arc<Table<LockState>>,
    rosters: Arc<Table<RosterState>>,
    stores: Arc<Table<Entry, Arc<str>>>,
    caches: Arc<CacheTable>,
}

impl EmbeddedHome {
    pub(crate) fn new(moved: Option<TestClock>) -> Self {
        let clock = HomeClock::new(moved);
        Self {
            bus: Arc::default(),
            histories: Arc::new(Table::new(clock.clone())),
            locks: Arc::new(Table::new(clock.clone())),
            rosters: Arc::new(Table::new(clock.clone())),
            stores: Arc::new(Table::new(clock.clone())),
            caches: Arc::new(CacheTable::new(Table::new(clock))),
        }
    }

    /// A new instance's place on the bus.
    pub(crate) fn events(&self) -> MemoryEvents {
        MemoryEvents::new(&self.bus)
    }

    pub(crate) fn histories(&self) -> Arc<Table<Log>> {
        self.histories.clone()
    }

    pub(crate) fn locks(&self) -> Arc<Table<LockState>> {
        self.locks.clone()
    }

    pub(crate) fn caches(&self, events: Arc<dyn EventsPort>) -> MemoryCaches {
        MemoryCaches::new(self.caches.clone(), events)
    }

    pub(crate) fn stores(&self) -> MemoryStores {
        MemoryStores::new(self.stores.clone())
    }

    pub(crate) fn rosters(&self) -> Arc<Table<RosterState>> {
        self.rosters.clone()
    }
}
