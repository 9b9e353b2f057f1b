//! What operators do with the jobs of a queue: a pure function each. `redrive.lua`, `edit.lua` and `remove.lua` mirror them.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;

use super::super::ask::Removed;
use super::super::happened::JobEventKind;
use super::super::job::{JobEnd, JobId, JobState};
use super::super::news::News;
use super::super::unique::{Unique, UniqueScope};
use super::super::view::JobPlace;
use super::places::Place;
use super::{QueueState, RETENTION, Told};
use crate::clock::Micros;

impl QueueState {
    /// Makes dead jobs ready again, as if they had never been delivered. Returns of each whether it was dead.
    pub(in crate::queue) fn redrive(&mut self, now: Micros, ids: &[JobId]) -> Told<Vec<bool>> {
        let done: Vec<_> = ids.iter().map(|id| self.redrive_one(now, *id)).collect();
        let news = self.wake(now, done.contains(&true));
        (done, news)
    }

    /// The same of those that died first.
    pub(in crate::queue) fn redrive_dead(&mut self, now: Micros, most: usize) -> Told<usize> {
        let dead = self.dead.iter().filter(|(until, _)| *until > now);
        let ids: Vec<_> = dead.take(most).map(|(_, id)| *id).collect();
        let (done, news) = self.redrive(now, &ids);
        (done.len(), news)
    }

    fn redrive_one(&mut self, now: Micros, id: JobId) -> bool {
        if !matches!(self.look(now, id), Some(JobState::Ended(JobEnd::Dead(_)))) {
            return false;
        }
        if let Some(job) = self.jobs.get_mut(&id) {
            (job.tries, job.error) = (0, None);
            // It is worth beginning it again, whatever was said of that.
            job.expires = None;
            // For its group it has ended.
            job.member_of = None;
            if let Some(Unique { key, scope }) = &job.unique
                && !matches!(scope, UniqueScope::Throttle(_))
                && self
                    .uniques
                    .holder(key, now)
                    .is_none_or(|holder| holder == id)
            {
                self.uniques.give(key, id, None);
            }
        }
        self.watch.happened(now, id, || JobEventKind::Redriven);
        self.make_ready(id);
        true
    }

    /// Gives a job that nobody has another input. Returns whether there is such a one.
    pub(in crate::queue) fn edit(&mut self, now: Micros, id: JobId, input: Bytes) -> bool {
        let is_open = match self.look(now, id) {
            Some(JobState::Ready | JobState::Due(_) | JobState::Limited) => true,
            Some(JobState::Ended(end)) => matches!(end, JobEnd::Dead(_)),
            _ => false,
        };
        if let Some(job) = self.jobs.get_mut(&id).filter(|_| is_open) {
            job.input = input;
            self.changed.push(id);
        }
        is_open
    }

    /// Takes jobs away that nobody has. Who waits for the end of one hears of it.
    pub(in crate::queue) fn remove(&mut self, now: Micros, ids: &[JobId]) -> Told<Vec<Removed>> {
        self.until = now.plus(RETENTION);
        let (mut news, effects) = (Vec::new(), self.outbox.len());
        let ids = ids.iter();
        let done = ids.map(|id| self.remove_one(now, *id, &mut news)).collect();
        news.extend(self.wake(now, self.outbox.len() > effects));
        (done, news)
    }

    /// The same of the first of a place.
    pub(in crate::queue) fn purge(
        &mut self,
        now: Micros,
        place: JobPlace,
        most: usize,
    ) -> Told<usize> {
        // What nobody has come by to forget counts no more.
        let kept = |of: &BTreeSet<(Micros, JobId)>| -> Vec<_> {
            let kept = of.iter().skip_while(|(until, _)| *until <= now);
            kept.take(most).map(|(_, id)| *id).collect()
        };
        let ids: Vec<_> = match place {
            JobPlace::Ready => self.ready.iter().take(most).map(|(_, id)| *id).collect(),
            JobPlace::Due => self.due.iter().take(most).map(|(_, id)| *id).collect(),
            JobPlace::Limited => {
                let aside = self.limiting.aside().iter().take(most);
                aside.map(|(_, id)| *id).collect()
            }
            JobPlace::Ended => kept(&self.ended),
            JobPlace::Dead => kept(&self.dead),
            JobPlace::Active => Vec::new(),
        };
        let (done, news) = self.remove(now, &ids);
        (done.iter().filter(|it| **it == Removed::Gone).count(), news)
    }

    fn remove_one(&mut self, now: Micros, id: JobId, news: &mut Vec<News>) -> Removed {
        let over = self.over.get(&id).map(|over| over.until);
        let Some(job) = self.jobs.get(&id) else {
            return over.map_or(Removed::Unknown, |until| self.remove_over(now, id, until));
        };
        match job.place {
            Place::Active { .. } => Removed::Active,
            Place::Dead(until, _) => {
                self.let_go(now, id, now);
                self.remove_over(now, id, until)
            }
            Place::Ready(_) | Place::Due(_) | Place::Limited(_) => {
                self.end_for(now, id, JobEnd::Cancelled, Duration::ZERO, news);
                Removed::Gone
            }
        }
    }

    fn remove_over(&mut self, now: Micros, id: JobId, until: Micros) -> Removed {
        self.forget_job(id);
        if until > now {
            self.watch.happened(now, id, || JobEventKind::Removed);
            Removed::Gone
        } else {
            Removed::Unknown
        }
    }
}
