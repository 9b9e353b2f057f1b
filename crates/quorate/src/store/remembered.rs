//! What is remembered of writes to an entry, found by their ids and forgotten in the order of their ends.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

use super::entry::{Once, Written};
use crate::clock::Micros;

/// Writes that are remembered.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(from = "Vec<Done>")]
pub(super) struct Remembered {
    by_id: HashMap<Arc<str>, Done>,
    by_end: BTreeSet<(Micros, Arc<str>)>,
}

/// A write that is remembered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Done {
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
        self.insert(Done {
            id: once.id.as_str().into(),
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
            }
        }
    }

    /// When something of it will have ended next.
    pub(super) fn due(&self) -> Option<Micros> {
        self.by_end.first().map(|(until, _)| *until)
    }

    fn insert(&mut self, done: Done) {
        self.by_end.insert((done.until, done.id.clone()));
        self.by_id.insert(done.id.clone(), done);
    }
}

impl From<Vec<Done>> for Remembered {
    fn from(all: Vec<Done>) -> Self {
        let mut remembered = Self::default();
        for done in all {
            remembered.insert(done);
        }
        remembered
    }
}

/// As a list, without copying it first.
impl Serialize for Remembered {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let in_order = self.by_end.iter().filter_map(|(_, id)| self.by_id.get(id));
        let all: Vec<&Done> = in_order.collect();
        all.serialize(serializer)
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
        for second in 0..=100 {
            let now = start.plus(Duration::from_secs(second));
            remembered.expire(now);
            for id in 0..100 {
                let is_kept = 100 - id > second;
                assert_eq!(remembered.answer(&once(id, 0)).is_some(), is_kept);
            }
            let row = serde_json::to_string(&remembered).unwrap();
            assert_eq!(
                serde_json::from_str::<Remembered>(&row).unwrap(),
                remembered
            );
        }
        assert_eq!(remembered, Remembered::default());
        assert_eq!(remembered.due(), None);
    }
}
