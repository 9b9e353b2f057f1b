//! What instances tell of what they use, and the sum of it, as pure functions.

use std::collections::{BTreeMap, HashMap};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// What an instance tells the others of its caches, or of its limiters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Tell {
    /// Nothing.
    #[default]
    Nothing,
    /// Counts.
    Counts,
    /// Counts, and the names of the keys that are asked for most.
    Keys,
}

/// What is counted of one cache or limiter, from the start of an instance on.
pub(crate) trait Counts: Clone + Default + PartialEq + Serialize + DeserializeOwned {
    /// All of it, as if it had come in one minute.
    fn minute(&self) -> Minute;

    /// Whether it was used at all.
    fn is_used(&self) -> bool;

    /// Adds what another instance counted.
    fn add(&mut self, other: Self);
}

/// How often it was asked for in a minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(u64, u64)", into = "(u64, u64)")]
pub(crate) struct Minute {
    pub(crate) all: u64,
    /// Those that are shown beside: reads that were hits, requests that were denied.
    pub(crate) part: u64,
}

impl Minute {
    /// What came since another.
    pub(super) const fn since(self, before: Self) -> Self {
        Self {
            all: self.all.saturating_sub(before.all),
            part: self.part.saturating_sub(before.part),
        }
    }

    fn add(&mut self, other: Self) {
        self.all = self.all.saturating_add(other.all);
        self.part = self.part.saturating_add(other.part);
    }
}

impl From<(u64, u64)> for Minute {
    fn from((all, part): (u64, u64)) -> Self {
        Self { all, part }
    }
}

impl From<Minute> for (u64, u64) {
    fn from(minute: Minute) -> Self {
        (minute.all, minute.part)
    }
}

/// How often a key was asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "HotText", into = "HotText")]
pub(crate) struct HotCount {
    pub(crate) key: String,
    pub(crate) count: f64,
    /// By how much it may be too large.
    pub(crate) error: f64,
    /// Those that are shown beside.
    pub(crate) part: f64,
}

/// As it is written.
#[derive(Serialize, Deserialize)]
struct HotText(
    String,
    f64,
    f64,
    #[serde(default, skip_serializing_if = "is_none")] f64,
);

fn is_none(part: &f64) -> bool {
    *part <= 0.0
}

impl From<HotText> for HotCount {
    fn from(HotText(key, count, error, part): HotText) -> Self {
        Self {
            key,
            count,
            error,
            part,
        }
    }
}

impl From<HotCount> for HotText {
    fn from(hot: HotCount) -> Self {
        Self(hot.key, hot.count, hot.error, hot.part)
    }
}

/// Minutes that are remembered.
pub(super) const MINUTES: usize = 60;
/// Keys that are told.
pub(super) const HOTTEST: usize = 20;

/// What one instance tells of one cache or limiter. Read leniently: another version may say more, or less.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Told<C: Default> {
    #[serde(flatten)]
    pub(super) counts: C,
    /// The newest last.
    pub(super) minutes: Vec<Minute>,
    /// Where they are told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hottest: Option<Vec<HotCount>>,
}

impl<C: Counts> Told<C> {
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

/// What is known of one cache or limiter, over all instances that tell.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Sum<C> {
    pub(crate) name: String,
    pub(crate) instances: usize,
    pub(crate) counts: C,
    /// The newest last.
    pub(crate) minutes: Vec<Minute>,
    /// The hottest first; `None` if no instance tells them.
    pub(crate) hottest: Option<Vec<HotCount>>,
}

/// Adds up what instances tell, by name.
pub(super) fn summed<C: Counts>(told: impl IntoIterator<Item = (String, Told<C>)>) -> Vec<Sum<C>> {
    let mut sums: BTreeMap<String, Sum<C>> = BTreeMap::new();
    let mut keys: HashMap<String, HashMap<String, HotCount>> = HashMap::new();
    for (name, told) in told {
        let sum = sums.entry(name.clone()).or_default();
        sum.name.clone_from(&name);
        sum.instances += 1;
        sum.counts.add(told.counts);
        add_minutes(&mut sum.minutes, &told.minutes);
        if let Some(hottest) = told.hottest {
            let keys = keys.entry(name).or_default();
            hottest.into_iter().for_each(|hot| add_key(keys, hot));
        }
    }
    for (name, keys) in keys {
        if let Some(sum) = sums.get_mut(&name) {
            sum.hottest = Some(hottest(keys.into_values().collect()));
        }
    }
    sums.into_values().collect()
}

/// Adds minutes to minutes, the newest to the newest.
fn add_minutes(sum: &mut Vec<Minute>, more: &[Minute]) {
    let more = &more[more.len().saturating_sub(MINUTES)..];
    let missing = more.len().saturating_sub(sum.len());
    sum.splice(..0, std::iter::repeat_n(Minute::default(), missing));
    for (sum, more) in sum.iter_mut().rev().zip(more.iter().rev()) {
        sum.add(*more);
    }
}

fn add_key(keys: &mut HashMap<String, HotCount>, hot: HotCount) {
    let sum = keys.entry(hot.key.clone()).or_default();
    sum.key = hot.key;
    sum.count += hot.count;
    sum.error += hot.error;
    sum.part += hot.part;
}

fn hottest(mut keys: Vec<HotCount>) -> Vec<HotCount> {
    keys.sort_by(|one, two| two.count.total_cmp(&one.count).then(one.key.cmp(&two.key)));
    keys.truncate(HOTTEST);
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
    #[serde(default)]
    struct Reads {
        all: u64,
        hits: u64,
    }

    impl Counts for Reads {
        fn minute(&self) -> Minute {
            (self.all, self.hits).into()
        }

        fn is_used(&self) -> bool {
            self.all > 0
        }

        fn add(&mut self, other: Self) {
            self.all += other.all;
            self.hits += other.hits;
        }
    }

    fn told(hits: u64, minutes: &[(u64, u64)], keys: Option<&[(&str, f64)]>) -> Told<Reads> {
        let hot = |(key, count): &(&str, f64)| HotCount {
            key: (*key).to_owned(),
            count: *count,
            error: 0.5,
            part: count - 1.0,
        };
        Told {
            counts: Reads {
                all: hits + 1,
                hits,
            },
            minutes: minutes.iter().copied().map(Into::into).collect(),
            hottest: keys.map(|keys| keys.iter().map(hot).collect()),
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
            sum.iter().map(|it| &*it.name).collect::<Vec<_>>(),
            ["a", "b"]
        );
        assert_eq!((sum[0].instances, sum[0].hottest.as_deref()), (1, None));
        let b = &sum[1];
        assert_eq!((b.instances, b.counts.all, b.counts.hits), (3, 11, 8));
        assert_eq!(b.minutes, [Minute::from((1, 0)), Minute::from((10, 8))]);
        let keys: Vec<_> = b
            .hottest
            .iter()
            .flatten()
            .map(|it| (&*it.key, it.count, it.error, it.part))
            .collect();
        assert_eq!(keys, [("y", 6.0, 1.0, 4.0), ("x", 3.0, 0.5, 2.0)]);
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
        let read: Told<Reads> = serde_json::from_slice(&written).unwrap();
        assert_eq!((read.counts, &read.minutes), (full.counts, &full.minutes));
        let kept = read.hottest.unwrap();
        assert!(!kept.is_empty() && kept.len() < 20);
        assert_eq!(kept[0], full.hottest.as_ref().unwrap()[0]);
        let read: Told<Reads> = serde_json::from_slice(&full.written(400)).unwrap();
        assert!(read.hottest.unwrap().is_empty() && read.minutes.len() < MINUTES);
    }

    #[test]
    fn other_versions_are_read() {
        let text = r#"{"hits": 1, "other": 5, "new": [], "hottest": [["a", 1.0, 0.0]]}"#;
        let read: Told<Reads> = serde_json::from_str(text).unwrap();
        assert_eq!(read.counts.hits, 1);
        assert_eq!(read.hottest.unwrap()[0].key, "a");
    }
}
