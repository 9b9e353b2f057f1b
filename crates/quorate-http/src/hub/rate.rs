//! How many messages a client may send: a token bucket. A pure function of what came before and of the time.

use std::time::Duration;

/// Parts of a token. A bucket that gains `n` tokens in a second gains `n` parts in a microsecond: nothing is
/// rounded, so asking often never costs what was gained (that starves a client which polls).
const PARTS: u64 = 1_000_000;

/// A client may be refused this many bursts of messages, and then is sent away, unless it rests long
/// enough for its bucket to be full again.
const PATIENCE: u64 = 10;

/// How many messages a client may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    /// In a second, over a long time. At least 1.
    pub(crate) per_second: u32,
    /// At once. At least 1.
    pub(crate) burst: u32,
}

impl Rate {
    const fn full(self) -> u64 {
        self.burst as u64 * PARTS
    }
}

impl Default for Rate {
    fn default() -> Self {
        Self {
            per_second: 50,
            burst: 100,
        }
    }
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is taken.
    Allowed,
    /// It is not; one would be after this time.
    Refused {
        /// Never zero.
        retry_after: Duration,
    },
    /// It is not, and there were so many that the client does not mean to stop.
    Excessive,
}

/// What is kept of a client: 24 bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    /// In parts of a token.
    level: u64,
    /// Refused since the bucket was last full.
    refused: u64,
    /// The time of the last message, in microseconds of some clock.
    at: u64,
}

impl Bucket {
    /// A full bucket at `now`, in microseconds of any clock that does not run backwards.
    pub(crate) const fn new(rate: Rate, now: u64) -> Self {
        Self {
            level: rate.full(),
            refused: 0,
            at: now,
        }
    }

    /// Takes a token for a message at `now`, if there is one.
    pub(crate) fn take(&mut self, rate: Rate, now: u64) -> Verdict {
        let per_second = u64::from(rate.per_second.max(1));
        let gained = now.saturating_sub(self.at).saturating_mul(per_second);
        self.at = self.at.max(now);
        self.level = self.level.saturating_add(gained).min(rate.full());
        if self.level == rate.full() {
            self.refused = 0;
        }
        if let Some(rest) = self.level.checked_sub(PARTS) {
            self.level = rest;
            return Verdict::Allowed;
        }
        self.refused += 1;
        if self.refused > PATIENCE * u64::from(rate.burst) {
            return Verdict::Excessive;
        }
        let missing = PARTS - self.level;
        Verdict::Refused {
            retry_after: Duration::from_micros(missing.div_ceil(per_second)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000;

    fn rates() -> impl Strategy<Value = Rate> {
        (1_u32..2_000, 1_u32..500).prop_map(|(per_second, burst)| Rate { per_second, burst })
    }

    proptest! {
        /// Defect 6 of the register: a client that asked every 100 ms at 2 tokens a second never got one.
        #[test]
        fn defect_06_asking_often_never_starves(
            rate in rates(),
            start in 0..u64::MAX / 2,
            pauses in prop::collection::vec(1_u64..=SECOND, 1..200),
        ) {
            // However the time is cut into pieces, what is granted is what the time allows, to the token,
            // as long as the bucket neither overflows nor the client is given up.
            let mut bucket = Bucket { level: 0, refused: 0, at: start };
            let (mut now, mut granted, mut spilled) = (start, 0_u64, false);
            for pause in pauses {
                now += pause;
                spilled |= pause * u64::from(rate.per_second) + bucket.level > rate.full();
                while bucket.take(rate, now) == Verdict::Allowed {
                    granted += 1;
                }
            }
            let allowed = (now - start) * u64::from(rate.per_second) / PARTS;
            if spilled {
                prop_assert!(granted <= allowed);
            } else {
                prop_assert_eq!(granted, allowed);
            }
        }

        #[test]
        fn never_more_than_a_burst_and_the_rate(
            rate in rates(),
            steps in prop::collection::vec((0_u64..SECOND / 10, 1_u32..20), 1..200),
        ) {
            let mut bucket = Bucket::new(rate, 0);
            let (mut now, mut granted) = (0, 0_u64);
            for (pause, messages) in steps {
                now += pause;
                for _ in 0..messages {
                    granted += u64::from(bucket.take(rate, now) == Verdict::Allowed);
                }
                let most = u64::from(rate.burst) + now * u64::from(rate.per_second) / PARTS;
                prop_assert!(granted <= most, "{} of {}", granted, most);
            }
        }

        #[test]
        fn after_the_time_that_is_said_one_is_granted_and_not_before(
            rate in rates(),
            drained_for in 0_u64..SECOND,
        ) {
            let mut bucket = Bucket { level: 0, refused: 0, at: 0 };
            let Verdict::Refused { retry_after } = bucket.take(rate, drained_for % (SECOND / u64::from(rate.per_second)).max(1)) else {
                return Ok(());
            };
            let after = u64::try_from(retry_after.as_micros()).unwrap();
            prop_assert!(after > 0);
            let mut early = bucket;
            prop_assert_ne!(early.take(rate, bucket.at + after - 1), Verdict::Allowed);
            prop_assert_eq!(bucket.take(rate, bucket.at + after), Verdict::Allowed);
        }

        #[test]
        fn any_clock_is_survived(rate in rates(), times in prop::collection::vec(any::<u64>(), 1..50)) {
            let mut bucket = Bucket::new(rate, times[0]);
            for now in times {
                let _ = bucket.take(rate, now);
                prop_assert!(bucket.level <= rate.full());
            }
        }
    }

    #[test]
    fn two_tokens_a_second_asked_for_every_100_ms() {
        let rate = Rate {
            per_second: 2,
            burst: 1,
        };
        let mut bucket = Bucket::new(rate, 0);
        let granted = (1..=50)
            .filter(|at| bucket.take(rate, at * SECOND / 10) == Verdict::Allowed)
            .count();
        assert_eq!(granted, 10);
    }

    #[test]
    fn who_does_not_stop_is_given_up_and_who_rests_is_forgiven() {
        let rate = Rate {
            per_second: 10,
            burst: 5,
        };
        let mut bucket = Bucket::new(rate, 0);
        let mut send = |now: u64, messages: usize| {
            let mut last = Verdict::Allowed;
            for _ in 0..messages {
                last = bucket.take(rate, now);
            }
            last
        };
        assert!(matches!(send(0, 5 + 50), Verdict::Refused { .. }));
        assert_eq!(send(0, 1), Verdict::Excessive);
        assert!(matches!(send(SECOND, 5 + 50), Verdict::Refused { .. }));
        assert_eq!(send(SECOND, 1), Verdict::Excessive);
    }
}
