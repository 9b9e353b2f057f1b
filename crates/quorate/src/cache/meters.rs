//! What is counted of a cache.

use std::sync::atomic::{AtomicU64, Ordering};

use metrics::Counter;
use parking_lot::Mutex;

use super::read::ReadKind;
use super::sketch::{Counted, Sketch};
use crate::telemetry;

/// Handles looked up once: a lookup per read would cost more than the rest of the bookkeeping.
#[derive(Debug)]
pub(super) struct Meters {
    pub(super) near_hit: Meter,
    pub(super) hit: Meter,
    pub(super) stale: Meter,
    pub(super) loaded: Meter,
    pub(super) followed: Meter,
    pub(super) miss: Meter,
    pub(super) undecodable: Meter,
    pub(super) oversized: Meter,
    /// Values that were to be kept, and their bytes.
    pub(super) values: AtomicU64,
    pub(super) bytes: AtomicU64,
    /// Which keys are asked for; only where that is to be told.
    pub(super) hot: Option<Hot>,
}

/// A counter that is read as well.
pub(super) struct Meter {
    told: Counter,
    // Relaxed throughout: a figure orders nothing.
    own: AtomicU64,
}

impl Meter {
    fn new(told: Counter) -> Self {
        let own = AtomicU64::new(0);
        Self { told, own }
    }

    pub(super) fn increment(&self, by: u64) {
        self.told.increment(by);
        self.own.fetch_add(by, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.own.load(Ordering::Relaxed)
    }
}

impl Meters {
    /// For the cache of this name; `follows_keys`: which keys are asked for is to be told.
    pub(super) fn new(cache: &str, follows_keys: bool) -> Self {
        let name = cache.to_owned();
        let of = |kind| {
            let cache = cache.to_owned();
            Meter::new(metrics::counter!(telemetry::CACHE_READS, "cache" => cache, "kind" => kind))
        };
        let undecodable = metrics::counter!(telemetry::CACHE_UNDECODABLE, "cache" => name.clone());
        Self {
            near_hit: of("near_hit"),
            hit: of("hit"),
            stale: of("stale"),
            loaded: of("loaded"),
            followed: of("followed"),
            miss: of("miss"),
            undecodable: Meter::new(undecodable),
            oversized: Meter::new(metrics::counter!(telemetry::CACHE_OVERSIZED, "cache" => name)),
            values: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            hot: follows_keys.then(Hot::default),
        }
    }

    pub(super) const fn of(&self, kind: ReadKind) -> &Meter {
        match kind {
            ReadKind::NearHit => &self.near_hit,
            ReadKind::Hit => &self.hit,
            ReadKind::Stale { .. } => &self.stale,
            ReadKind::Loaded => &self.loaded,
            ReadKind::Followed => &self.followed,
            ReadKind::Miss => &self.miss,
        }
    }

    /// Counts a value that is to be kept.
    pub(super) fn admitted(&self, bytes: usize) {
        self.values.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// A read begins.
    pub(super) fn asked(&self, key: &str) {
        if let Some(hot) = &self.hot {
            hot.asked(key);
        }
    }
}

/// Keys that are followed: enough that one of a hundred reads is seen.
const PLACES: usize = 128;
/// So many reads of a minute are all looked at, of more only one in [`ONE_IN`].
const ALL_OF: u64 = 4_096;
const ONE_IN: u32 = 32;
/// What a minute leaves of the counts before it: they are of about the last ten minutes.
const FADES: f64 = 0.9;

/// Which keys are asked for most, over about the last ten minutes.
#[derive(Debug)]
pub(super) struct Hot {
    /// Reads of this minute.
    asked: AtomicU64,
    // A short lock, and a read does not wait for it: what is counted meanwhile is left out.
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
    fn asked(&self, key: &str) {
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        let weight = if number < ALL_OF {
            1.0
        } else if is_picked(number) {
            f64::from(ONE_IN)
        } else {
            return;
        };
        if let Some(mut sketch) = self.sketch.try_lock() {
            sketch.add(key, weight);
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

/// Whether this read is one of those that are looked at. Every 32nd would miss most of the keys of who asks for them in
/// turns: multiples of the golden ratio spread them.
fn is_picked(number: u64) -> bool {
    number.wrapping_mul(0x9E37_79B9_7F4A_7C15) < u64::MAX / u64::from(ONE_IN)
}

impl std::fmt::Debug for Meter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Meter({})", self.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Also of keys that are asked for in turns.
    #[test]
    fn of_many_reads_some_are_looked_at_and_stand_for_all() {
        let hot = Hot::default();
        let keys: Vec<String> = (0..16).map(|key| format!("k{key}")).collect();
        const ROUNDS: u32 = 10_000;
        for _ in 0..ROUNDS {
            keys.iter().for_each(|key| hot.asked(key));
        }
        let hottest = hot.hottest(100);
        assert_eq!(hottest.len(), keys.len());
        for it in hottest {
            let off = it.count / f64::from(ROUNDS);
            assert!((0.9..1.1).contains(&off), "{it:?}");
        }
    }

    #[test]
    fn of_few_reads_all_are_looked_at() {
        let hot = Hot::default();
        for (key, reads) in [("a", 5), ("b", 3), ("c", 1)] {
            (0..reads).for_each(|_| hot.asked(key));
        }
        let counts: Vec<_> = hot.hottest(2).into_iter().map(|it| it.count).collect();
        assert_eq!(counts, [5.0, 3.0]);
        hot.minute();
        assert!((hot.hottest(1)[0].count - 4.5).abs() < 1e-9);
    }
}
