//! The in-process home: what its instances share.

use std::fmt;
#[cfg(feature = "file")]
use std::path::PathBuf;
use std::sync::Arc;

#[cfg(feature = "file")]
use tokio::runtime::Handle;
use tokio::time::Instant;

#[cfg(feature = "file")]
use super::file::{HomeFile, Opening, Seat};
use super::journal::Journal;
#[cfg(feature = "file")]
use super::kept::KeptTable;
use super::{Disk, Table};
use crate::cache::{CacheTable, MemoryCaches};
use crate::clock::{HomeClock, TestClock};
use crate::error::{Error, Result};
use crate::events::{Bus, EventsPort, MemoryEvents};
use crate::execution::Execution;
use crate::history::Log;
use crate::hooks::Hooks;
use crate::limit::{MemoryLimits, Slots, Tallies};
use crate::lock::{LockTable, VoteTable};
use crate::presence::RosterState;
use crate::queue::QueueTable;
use crate::session::Partition;
use crate::state::Monitor;
use crate::store::{Entry, MemoryStores};

/// Bytes of cached values that a home keeps, unless the configuration says otherwise.
const CACHE_BYTES: u64 = 256 << 20;

/// The state of one in-process home.
///
/// # Clone
/// Clones are the same home.
#[derive(Clone, Debug)]
pub(crate) struct EmbeddedHome {
    bus: Arc<Bus>,
    histories: Arc<Table<Log>>,
    locks: Arc<LockTable>,
    votes: Arc<VoteTable>,
    queues: Arc<QueueTable>,
    rosters: Arc<Table<RosterState>>,
    sessions: Arc<Table<Partition>>,
    executions: Arc<Table<Execution>>,
    stores: Arc<Table<Entry, Arc<str>>>,
    limits: Arc<Table<Tallies, Arc<str>>>,
    slots: Arc<Table<Slots, Arc<str>>>,
    caches: Arc<CacheTable>,
    #[cfg(feature = "file")]
    file: Option<Arc<HomeFile>>,
    disk: Disk,
}

impl EmbeddedHome {
    /// A home in memory alone.
    pub(crate) fn new(moved: Option<TestClock>) -> Self {
        Self::of(&HomeClock::new(moved), None)
    }

    /// With a journal, what has to outlive the process is written down by that.
    fn of(clock: &HomeClock, journal: Option<&Arc<Journal>>) -> Self {
        let journal = || journal.cloned();
        Self {
            bus: Arc::default(),
            histories: Arc::new(Table::new(clock.clone())),
            locks: Arc::new(Table::with_journal(clock.clone(), journal())),
            votes: Arc::new(VoteTable::new(clock.clone())),
            queues: Arc::new(Table::with_journal(clock.clone(), journal())),
            rosters: Arc::new(Table::new(clock.clone())),
            sessions: Arc::new(Table::with_journal(clock.clone(), journal())),
            executions: Arc::new(Table::with_journal(clock.clone(), journal())),
            stores: Arc::new(Table::with_journal(clock.clone(), journal())),
            limits: Arc::new(Table::new(clock.clone())),
            slots: Arc::new(Table::new(clock.clone())),
            caches: Arc::new(CacheTable::new(Table::new(clock.clone()), CACHE_BYTES)),
            #[cfg(feature = "file")]
            file: None,
            disk: Disk::default(),
        }
    }

    /// The home in the file at `path`, which is made if there is none.
    #[cfg(feature = "file")]
    pub(crate) async fn open(path: PathBuf, moved: Option<TestClock>) -> Result<Self> {
        let runtime = Handle::current();
        let opening = runtime.clone().spawn_blocking(move || {
            let opening = Opening::begin(path)?;
            Self::read(opening, moved, runtime)
        });
        opening.await.map_err(|error| {
            Error::new(crate::error::ErrorKind::Backend)
                .with_message("the file of the home could not be read")
                .with_source(error)
        })?
    }

    /// Blocks.
    #[cfg(feature = "file")]
    pub(super) fn read(
        mut opening: Opening,
        moved: Option<TestClock>,
        runtime: Handle,
    ) -> Result<Self> {
        // Time does not run backwards from one process to the next either.
        let clock = HomeClock::not_before(opening.time()?, moved);
        let journal = Arc::new(Journal::new());
        let mut home = Self::of(&clock, Some(&journal));
        let tables: Vec<Arc<dyn KeptTable>> = vec![
            home.locks.clone(),
            home.queues.clone(),
            home.sessions.clone(),
            home.executions.clone(),
            home.stores.clone(),
        ];
        home.file = Some(opening.finish(runtime, clock, journal, tables)?);
        Ok(home)
    }

    /// The home as a further instance has it.
    pub(crate) fn join(self, hooks: &Hooks) -> Result<Self> {
        #[cfg(feature = "file")]
        if let Some(file) = &self.file {
            let seat = Some(Seat::take(file, hooks)?);
            return Ok(Self {
                disk: Disk { seat },
                ..self
            });
        }
        let _ = hooks; // in memory nothing fails
        Ok(self)
    }

    /// Keeps so many bytes of cached values at most.
    pub(crate) fn keep_cached(&self, bytes: u64) {
        self.caches.set_room(bytes);
    }

    /// Where to show whether the home works.
    pub(crate) fn report_to(&self, monitor: &Arc<Monitor>) {
        #[cfg(feature = "file")]
        if let Some(seat) = &self.disk.seat {
            seat.report_to(monitor);
        }
        let _ = monitor; // in memory it always does
    }

    /// What keeps the home from working.
    pub(crate) fn trouble(&self) -> Option<Error> {
        #[cfg(feature = "file")]
        return self.file.as_ref().and_then(|file| file.trouble());
        #[cfg(not(feature = "file"))]
        None
    }

    /// An instance goes; with the last one, the file is closed.
    #[cfg_attr(
        not(feature = "file"),
        expect(clippy::unused_async, reason = "only a file is waited for")
    )]
    pub(crate) async fn leave(&self, deadline: Instant) {
        #[cfg(feature = "file")]
        if let Some(seat) = &self.disk.seat {
            seat.leave(deadline).await;
        }
        let _ = deadline; // in memory there is nothing to wait for
    }

    /// A new instance's place on the bus.
    pub(crate) fn events(&self) -> MemoryEvents {
        MemoryEvents::new(&self.bus)
    }

    pub(crate) fn histories(&self) -> Arc<Table<Log>> {
        self.histories.clone()
    }

    pub(crate) fn locks(&self) -> Arc<LockTable> {
        self.locks.clone()
    }

    pub(crate) fn votes(&self) -> Arc<VoteTable> {
        self.votes.clone()
    }

    pub(crate) fn caches(&self, events: Arc<dyn EventsPort>) -> MemoryCaches {
        MemoryCaches::new(self.caches.clone(), events)
    }

    pub(crate) fn disk(&self) -> Disk {
        self.disk.clone()
    }

    pub(crate) fn stores(&self) -> MemoryStores {
        MemoryStores::new(self.stores.clone(), self.disk())
    }

    pub(crate) fn limits(&self) -> MemoryLimits {
        MemoryLimits::new(self.limits.clone(), self.slots.clone(), self.disk())
    }

    pub(crate) fn queues(&self) -> Arc<QueueTable> {
        self.queues.clone()
    }

    pub(crate) fn sessions(&self) -> Arc<Table<Partition>> {
        self.sessions.clone()
    }

    pub(crate) fn executions(&self) -> Arc<Table<Execution>> {
        self.executions.clone()
    }

    pub(crate) fn rosters(&self) -> Arc<Table<RosterState>> {
        self.rosters.clone()
    }
}

impl fmt::Display for EmbeddedHome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        #[cfg(feature = "file")]
        if let Some(file) = &self.file {
            return write!(f, "in-process, in the file {}", file.path().display());
        }
        f.write_str("in-process")
    }
}
