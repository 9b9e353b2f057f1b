//! What is remembered of writes to an entry, found by their ids and forgotten in the order of their ends.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::entry::{Once, Written};
use crate::clock::Micros;

/// Writes that are remembered.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Remembered {
    by_id: HashMap<Arc<str>, Done>,
    by_end: BTreeSet<(Micros, Arc<str>)>,
    /// The ids that came or went since somebody asked.
    changed: Vec<Arc<str>>,
}

/// A write that is remembered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Done {
    id: Arc<str>,
    fingerprint: [u8; 8],
    answer: Written,
    until: Micros,
}

impl Remembered {
    /// What was answered to this write, or that its id is another one's; `None`: it is new.
    pub(super) fn answer(&self, once: &Once) -> Option<Written> {
        let done = self.by_id.get(&*once.id)?;
        if done.fingerprint == once.fingerprint {
            Some(done.answer)
        } else {
            Some(Written::OtherWrite)
        }
    }

    pub(super) fn add(&mut self, once: &Once, answer: Written, now: Micros) {
        let id: Arc<str> = once.id.as_str().into();
        self.changed.push(id.clone());
        self.insert(Done {
            id,
            fingerprint: once.fingerprint,
            answer,
            until: now.plus(once.remember),
        });
    }

    /// Forgets what has ended.
    pub(super) fn expire(&mut self, now: Micros) {
        while let Some((until, _)) = self.by_end.first()
            && *until <= now
        {
            if let Some((_, id)) = self.by_end.pop_first() {
                self.by_id.remove(&id);
                self.changed.push(id);
            }
        }
    }

    /// When something of it will have ended next.
    pub(super) fn due(&self) -> Option<Micros> {
        self.by_end.first().map(|(until, _)| *until)
    }

    /// The ids that came or went since this was last asked.
    pub(super) fn changed(&mut self) -> Vec<Arc<str>> {
        std::mem::take(&mut self.changed)
    }

    fn insert(&mut self, done: Done) {
        let end = (done.until, done.id.clone());
        if let Some(before) = self.by_id.insert(done.id.clone(), done) {
            self.by_end.remove(&(before.until, before.id));
        }
        self.by_end.insert(end);
    }
}

/// For the file that it is kept in.
#[cfg(feature = "file")]
impl Remembered {
    /// What is remembered of the write with this id.
    pub(super) fn of(&self, id: &str) -> Option<&Done> {
        self.by_id.get(id)
    }

    /// Takes what the file says of the write with this id; `None` if that is about another.
    pub(super) fn put_back(&mut self, id: &str, done: Done) -> Option<()> {
        (*done.id == *id).then(|| self.insert(done))
    }
}

/// What an entry's own row had in it: it is yet to be written elsewhere.
#[cfg(feature = "file")]
impl From<Vec<Done>> for Remembered {
    fn from(all: Vec<Done>) -> Self {
        let mut remembered = Self::default();
        for done in all {
            remembered.changed.push(done.id.clone());
            remembered.insert(done);
        }
        remembered
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn once(id: u64, remember: u64) -> Once {
        Once {
            id: id.to_string(),
            fingerprint: [1; 8],
            remember: Duration::from_secs(remember),
        }
    }

    #[test]
    fn each_is_forgotten_at_its_own_end_and_what_is_kept_is_found() {
        let mut remembered = Remembered::default();
        let start = Micros::new(1);
        for id in 0..100 {
            remembered.add(&once(id, 100 - id), Written::Count(7), start);
        }
        assert_eq!(remembered.changed().len(), 100);
        for second in 0..=100 {
            let now = start.plus(Duration::from_secs(second));
            remembered.expire(now);
            for id in 0..100 {
                let is_kept = 100 - id > second;
                assert_eq!(remembered.answer(&once(id, 0)).is_some(), is_kept);
            }
            let gone = (second > 0).then(|| (100 - second).to_string().into());
            assert_eq!(remembered.changed(), gone.into_iter().collect::<Vec<_>>());
        }
        assert_eq!(remembered, Remembered::default());
        assert_eq!(remembered.due(), None);
    }
}
