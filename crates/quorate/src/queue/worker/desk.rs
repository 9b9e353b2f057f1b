//! What the parts of a worker share: which jobs it has, and what became of those that are over.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::super::ask::MOST_AT_ONCE;
use super::super::ear::Hears;
use super::super::job::{ById, JobId, LeaseNumber, Settled, Settlement};

/// Why a handler ought to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// The job was cancelled.
    Cancelled,
    /// The lease has ended, or may have: another worker may have the job.
    Lost,
    /// The worker stops, and has waited long enough.
    Stopping,
}

/// What came of the wish to keep room for a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reserved {
    /// It is kept.
    Kept,
    /// There is none.
    Full,
    /// It may be needed for jobs that are asked for at present.
    Asked,
}

/// A job that the worker has.
#[derive(Debug)]
struct Held {
    lease: LeaseNumber,
    /// By our clock, at the latest.
    ends: Instant,
    stop: CancellationToken,
    why: Option<Why>,
}

#[derive(Debug, Default)]
struct State {
    held: ById<Held>,
    settled: Vec<Settled>,
    /// Jobs for which room is kept.
    reserved: usize,
    /// How many are asked for at present.
    asked: usize,
}

impl State {
    /// How many jobs there are, and are to come for which room is kept.
    fn taken(&self) -> usize {
        self.held.len() + self.reserved
    }
}

/// See the top of the file.
#[derive(Debug, Default)]
pub(super) struct Desk {
    // Short locks: nothing of the user's runs under it.
    state: Mutex<State>,
    /// Something is to be settled, there is room for more, or there may be more.
    pub(super) changed: Notify,
    /// News of jobs may have been missed.
    pub(super) unsure: Notify,
    /// Jobs that were asked for have come, or none did.
    pub(super) answered: Notify,
    /// There may be work that the last turn did not see.
    woken: AtomicBool,
    /// A job was left to others.
    declined: AtomicBool,
}

impl Desk {
    /// Enters a job that was delivered. Returns what fires when it is to stop.
    pub(super) fn enter(&self, id: JobId, lease: LeaseNumber, ends: Instant) -> CancellationToken {
        let stop = CancellationToken::new();
        let held = Held {
            lease,
            ends,
            stop: stop.clone(),
            why: None,
        };
        let before = self.state.lock().held.insert(id, held);
        // It has come to us again: whoever runs it since before has lost it.
        if let Some(mut before) = before {
            before.stop(Why::Lost);
        }
        stop
    }

    /// A job is over, as far as this worker is concerned. Nobody else learns what became of it where its lease was lost.
    pub(super) fn leave(&self, id: JobId, lease: LeaseNumber, settlement: Option<Settlement>) {
        let mut state = self.state.lock();
        // It may have been delivered to us anew since.
        if state.held.get(&id).is_some_and(|held| held.lease == lease) {
            state.held.remove(&id);
        }
        if let Some(settlement) = settlement {
            state.settled.push(Settled {
                id,
                lease,
                settlement,
            });
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Why a job was told to stop.
    pub(super) fn why(&self, id: JobId, lease: LeaseNumber) -> Option<Why> {
        let state = self.state.lock();
        let held = state.held.get(&id).filter(|held| held.lease == lease);
        // Who is not there any more has lost it.
        held.map_or(Some(Why::Lost), |held| held.why)
    }

    /// What is to be settled, as much as fits into a turn, and how many jobs there is room for.
    pub(super) fn take(&self, concurrency: usize) -> (Vec<Settled>, usize) {
        let mut state = self.state.lock();
        let some = state.settled.len().min(MOST_AT_ONCE);
        let settled = state.settled.drain(..some).collect();
        let free = concurrency.saturating_sub(state.taken());
        (settled, free.min(MOST_AT_ONCE))
    }

    /// How many jobs to ask for now: for those room is kept until it is said that none are asked for.
    pub(super) fn ask(&self, concurrency: usize) -> usize {
        let mut state = self.state.lock();
        let free = concurrency.saturating_sub(state.taken());
        state.asked = free.min(MOST_AT_ONCE);
        state.asked
    }

    /// No jobs are asked for: what came was entered.
    pub(super) fn asks_no_more(&self) {
        self.state.lock().asked = 0;
        self.answered.notify_waiters();
    }

    /// Keeps room for one job, if there is any.
    pub(super) fn reserve(&self, concurrency: usize) -> Reserved {
        let mut state = self.state.lock();
        if state.taken() >= concurrency {
            Reserved::Full
        } else if state.taken() + state.asked >= concurrency {
            Reserved::Asked
        } else {
            state.reserved += 1;
            Reserved::Kept
        }
    }

    /// Gives that back: it was entered, or is not to come.
    pub(super) fn release(&self) {
        self.state.lock().reserved -= 1;
        self.changed.notify_one();
    }

    /// Whether there is nothing left that a job could be waiting for.
    pub(super) fn is_empty(&self) -> bool {
        let state = self.state.lock();
        state.taken() == 0 && state.settled.is_empty()
    }

    /// Whether something may have come since this was last asked.
    pub(super) fn take_woken(&self) -> bool {
        self.woken.swap(false, Ordering::AcqRel)
    }

    /// Takes note that a job is left to others, before it leaves.
    pub(super) fn decline(&self) {
        self.declined.store(true, Ordering::Release);
    }

    /// Whether a job was left to others since this was last asked.
    pub(super) fn take_declined(&self) -> bool {
        self.declined.swap(false, Ordering::AcqRel)
    }

    /// Those whose leases end before then, and are not lost.
    pub(super) fn ending(&self, before: Instant) -> Vec<(JobId, LeaseNumber)> {
        let state = self.state.lock();
        let held = state.held.iter();
        let ending = held.filter(|(_, held)| held.ends < before && !held.is_lost());
        ending.map(|(id, held)| (*id, held.lease)).collect()
    }

    /// How long it is until the first lease ends of those that are not lost.
    pub(super) fn until_first_end(&self, now: Instant) -> Option<Duration> {
        let state = self.state.lock();
        let held = state.held.values().filter(|held| !held.is_lost());
        let first = held.map(|held| held.ends).min();
        first.map(|ends| ends.saturating_duration_since(now))
    }

    /// The lease of a job lasts until then at least.
    pub(super) fn prolong(&self, id: JobId, lease: LeaseNumber, ends: Instant) {
        if let Some(held) = self.state.lock().held.get_mut(&id)
            && held.lease == lease
        {
            held.ends = held.ends.max(ends);
        }
    }

    /// Tells a delivery to stop.
    pub(super) fn stop(&self, id: JobId, lease: LeaseNumber, why: Why) {
        let mut state = self.state.lock();
        let held = state.held.get_mut(&id).filter(|held| held.lease == lease);
        if let Some(held) = held {
            held.stop(why);
        }
    }

    /// Tells all jobs to stop.
    pub(super) fn stop_all(&self, why: Why) {
        let mut state = self.state.lock();
        state.held.values_mut().for_each(|held| held.stop(why));
    }

    /// Tells those to stop whose leases have ended by our clock.
    pub(super) fn stop_ended(&self, now: Instant) {
        let mut state = self.state.lock();
        let ended = state.held.values_mut().filter(|held| held.ends <= now);
        ended.for_each(|held| held.stop(Why::Lost));
    }
}

impl Held {
    fn is_lost(&self) -> bool {
        self.why == Some(Why::Lost)
    }

    fn stop(&mut self, why: Why) {
        // That it is lost is the last that can be said.
        if self.why.is_none() || why == Why::Lost {
            self.why = Some(why);
        }
        self.stop.cancel();
    }
}

/// A desk is told what its queue announces.
impl Hears for Desk {
    fn wake(&self) {
        self.woken.store(true, Ordering::Release);
        self.changed.notify_one();
    }

    fn cancelled(&self, id: JobId) {
        if let Some(held) = self.state.lock().held.get_mut(&id) {
            held.stop(Why::Cancelled);
        }
    }

    fn missed(&self) {
        self.unsure.notify_one();
        self.wake();
    }
}

/// For parts that outlive each other.
pub(super) type SharedDesk = Arc<Desk>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_that_comes_again_is_lost_to_who_had_it_before() {
        let (desk, id) = (Desk::default(), JobId::random());
        let ends = Instant::now() + Duration::from_secs(60);
        let (first, second) = (LeaseNumber::new(2), LeaseNumber::new(4));
        let before = desk.enter(id, first, ends);
        let after = desk.enter(id, second, ends);
        assert!(before.is_cancelled() && !after.is_cancelled());
        assert_eq!(
            (desk.why(id, first), desk.why(id, second)),
            (Some(Why::Lost), None)
        );
        // What the one before says does not end the one after.
        desk.leave(id, first, None);
        assert!(!desk.is_empty());
        desk.leave(id, second, None);
        assert!(desk.is_empty());
    }
}
