//! What is known of the caches of a fleet: what is counted of each, and the sum of it, as pure functions.

use serde::{Deserialize, Serialize};

use crate::told::{Counts, HotCount, Minute, Sum};

/// What is known of one cache, over all instances that tell.
///
/// Counts are from the start of each instance; those of one that ended are no longer in them.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct CacheFigures {
    /// The cache.
    pub cache: String,
    /// How many instances tell of it.
    pub instances: usize,
    /// Reads, by what they found.
    pub reads: ReadCounts,
    /// Values written to be kept, loaded ones too.
    pub values: u64,
    /// Their bytes, encoded.
    pub bytes: u64,
    /// Values read that did not decode.
    pub undecodable: u64,
    /// Values that were not kept because they are too large.
    pub oversized: u64,
    /// The last minutes, the newest last, at most 60. The newest is under way, and minutes of two instances are
    /// up to a minute apart.
    pub minutes: Vec<CacheMinute>,
    /// The keys that are asked for most, at most 20; `None` if no instance tells them ([`Tell::Keys`](crate::Tell::Keys)).
    pub hottest: Option<Vec<HotKey>>,
}

/// Reads of a cache, by what they found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ReadCounts {
    /// Answered by what the process itself kept.
    pub near_hit: u64,
    /// Answered by what was kept.
    pub hit: u64,
    /// Answered by what was kept and no longer fresh.
    pub stale: u64,
    /// Answered by the caller's own load.
    pub loaded: u64,
    /// Answered by somebody else's load.
    pub followed: u64,
    /// Not answered.
    pub miss: u64,
}

/// A minute of a cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheMinute {
    /// Reads.
    pub reads: u64,
    /// Those of them that were answered by what was kept, fresh or not.
    pub hits: u64,
}

/// A key that is asked for often.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct HotKey {
    /// The key's text.
    pub key: String,
    /// How often, over about the last ten minutes: an estimate.
    ///
    /// Of an instance that has at most 4 096 reads of the cache in a minute, it is at least what it was, and by at most `error`
    /// too large. Of one that has more, one in 32 of those beyond stands for all: then it may be off either way. An instance
    /// tells its 20 hottest keys, fewer where they are long: what a key was read on one that does not tell it is missing.
    pub reads: f64,
    /// By how much it may be too large, since an instance follows 128 keys; what a sample is off by is not in it.
    pub error: f64,
}

impl ReadCounts {
    /// All of them.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.hits() + self.loaded + self.followed + self.miss
    }

    /// Those that were answered by what was kept, fresh or not.
    #[must_use]
    pub const fn hits(&self) -> u64 {
        self.near_hit + self.hit + self.stale
    }

    /// The share of those in all of them, 0 to 1; `None` before the first read.
    #[must_use]
    pub fn hit_ratio(&self) -> Option<f64> {
        let total = self.total();
        (total > 0).then(|| self.hits() as f64 / total as f64)
    }

    fn add(&mut self, other: Self) {
        self.near_hit = self.near_hit.saturating_add(other.near_hit);
        self.hit = self.hit.saturating_add(other.hit);
        self.stale = self.stale.saturating_add(other.stale);
        self.loaded = self.loaded.saturating_add(other.loaded);
        self.followed = self.followed.saturating_add(other.followed);
        self.miss = self.miss.saturating_add(other.miss);
    }
}

/// What is counted of one cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct CacheCounts {
    pub(super) reads: ReadCounts,
    pub(super) values: u64,
    pub(super) bytes: u64,
    pub(super) undecodable: u64,
    pub(super) oversized: u64,
}

impl Counts for CacheCounts {
    fn minute(&self) -> Minute {
        Minute {
            all: self.reads.total(),
            part: self.reads.hits(),
        }
    }

    fn is_used(&self) -> bool {
        self.reads.total() > 0 || self.values > 0
    }

    fn add(&mut self, other: Self) {
        self.reads.add(other.reads);
        self.values = self.values.saturating_add(other.values);
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.undecodable = self.undecodable.saturating_add(other.undecodable);
        self.oversized = self.oversized.saturating_add(other.oversized);
    }
}

impl From<Sum<CacheCounts>> for CacheFigures {
    fn from(sum: Sum<CacheCounts>) -> Self {
        let minutes = sum.minutes.into_iter().map(|minute| CacheMinute {
            reads: minute.all,
            hits: minute.part,
        });
        let keys = |keys: Vec<_>| keys.into_iter().map(HotKey::from).collect();
        Self {
            cache: sum.name,
            instances: sum.instances,
            reads: sum.counts.reads,
            values: sum.counts.values,
            bytes: sum.counts.bytes,
            undecodable: sum.counts.undecodable,
            oversized: sum.counts.oversized,
            minutes: minutes.collect(),
            hottest: sum.hottest.map(keys),
        }
    }
}

impl From<HotCount> for HotKey {
    fn from(hot: HotCount) -> Self {
        Self {
            key: hot.key,
            reads: hot.count,
            error: hot.error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_caches_add_up() {
        let counts = |hit, miss| CacheCounts {
            reads: ReadCounts {
                hit,
                miss,
                ..ReadCounts::default()
            },
            values: 1,
            bytes: 10,
            ..CacheCounts::default()
        };
        let mut sum = counts(8, 2);
        sum.add(counts(0, 1));
        assert_eq!((sum.values, sum.bytes), (2, 20));
        assert_eq!(sum.minute(), Minute { all: 11, part: 8 });
        assert_eq!(sum.reads.hit_ratio(), Some(8.0 / 11.0));
        assert!(sum.is_used() && !CacheCounts::default().is_used());
    }

    /// As instances of other versions write them.
    #[test]
    fn counts_of_caches_are_read_leniently() {
        let text = r#"{"reads": {"hit": 1, "other": 5}, "new": []}"#;
        let read: CacheCounts = serde_json::from_str(text).unwrap();
        assert_eq!(read.reads.total(), 1);
    }
}
