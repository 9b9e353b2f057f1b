//! The lock as a pure function of its state and the time. `scripts/*.lua` mirror it line by line.

use std::time::Duration;

use crate::clock::Micros;

/// Identifies one acquisition, so that a repeated request is recognised. 128 random bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct LeaseId(u128);

impl LeaseId {
    /// A new one, never seen before.
    #[must_use]
    pub fn random() -> Self {
        Self(rand::random())
    }

    /// Reads the form that `Display` writes: 32 hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        digits
            .then(|| u128::from_str_radix(text, 16).ok())
            .flatten()
            .map(Self)
    }
}

impl std::fmt::Display for LeaseId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl std::fmt::Debug for LeaseId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Who knows the id can release the lock: logs show enough to tell two apart.
        write!(f, "LeaseId({:08x}…)", self.0 >> 96)
    }
}

/// A number that grows with every acquisition of a lock.
///
/// Pass it to whatever the lock protects, and let that refuse a token smaller than the largest it has
/// seen: a holder that was paused past its lease then does no harm.
///
/// It is `max(last + 1, server time in microseconds)`, so that it also grows after the counter was
/// lost. The residue: a server whose data was lost *and* whose clock was set back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FencingToken(u64);

impl FencingToken {
    /// From its number, as passed on by [`get`](Self::get).
    #[must_use]
    pub const fn new(token: u64) -> Self {
        Self(token)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl std::fmt::Display for FencingToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// How long the counter outlives the last lease. After it, server time keeps tokens growing.
pub(crate) const RETENTION: Duration = Duration::from_secs(24 * 3600);

/// Everything remembered of one lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct LockState {
    pub(crate) holder: Option<Holder>,
    /// The last token given out.
    pub(crate) last: u64,
    /// The last lease given back, to recognise a repeated release.
    pub(crate) released: Option<LeaseId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) lease: LeaseId,
    pub(crate) ends: Micros,
}

/// The answer to an acquire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "an acquire has these two answers")]
pub enum AcquireReply {
    /// The lock is now held.
    Acquired {
        /// Its fencing token.
        token: FencingToken,
    },
    /// Another lease holds it.
    Held {
        /// How much longer, unless it is extended or released.
        remaining: Duration,
    },
}

impl LockState {
    /// Takes the lock if it is free. Asking again with the same lease gives the same token.
    pub(crate) fn acquire(
        &mut self,
        now: Micros,
        lease: LeaseId,
        length: Duration,
    ) -> AcquireReply {
        if let Some(holder) = self.current(now) {
            if holder.lease != lease {
                return AcquireReply::Held {
                    remaining: holder.ends.since(now),
                };
            }
        } else {
            self.last = (self.last + 1).max(now.get());
        }
        self.holder = Some(Holder {
            lease,
            ends: now.plus(length),
        });
        AcquireReply::Acquired {
            token: FencingToken(self.last),
        }
    }

    /// Lets the lease end `length` from now. `false`: it is not, or no longer, held.
    pub(crate) fn extend(&mut self, now: Micros, lease: LeaseId, length: Duration) -> bool {
        let held = self
            .current(now)
            .is_some_and(|holder| holder.lease == lease);
        if held {
            self.holder = Some(Holder {
                lease,
                ends: now.plus(length),
            });
        }
        held
    }

    /// Gives the lock back. `false`: it was not, or no longer, held. Releasing again gives the same
    /// answer until another lease was released.
    pub(crate) fn release(&mut self, now: Micros, lease: LeaseId) -> bool {
        let held = self
            .current(now)
            .is_some_and(|holder| holder.lease == lease);
        if held {
            self.holder = None;
            self.released = Some(lease);
        }
        held || self.released == Some(lease)
    }

    /// Until when the counter is worth keeping.
    pub(crate) fn retained_until(&self, now: Micros) -> Micros {
        self.current(now)
            .map_or(now, |holder| holder.ends)
            .plus(RETENTION)
    }

    pub(crate) fn current(&self, now: Micros) -> Option<Holder> {
        self.holder.filter(|holder| holder.ends > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Step {
        Acquire(u8, u16),
        Extend(u8, u16),
        Release(u8),
        Wait(u16),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            (0..3_u8, 1..500_u16).prop_map(|(who, length)| Step::Acquire(who, length)),
            (0..3_u8, 1..500_u16).prop_map(|(who, length)| Step::Extend(who, length)),
            (0..3_u8).prop_map(Step::Release),
            (0..400_u16).prop_map(Step::Wait),
        ];
        proptest::collection::vec(step, 1..60)
    }

    proptest! {
        /// At most one holder at any moment, and tokens only grow.
        #[test]
        fn one_holder_and_growing_tokens(steps in steps()) {
            let mut state = LockState::default();
            let mut now = Micros::new(1_000);
            let mut believed: [Option<Micros>; 3] = [None; 3];
            let mut last = 0;
            let lease = |who: u8| LeaseId(who.into());
            let length = |micros: u16| Duration::from_micros(micros.into());
            for step in steps {
                match step {
                    Step::Wait(micros) => now = now.plus(length(micros)),
                    Step::Acquire(who, micros) => {
                        let renewing = believed[usize::from(who)].is_some_and(|ends| ends > now);
                        if let AcquireReply::Acquired { token } = state.acquire(now, lease(who), length(micros)) {
                            prop_assert!(token.get() > last || (renewing && token.get() == last));
                            last = token.get();
                            believed[usize::from(who)] = Some(now.plus(length(micros)));
                        }
                    }
                    Step::Extend(who, micros) => {
                        if state.extend(now, lease(who), length(micros)) {
                            believed[usize::from(who)] = Some(now.plus(length(micros)));
                        }
                    }
                    Step::Release(who) => {
                        state.release(now, lease(who));
                        believed[usize::from(who)] = None;
                    }
                }
                let holders = believed.iter().filter(|ends| ends.is_some_and(|ends| ends > now)).count();
                prop_assert!(holders <= 1);
            }
        }
    }

    #[test]
    fn a_repeated_request_gives_the_first_answer() {
        let mut state = LockState::default();
        let (now, lease, length) = (Micros::new(5), LeaseId(1), Duration::from_secs(1));
        let first = state.acquire(now, lease, length);
        assert_eq!(state.acquire(now, lease, length), first);
        assert!(state.release(now, lease));
        assert!(state.release(now, lease));
        assert!(!state.release(now, LeaseId(2)));
    }

    #[test]
    fn a_token_grows_even_when_the_clock_goes_back() {
        let mut state = LockState::default();
        let length = Duration::from_micros(1);
        state.acquire(Micros::new(1_000), LeaseId(1), length);
        state.release(Micros::new(1_000), LeaseId(1));
        let AcquireReply::Acquired { token } = state.acquire(Micros::new(5), LeaseId(2), length)
        else {
            panic!("it is free")
        };
        assert_eq!(token.get(), 1_001);
    }

    #[test]
    fn lease_ids_read_back_what_they_write() {
        let id = LeaseId::random();
        assert_eq!(LeaseId::parse(&id.to_string()), Some(id));
        assert_eq!(LeaseId::parse("xyz"), None);
        assert_eq!(LeaseId::parse(&"+".repeat(32)), None);
    }
}
