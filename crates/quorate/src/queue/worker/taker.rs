//! The part of a worker that asks: it settles what is over and takes what there is room for, in one call.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::super::ask::{Ask, Turn, WorkerId};
use super::super::job::{Delivered, Settled};
use super::super::limits::QueueLimits;
use super::super::queues::Queues;
use super::desk::{SharedDesk, Why};
use super::hand::Hand;
use super::status::WorkerStatus;
use super::teller::Teller;
use crate::backoff::Backoff;
use crate::clock::after;
use crate::error::{Error, ErrorKind, Outcome};
use crate::key::Key;

/// An idle worker asks at least this often, in case a wake-up was lost; with a spread, so that a fleet does not ask all at once.
/// Less than half as long as it counts as idle without asking.
const RECHECK: Backoff = Backoff {
    initial: Duration::from_secs(5),
    factor: 1.0,
    max: Duration::from_secs(5),
    jitter: 0.5,
};

/// Between turns that fail. A worker does not give up.
const RETRY: Backoff = Backoff {
    initial: Duration::from_millis(100),
    factor: 2.0,
    max: Duration::from_secs(5),
    jitter: 0.5,
};

/// How long a worker that has nothing but declined a job asks for no other, so that it goes to somebody else; the longer, the more
/// often in a row.
const DECLINED: Backoff = Backoff {
    initial: Duration::from_millis(50),
    factor: 2.0,
    max: Duration::from_secs(1),
    jitter: 0.5,
};

/// Past the time at which something is due, so that it is when it is asked for.
const MARGIN: Duration = Duration::from_millis(1);

/// What runs a job that was delivered.
pub(super) type Start = Arc<dyn Fn(Delivered, CancellationToken) + Send + Sync>;

pub(super) struct Taker {
    pub(super) queues: Arc<Queues>,
    pub(super) key: Key,
    pub(super) desk: SharedDesk,
    /// What begins jobs.
    pub(super) hand: Arc<Hand>,
    /// Told of groups that are over.
    pub(super) teller: Option<Teller>,
    pub(super) worker: WorkerId,
    pub(super) concurrency: usize,
    pub(super) lease: Duration,
    pub(super) limits: QueueLimits,
    /// How long jobs may go on when the worker stops.
    pub(super) drain: Duration,
    /// How long handlers that were told to stop may go on.
    pub(super) grace: Duration,
    pub(super) stop: CancellationToken,
    pub(super) status: watch::Sender<WorkerStatus>,
    pub(super) number: u64,
    /// When to ask again, whatever happens.
    pub(super) look_at: Instant,
    /// Until when others may have what there is, and after how many jobs in a row that were declined.
    pub(super) abstains: Instant,
    pub(super) declined: u32,
}

impl Taker {
    /// Takes and settles until told to stop, or the fleet is closed, and everything has ended or was handed back.
    pub(super) async fn run(mut self) {
        let closed = self.queues.context.closed().clone();
        while !self.stop.is_cancelled() && !closed.is_cancelled() {
            let (settled, free) = self.desk.take(self.concurrency);
            if self.desk.take_declined() {
                self.abstain(free == self.concurrency);
            }
            let free = if Instant::now() < self.abstains {
                0
            } else {
                free
            };
            let is_time = self.desk.take_woken() || Instant::now() >= self.look_at;
            if settled.is_empty() && (free == 0 || !is_time) {
                self.park(free > 0).await;
                continue;
            }
            // What is begun where it is pushed may have taken some of it meanwhile.
            let want = if free > 0 {
                self.desk.ask(self.concurrency)
            } else {
                0
            };
            let ask = self.ask(settled, want);
            if let Some((turn, asked)) = self.turn(&ask, None).await {
                self.take(turn, ask.want, asked).await;
            }
            self.desk.asks_no_more();
        }
        self.status.send_replace(WorkerStatus::Draining);
        self.drain().await;
        self.status.send_replace(WorkerStatus::Stopped);
    }

    /// Leaves what there is to others for a while, after jobs were declined and none is running.
    fn abstain(&mut self, is_idle: bool) {
        if is_idle {
            self.declined = self.declined.saturating_add(1);
            self.abstains = Instant::now() + DECLINED.delay(self.declined);
        } else {
            self.declined = 0;
        }
    }

    fn ask(&mut self, settled: Vec<Settled>, want: usize) -> Ask {
        self.number += 1;
        Ask {
            worker: self.worker,
            number: self.number,
            settled,
            want,
            lease: self.lease,
            takes_groups: self.teller.is_some() && !self.stop.is_cancelled(),
            limits: self.limits,
        }
    }

    /// Waits until something changes, it is time to look, or the worker is to stop.
    async fn park(&self, has_room: bool) {
        let time = async {
            if has_room {
                tokio::time::sleep_until(self.look_at).await;
            } else if self.abstains > Instant::now() {
                tokio::time::sleep_until(self.abstains).await;
            } else {
                std::future::pending().await
            }
        };
        tokio::select! {
            () = self.desk.changed.notified() => {}
            () = time => {}
            () = self.stop.cancelled() => {}
            () = self.queues.context.closed().cancelled() => {}
        }
    }

    /// One turn, repeated until it is answered. `None` if that was not to be, before the deadline, where there is one.
    ///
    /// The answer comes with when the leases in it began at the earliest.
    async fn turn(&self, ask: &Ask, deadline: Option<Instant>) -> Option<(Turn, Instant)> {
        let (mut asked, mut failures) = (Instant::now(), 0);
        loop {
            let turn = self.queues.turn(&self.key, ask).await;
            let error = match turn {
                Ok(turn) => {
                    self.status.send_if_modified(|status| {
                        let is_better =
                            matches!(status, WorkerStatus::Starting | WorkerStatus::Degraded);
                        if is_better {
                            *status = WorkerStatus::Running;
                        }
                        is_better
                    });
                    return Some((turn, asked));
                }
                Err(error) if error.kind() == ErrorKind::Closed => {
                    return self.last(ask, asked).await;
                }
                Err(error) => error,
            };
            failures += 1;
            if failures == 1 && deadline.is_none() {
                self.status.send_replace(WorkerStatus::Degraded);
            }
            self.queues.report(&error);
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return None;
            }
            tokio::select! {
                () = tokio::time::sleep(RETRY.delay(failures)) => {}
                () = self.queues.context.closed().cancelled() => {}
            }
            if error.outcome() == Outcome::NotApplied {
                asked = Instant::now();
            }
        }
    }

    /// The same while the fleet is closing: once.
    async fn last(&self, ask: &Ask, asked: Instant) -> Option<(Turn, Instant)> {
        match self.queues.last_turn(&self.key, ask).await {
            Ok(turn) => Some((turn, asked)),
            Err(error) => {
                self.queues.report(&error);
                None
            }
        }
    }

    /// Starts what was delivered, and sees when to ask again.
    async fn take(&mut self, turn: Turn, want: usize, asked: Instant) {
        self.queues.bring_behind(&self.key, turn.effects, asked);
        if let Some(teller) = &self.teller {
            teller.tell_behind(&self.queues, &self.key, turn.groups);
        }
        let now = Instant::now();
        self.look_at = if turn.delivered.len() < want {
            let recheck = RECHECK.delay(1);
            let next = turn.next.map(|next| next.saturating_add(MARGIN));
            now + next.map_or(recheck, |next| next.min(recheck))
        } else {
            now
        };
        self.hand.begin_all(turn.delivered, asked, self.lease).await;
    }

    /// Lets what runs end, tells it to after a while, and settles or hands back everything.
    async fn drain(&mut self) {
        let told_at = after(Instant::now(), self.drain);
        let deadline = after(told_at, self.grace + Duration::from_secs(1));
        let closed = self.queues.context.closed().clone();
        let mut is_told = false;
        while !self.desk.is_empty() && Instant::now() < deadline {
            if !is_told && (Instant::now() >= told_at || closed.is_cancelled()) {
                is_told = true;
                self.desk.stop_all(Why::Stopping);
            }
            let (settled, _) = self.desk.take(self.concurrency);
            if !settled.is_empty() {
                self.last_turn(settled, deadline).await;
                continue;
            }
            let next = if is_told { deadline } else { told_at };
            tokio::select! {
                () = self.desk.changed.notified() => {}
                () = tokio::time::sleep_until(next) => {}
                () = closed.cancelled(), if !is_told => {}
            }
        }
        // So that nobody wakes who is gone.
        let (settled, _) = self.desk.take(self.concurrency);
        self.last_turn(settled, deadline).await;
    }

    /// One of the last turns: what is to be brought because of it is brought before the worker ends.
    async fn last_turn(&mut self, settled: Vec<Settled>, deadline: Instant) {
        let ask = self.ask(settled, 0);
        if let Some((turn, asked)) = self.turn(&ask, Some(deadline)).await
            && !self.queues.context.closed().is_cancelled()
        {
            let bring = self.queues.bring_all(self.key.clone(), turn.effects, asked);
            // Whoever comes next brings what is left.
            let _ = tokio::time::timeout_at(deadline, bring).await;
        }
    }

    /// For who has to say what a worker was asked for that it cannot be.
    pub(super) fn check(concurrency: usize, lease: Duration) -> Result<(), Error> {
        let refuse = |field, rule| Err(Error::invalid(field, rule));
        if concurrency == 0 || concurrency > 100_000 {
            return refuse("concurrency", "must be from 1 to 100000");
        }
        check_lease(lease)
    }
}

/// Refuses a lease that no worker can keep, or that keeps others waiting for ever.
pub(in super::super) fn check_lease(lease: Duration) -> Result<(), Error> {
    if lease < Duration::from_millis(100) || lease > Duration::from_secs(12 * 3600) {
        return Err(Error::invalid("lease", "must be from 100 ms to 12 hours"));
    }
    Ok(())
}
