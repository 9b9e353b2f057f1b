//! Who has a slot of a key: a pure function of the slots, the time and what was asked. `scripts/{enter,stay,leave}.lua`
//! mirror it.

use std::collections::HashMap;
use std::time::Duration;

use crate::clock::Micros;
use crate::lock::LeaseId;

/// The slots of one key that are taken: until when, by lease.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Slots(HashMap<LeaseId, Micros>);

/// The answer to who wants a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there is a slot or there is none")]
pub enum Entered {
    /// The lease has a slot.
    Entered {
        /// How many more there are.
        remaining: u64,
    },
    /// All are taken.
    Full {
        /// When the first of their leases ends, unless it is renewed; sooner if one is given back.
        retry_after: Duration,
    },
}

impl Slots {
    /// Takes a slot if one is free. Asking again with a lease that has one renews it.
    pub(crate) fn enter(
        &mut self,
        now: Micros,
        lease: LeaseId,
        most: u64,
        length: Duration,
    ) -> Entered {
        self.0.retain(|_, ends| *ends > now);
        let taken = self.0.len() as u64;
        let has_one = self.0.contains_key(&lease);
        if !has_one && taken >= most {
            let first = self.0.values().min().copied().unwrap_or(now);
            return Entered::Full {
                retry_after: first.since(now),
            };
        }
        self.0.insert(lease, now.plus(length));
        let taken = taken + u64::from(!has_one);
        Entered::Entered {
            remaining: most.saturating_sub(taken),
        }
    }

    /// Lets a lease end `length` from now. `false`: it has no slot, or no longer.
    pub(crate) fn stay(&mut self, now: Micros, lease: LeaseId, length: Duration) -> bool {
        let there = self.0.get_mut(&lease).filter(|ends| **ends > now);
        there.map(|ends| *ends = now.plus(length)).is_some()
    }

    /// Gives a slot back. `false`: the lease had none, or no longer.
    pub(crate) fn leave(&mut self, now: Micros, lease: LeaseId) -> bool {
        self.0.remove(&lease).is_some_and(|ends| ends > now)
    }

    /// How many are taken.
    pub(crate) fn taken(&self, now: Micros) -> u64 {
        self.0.values().filter(|ends| **ends > now).count() as u64
    }

    /// When the last lease ends.
    pub(crate) fn needed_until(&self) -> Micros {
        self.0.values().max().copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Never more than there are slots, whoever comes, stays, goes, or is gone; and a free one is given.
        #[test]
        fn never_more_than_there_are(
            most in 1..4_u64,
            steps in proptest::collection::vec((0..6_usize, 0..3_u8, 0..50_u64, 1..100_u64), 1..80),
        ) {
            let leases: Vec<_> = (0..6).map(|_| LeaseId::random()).collect();
            let mut slots = Slots::default();
            let mut model: HashMap<usize, u64> = HashMap::new();
            let mut now = 1_000;
            for (who, verb, pause, length) in steps {
                now += pause;
                model.retain(|_, ends| *ends > now);
                let (lease, span) = (leases[who], Duration::from_micros(length));
                let at = Micros::new(now);
                match verb {
                    0 => {
                        let room = model.contains_key(&who) || (model.len() as u64) < most;
                        let entered = slots.enter(at, lease, most, span);
                        if room {
                            model.insert(who, now + length);
                            let remaining = most - model.len() as u64;
                            prop_assert_eq!(entered, Entered::Entered { remaining });
                        } else {
                            let first = model.values().min().unwrap() - now;
                            let retry_after = Duration::from_micros(first);
                            prop_assert_eq!(entered, Entered::Full { retry_after });
                        }
                    }
                    1 => {
                        let stays = slots.stay(at, lease, span);
                        prop_assert_eq!(stays, model.contains_key(&who));
                        model.entry(who).and_modify(|ends| *ends = now + length);
                    }
                    _ => prop_assert_eq!(slots.leave(at, lease), model.remove(&who).is_some()),
                }
                prop_assert_eq!(slots.taken(at), model.len() as u64);
                prop_assert!(slots.taken(at) <= most);
            }
        }
    }
}
