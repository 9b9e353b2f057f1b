//! What is counted of a cache.

use std::sync::atomic::{AtomicU64, Ordering};

use metrics::Counter;

use super::figures::{CacheCounts, ReadCounts};
use super::read::ReadKind;
use crate::telemetry;
use crate::told::Hot;

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

    fn get(&self) -> u64 {
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

    pub(super) fn counts(&self) -> CacheCounts {
        let reads = ReadCounts {
            near_hit: self.near_hit.get(),
            hit: self.hit.get(),
            stale: self.stale.get(),
            loaded: self.loaded.get(),
            followed: self.followed.get(),
            miss: self.miss.get(),
        };
        CacheCounts {
            reads,
            values: self.values.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            undecodable: self.undecodable.get(),
            oversized: self.oversized.get(),
        }
    }

    /// A read begins.
    pub(super) fn asked(&self, key: &str) {
        if let Some(hot) = &self.hot {
            hot.asked(key, false);
        }
    }
}

impl std::fmt::Debug for Meter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Meter({})", self.get())
    }
}
