//! What is seen of a queue: a pure function of its state and the time. `look.lua`, `await.lua`, `list.lua`, `inspect.lua` and
//! `stats.lua` mirror it.

use std::collections::{BTreeSet, btree_set};
use std::ops::Bound;

use super::super::job::{JobEnd, JobId, JobState};
use super::super::view::{JobDetails, JobPage, JobPlace, JobView, MAX_PAGE, QueueStats, Spot};
use super::places::{Job, Place};
use super::{AWAITED, QueueState};
use crate::clock::Micros;

impl QueueState {
    /// Where a job is; `None` if there is no such job, or not any more.
    pub(in crate::queue) fn look(&self, now: Micros, id: JobId) -> Option<JobState> {
        let Some(job) = self.jobs.get(&id) else {
            let over = self.over.get(&id).filter(|over| over.until > now);
            return over.map(|over| JobState::Ended(over.end.clone()));
        };
        Some(match &job.place {
            Place::Ready(_) => JobState::Ready,
            Place::Due(due) => JobState::Due(*due),
            Place::Limited(_) => JobState::Limited,
            Place::Active { cancelled, .. } => JobState::Active {
                cancelled: *cancelled,
            },
            Place::Dead(until, _) if *until <= now => return None,
            Place::Dead(_, why) => JobState::Ended(JobEnd::Dead(why.clone())),
        })
    }

    /// The same, and has its end announced if there is one within [`AWAITED`].
    pub(in crate::queue) fn look_and_wait(&mut self, now: Micros, id: JobId) -> Option<JobState> {
        let state = self.look(now, id)?;
        if !matches!(state, JobState::Ended(_)) {
            self.stop_waiting(id);
            while let Some((_, gone)) = self.awaited_by.first().filter(|(at, _)| *at <= now) {
                self.stop_waiting(*gone);
            }
            self.awaited.insert(id, now.plus(AWAITED));
            self.awaited_by.insert((now.plus(AWAITED), id));
        }
        Some(state)
    }

    /// A job with all that is known of it.
    pub(in crate::queue) fn inspect(&self, now: Micros, id: JobId) -> Option<JobView> {
        let mut view = self.view(now, id)?;
        let notes = self.notes.of(id);
        view.entries = self.journals.entries(id).len() as u64;
        view.messages = self.journals.messages(id).len() as u64;
        view.log = notes.map_or_else(Vec::new, |notes| notes.log.iter().cloned().collect());
        Some(view)
    }

    /// The jobs of a place in its order, behind the one that was there.
    pub(in crate::queue) fn list(
        &self,
        now: Micros,
        place: JobPlace,
        after: Option<Spot>,
        limit: usize,
    ) -> JobPage {
        let spots = self.spots(now, place, after).take(limit + 1);
        let (mut page, mut bytes, mut last) = (JobPage::default(), 0, None);
        for spot in spots {
            let Some(view) = self.view(now, spot.id) else {
                continue;
            };
            bytes += size(&view);
            if page.jobs.len() == limit || (bytes > MAX_PAGE && last.is_some()) {
                page.next = last.map(Spot::cursor);
                break;
            }
            page.jobs.push(view);
            last = Some(spot);
        }
        page
    }

    /// How much there is of what.
    pub(in crate::queue) fn stats(&self, now: Micros) -> QueueStats {
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let next = self.ready.first().and_then(|(_, id)| self.jobs.get(id));
        let unbrought = self.outbox.next_due().filter(|at| *at <= now);
        QueueStats {
            ready: count(self.ready.len()),
            due: count(self.due.len()),
            limited: count(self.limiting.aside().len()),
            active: count(self.active.len()),
            ended: count(kept(&self.ended, now)),
            dead: count(kept(&self.dead, now)),
            idle: count(self.parked.iter().filter(|(_, until)| *until > now).count()),
            paused: self.paused,
            waited: next.map(|job| now.since(job.queued)),
            last: self.ready.last().map(|(_, id)| *id),
            next_due: self.due.first().map(|(at, _)| at.since(now)),
            open_groups: count(self.groups.open()),
            effects: count(self.outbox.len()),
            effects_waited: unbrought.map(|at| now.since(at)),
            totals: self.totals,
        }
    }

    fn spots(
        &self,
        now: Micros,
        place: JobPlace,
        after: Option<Spot>,
    ) -> Box<dyn Iterator<Item = Spot> + '_> {
        let timed = |(at, id): &(Micros, JobId)| spot(*at, 0, *id);
        match place {
            JobPlace::Ready | JobPlace::Limited => {
                let from = after.map(|it| (it.score, it.id));
                let spots = if place == JobPlace::Ready {
                    from_after(&self.ready, from)
                } else {
                    from_after(self.limiting.aside(), from)
                };
                Box::new(spots.map(|(rank, id)| Spot {
                    score: *rank,
                    lease: 0,
                    id: *id,
                }))
            }
            JobPlace::Due => {
                let from = after.map(|it| (time(it.score), it.id));
                Box::new(from_after(&self.due, from).map(timed))
            }
            JobPlace::Active => {
                let lease = |it: Spot| super::LeaseNumber::new(it.lease);
                let from = after.map(|it| (time(it.score), lease(it), it.id));
                let spots = from_after(&self.active, from);
                Box::new(spots.map(|(ends, lease, id)| spot(*ends, lease.get(), *id)))
            }
            JobPlace::Ended | JobPlace::Dead => {
                let kept = if place == JobPlace::Dead {
                    &self.dead
                } else {
                    &self.ended
                };
                let before = after.map(|it| (time(it.score), it.id));
                let kept = match before {
                    Some(before) => kept.range(..before),
                    None => kept.range(..),
                };
                let kept = kept.rev().take_while(move |(until, _)| *until > now);
                Box::new(kept.map(timed))
            }
        }
    }

    /// A job without its log.
    fn view(&self, now: Micros, id: JobId) -> Option<JobView> {
        let state = self.look(now, id)?;
        let is_known = !matches!(&state, JobState::Ended(end) if !matches!(end, JobEnd::Dead(_)));
        let job = self.jobs.get(&id).filter(|_| is_known);
        Some(JobView {
            id,
            details: job.map(details),
            state,
            progress: self.notes.of(id).and_then(|notes| notes.progress.clone()),
            log: Vec::new(),
            entries: 0,
            messages: 0,
        })
    }
}

/// How many of them are kept at this time.
fn kept(ends: &BTreeSet<(Micros, JobId)>, now: Micros) -> usize {
    let over = ends.iter().take_while(|(until, _)| *until <= now);
    ends.len() - over.count()
}

fn from_after<T: Ord>(all: &BTreeSet<T>, after: Option<T>) -> btree_set::Range<'_, T> {
    match after {
        Some(after) => all.range((Bound::Excluded(after), Bound::Unbounded)),
        None => all.range(..),
    }
}

fn time(score: i64) -> Micros {
    Micros::new(score.try_into().unwrap_or(0))
}

fn spot(at: Micros, lease: u64, id: JobId) -> Spot {
    let score = i64::try_from(at.get()).unwrap_or(i64::MAX);
    Spot { score, lease, id }
}

/// How much it is to tell, in bytes.
fn size(view: &JobView) -> usize {
    let end = match &view.state {
        JobState::Ended(JobEnd::Succeeded(result)) => result.len(),
        JobState::Ended(JobEnd::Dead(why)) => why.len(),
        _ => 0,
    };
    end + view.details.as_ref().map_or(0, |it| it.input.len())
}

fn details(job: &Job) -> JobDetails {
    JobDetails {
        queued: job.queued,
        input: job.input.clone(),
        attempts: job.attempts,
        failed: job.tries,
        error: job.error.clone(),
        priority: job.priority,
        group: job.group.clone(),
        unique: job.unique.clone(),
        member_of: job.member_of.clone(),
        expires: job.expires,
        keep: job.keep,
    }
}
