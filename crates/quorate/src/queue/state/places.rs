//! Where the jobs of a queue are, and how they get from one place to the next: a pure function each.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::super::fairness::Rank;
use super::super::group::{MemberEnd, Work};
use super::super::job::{Delivered, JobEnd, JobId, LeaseNumber, MemberOf, NewJob};
use super::super::news::News;
use super::super::unique::Unique;
use super::{KEEP_DEAD, QueueState, is_nothing};
use crate::clock::Micros;

/// What is kept of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Job {
    pub(super) place: Place,
    pub(super) queued: Micros,
    pub(super) input: Bytes,
    pub(super) priority: u8,
    pub(super) group: String,
    pub(super) attempts: u32,
    /// Deliveries that failed.
    pub(super) tries: u32,
    /// Why the last of them did.
    pub(super) error: Option<String>,
    pub(super) expires: Option<Micros>,
    pub(super) keep: Duration,
    pub(super) member_of: Option<MemberOf>,
    pub(super) unique: Option<Unique>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Place {
    Ready(Rank),
    Due(Micros),
    Active {
        lease: LeaseNumber,
        ends: Micros,
        cancelled: bool,
    },
    /// Until when it is kept, and why it failed for good.
    Dead(Micros, String),
    /// Aside until its fairness group has room.
    Limited(Rank),
}

/// What became of a job that is over and not dead: little, since there may be many of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Over {
    /// Until when it is kept.
    pub(super) until: Micros,
    pub(super) end: JobEnd,
}

impl Job {
    /// To be put into its place at once.
    pub(super) fn new(now: Micros, new: NewJob) -> Self {
        Self {
            place: Place::Due(now),
            queued: now,
            input: new.input,
            priority: new.priority,
            group: new.group,
            attempts: new.attempts,
            tries: 0,
            error: None,
            expires: new.expires.map(|it| now.plus(it)),
            keep: new.keep,
            member_of: new.member_of,
            unique: new.unique,
        }
    }

    /// As a worker gets it.
    fn delivered(&self, id: JobId, lease: LeaseNumber, checkpoint: Option<Bytes>) -> Delivered {
        Delivered {
            id,
            lease,
            attempt: self.tries + 1,
            attempts: self.attempts,
            queued: self.queued,
            input: self.input.clone(),
            group: self.group.clone(),
            keep: self.keep,
            member_of: self.member_of.clone(),
            checkpoint,
        }
    }

    /// Whether something has to be done when it ends.
    pub(super) const fn is_bound(&self) -> bool {
        self.member_of.is_some() || self.unique.is_some()
    }

    pub(super) const fn is_cancelled(&self) -> bool {
        matches!(
            self.place,
            Place::Active {
                cancelled: true,
                ..
            }
        )
    }
}

impl QueueState {
    /// A job as a worker gets it.
    pub(super) fn delivered(&self, id: JobId, lease: LeaseNumber) -> Delivered {
        self.jobs[&id].delivered(id, lease, self.notes.checkpoint(id))
    }

    /// Whether this delivery still counts, and then whether the job was cancelled.
    pub(super) fn holds(&self, now: Micros, id: JobId, number: LeaseNumber) -> Option<bool> {
        match self.jobs.get(&id)?.place {
            Place::Active {
                lease,
                ends,
                cancelled,
            } if lease == number && ends > now => Some(cancelled),
            _ => None,
        }
    }

    pub(super) fn make_ready(&mut self, id: JobId) {
        self.leave(id);
        if let Some(job) = self.jobs.get_mut(&id) {
            let rank = self.fairness.rank(&job.group, job.priority);
            job.place = Place::Ready(rank);
            self.ready.insert((rank, id));
        }
    }

    /// The same of a job that was ready before.
    pub(super) fn make_ready_at(&mut self, id: JobId, rank: Rank) {
        self.leave(id);
        if let Some(job) = self.jobs.get_mut(&id) {
            job.place = Place::Ready(rank);
            self.ready.insert((rank, id));
        }
    }

    pub(super) fn make_due(&mut self, id: JobId, due: Micros) {
        self.leave(id);
        if let Some(job) = self.jobs.get_mut(&id) {
            job.place = Place::Due(due);
            self.due.insert((due, id));
        }
    }

    pub(super) fn hold(&mut self, id: JobId, lease: LeaseNumber, ends: Micros) {
        self.leave(id);
        if let Some(job) = self.jobs.get_mut(&id) {
            job.place = Place::Active {
                lease,
                ends,
                cancelled: false,
            };
            self.active.insert((ends, lease, id));
        }
    }

    /// Lets the lease of an active job end then. It does not outlive the process, whenever it ends.
    pub(super) fn prolong(&mut self, id: JobId, until: Micros) {
        if let Some(job) = self.jobs.get_mut(&id)
            && let Place::Active { lease, ends, .. } = &mut job.place
        {
            self.active.remove(&(*ends, *lease, id));
            *ends = until;
            self.active.insert((until, *lease, id));
        }
    }

    pub(super) fn mark_cancelled(&mut self, id: JobId) {
        self.changed.push(id);
        if let Some(job) = self.jobs.get_mut(&id)
            && let Place::Active { cancelled, .. } = &mut job.place
        {
            *cancelled = true;
        }
    }

    /// Ends a job, to be kept as long as it says.
    pub(super) fn end(&mut self, now: Micros, id: JobId, end: JobEnd, news: &mut Vec<News>) {
        let keep = match end {
            JobEnd::Dead(_) => KEEP_DEAD,
            _ => self.jobs.get(&id).map_or(Duration::ZERO, |job| job.keep),
        };
        self.end_for(now, id, end, keep, news);
    }

    pub(super) fn end_for(
        &mut self,
        now: Micros,
        id: JobId,
        end: JobEnd,
        keep: Duration,
        news: &mut Vec<News>,
    ) {
        self.tell_group(now, id, MemberEnd::of(&end), None);
        self.put_away(now, id, end, keep, news);
    }

    /// Ends a job that is done, and leaves work.
    pub(super) fn succeed(
        &mut self,
        now: Micros,
        id: JobId,
        end: JobEnd,
        keep: Duration,
        work: Option<&Work>,
        news: &mut Vec<News>,
    ) {
        let is_member = self
            .jobs
            .get(&id)
            .is_some_and(|job| job.member_of.is_some());
        if let Some(work) = work.filter(|_| !is_member) {
            self.groups.begin(now, work.group.group, id, keep);
        }
        self.tell_group(now, id, MemberEnd::Succeeded, work.cloned());
        self.put_away(now, id, end, keep, news);
    }

    fn put_away(
        &mut self,
        now: Micros,
        id: JobId,
        end: JobEnd,
        keep: Duration,
        news: &mut Vec<News>,
    ) {
        self.watch.ended(now, id, &end);
        if self.awaited.get(&id).is_some_and(|until| *until > now) {
            news.push(News::Ended(id));
        }
        self.stop_waiting(id);
        self.let_go(now, id, now.plus(keep));
        self.totals.count(&end);
        if is_nothing(keep) {
            return self.forget_job(id);
        }
        self.leave(id);
        let until = now.plus(keep);
        match end {
            JobEnd::Dead(why) => {
                if let Some(job) = self.jobs.get_mut(&id) {
                    job.place = Place::Dead(until, why);
                    self.dead.insert((until, id));
                }
            }
            // Of what is not dead, nothing else will be wanted again.
            end => {
                if self.jobs.remove(&id).is_some() {
                    self.over.insert(id, Over { until, end });
                    self.ended.insert((until, id));
                    self.notes.forget_checkpoint(id);
                }
            }
        }
    }

    pub(super) fn forget_job(&mut self, id: JobId) {
        if self.jobs.contains_key(&id) {
            self.leave(id);
            self.jobs.remove(&id);
        } else if let Some(over) = self.over.remove(&id) {
            self.ended.remove(&(over.until, id));
            self.changed.push(id);
        } else {
            return;
        }
        self.notes.forget(id);
        self.journals.forget(id);
    }

    pub(super) fn stop_waiting(&mut self, id: JobId) {
        if let Some(until) = self.awaited.remove(&id) {
            self.awaited_by.remove(&(until, id));
        }
    }

    /// Takes a job out of where it is; to be put elsewhere at once.
    pub(super) fn leave(&mut self, id: JobId) {
        self.changed.push(id);
        let Some(job) = self.jobs.get(&id) else {
            return;
        };
        match &job.place {
            Place::Ready(rank) => {
                self.ready.remove(&(*rank, id));
            }
            Place::Due(due) => {
                self.due.remove(&(*due, id));
            }
            Place::Active { ends, lease, .. } => {
                self.active.remove(&(*ends, *lease, id));
                self.limiting.stopped(&job.group, id);
            }
            Place::Dead(until, _) => {
                self.dead.remove(&(*until, id));
            }
            Place::Limited(rank) => self.limiting.take_back(&job.group, *rank, id),
        }
    }
}
