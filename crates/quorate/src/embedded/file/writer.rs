//! Writes what changed, in rounds, and lets those know who wait for it.
//!
//! A round takes everything that has changed since the last one, so that writers share one commit. It runs where
//! blocking is allowed, on whichever runtime asked for it: none needs a thread of its own while nothing changes. One
//! whose runtime ends before it began does get one: others may wait for it, on runtimes that go on.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Builder;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

use super::lock::{LockedFile, damaged};
use super::rows::{RowFile, refusal};
use super::seat::Seats;
use crate::backoff::Backoff;
use crate::clock::HomeClock;
use crate::context::timed_out_waiting;
use crate::embedded::journal::{Journal, Ticket};
use crate::embedded::kept::KeptTable;
use crate::error::{Error, ErrorKind, Outcome, Result};
use crate::state::ConnectionState;

/// When a round that failed is tried again.
const AGAIN: Backoff = Backoff {
    initial: Duration::from_millis(100),
    ..Backoff::DEFAULT
};

/// When an attempt that was to be made will not be made any more.
const OVERDUE: Duration = Duration::from_secs(1);

/// The file of a home, while it is open.
#[derive(Debug)]
pub(crate) struct HomeFile {
    path: PathBuf,
    journal: Arc<Journal>,
    tables: Vec<Arc<dyn KeptTable>>,
    clock: HomeClock,
    /// Held for a round; `None` once it is closed.
    rows: Mutex<Option<RowFile>>,
    /// A round that has not begun was asked for.
    wanted: AtomicBool,
    progress: watch::Sender<Progress>,
    trouble: Mutex<Option<Trouble>>,
    seats: Seats,
    /// Where rounds run that are asked for outside of any runtime.
    runtime: Handle,
}

#[derive(Clone, Copy, Debug)]
struct Progress {
    /// The last round that is on disk.
    round: u64,
    ended: bool,
}

/// Why nothing is written at present.
#[derive(Debug)]
struct Trouble {
    cause: Arc<redb::Error>,
    attempts: u32,
    again: Instant,
}

/// A file that is being opened: its time is known, its rows are not read yet.
#[derive(Debug)]
pub(crate) struct Opening {
    path: PathBuf,
    rows: RowFile,
}

impl Opening {
    /// Opens the file, or makes it. Blocks.
    ///
    /// # Errors
    /// `Config` if it cannot be a home, and the like.
    pub(crate) fn begin(path: PathBuf) -> Result<Self> {
        let locked = LockedFile::open(&path)?;
        Self::of(path, locked)
    }

    pub(super) fn of(path: PathBuf, locked: LockedFile) -> Result<Self> {
        let rows = RowFile::open(&path, locked)?;
        Ok(Self { path, rows })
    }

    /// The time of the home when it was last written.
    pub(crate) fn time(&mut self) -> Result<crate::clock::Micros> {
        self.rows.time().map_err(|error| refusal(&self.path, error))
    }

    /// Reads the rows into their tables, and lets go of what has ended. Blocks.
    pub(crate) fn finish(
        mut self,
        runtime: Handle,
        clock: HomeClock,
        journal: Arc<Journal>,
        tables: Vec<Arc<dyn KeptTable>>,
    ) -> Result<Arc<HomeFile>> {
        read(&self.path, &mut self.rows, &tables)?;
        let file = Arc::new(HomeFile {
            path: self.path,
            journal,
            tables,
            clock,
            rows: Mutex::new(None),
            wanted: AtomicBool::new(false),
            progress: watch::Sender::new(Progress {
                round: 0,
                ended: false,
            }),
            trouble: Mutex::new(None),
            seats: Seats::default(),
            runtime,
        });
        let unusable = |error| refusal(&file.path, error);
        file.commit(&mut self.rows).map_err(unusable)?;
        if let Err(error) = self.rows.compact() {
            // It is as large as it was, and as good.
            tracing::warn!(%error, "the file of a home could not be made smaller");
        }
        *file.rows.lock() = Some(self.rows);
        Ok(file)
    }
}

fn read(path: &Path, rows: &mut RowFile, tables: &[Arc<dyn KeptTable>]) -> Result<()> {
    let read = rows.each(|table, key, row| {
        let known = tables.iter().find(|it| it.keeps(table));
        let read = known.and_then(|known| known.restore(table, key, row));
        read.ok_or_else(|| {
            let what = format!("has a row of the table `{table}` that cannot be read");
            damaged(path, &what)
        })
    });
    read.map_err(|error| refusal(path, error))?
}

impl HomeFile {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn seats(&self) -> &Seats {
        &self.seats
    }

    /// Refuses work when the file is closed.
    pub(crate) fn check_open(&self) -> Result<()> {
        if self.seats.are_ending() {
            return Err(Error::closed("the home"));
        }
        Ok(())
    }

    /// Refuses to change anything while the file is known not to take it: what is refused has certainly not
    /// happened, and what waits to be written does not pile up.
    pub(crate) fn check_writable(&self) -> Result<()> {
        self.check_open()?;
        match &*self.trouble.lock() {
            // The next attempt may have been left to a runtime that has ended: then whoever comes makes it.
            Some(trouble) if Instant::now() < trouble.again + OVERDUE => {
                Err(self.cannot_write(&trouble.cause).with_retryable(true))
            }
            _ => Ok(()),
        }
    }

    /// Why the file could not be written when that was last tried.
    pub(crate) fn trouble(&self) -> Option<Error> {
        let trouble = self.trouble.lock();
        let cause = &trouble.as_ref()?.cause;
        Some(self.cannot_write(cause))
    }

    /// Waits until what `ticket` is for is on disk.
    ///
    /// # Errors
    /// `Timeout` at the deadline and `Closed` if it will never be, both with what that means for the call.
    pub(crate) async fn written(
        self: Arc<Self>,
        ticket: Ticket,
        deadline: Instant,
        outcome: Outcome,
    ) -> Result<()> {
        let mut progress = self.progress.subscribe();
        let done = progress.wait_for(|it| it.round >= ticket.round() || it.ended);
        let closed = || Error::closed("the home").with_outcome(outcome);
        match timeout_at(deadline, done).await {
            Ok(Ok(it)) if it.round >= ticket.round() => Ok(()),
            Ok(_) => Err(closed()),
            Err(_) => {
                let error = timed_out_waiting("the file").with_outcome(outcome);
                let trouble = self.trouble.lock();
                Err(match &*trouble {
                    Some(trouble) => error.with_source(trouble.cause.clone()),
                    None => error,
                })
            }
        }
    }

    /// Has what changed written, at once or, after a failure, when its time has come.
    pub(crate) fn write_changes(self: &Arc<Self>) {
        let waits = self.trouble.lock().as_ref().map(|trouble| trouble.again);
        if waits.is_some_and(|again| Instant::now() < again) {
            return;
        }
        if !self.wanted.swap(true, Ordering::SeqCst) {
            self.write_soon();
        }
    }

    /// Runs a round, after the one that is under way.
    pub(super) fn write_soon(self: &Arc<Self>) {
        let round = Round(Some(self.clone()));
        let runtime = Handle::try_current().unwrap_or_else(|_| self.runtime.clone());
        drop(runtime.spawn_blocking(move || round.run()));
    }

    /// Waits until the file is closed.
    pub(super) async fn ended(&self, deadline: Instant) {
        let mut progress = self.progress.subscribe();
        let ended = progress.wait_for(|it| it.ended);
        if timeout_at(deadline, ended).await.is_err() {
            tracing::warn!(path = %self.path.display(), "the file of a home is not closed yet");
        }
    }

    fn round(self: &Arc<Self>) {
        let mut rows = self.rows.lock();
        self.wanted.store(false, Ordering::SeqCst);
        // Before looking at what changed: who went last changed nothing afterwards.
        let is_last = self.seats.are_ending();
        let Some(open) = &mut *rows else {
            return;
        };
        match self.commit(open) {
            Ok(()) => self.succeeded(),
            Err(cause) => self.failed(cause, is_last),
        }
        if is_last {
            *rows = None;
            self.progress.send_modify(|it| it.ended = true);
        }
    }

    /// Writes all that changed until now.
    fn commit(&self, rows: &mut RowFile) -> Result<(), redb::Error> {
        let round = self.journal.close();
        let mut changed = Vec::new();
        for table in &self.tables {
            table.collect(&mut changed);
        }
        if !changed.is_empty() {
            rows.commit(&changed, self.clock.now())?;
            for table in &self.tables {
                table.settle(round);
            }
        }
        self.progress.send_modify(|it| it.round = round);
        Ok(())
    }

    fn succeeded(self: &Arc<Self>) {
        let before = self.trouble.lock().take();
        if before.is_some() {
            self.seats
                .show(ConnectionState::Ready, "the file can be written again");
            // Whoever changed something meanwhile left it to the next attempt, which may have missed it.
            self.write_changes();
        }
    }

    fn failed(self: &Arc<Self>, cause: redb::Error, is_last: bool) {
        let cause = Arc::new(cause);
        let delay = {
            let mut trouble = self.trouble.lock();
            let attempts = trouble.as_ref().map_or(0, |it| it.attempts) + 1;
            let delay = AGAIN.delay(attempts);
            *trouble = Some(Trouble {
                cause: cause.clone(),
                attempts,
                again: Instant::now() + delay,
            });
            delay
        };
        self.seats
            .tell(&self.cannot_write(&cause).with_operation("commit"));
        if is_last {
            return;
        }
        self.seats
            .show(ConnectionState::Degraded, "the file cannot be written");
        let file = Arc::downgrade(self);
        let runtime = Handle::try_current().unwrap_or_else(|_| self.runtime.clone());
        // It ends by itself, with the home, or with the runtime: then the next call does what it would have done.
        runtime.spawn(async move {
            sleep(delay).await;
            if let Some(file) = file.upgrade() {
                // Unless somebody else has asked for it, or has failed meanwhile and waits himself.
                file.write_changes();
            }
        });
    }

    fn cannot_write(&self, cause: &Arc<redb::Error>) -> Error {
        let path = self.path.display();
        Error::new(ErrorKind::Backend)
            .with_message(format!("the file `{path}` cannot be written: {cause}"))
            .with_source(cause.clone())
    }
}

/// A round on its way.
struct Round(Option<Arc<HomeFile>>);

impl Round {
    fn run(mut self) {
        if let Some(file) = self.0.take() {
            file.round();
        }
    }
}

impl Drop for Round {
    /// Its runtime has ended before it began.
    fn drop(&mut self) {
        let Some(file) = self.0.take() else {
            return;
        };
        let writing = file.clone();
        let thread = Builder::new().name("quorate-file".to_owned());
        if let Err(error) = thread.spawn(move || writing.round()) {
            tracing::warn!(%error, "a round of writes has no thread to run on");
            // The next call asks again, on its own runtime.
            file.wanted.store(false, Ordering::SeqCst);
        }
    }
}
