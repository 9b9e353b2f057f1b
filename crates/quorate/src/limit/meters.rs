//! How often a limiter allows and refuses.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use metrics::Counter;
use parking_lot::Mutex;

use super::decision::{Basis, Decision};
use super::figures::{DecisionCounts, LimitCounts, LimitFigures, MOST_LISTS, count_alike};
use super::policy::Policy;
use super::port::LimitKey;
use crate::error::Result;
use crate::key::Namespace;
use crate::presence::Presences;
use crate::telemetry;
use crate::told::{self, Hot, Known, OTHERS, Subject, Tell, Telling};

/// Names of policies that denials are told by. What comes from outside may name policies.
const MOST_NAMES: usize = 16;

/// What denials of a concurrency limit are told as.
const SLOTS: &str = "slots";

/// What is counted, by limiter.
#[derive(Debug)]
pub(crate) struct AllMeters {
    known: Arc<Known<Meters>>,
    others: OnceLock<Arc<Meters>>,
}

impl AllMeters {
    /// `None`: nothing is told.
    pub(super) fn new(telling: Option<Telling>) -> Self {
        Self {
            known: Known::new(telling),
            others: OnceLock::new(),
        }
    }

    pub(super) fn of(&self, namespace: &Namespace, limiter: &str) -> Arc<Meters> {
        let known = self
            .known
            .of(namespace, limiter, |what| Meters::of(limiter, what));
        known.unwrap_or_else(|| {
            // Counted together, and not told.
            let others = || Arc::new(Meters::of(OTHERS, Tell::Nothing));
            self.others.get_or_init(others).clone()
        })
    }
}

/// What is known of the limiters of a namespace, over all instances that tell.
pub(crate) async fn figures(
    presences: &Arc<Presences>,
    namespace: &Namespace,
) -> Result<Vec<LimitFigures>> {
    let sums = told::sums::<Meters>(presences, namespace).await?;
    Ok(sums.into_iter().map(LimitFigures::from).collect())
}

/// Handles looked up once for each limiter.
pub(super) struct Meters {
    allowed: Counter,
    denied: Counter,
    shadow: Counter,
    open: Counter,
    share: Counter,
    /// What the others are told; `None`: nothing.
    told: Option<Box<Told>>,
}

/// What is told of a limiter.
#[derive(Default)]
struct Told {
    // Relaxed throughout: a figure orders nothing.
    allowed: AtomicU64,
    denied: AtomicU64,
    shadow: AtomicU64,
    open: AtomicU64,
    share: AtomicU64,
    // Short locks: one is taken where a request is denied, which costs more anyway, the other when a handle is made.
    denied_by: Mutex<Vec<(String, u64)>>,
    policies: Mutex<Vec<Arc<[Policy]>>>,
    hot: Option<Hot>,
}

impl Meters {
    fn of(limiter: &str, what: Tell) -> Self {
        let counter = |result: &'static str| metrics::counter!(telemetry::LIMIT_DECISIONS, "limiter" => limiter.to_owned(), "result" => result);
        let told = || Told {
            hot: (what == Tell::Keys).then(Hot::default),
            ..Told::default()
        };
        Self {
            allowed: counter("allowed"),
            denied: counter("denied"),
            shadow: counter("shadow"),
            open: counter("open"),
            share: counter("share"),
            told: (what != Tell::Nothing).then(|| Box::new(told())),
        }
    }

    /// Takes note of the policies that a limiter is used with.
    pub(super) fn used_with(&self, policies: &Arc<[Policy]>) {
        let Some(told) = &self.told else { return };
        let mut known = told.policies.lock();
        if let Some(alike) = known.iter().position(|it| count_alike(it, policies)) {
            known.remove(alike);
        } else if known.len() >= MOST_LISTS {
            // The one that was not named for longest.
            known.remove(0);
        }
        known.push(policies.clone());
    }

    /// Counts a decision about a key of the limiter.
    pub(super) fn decided(&self, limiter: &str, key: &LimitKey, decision: &Decision) {
        let basis = decision.basis();
        let counter = match (decision.is_allowed(), basis) {
            (_, Basis::Shadow) => &self.shadow,
            (_, Basis::Open) => &self.open,
            (_, Basis::Share) => &self.share,
            (true, _) => &self.allowed,
            (false, _) => &self.denied,
        };
        counter.increment(1);
        if let Some(told) = &self.told {
            let denied_by = match decision {
                Decision::Deny { policy, .. } => Some(policy.as_str()),
                Decision::Allow { .. } => None,
            };
            told.decided(key.within(limiter), basis, denied_by);
        }
    }

    /// Counts who asked for a slot of a concurrency limit.
    pub(super) fn entered(&self, limit: &str, key: &LimitKey, has_entered: bool) {
        let counter = if has_entered {
            &self.allowed
        } else {
            &self.denied
        };
        counter.increment(1);
        if let Some(told) = &self.told {
            let denied_by = (!has_entered).then_some(SLOTS);
            told.decided(key.within(limit), Basis::Fleet, denied_by);
        }
    }
}

impl Told {
    fn decided(&self, key: &str, basis: Basis, denied_by: Option<&str>) {
        let one_more = |counter: &AtomicU64| {
            counter.fetch_add(1, Ordering::Relaxed);
        };
        match basis {
            Basis::Shadow => one_more(&self.shadow),
            Basis::Open => one_more(&self.open),
            Basis::Share => one_more(&self.share),
            Basis::Fleet | Basis::Local => {}
        }
        match denied_by {
            None => one_more(&self.allowed),
            Some(policy) => {
                one_more(&self.denied);
                self.denied_by(policy);
            }
        }
        if let Some(hot) = &self.hot {
            hot.asked(key, denied_by.is_some());
        }
    }

    fn denied_by(&self, policy: &str) {
        let mut denied_by = self.denied_by.lock();
        let known = denied_by.len();
        if let Some((_, denied)) = denied_by.iter_mut().find(|(name, _)| name == policy) {
            *denied += 1;
        } else if known < MOST_NAMES {
            denied_by.push((policy.to_owned(), 1));
        }
    }
}

impl Subject for Meters {
    type Counts = LimitCounts;

    const ROSTER: &'static str = "quorate/limits";

    fn counts(&self) -> LimitCounts {
        let Some(told) = &self.told else {
            return LimitCounts::default();
        };
        let text = |policies: &Arc<[Policy]>| policies.iter().map(ToString::to_string).collect();
        let mut policies: Vec<Vec<_>> = told.policies.lock().iter().map(text).collect();
        policies.sort_unstable();
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        LimitCounts {
            decisions: DecisionCounts {
                allowed: of(&told.allowed),
                denied: of(&told.denied),
                shadow: of(&told.shadow),
                open: of(&told.open),
                share: of(&told.share),
            },
            denied_by: told.denied_by.lock().iter().cloned().collect(),
            policies,
        }
    }

    fn hot(&self) -> Option<&Hot> {
        self.told.as_ref()?.hot.as_ref()
    }
}

impl fmt::Debug for Meters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Meters")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::told::MOST_KNOWN;

    #[test]
    fn names_from_outside_are_kept_up_to_a_bound() {
        let meters = AllMeters::new(None);
        let of = |name: &str| meters.of(&Namespace::default(), name);
        for number in 0..MOST_KNOWN + 50 {
            of(&format!("limiter-{number}"));
        }
        assert_eq!(meters.known.all().len(), MOST_KNOWN);
        assert!(Arc::ptr_eq(&of("limiter-0"), &of("limiter-0")));
        assert!(Arc::ptr_eq(&of("new"), &of("newer")));
        assert!(!Arc::ptr_eq(&of("new"), &of("limiter-0")));
    }

    #[test]
    fn what_is_told_of_policies_is_bounded() {
        let meters = Meters::of("a", Tell::Counts);
        let policy = |text: String| -> Arc<[Policy]> { Arc::new([text.parse().unwrap()]) };
        for number in 1..=50 {
            // With other limits it counts on, with another window it does not.
            meters.used_with(&policy(format!("log:{number}/1s")));
            meters.used_with(&policy(format!("log:9/{}s", number + 1)));
            let told = meters.told.as_ref().unwrap();
            told.denied_by(&format!("policy-{number}"));
            told.denied_by("policy-1");
        }
        let counts = meters.counts();
        let policies = counts.policies.concat();
        assert_eq!(
            policies,
            ["log:50/1s", "log:9/49s", "log:9/50s", "log:9/51s"]
        );
        assert_eq!(counts.denied_by.len(), MOST_NAMES);
        assert_eq!(counts.denied_by["policy-1"], 51);
    }
}
