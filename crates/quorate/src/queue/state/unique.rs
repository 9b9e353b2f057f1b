//! Who has which uniqueness key: a pure function of who takes and who lets go. `unique.lua` mirrors it.

use std::collections::{BTreeSet, HashMap};

use super::super::job::JobId;
use super::super::unique::UniqueScope;
use super::QueueState;
use crate::clock::Micros;

/// The uniqueness keys of a queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Uniques {
    held: HashMap<String, Holder>,
    /// Those that end by themselves, by when.
    ends: BTreeSet<(Micros, String)>,
    /// Keys that were taken or let go since this was last asked.
    changed: Vec<String>,
}

/// Who has a key: for good, or until then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Holder {
    pub(super) id: JobId,
    pub(super) until: Option<Micros>,
}

impl Uniques {
    /// Who has it now.
    pub(super) fn holder(&self, key: &str, now: Micros) -> Option<JobId> {
        let it = self.held.get(key)?;
        it.until.is_none_or(|until| until > now).then_some(it.id)
    }

    /// Gives it to a job, whoever had it.
    pub(super) fn give(&mut self, key: &str, id: JobId, until: Option<Micros>) {
        self.drop_key(key);
        if let Some(until) = until {
            self.ends.insert((until, key.to_owned()));
        }
        self.held.insert(key.to_owned(), Holder { id, until });
    }

    /// Takes it from this job, or lets it end by itself, if that has it.
    pub(super) fn let_go(&mut self, key: &str, id: JobId, until: Option<Micros>) {
        if self.held.get(key).is_some_and(|it| it.id == id) {
            match until {
                Some(_) => self.give(key, id, until),
                None => self.drop_key(key),
            }
        }
    }

    /// Forgets the first of those that have ended.
    pub(super) fn forget(&mut self, now: Micros, most: usize) {
        for _ in 0..most {
            match self.ends.first() {
                Some((until, key)) if *until <= now => self.drop_key(&key.clone()),
                _ => return,
            }
        }
    }

    /// When the next of them ends.
    pub(super) fn next_end(&self) -> Option<Micros> {
        self.ends.first().map(|(until, _)| *until)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Keys that were taken or let go since this was last asked.
    pub(super) const fn changed(&mut self) -> &mut Vec<String> {
        &mut self.changed
    }

    #[cfg(any(test, feature = "file"))]
    pub(super) fn get(&self, key: &str) -> Option<Holder> {
        self.held.get(key).copied()
    }

    /// Keys that a job has for good which is not `there`, or of which is not known that they end.
    pub(super) fn strays(&self, there: impl Fn(JobId) -> bool) -> Vec<String> {
        let is_stray = |(key, it): &(&String, &Holder)| match it.until {
            Some(until) => !self.ends.contains(&(until, (*key).clone())),
            None => !there(it.id),
        };
        let strays = self.held.iter().filter(is_stray);
        strays.map(|(key, _)| key.clone()).collect()
    }

    pub(super) fn drop_key(&mut self, key: &str) {
        self.changed.push(key.to_owned());
        if let Some(until) = self.held.remove(key).and_then(|it| it.until) {
            self.ends.remove(&(until, key.to_owned()));
        }
    }
}

impl QueueState {
    /// Takes its key from a job that ends, or keeps that with what became of it, which is known until then.
    pub(super) fn let_go(&mut self, now: Micros, id: JobId, known_until: Micros) {
        let Some(unique) = self.jobs.get(&id).and_then(|job| job.unique.as_ref()) else {
            return;
        };
        let until = match unique.scope {
            UniqueScope::Throttle(_) => return,
            UniqueScope::UntilForgotten if known_until > now => Some(known_until),
            _ => None,
        };
        self.uniques.let_go(&unique.key, id, until);
    }
}
