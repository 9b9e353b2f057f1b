//! How jobs come into a queue: a pure function. `pushing.lua` mirrors it.

use std::time::Duration;

use super::super::ask::{Pushed, Started};
use super::super::happened::JobEventKind;
use super::super::job::{JobId, LeaseNumber, NewJob};
use super::super::unique::{Unique, UniqueScope};
use super::places::{Job, Place};
use super::{QueueState, Told, is_nothing};
use crate::clock::Micros;

/// In how long the jobs of one push are due: once for each, in the order in which they came.
type Moves = Vec<(JobId, Duration)>;

/// What was queued, for who is idle.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Queued {
    /// Whether anything is ready that was not.
    pub(super) any_ready: bool,
    /// Whether something is due sooner than all that was.
    pub(super) is_sooner: bool,
}

impl QueueState {
    /// Queues jobs, but those that are known and those whose keys others have.
    pub(in crate::queue) fn push(&mut self, now: Micros, jobs: Vec<NewJob>) -> Told<Vec<Pushed>> {
        let (pushed, queued, _) = self.queue_jobs(now, jobs, None);
        let news = self.wake(now, queued.any_ready || queued.is_sooner);
        (pushed, news)
    }

    /// Queues a job and delivers it at once to who pushes it, if that may be.
    pub(in crate::queue) fn start(
        &mut self,
        now: Micros,
        job: NewJob,
        lease: Duration,
    ) -> Told<Started> {
        let begins = (!self.paused).then_some(lease);
        let (pushed, queued, lease) = self.queue_jobs(now, vec![job], begins);
        let news = self.wake(now, queued.any_ready || queued.is_sooner);
        let (pushed, at) = (pushed[0], now);
        (Started { pushed, at, lease }, news)
    }

    /// Queues jobs, and nobody is woken yet. One that is alone may be delivered at once, for so long.
    pub(super) fn queue_jobs(
        &mut self,
        now: Micros,
        jobs: Vec<NewJob>,
        begins: Option<Duration>,
    ) -> (Vec<Pushed>, Queued, Option<LeaseNumber>) {
        let mut moves = Moves::with_capacity(jobs.len());
        let jobs = jobs.into_iter();
        let pushed = jobs.map(|new| self.take_in(now, new, &mut moves)).collect();
        // Who is idle knows this.
        let known_due = self.due.first().map(|(at, _)| *at);
        let (mut queued, mut begun) = (Queued::default(), None);
        for (id, delay) in moves {
            let due = (!is_nothing(delay)).then(|| now.plus(delay));
            self.watch
                .happened(now, id, || JobEventKind::Queued { due });
            if let Some(due) = due {
                queued.is_sooner |= known_due.is_none_or(|known| due <= known);
                self.make_due(id, due);
            } else if let Some(lease) = begins {
                begun = Some(self.begin_pushed(now, id, lease));
            } else if !self.is_ready(id) {
                self.make_ready(id);
                queued.any_ready = true;
            }
        }
        (pushed, queued, begun)
    }

    /// Delivers a job at once to who pushes it, ahead of what waits.
    fn begin_pushed(&mut self, now: Micros, id: JobId, lasts: Duration) -> LeaseNumber {
        let is_bound = self.jobs.get(&id).is_some_and(Job::is_bound);
        let lease = LeaseNumber::after(self.lease, now, is_bound);
        self.lease = lease.get();
        self.hold(id, lease, now.plus(lasts));
        self.watch
            .happened(now, id, || JobEventKind::Started { attempt: 1 });
        lease
    }

    fn take_in(&mut self, now: Micros, new: NewJob, moves: &mut Moves) -> Pushed {
        if self.knows(now, new.id) || (new.member_of.is_some() && self.outbox.tells_of(new.id)) {
            return Pushed::Known;
        }
        if let Some(unique) = &new.unique
            && let Some(holder) = self.uniques.holder(&unique.key, now)
        {
            let is_debounce = unique.scope == UniqueScope::Debounce;
            match self.jobs.get(&holder).map(|job| &job.place) {
                _ if holder == new.id => return Pushed::Known,
                Some(Place::Active { .. }) if is_debounce => {}
                Some(Place::Ready(_) | Place::Due(_) | Place::Limited(_)) if is_debounce => {
                    self.debounce(now, holder, new, moves);
                    return Pushed::Same(holder);
                }
                _ => return Pushed::Same(holder),
            }
        }
        let (id, delay) = (new.id, new.delay);
        self.forget_job(id);
        if let Some(Unique { key, scope }) = &new.unique {
            let until = match scope {
                UniqueScope::Throttle(span) => Some(now.plus(*span)),
                _ => None,
            };
            self.uniques.give(key, id, until);
        }
        self.jobs.insert(id, Job::new(now, new));
        moves.push((id, delay));
        self.totals.pushed += 1;
        Pushed::New
    }

    /// A job that waits is to be done as was said last.
    fn debounce(&mut self, now: Micros, id: JobId, last: NewJob, moves: &mut Moves) {
        self.changed.push(id);
        if let Some(job) = self.jobs.get_mut(&id) {
            job.input = last.input;
            job.expires = last.expires.map(|it| now.plus(it));
        }
        match moves.iter_mut().find(|(moved, _)| *moved == id) {
            Some((_, delay)) => *delay = last.delay,
            None => moves.push((id, last.delay)),
        }
    }

    fn is_ready(&self, id: JobId) -> bool {
        let place = self.jobs.get(&id).map(|job| &job.place);
        matches!(place, Some(Place::Ready(_)))
    }
}
