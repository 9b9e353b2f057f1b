//! A run, as its owner has it in memory.

use std::fmt;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::activity::Activity;
use super::entry::{Did, encode};
use super::failure::{Failure, FailureKind};
use super::inbox::{Gate, Inbox};
use super::path::Segment;
use super::replay::{Divergence, Recorded};
use super::workflow::RunInput;
use super::writer::Writer;
use crate::clock::Micros;
use crate::queue::{Append, Appended, JobContext, MAX_ENTRY, MOST_ENTRIES};

/// From how many entries on a run is told that its journal gets long.
const LONG: u64 = MOST_ENTRIES / 10 * 8;

/// A run, as its owner has it in memory.
#[derive(Debug)]
pub(super) struct Running {
    /// The name of its function.
    pub(super) workflow: Arc<str>,
    /// What it was started with.
    pub(super) input: RunInput,
    /// When it was started, by the clock of the home.
    pub(super) started: Micros,
    /// The delivery of its job.
    pub(super) job: JobContext,
    writer: Arc<Writer>,
    /// How many entries its journal has, those on their way among them. A short lock.
    length: Mutex<u64>,
    /// When it was, by the clock of the home, when it was what by ours. A short lock.
    clock: Mutex<(Micros, Instant)>,
    pub(super) inbox: Inbox,
    pub(super) activity: Arc<Activity>,
    /// Fires when its owner wants to be rid of it.
    pub(super) drains: CancellationToken,
    /// Whether something was not begun for that.
    pub(super) is_held: AtomicBool,
    halt: Mutex<Option<Halt>>,
    /// There is a reason not to go on.
    pub(super) halted: Notify,
}

/// Why a function cannot go on, which it does not learn.
#[derive(Debug)]
pub(super) enum Halt {
    /// It disagrees with the journal.
    Diverged(Divergence),
    /// Somebody else has the run, or may have.
    Lost,
    /// The journal is not what its owner wrote.
    Broken(String),
    /// The journal has as many entries as it may.
    Full,
}

/// What a delivery begins with.
pub(super) struct Begin {
    pub(super) workflow: Arc<str>,
    pub(super) input: RunInput,
    pub(super) job: JobContext,
    pub(super) writer: Arc<Writer>,
    pub(super) drains: CancellationToken,
    pub(super) loaded: Loaded,
}

/// What stands in the journal and the inbox.
#[derive(Default)]
pub(super) struct Loaded {
    pub(super) recorded: Recorded,
    pub(super) length: u64,
    pub(super) inbox: Inbox,
    /// When that was read; `None` if there is nothing yet.
    pub(super) now: Option<Micros>,
}

impl Running {
    /// The run, and what its function is led through.
    pub(super) fn new(begin: Begin) -> (Arc<Self>, Recorded) {
        let (loaded, started) = (begin.loaded, begin.job.queued());
        let running = Self {
            workflow: begin.workflow,
            input: begin.input,
            started,
            job: begin.job,
            writer: begin.writer,
            length: Mutex::new(loaded.length),
            clock: Mutex::new((loaded.now.unwrap_or(started), Instant::now())),
            inbox: loaded.inbox,
            activity: Arc::default(),
            drains: begin.drains,
            is_held: AtomicBool::new(false),
            halt: Mutex::default(),
            halted: Notify::new(),
        };
        (Arc::new(running), loaded.recorded)
    }

    /// When our clock is what the clock of the home is then.
    pub(super) fn instant(&self, time: Micros) -> Instant {
        let (then, at) = *self.clock.lock();
        crate::clock::after(at, time.since(then))
    }

    /// Writes into the journal what was done. Returns when that was; never, if somebody else has the run.
    pub(super) async fn record(&self, at: &[Segment], did: &Did) -> Micros {
        let _busy = self.activity.busy();
        match self.submit(at, did) {
            Ok(written) => match written.await {
                Ok(Appended::Written(when)) => {
                    *self.clock.lock() = (when, Instant::now());
                    when
                }
                Ok(Appended::Conflict) => {
                    let why = "others wrote into it, or it was taken away".to_owned();
                    self.halt(Halt::Broken(why)).await
                }
                Ok(Appended::Lost) | Err(_) => self.halt(Halt::Lost).await,
            },
            Err(why) => self.halt(why).await,
        }
    }

    /// The same of what nobody waits for.
    pub(super) fn note(&self, at: &[Segment], did: &Did) {
        // What refuses this one refuses the next, too.
        let _ = self.submit(at, did);
    }

    fn submit(
        &self,
        at: &[Segment],
        did: &Did,
    ) -> Result<tokio::sync::oneshot::Receiver<Appended>, Halt> {
        let entry = encode(at, did).map_err(|error| Halt::Broken(error.to_string()))?;
        // Under the lock: entries are written in the order of their numbers.
        let mut length = self.length.lock();
        if *length >= MOST_ENTRIES {
            return Err(Halt::Full);
        }
        let mut entries = vec![entry];
        if *length == 0 {
            // So that the journal says by itself whose it is.
            entries.insert(0, self.begun()?);
        }
        if entries.iter().any(|entry| entry.len() > MAX_ENTRY) {
            let why = format!("an entry must be at most {MAX_ENTRY} bytes");
            return Err(Halt::Broken(why));
        }
        let append = Append {
            id: self.job.id(),
            lease: self.job.lease(),
            at: *length,
            entries,
        };
        *length += append.entries.len() as u64;
        if *length == LONG {
            tracing::warn!(
                workflow = &*self.workflow,
                run = self.input.run,
                entries = *length,
                most = MOST_ENTRIES,
                "the journal of a run gets long"
            );
        }
        Ok(self.writer.append(append))
    }

    fn begun(&self) -> Result<bytes::Bytes, Halt> {
        let begun = Did::Begun(self.input.clone());
        encode(&[], &begun).map_err(|error| Halt::Broken(error.to_string()))
    }

    /// Ends the run for this owner. The function does not learn of it: it does not go on.
    pub(super) async fn halt<T>(&self, why: Halt) -> T {
        self.stop(why);
        pending().await
    }

    pub(super) fn stop(&self, why: Halt) {
        self.halt.lock().get_or_insert(why);
        self.halted.notify_one();
    }

    pub(super) fn take_halt(&self) -> Option<Halt> {
        self.halt.lock().take()
    }

    /// Waits until something new may be begun. Whoever is shielded may, though the run was asked to stop.
    ///
    /// # Errors
    /// If the run was asked to stop.
    pub(super) async fn gate(&self, is_shielded: bool) -> Result<(), Failure> {
        if self.drains.is_cancelled() {
            self.is_held.store(true, Ordering::Relaxed);
            return pending().await;
        }
        let look = |inbox: &Inbox| match inbox.gate() {
            Gate::Open => Some(Ok(())),
            Gate::Cancelled(reason) if !is_shielded => Some(Err(cancelled(&reason))),
            Gate::Cancelled(_) => Some(Ok(())),
            Gate::Paused => None,
        };
        if let Some(open) = look(&self.inbox) {
            return open;
        }
        let _waits = self.activity.waiting(None);
        self.inbox.until(look).await
    }

    /// Waits until a time, by the clock of the home.
    ///
    /// # Errors
    /// If the run is asked to stop before that.
    pub(super) async fn sleep(&self, until: Micros, is_shielded: bool) -> Result<(), Failure> {
        let until = self.instant(until);
        if until <= Instant::now() {
            return Ok(());
        }
        let _waits = self.activity.waiting(Some(until));
        tokio::select! {
            () = tokio::time::sleep_until(until) => Ok(()),
            stopped = self.stopped(is_shielded) => Err(stopped),
        }
    }

    /// Waits until the run is asked to stop; for ever, if that is none of who asks.
    pub(super) async fn stopped(&self, is_shielded: bool) -> Failure {
        if is_shielded {
            return pending().await;
        }
        cancelled(&self.inbox.cancelled().await)
    }

    /// How long it is until then, by the clock of the home.
    pub(super) fn until(&self, time: Instant) -> Duration {
        time.saturating_duration_since(Instant::now())
    }
}

fn cancelled(reason: &str) -> Failure {
    Failure::new(FailureKind::Cancelled, reason)
}

impl fmt::Display for Halt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Diverged(divergence) => write!(f, "{divergence}"),
            Self::Lost => f.write_str("somebody else has the run"),
            Self::Broken(why) => write!(f, "its journal is broken: {why}"),
            Self::Full => write!(
                f,
                "its journal has {MOST_ENTRIES} entries, and may not have more"
            ),
        }
    }
}
