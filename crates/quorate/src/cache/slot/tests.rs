//! What holds for an entry and its loads, whatever happens in whichever order.

use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// Stands for when what is there was stored.
const THIS: Micros = Micros::new(0);

/// A time when nothing was.
const ANOTHER: Micros = Micros::new(1);

#[derive(Clone, Debug)]
enum Step {
    Put {
        seconds: u64,
        more: u64,
    },
    Keep {
        load: usize,
    },
    Take {
        load: usize,
        wish: Wish,
        seconds: u64,
    },
    Renew {
        load: usize,
        seconds: u64,
    },
    GiveUp {
        load: usize,
    },
    Fail {
        load: usize,
        throttle: u64,
        told: u64,
    },
    Remove,
    Add,
    Invalidate,
    Elapse {
        seconds: u64,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let load = || 0..3_usize;
    let wish = prop_oneof![
        Just(Wish::Value),
        Just(Wish::Early(THIS)),
        Just(Wish::Early(ANOTHER)),
        Just(Wish::Anew),
    ];
    let step = prop_oneof![
        2 => (1..5_u64, 0..20_u64).prop_map(|(seconds, more)| Step::Put { seconds, more }),
        2 => load().prop_map(|load| Step::Keep { load }),
        6 => (load(), wish, 1..10_u64)
            .prop_map(|(load, wish, seconds)| Step::Take { load, wish, seconds }),
        1 => (load(), 1..10_u64).prop_map(|(load, seconds)| Step::Renew { load, seconds }),
        1 => load().prop_map(|load| Step::GiveUp { load }),
        3 => (load(), 0..8_u64, 0..8_u64)
            .prop_map(|(load, throttle, told)| Step::Fail { load, throttle, told }),
        1 => Just(Step::Remove),
        1 => Just(Step::Add),
        1 => Just(Step::Invalidate),
        4 => (1..6_u64).prop_map(|seconds| Step::Elapse { seconds }),
    ];
    proptest::collection::vec(step, 1..60)
}

fn put(fresh: u64, more: u64) -> Put {
    Put {
        value: Bytes::from_static(b"x"),
        fresh: SECOND * u32::try_from(fresh).unwrap(),
        keep: SECOND * u32::try_from(fresh + more).unwrap(),
        cost: SECOND,
        tags: vec!["t".to_owned()],
        is_timed: false,
    }
}

/// What is known of the last load from the answers alone.
#[derive(Default)]
struct Seen {
    /// Who holds the lease, and until when at most.
    holder: Option<(LoadId, Micros)>,
    /// Until when a failure may be spoken of: with an old value, and without.
    failed: Option<(Micros, Micros)>,
}

impl Seen {
    fn holds(&self, now: Micros) -> Option<LoadId> {
        self.holder
            .filter(|(_, ends)| *ends > now)
            .map(|(id, _)| id)
    }

    fn is_over(&mut self) {
        *self = Self::default();
    }
}

fn check_taken(
    slot: &Slot,
    tags: &Tags,
    now: Micros,
    take: Take,
    taken: &Taken,
    seen: &Seen,
) -> Result<(), TestCaseError> {
    let holder = seen.holds(now);
    let (throttled, told) = seen.failed.unwrap_or_default();
    match taken {
        Taken::Load(found) => {
            prop_assert!(
                holder.is_none_or(|holder| holder == take.id),
                "one at a time"
            );
            let is_fresh = found.as_ref().is_some_and(|found| found.fresh_until > now);
            prop_assert!(!is_fresh || take.wish != Wish::Value);
            if let (true, Wish::Early(seen), Some(found)) = (is_fresh, take.wish, found) {
                prop_assert_eq!(found.stored, seen, "what the asker saw");
            }
            let may = match (take.wish, found) {
                (Wish::Anew, _) => true,
                (_, Some(_)) => throttled <= now,
                (_, None) => true,
            };
            prop_assert!(may, "not while the last failure holds it off");
        }
        Taken::Wait(found, left) => {
            prop_assert!(holder.is_some_and(|holder| holder != take.id));
            prop_assert!(now.plus(*left) <= seen.holder.unwrap().1);
            let is_fresh = found.as_ref().is_some_and(|found| found.fresh_until > now);
            prop_assert!(!is_fresh || take.wish == Wish::Anew);
        }
        Taken::Fresh(stored) => {
            prop_assert!(stored.fresh_until > now && take.wish != Wish::Anew);
            let is_another = matches!(take.wish, Wish::Early(seen) if seen != stored.stored);
            let may = take.wish == Wish::Value || is_another || holder.is_some() || throttled > now;
            prop_assert!(may, "a reason not to load early");
        }
        Taken::Throttled(stored) => {
            prop_assert!(stored.fresh_until <= now && throttled > now);
            prop_assert!(holder.is_none() && take.wish != Wish::Anew);
        }
        Taken::Failed(message) => {
            prop_assert_eq!(message, "away");
            prop_assert!(told > now && take.wish != Wish::Anew);
            prop_assert!(holder.is_none() && slot.read(tags, now).is_none());
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn one_loads_at_a_time_and_failures_are_remembered_as_long_as_they_say(steps in steps()) {
        let (mut slot, mut tags, mut now) = (Slot::default(), Tags::default(), Micros::new(1));
        let ids = [LoadId(1), LoadId(2), LoadId(3)];
        let mut seen = Seen::default();
        for step in steps {
            match step {
                Step::Put { seconds, more } => {
                    prop_assert!(slot.put(&tags, now, &put(seconds, more), Fence::Always));
                    seen.is_over();
                }
                Step::Keep { load } => {
                    let kept = slot.put(&tags, now, &put(3, 9), Fence::Load(ids[load]));
                    if kept {
                        prop_assert_eq!(seen.holds(now), Some(ids[load]), "who holds the lease");
                        seen.is_over();
                    }
                }
                Step::Take { load, wish, seconds } => {
                    let lease = Duration::from_secs(seconds);
                    let there = slot.read(&tags, now).map_or(THIS, |there| there.stored);
                    let wish = if wish == Wish::Early(THIS) { Wish::Early(there) } else { wish };
                    let take = Take { id: ids[load], lease, wish };
                    let taken = slot.take(&tags, now, take);
                    check_taken(&slot, &tags, now, take, &taken, &seen)?;
                    if let Taken::Load(_) = taken {
                        seen = Seen { holder: Some((take.id, now.plus(lease))), failed: None };
                        let again = slot.take(&tags, now, take);
                        prop_assert_eq!(again, taken, "asked again");
                    }
                }
                Step::Renew { load, seconds } => {
                    let lease = Duration::from_secs(seconds);
                    let renewed = slot.renew(now, ids[load], lease);
                    prop_assert_eq!(renewed, seen.holds(now) == Some(ids[load]));
                    if renewed {
                        seen.holder = Some((ids[load], now.plus(lease)));
                    }
                }
                Step::GiveUp { load } => {
                    let given = slot.give_up(now, ids[load]);
                    prop_assert_eq!(given, seen.holds(now) == Some(ids[load]));
                    if given {
                        seen.is_over();
                    }
                }
                Step::Fail { load, throttle, told } => {
                    let of = Duration::from_secs;
                    let failed = FailedLoad {
                        message: "away".to_owned(),
                        tags: vec!["t".to_owned()],
                        throttle: of(throttle),
                        told: of(told),
                    };
                    let (held, found) = slot.fail(&tags, now, ids[load], &failed);
                    prop_assert_eq!(held, seen.holds(now) == Some(ids[load]));
                    prop_assert_eq!(&found, &slot.read(&tags, now), "it touches no value");
                    if held {
                        let throttle = found.map_or(0, |_| throttle);
                        let until = (now.plus(of(throttle)), now.plus(of(told)));
                        seen = Seen { holder: None, failed: Some(until) };
                    }
                }
                Step::Remove => {
                    slot.remove(&tags, now);
                    seen.is_over();
                }
                Step::Add => {
                    if slot.add(&tags, now, 1, SECOND * 5).is_ok() {
                        seen.is_over();
                    }
                }
                Step::Invalidate => tags.invalidate("t", now),
                Step::Elapse { seconds } => {
                    now = now.plus(Duration::from_secs(seconds));
                    let before = slot.read(&tags, now);
                    slot.drop_ended(now);
                    prop_assert_eq!(slot.read(&tags, now), before, "only what is over is dropped");
                }
            }
        }
    }

    /// A failure that somebody is told of is forgotten with its tags.
    #[test]
    fn an_invalidation_forgets_a_failure(told in 1..100_u64, wait in 0..100_u64) {
        let (mut slot, mut tags, now) = (Slot::default(), Tags::default(), Micros::new(1));
        let take = |id| Take { id: LoadId(id), lease: SECOND, wish: Wish::Value };
        prop_assert_eq!(slot.take(&tags, now, take(1)), Taken::Load(None));
        let failed = FailedLoad {
            message: "away".to_owned(),
            tags: vec!["t".to_owned()],
            throttle: SECOND,
            told: Duration::from_secs(told),
        };
        prop_assert!(slot.fail(&tags, now, LoadId(1), &failed).0);
        let later = now.plus(Duration::from_secs(wait));
        let taken = slot.clone().take(&tags, later, take(2));
        prop_assert_eq!(matches!(taken, Taken::Failed(_)), wait < told);
        tags.invalidate("u", later);
        let taken = slot.clone().take(&tags, later, take(2));
        prop_assert_eq!(matches!(taken, Taken::Failed(_)), wait < told);
        tags.invalidate("t", later);
        prop_assert_eq!(slot.take(&tags, later, take(2)), Taken::Load(None));
    }
}
