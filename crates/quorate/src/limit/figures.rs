//! What is known of the limiters of a fleet: what is counted of each, and the sum of it, as pure functions.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::policy::Policy;
use crate::key::untag;
use crate::told::{Counts, HotCount, Minute, Sum};

/// What is known of one limiter, or concurrency limit, over all instances that tell.
///
/// Counts are from the start of each instance; those of one that ended are no longer in them.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct LimitFigures {
    /// The limiter, or the concurrency limit.
    pub limiter: String,
    /// Which of the two: there may be one of each of a name.
    pub kind: LimitKind,
    /// How many instances tell of it.
    pub instances: usize,
    /// The policies it is used with, at most 4 lists that are counted differently; none of a concurrency limit.
    pub policies: Vec<Vec<Policy>>,
    /// What was decided.
    pub decisions: DecisionCounts,
    /// Requests that were denied, by the policy that refused for longest; `block` for a key that was blocked, `slots`
    /// where all slots of a concurrency limit were taken.
    pub denied_by: BTreeMap<String, u64>,
    /// The last minutes, the newest last, at most 60. The newest is under way, and minutes of two instances are up to a
    /// minute apart.
    pub minutes: Vec<LimitMinute>,
    /// The keys that are asked for most, at most 20; `None` if no instance tells them ([`Tell::Keys`](crate::Tell::Keys)).
    pub hottest: Option<Vec<HotLimitKey>>,
}

/// What is limited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum LimitKind {
    /// How often: a [`Limiter`](super::Limiter).
    #[default]
    Rate,
    /// How many at the same time: a [`ConcurrencyLimit`](super::ConcurrencyLimit).
    Concurrency,
}

/// What members of the roster that are concurrency limits end with. No name has a `:`.
const SLOTS: &str = ":slots";

impl LimitKind {
    /// What a limit is called on the roster.
    pub(super) fn member(self, name: &str) -> Cow<'_, str> {
        match self {
            Self::Rate => name.into(),
            Self::Concurrency => format!("{name}{SLOTS}").into(),
        }
    }

    /// What is called that on the roster.
    fn of_member(mut member: String) -> (Self, String) {
        match member.strip_suffix(SLOTS).map(str::len) {
            None => (Self::Rate, member),
            Some(length) => {
                member.truncate(length);
                (Self::Concurrency, member)
            }
        }
    }
}

/// Decisions of a limiter.
///
/// A request counts once it is decided, whoever decides it: the home, what an instance has in hand, its share. One that only
/// checks does not, nor does one that failed; one that is taken back has been decided all the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct DecisionCounts {
    /// Requests that were let through.
    pub allowed: u64,
    /// Requests that were turned away.
    pub denied: u64,
    /// Those of the allowed that would have been denied, but for shadow mode.
    pub shadow: u64,
    /// Those of the allowed that were not counted, since the home could not be asked.
    pub open: u64,
    /// Those of all that were decided by an instance's share, since the home could not be asked.
    pub share: u64,
}

/// A minute of a limiter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LimitMinute {
    /// Requests.
    pub asked: u64,
    /// Those of them that were denied.
    pub denied: u64,
}

/// A key that is asked for often.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct HotLimitKey {
    /// The key's text.
    pub key: String,
    /// The action, where its requests are counted on their own.
    pub action: Option<String>,
    /// How often, over about the last ten minutes: an estimate.
    ///
    /// Of an instance that has at most 4 096 requests to the limiter in a minute, it is at least what it was, and by at most
    /// `error` too large. Of one that has more, one in 32 of those beyond stands for all: then it may be off either way. An
    /// instance tells its 20 hottest keys, fewer where they are long: what a key was asked of one that does not tell it is
    /// missing.
    pub asked: f64,
    /// Those of them that were denied: an estimate by the same sample, and of the time for which an instance has followed the
    /// key. Too small by at most `error`, where `asked` is too large by at most that.
    pub denied: f64,
    /// By how much `asked` may be too large, and `denied` too small, since an instance follows 128 keys; what a sample is off
    /// by is not in it.
    pub error: f64,
}

impl DecisionCounts {
    /// All of them.
    #[must_use]
    pub const fn asked(&self) -> u64 {
        self.allowed.saturating_add(self.denied)
    }

    /// The share of those that were denied, 0 to 1; `None` before the first request.
    #[must_use]
    pub fn denied_ratio(&self) -> Option<f64> {
        let asked = self.asked();
        (asked > 0).then(|| self.denied as f64 / asked as f64)
    }

    const fn add(&mut self, other: Self) {
        self.allowed = self.allowed.saturating_add(other.allowed);
        self.denied = self.denied.saturating_add(other.denied);
        self.shadow = self.shadow.saturating_add(other.shadow);
        self.open = self.open.saturating_add(other.open);
        self.share = self.share.saturating_add(other.share);
    }
}

/// Lists of policies that one limiter is told of with.
pub(super) const MOST_LISTS: usize = 4;

/// What is counted of one limiter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct LimitCounts {
    pub(super) decisions: DecisionCounts,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) denied_by: BTreeMap<String, u64>,
    /// As text.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) policies: Vec<Vec<String>>,
}

impl Counts for LimitCounts {
    fn minute(&self) -> Minute {
        Minute {
            all: self.decisions.asked(),
            part: self.decisions.denied,
        }
    }

    fn is_used(&self) -> bool {
        self.decisions.asked() > 0
    }

    fn add(&mut self, other: Self) {
        self.decisions.add(other.decisions);
        for (policy, denied) in other.denied_by {
            let sum = self.denied_by.entry(policy).or_default();
            *sum = sum.saturating_add(denied);
        }
        for list in other.policies {
            // Those that count alike share a place: what has other keys is not pushed out by them.
            let is_new = parsed(&list).is_some_and(|new| !self.has_alike(&new));
            if is_new && self.policies.len() < MOST_LISTS {
                self.policies.push(list);
            }
        }
    }
}

impl LimitCounts {
    fn has_alike(&self, list: &[Policy]) -> bool {
        let mut known = self.policies.iter().filter_map(|it| parsed(it));
        known.any(|known| count_alike(&known, list))
    }
}

/// `None`: what another version means by it is not known here.
fn parsed(list: &[String]) -> Option<Vec<Policy>> {
    list.iter().map(|text| text.parse().ok()).collect()
}

/// Whether they count in the same keys: with another limit a limiter goes on, with another window it does not.
pub(super) fn count_alike(one: &[Policy], two: &[Policy]) -> bool {
    let is_alike = |(one, two): (&Policy, &Policy)| {
        one.algorithm() == two.algorithm() && one.window() == two.window()
    };
    one.len() == two.len() && one.iter().zip(two).all(is_alike)
}

impl From<Sum<LimitCounts>> for LimitFigures {
    fn from(sum: Sum<LimitCounts>) -> Self {
        let (kind, limiter) = LimitKind::of_member(sum.name);
        let policies = sum.counts.policies.iter();
        let minutes = sum.minutes.into_iter().map(|minute| LimitMinute {
            asked: minute.all,
            denied: minute.part,
        });
        let keys = |keys: Vec<_>| keys.into_iter().map(HotLimitKey::from).collect();
        Self {
            limiter,
            kind,
            instances: sum.instances,
            policies: policies.filter_map(|list| parsed(list)).collect(),
            decisions: sum.counts.decisions,
            denied_by: sum.counts.denied_by,
            minutes: minutes.collect(),
            hottest: sum.hottest.map(keys),
        }
    }
}

impl From<HotCount> for HotLimitKey {
    /// Of `:<key>` or `@<action>:<key>`, as keys are written after the limiter's name.
    fn from(hot: HotCount) -> Self {
        let (action, key) = hot.key.split_once(':').unwrap_or(("", &hot.key));
        Self {
            key: untag(key),
            action: action.strip_prefix('@').map(str::to_owned),
            asked: hot.count,
            denied: hot.part,
            error: hot.error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(allowed: u64, denied: u64, policies: &[&str]) -> LimitCounts {
        LimitCounts {
            decisions: DecisionCounts {
                allowed,
                denied,
                ..DecisionCounts::default()
            },
            denied_by: BTreeMap::from([("log-60s".to_owned(), denied)]),
            policies: vec![policies.iter().map(|&it| it.to_owned()).collect()],
        }
    }

    #[test]
    fn counts_of_limiters_add_up() {
        let mut sum = counts(8, 2, &["log:10/60s"]);
        sum.add(counts(0, 1, &["log:10/60s"]));
        sum.add(counts(1, 0, &["log:10/60s", "bucket:1/1s+5"]));
        assert_eq!((sum.decisions.allowed, sum.decisions.denied), (9, 3));
        assert_eq!(sum.minute(), Minute { all: 12, part: 3 });
        assert_eq!(sum.decisions.denied_ratio(), Some(0.25));
        assert_eq!(sum.denied_by["log-60s"], 3);
        assert_eq!(sum.policies.len(), 2);
        assert!(sum.is_used() && !LimitCounts::default().is_used());
    }

    /// They come from another instance: a list that nobody could have made is left out, and there is a bound.
    #[test]
    fn policies_are_those_that_count_differently() {
        let mut told = LimitCounts::default();
        told.add(counts(1, 0, &["log:10/60s"]));
        for limit in 1..50 {
            told.add(counts(1, 0, &[&format!("log:{limit}/60s")]));
            told.add(counts(1, 0, &[&format!("tree:{limit}/1s")]));
        }
        for policies in [["fixed:1/1s"], ["log:1/1s"], ["log:1/2s"], ["log:1/3s"]] {
            told.add(counts(1, 0, &policies));
        }
        assert_eq!(told.policies.len(), MOST_LISTS);
        let figures = LimitFigures::from(Sum {
            counts: told,
            ..Sum::default()
        });
        let policies = figures.policies.iter().flatten().map(ToString::to_string);
        assert_eq!(
            policies.collect::<Vec<_>>(),
            ["log:10/60s", "fixed:1/1s", "log:1/1s", "log:1/2s"]
        );
    }

    #[test]
    fn hot_keys_are_those_that_were_asked_for() {
        let key = |text: &str| {
            let hot = HotLimitKey::from(HotCount {
                key: text.to_owned(),
                ..HotCount::default()
            });
            (hot.action, hot.key)
        };
        assert_eq!(key(":user:7"), (None, "user:7".to_owned()));
        assert_eq!(
            key("@pdf:a%7Db"),
            (Some("pdf".to_owned()), "a}b".to_owned())
        );
    }

    /// As instances of other versions write them.
    #[test]
    fn counts_of_limiters_are_read_leniently() {
        let text = r#"{"decisions": {"denied": 1, "other": 5}, "new": []}"#;
        let read: LimitCounts = serde_json::from_str(text).unwrap();
        assert_eq!(read.decisions.asked(), 1);
    }
}
