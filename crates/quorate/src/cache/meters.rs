//! What is counted of a cache.

use metrics::Counter;

use super::read::ReadKind;
use crate::telemetry;

/// Handles looked up once: a lookup per read would cost more than the rest of the bookkeeping.
pub(super) struct Meters {
    near_hit: Counter,
    pub(super) hit: Counter,
    pub(super) stale: Counter,
    loaded: Counter,
    followed: Counter,
    pub(super) miss: Counter,
    pub(super) undecodable: Counter,
    pub(super) oversized: Counter,
}

impl Meters {
    pub(super) fn new(cache: &str) -> Self {
        let name = cache.to_owned();
        let of = |kind| metrics::counter!(telemetry::CACHE_READS, "cache" => cache.to_owned(), "kind" => kind);
        Self {
            near_hit: of("near_hit"),
            hit: of("hit"),
            stale: of("stale"),
            loaded: of("loaded"),
            followed: of("followed"),
            miss: of("miss"),
            undecodable: metrics::counter!(telemetry::CACHE_UNDECODABLE, "cache" => name.clone()),
            oversized: metrics::counter!(telemetry::CACHE_OVERSIZED, "cache" => name),
        }
    }

    pub(super) const fn of(&self, kind: ReadKind) -> &Counter {
        match kind {
            ReadKind::NearHit => &self.near_hit,
            ReadKind::Hit => &self.hit,
            ReadKind::Stale { .. } => &self.stale,
            ReadKind::Loaded => &self.loaded,
            ReadKind::Followed => &self.followed,
            ReadKind::Miss => &self.miss,
        }
    }
}

impl std::fmt::Debug for Meters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Meters")
    }
}
