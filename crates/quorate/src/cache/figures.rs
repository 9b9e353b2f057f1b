//! What is known of the caches of a fleet: what its instances tell of themselves, and the sum of it, as pure functions.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

/// What an instance tells the others of its caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum TellCaches {
    /// Nothing.
    #[default]
    Nothing,
    /// Counts: reads by kind, values and bytes written.
    Counts,
    /// Counts, and the names of the keys that are asked for most.
    Keys,
}

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
    /// The keys that are asked for most, at most 20; `None` if no instance tells them ([`TellCaches::Keys`]).
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(u64, u64)", into = "(u64, u64)")]
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
    /// How often, over about the last ten minutes. An estimate, too large rather than too small: of a cache with more than 4 096
    /// reads in a minute, one in 32 stands for all.
    pub reads: f64,
    /// By how much it may be too large.
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

    pub(super) fn minute(self) -> CacheMinute {
        CacheMinute {
            reads: self.total(),
            hits: self.hits(),
        }
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

impl CacheMinute {
    /// What came since another.
    pub(super) const fn since(self, before: Self) -> Self {
        Self {
            reads: self.reads.saturating_sub(before.reads),
            hits: self.hits.saturating_sub(before.hits),
        }
    }

    fn add(&mut self, other: Self) {
        self.reads = self.reads.saturating_add(other.reads);
        self.hits = self.hits.saturating_add(other.hits);
    }
}

impl From<(u64, u64)> for CacheMinute {
    fn from((reads, hits): (u64, u64)) -> Self {
        Self { reads, hits }
    }
}

impl From<CacheMinute> for (u64, u64) {
    fn from(minute: CacheMinute) -> Self {
        (minute.reads, minute.hits)
    }
}

/// Minutes that are remembered.
pub(super) const MINUTES: usize = 60;
/// Keys that are told.
pub(super) const HOTTEST: usize = 20;

/// What one instance tells of one cache. Read leniently: another version may say more, or less.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Told {
    pub(super) reads: ReadCounts,
    pub(super) values: u64,
    pub(super) bytes: u64,
    pub(super) undecodable: u64,
    pub(super) oversized: u64,
    /// The newest last.
    pub(super) minutes: Vec<CacheMinute>,
    /// Keys, with reads and error, where they are told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hottest: Option<Vec<(String, f64, f64)>>,
}

impl Told {
    /// As bytes, at most so many: keys are left out from the end, then minutes from the beginning.
    pub(super) fn written(mut self, most: usize) -> Vec<u8> {
        loop {
            let bytes = serde_json::to_vec(&self).unwrap_or_default();
            if bytes.len() <= most {
                return bytes;
            }
            match &mut self.hottest {
                Some(keys) if !keys.is_empty() => {
                    keys.pop();
                }
                _ if self.minutes.is_empty() => return bytes,
                _ => {
                    self.minutes.remove(0);
                }
            }
        }
    }
}

/// Adds up what instances tell, by the name of the cache.
pub(super) fn summed(told: impl IntoIterator<Item = (String, Told)>) -> Vec<CacheFigures> {
    let mut caches: BTreeMap<String, CacheFigures> = BTreeMap::new();
    let mut keys: HashMap<String, HashMap<String, (f64, f64)>> = HashMap::new();
    for (cache, told) in told {
        let sum = caches.entry(cache.clone()).or_default();
        sum.cache.clone_from(&cache);
        sum.instances += 1;
        sum.reads.add(told.reads);
        sum.values = sum.values.saturating_add(told.values);
        sum.bytes = sum.bytes.saturating_add(told.bytes);
        sum.undecodable = sum.undecodable.saturating_add(told.undecodable);
        sum.oversized = sum.oversized.saturating_add(told.oversized);
        add_minutes(&mut sum.minutes, &told.minutes);
        if let Some(hottest) = told.hottest {
            let keys = keys.entry(cache).or_default();
            for (key, reads, error) in hottest {
                let sum = keys.entry(key).or_default();
                *sum = (sum.0 + reads, sum.1 + error);
            }
        }
    }
    for (cache, keys) in keys {
        if let Some(sum) = caches.get_mut(&cache) {
            sum.hottest = Some(hottest(keys));
        }
    }
    caches.into_values().collect()
}

/// Adds minutes to minutes, the newest to the newest.
fn add_minutes(sum: &mut Vec<CacheMinute>, more: &[CacheMinute]) {
    let more = &more[more.len().saturating_sub(MINUTES)..];
    let missing = more.len().saturating_sub(sum.len());
    sum.splice(..0, std::iter::repeat_n(CacheMinute::default(), missing));
    for (sum, more) in sum.iter_mut().rev().zip(more.iter().rev()) {
        sum.add(*more);
    }
}

fn hottest(keys: HashMap<String, (f64, f64)>) -> Vec<HotKey> {
    let keys = keys.into_iter();
    let mut keys: Vec<_> = keys
        .map(|(key, (reads, error))| HotKey { key, reads, error })
        .collect();
    keys.sort_by(|one, two| two.reads.total_cmp(&one.reads).then(one.key.cmp(&two.key)));
    keys.truncate(HOTTEST);
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(hits: u64, minutes: &[(u64, u64)], keys: Option<&[(&str, f64)]>) -> Told {
        Told {
            reads: ReadCounts {
                hit: hits,
                miss: 1,
                ..ReadCounts::default()
            },
            values: 1,
            bytes: 10,
            minutes: minutes.iter().copied().map(Into::into).collect(),
            hottest: keys.map(|keys| {
                keys.iter()
                    .map(|(key, n)| ((*key).to_owned(), *n, 0.5))
                    .collect()
            }),
            ..Told::default()
        }
    }

    #[test]
    fn what_instances_tell_adds_up() {
        let sum = summed([
            (
                "b".to_owned(),
                told(3, &[(1, 0), (4, 3)], Some(&[("x", 3.0), ("y", 1.0)])),
            ),
            ("a".to_owned(), told(1, &[], None)),
            ("b".to_owned(), told(5, &[(6, 5)], Some(&[("y", 5.0)]))),
            ("b".to_owned(), told(0, &[], None)),
        ]);
        assert_eq!(
            sum.iter().map(|it| &*it.cache).collect::<Vec<_>>(),
            ["a", "b"]
        );
        assert_eq!((sum[0].instances, sum[0].hottest.as_deref()), (1, None));
        let b = &sum[1];
        assert_eq!(
            (b.instances, b.reads.hit, b.reads.total(), b.bytes),
            (3, 8, 11, 30)
        );
        assert_eq!(b.reads.hit_ratio(), Some(8.0 / 11.0));
        assert_eq!(
            b.minutes,
            [CacheMinute::from((1, 0)), CacheMinute::from((10, 8))]
        );
        let keys: Vec<_> = b
            .hottest
            .iter()
            .flatten()
            .map(|it| (&*it.key, it.reads, it.error))
            .collect();
        assert_eq!(keys, [("y", 6.0, 1.0), ("x", 3.0, 0.5)]);
    }

    #[test]
    fn what_does_not_fit_is_left_out_keys_first() {
        let long = "k".repeat(512);
        let keys: Vec<_> = (0..20)
            .map(|number| (&*long, f64::from(20 - number)))
            .collect();
        let full = told(7, &[(60, 50); MINUTES], Some(&keys));
        let written = full.clone().written(4096);
        assert!(written.len() <= 4096);
        let read: Told = serde_json::from_slice(&written).unwrap();
        assert_eq!((read.reads, &read.minutes), (full.reads, &full.minutes));
        let kept = read.hottest.unwrap();
        assert!(!kept.is_empty() && kept.len() < 20 && (kept[0].1 - 20.0).abs() < 1e-9);
        let read: Told = serde_json::from_slice(&full.written(400)).unwrap();
        assert!(read.hottest.unwrap().is_empty() && read.minutes.len() < MINUTES);
    }

    #[test]
    fn other_versions_are_read() {
        let read: Told =
            serde_json::from_str(r#"{"reads": {"hit": 1, "other": 5}, "new": []}"#).unwrap();
        assert_eq!(read.reads.total(), 1);
    }
}
