//! How often a limiter allows and refuses.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use metrics::Counter;
use parking_lot::Mutex;

use super::decision::{Basis, Decision};
use super::figures::{
    DecisionCounts, LimitCounts, LimitFigures, LimitKind, MOST_LISTS, count_alike,
};
use super::policy::{MAX_POLICIES, Policy};
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

    /// What the decisions of handles with these policies are counted with.
    pub(super) fn of(
        &self,
        namespace: &Namespace,
        limiter: &str,
        kind: LimitKind,
        policies: &Arc<[Policy]>,
    ) -> Counting {
        let make = |what| Meters::of(limiter, what);
        let known = self.known.of(namespace, &kind.member(limiter), make);
        let meters = known.unwrap_or_else(|| {
            // Counted together, and not told.
            let others = || Arc::new(Meters::of(OTHERS, Tell::Nothing));
            self.others.get_or_init(others).clone()
        });
        Counting::new(meters, policies)
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
    // Short locks, taken by the first decisions with a handle: later ones have what they count with.
    denied_by: Mutex<Vec<(String, Arc<AtomicU64>)>>,
    /// The one that was used last at the end.
    lists: Mutex<Vec<Arc<List>>>,
    hot: Option<Hot>,
}

/// A list of policies that a limiter is used with.
struct List {
    /// As it was named last: another limit counts in the same keys. Locked when a handle is first used, and to tell.
    policies: Mutex<Arc<[Policy]>>,
    /// Since what is counted was last told. While it is, a decision has no more to do with it than to look.
    is_used: AtomicBool,
}

/// What the decisions of one handle, and of its clones, are counted with.
pub(super) struct Counting {
    meters: Arc<Meters>,
    /// `None`: nothing is told, or there are no policies.
    list: Option<Arc<List>>,
    /// Denials by each policy, and behind those of all policies by a block; what refused for the first time.
    denials: [OnceLock<Arc<AtomicU64>>; MAX_POLICIES + 1],
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
}

impl Counting {
    fn new(meters: Arc<Meters>, policies: &Arc<[Policy]>) -> Self {
        let told = meters.told.as_ref().filter(|_| !policies.is_empty());
        Self {
            list: told.map(|told| told.list(policies)),
            meters,
            denials: Default::default(),
        }
    }

    /// Counts a decision about a key of the limiter.
    pub(super) fn decided(&self, limiter: &str, key: &LimitKey, decision: &Decision) {
        let (meters, basis) = (&self.meters, decision.basis());
        let counter = match (decision.is_allowed(), basis) {
            (_, Basis::Shadow) => &meters.shadow,
            (_, Basis::Open) => &meters.open,
            (_, Basis::Share) => &meters.share,
            (true, _) => &meters.allowed,
            (false, _) => &meters.denied,
        };
        counter.increment(1);
        let Some(told) = &meters.told else { return };
        if let Some(list) = &self.list {
            told.used(list);
        }
        let denials = match decision {
            Decision::Deny { policy, usage, .. } => {
                let which = usage.refusing().map_or(MAX_POLICIES, |(number, _)| number);
                self.denials(told, which, policy)
            }
            Decision::Allow { .. } => None,
        };
        told.decided(basis, denials);
        if let Some(hot) = &told.hot {
            hot.asked(key.within(limiter), denials.is_some());
        }
    }

    /// Counts who asked for a slot of a concurrency limit.
    pub(super) fn entered(&self, limit: &str, key: &LimitKey, has_entered: bool) {
        let meters = &self.meters;
        let counter = if has_entered {
            &meters.allowed
        } else {
            &meters.denied
        };
        counter.increment(1);
        let Some(told) = &meters.told else { return };
        let denials = (!has_entered).then(|| self.denials(told, 0, SLOTS));
        told.decided(Basis::Fleet, denials.flatten());
        if let Some(hot) = &told.hot {
            hot.asked(key.within(limit), !has_entered);
        }
    }

    /// Denials by the policy of that number, which has this name.
    fn denials(&self, told: &Told, which: usize, name: &str) -> Option<&AtomicU64> {
        let denials = self.denials.get(which)?;
        Some(&**denials.get_or_init(|| told.denials(name)))
    }
}

impl Told {
    /// Counts a decision; `denials`: those by what refused it.
    fn decided(&self, basis: Basis, denials: Option<&AtomicU64>) {
        let one_more = |counter: &AtomicU64| {
            counter.fetch_add(1, Ordering::Relaxed);
        };
        match basis {
            Basis::Shadow => one_more(&self.shadow),
            Basis::Open => one_more(&self.open),
            Basis::Share => one_more(&self.share),
            Basis::Fleet | Basis::Local => {}
        }
        match denials {
            None => one_more(&self.allowed),
            Some(denials) => {
                one_more(&self.denied);
                one_more(denials);
            }
        }
    }

    /// Denials by what has this name; by what has another one too, where there are too many.
    fn denials(&self, name: &str) -> Arc<AtomicU64> {
        let mut known = self.denied_by.lock();
        let find = |known: &[(String, Arc<AtomicU64>)], name: &str| {
            let found = known.iter().find(|(known, _)| known == name);
            found.map(|(_, denials)| denials.clone())
        };
        if let Some(found) = find(&known, name) {
            return found;
        }
        let name = if known.len() < MOST_NAMES {
            name
        } else {
            OTHERS
        };
        find(&known, name).unwrap_or_else(|| {
            let denials = Arc::new(AtomicU64::new(0));
            known.push((name.to_owned(), denials.clone()));
            denials
        })
    }

    /// The list of those that count as these policies do, which is used now.
    fn list(&self, policies: &Arc<[Policy]>) -> Arc<List> {
        let mut lists = self.lists.lock();
        let alike = lists
            .iter()
            .position(|it| count_alike(&it.policies.lock(), policies));
        let list = match alike {
            Some(alike) => {
                let list = lists.remove(alike);
                *list.policies.lock() = policies.clone();
                list
            }
            None => Arc::new(List {
                policies: Mutex::new(policies.clone()),
                is_used: AtomicBool::new(false),
            }),
        };
        put_last(&mut lists, &list);
        list
    }

    /// Keeps a list by which something is decided, and lets the one go that was not used for longest.
    fn used(&self, list: &Arc<List>) {
        if list.is_used.load(Ordering::Relaxed) {
            return;
        }
        let mut lists = self.lists.lock();
        let policies = list.policies.lock().clone();
        // Let go and named again, it has a successor, whose place it takes.
        let alike =
            |it: &Arc<List>| Arc::ptr_eq(it, list) || count_alike(&it.policies.lock(), &policies);
        if let Some(alike) = lists.iter().position(alike) {
            let alike = lists.remove(alike);
            alike.is_used.store(false, Ordering::Relaxed);
        }
        put_last(&mut lists, list);
    }
}

fn put_last(lists: &mut Vec<Arc<List>>, list: &Arc<List>) {
    if lists.len() >= MOST_LISTS {
        let gone = lists.remove(0);
        gone.is_used.store(false, Ordering::Relaxed);
    }
    list.is_used.store(true, Ordering::Relaxed);
    lists.push(list.clone());
}

impl Subject for Meters {
    type Counts = LimitCounts;

    const ROSTER: &'static str = "quorate/limits";

    fn counts(&self) -> LimitCounts {
        let Some(told) = &self.told else {
            return LimitCounts::default();
        };
        let text = |list: &Arc<List>| {
            // From now on it moves to the end with its next use.
            list.is_used.store(false, Ordering::Relaxed);
            let policies = list.policies.lock();
            policies.iter().map(ToString::to_string).collect()
        };
        let mut policies: Vec<Vec<_>> = told.lists.lock().iter().map(text).collect();
        policies.sort_unstable();
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let denied_by = told.denied_by.lock();
        let denied_by = denied_by
            .iter()
            .map(|(name, denials)| (name.clone(), of(denials)));
        LimitCounts {
            decisions: DecisionCounts {
                allowed: of(&told.allowed),
                denied: of(&told.denied),
                shadow: of(&told.shadow),
                open: of(&told.open),
                share: of(&told.share),
            },
            denied_by: denied_by.collect(),
            policies,
        }
    }

    fn hot(&self) -> Option<&Hot> {
        self.told.as_ref()?.hot.as_ref()
    }
}

impl fmt::Debug for Counting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Counting")
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

    fn list(text: &str) -> Arc<[Policy]> {
        Arc::new([text.parse().unwrap()])
    }

    #[test]
    fn names_from_outside_are_kept_up_to_a_bound() {
        let meters = AllMeters::new(None);
        let policies = list("log:1/1s");
        let of = |name: &str| {
            let counting = meters.of(&Namespace::default(), name, LimitKind::Rate, &policies);
            counting.meters
        };
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
        let meters = Arc::new(Meters::of("a", Tell::Counts));
        let first = Counting::new(meters.clone(), &list("fixed:1/1s"));
        for number in 1..=50 {
            // With other limits it counts on, with another window it does not.
            Counting::new(meters.clone(), &list(&format!("log:{number}/1s")));
            Counting::new(meters.clone(), &list(&format!("log:9/{}s", number + 1)));
            let told = meters.told.as_ref().unwrap();
            for policy in [&*format!("policy-{number}"), "policy-1"] {
                told.decided(Basis::Fleet, Some(&told.denials(policy)));
            }
            // The longest ago in use are let go, and not the longest ago named.
            told.used(first.list.as_ref().unwrap());
        }
        let counts = meters.counts();
        let policies = counts.policies.concat();
        assert_eq!(
            policies,
            ["fixed:1/1s", "log:50/1s", "log:9/50s", "log:9/51s"]
        );
        // What is too much is counted together.
        assert_eq!(counts.denied_by.len(), MOST_NAMES + 1);
        assert_eq!(counts.denied_by["policy-1"], 51);
        assert_eq!(counts.denied_by[OTHERS], 50 - MOST_NAMES as u64);
        assert_eq!(counts.denied_by.values().sum::<u64>(), 100);
    }
}
