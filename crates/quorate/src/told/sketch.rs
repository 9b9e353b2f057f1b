//! Which keys are asked for most, in a bounded place: Space-Saving, as pure functions.
//!
//! A sketch follows so many keys. One that it does not follow yet takes the place of the one with the least count, and
//! takes over that count, which it may owe to keys before it: its error.

use std::hash::{DefaultHasher, Hash, Hasher};

/// A key, and how often it was asked for.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Counted {
    pub(super) key: Box<str>,
    /// Never less than it was.
    pub(super) count: f64,
    /// How often of that it was the special case, since the key is followed: never more than it was.
    pub(super) part: f64,
    /// By how much it may be too large.
    pub(super) error: f64,
    /// Of the key: most are told apart by it alone.
    hash: u64,
}

/// The keys that are asked for most.
#[derive(Clone, Debug)]
pub(super) struct Sketch {
    followed: Vec<Counted>,
    places: usize,
}

impl Sketch {
    /// For so many keys, at least one. Whatever is more than that share of everything is among them.
    pub(super) fn new(places: usize) -> Self {
        Self {
            followed: Vec::new(),
            places: places.max(1),
        }
    }

    /// Counts a key, as if it had been asked for so often; `is_part`: as the special case.
    pub(super) fn add(&mut self, key: &str, weight: f64, is_part: bool) {
        let hash = hash(key);
        let part = if is_part { weight } else { 0.0 };
        let is_it = |it: &&mut Counted| it.hash == hash && &*it.key == key;
        if let Some(counted) = self.followed.iter_mut().find(is_it) {
            counted.count += weight;
            counted.part += part;
            return;
        }
        if self.followed.len() < self.places {
            self.followed.push(Counted {
                key: key.into(),
                count: weight,
                part,
                error: 0.0,
                hash,
            });
            return;
        }
        let least = self
            .followed
            .iter_mut()
            .min_by(|one, two| one.count.total_cmp(&two.count));
        if let Some(least) = least {
            *least = Counted {
                key: key.into(),
                count: least.count + weight,
                part,
                error: least.count,
                hash,
            };
        }
    }

    /// Lets what was count less: everything `share` of itself, from 0 to 1.
    pub(super) fn fade(&mut self, share: f64) {
        for counted in &mut self.followed {
            counted.count *= share;
            counted.part *= share;
            counted.error *= share;
        }
    }

    /// So many of the keys that were asked for at least once, those asked for most first.
    pub(super) fn hottest(&self, most: usize) -> Vec<Counted> {
        let asked = self.followed.iter().filter(|it| it.count >= 1.0);
        let mut hottest: Vec<_> = asked.cloned().collect();
        hottest.sort_by(|one, two| two.count.total_cmp(&one.count).then(one.key.cmp(&two.key)));
        hottest.truncate(most);
        hottest
    }
}

fn hash(key: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use proptest::prelude::*;

    const PLACES: usize = 8;

    /// Every third time is the special case.
    fn sketch(asked: &[u8]) -> (Sketch, HashMap<String, f64>) {
        let (mut sketch, mut exact) = (Sketch::new(PLACES), HashMap::new());
        for (number, key) in asked.iter().enumerate() {
            let key = key.to_string();
            sketch.add(&key, 1.0, number % 3 == 0);
            *exact.entry(key).or_default() += 1.0;
        }
        (sketch, exact)
    }

    /// Keys as they are asked for: few often, many seldom.
    fn skewed() -> impl Strategy<Value = Vec<u8>> {
        let key = prop_oneof![3 => 0_u8..4, 2 => 0_u8..40, 1 => any::<u8>()];
        prop::collection::vec(key, 0..600)
    }

    proptest! {
        #[test]
        fn counts_are_within_their_error_and_what_is_asked_for_most_is_there(asked in skewed()) {
            let (sketch, exact) = sketch(&asked);
            let all = asked.len() as f64;
            let hottest = sketch.hottest(usize::MAX);
            prop_assert!(hottest.len() <= PLACES);
            for it in &hottest {
                let truth = exact[&*it.key];
                prop_assert!(it.count >= truth && it.count - it.error <= truth, "{:?} {}", it, truth);
                prop_assert!(it.error <= all / PLACES as f64);
                let special = |(number, key): &(usize, &u8)| number % 3 == 0 && key.to_string() == *it.key;
                let part = asked.iter().enumerate().filter(special).count() as f64;
                // What it was before the key was followed is not known: at most the error.
                prop_assert!(it.part <= part && it.part + it.error >= part, "{:?} {}", it, part);
            }
            for (key, truth) in &exact {
                let followed = hottest.iter().any(|it| *it.key == **key);
                prop_assert!(followed || *truth <= all / PLACES as f64, "{} {}", key, truth);
            }
            prop_assert!(hottest.is_sorted_by(|one, two| one.count >= two.count));
            // Nothing is lost, only put down to others.
            let sum: f64 = hottest.iter().map(|it| it.count).sum();
            prop_assert!((sum - all).abs() < 1e-6);
        }

        #[test]
        fn what_fades_stays_within_its_error(asked in skewed(), more in skewed()) {
            let (mut sketch, mut exact) = sketch(&asked);
            sketch.fade(0.5);
            exact.values_mut().for_each(|count| *count *= 0.5);
            for key in more {
                let key = key.to_string();
                sketch.add(&key, 1.0, false);
                *exact.entry(key).or_default() += 1.0;
            }
            for it in sketch.hottest(usize::MAX) {
                let truth = exact[&*it.key];
                prop_assert!(it.count + 1e-6 >= truth && it.count - it.error <= truth + 1e-6);
            }
        }
    }

    #[test]
    fn what_was_hot_long_ago_is_left_out() {
        let mut sketch = Sketch::new(PLACES);
        sketch.add("a", 10.0, false);
        sketch.add("b", 1.0, false);
        assert_eq!(sketch.hottest(1)[0].key.as_ref(), "a");
        sketch.fade(0.09);
        assert!(sketch.hottest(9).is_empty());
    }
}
