//! Which keys are asked for most, without anybody paying for it.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::sketch::{Counted, Sketch};

/// Keys that are followed: enough that what is one of a hundred is seen.
const PLACES: usize = 128;
/// So many in a minute are all looked at, of more only one in [`ONE_IN`].
const ALL_OF: u64 = 4_096;
const ONE_IN: u32 = 32;
/// What a minute leaves of the counts before it: they are of about the last ten minutes.
const FADES: f64 = 0.9;

/// Which keys are asked for most, over about the last ten minutes.
#[derive(Debug)]
pub(crate) struct Hot {
    /// How often in this minute.
    asked: AtomicU64,
    // A short lock, and nobody waits for it: what is counted meanwhile is left out.
    sketch: Mutex<Sketch>,
}

impl Default for Hot {
    fn default() -> Self {
        Self {
            asked: AtomicU64::new(0),
            sketch: Mutex::new(Sketch::new(PLACES)),
        }
    }
}

impl Hot {
    /// Counts a key; `is_part`: as the special case that is shown beside.
    pub(crate) fn asked(&self, key: &str, is_part: bool) {
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        let weight = if number < ALL_OF {
            1.0
        } else if is_picked(number) {
            f64::from(ONE_IN)
        } else {
            return;
        };
        if let Some(mut sketch) = self.sketch.try_lock() {
            sketch.add(key, weight, is_part);
        }
    }

    /// A minute is over.
    pub(super) fn minute(&self) {
        self.asked.store(0, Ordering::Relaxed);
        self.sketch.lock().fade(FADES);
    }

    pub(super) fn hottest(&self, most: usize) -> Vec<Counted> {
        self.sketch.lock().hottest(most)
    }
}

/// Whether this one is among those that are looked at. Every 32nd would miss most of the keys of who asks for them in
/// turns: multiples of the golden ratio spread them.
fn is_picked(number: u64) -> bool {
    number.wrapping_mul(0x9E37_79B9_7F4A_7C15) < u64::MAX / u64::from(ONE_IN)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Also of keys that are asked for in turns.
    #[test]
    fn of_many_some_are_looked_at_and_stand_for_all() {
        let hot = Hot::default();
        let keys: Vec<String> = (0..16).map(|key| format!("k{key}")).collect();
        const ROUNDS: u32 = 10_000;
        for _ in 0..ROUNDS {
            keys.iter().for_each(|key| hot.asked(key, false));
        }
        let hottest = hot.hottest(100);
        assert_eq!(hottest.len(), keys.len());
        for it in hottest {
            let off = it.count / f64::from(ROUNDS);
            assert!((0.9..1.1).contains(&off), "{it:?}");
        }
    }

    #[test]
    fn of_few_all_are_looked_at() {
        let hot = Hot::default();
        for (key, times) in [("a", 5), ("b", 3), ("c", 1)] {
            (0..times).for_each(|time| hot.asked(key, time < 2));
        }
        let hottest = hot.hottest(2).into_iter();
        let counts: Vec<_> = hottest.map(|it| (it.count, it.part)).collect();
        assert_eq!(counts, [(5.0, 2.0), (3.0, 2.0)]);
        hot.minute();
        assert!((hot.hottest(1)[0].count - 4.5).abs() < 1e-9);
    }
}
