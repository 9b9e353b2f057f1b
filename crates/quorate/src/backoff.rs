//! How long to wait before trying again.

use std::time::Duration;

/// Exponential back-off with jitter.
///
/// The delay before retry `n` (the first retry is 1) is `min(initial · factorⁿ⁻¹, max)`, of which a
/// random share up to `jitter` is taken off, so that a fleet does not retry in step.
///
/// # Example
/// ```
/// use quorate::Backoff;
/// use std::time::Duration;
///
/// let backoff = Backoff { jitter: 0.0, ..Backoff::DEFAULT };
/// assert_eq!(backoff.delay(1), Duration::from_secs(1));
/// assert_eq!(backoff.delay(2), Duration::from_secs(2));
/// assert_eq!(backoff.delay(40), Duration::from_secs(30));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "four numbers that define the formula"
)]
pub struct Backoff {
    /// Delay before the first retry.
    pub initial: Duration,
    /// Growth from one retry to the next; at least 1.
    pub factor: f64,
    /// The delay never exceeds this.
    pub max: Duration,
    /// The largest share of a delay that chance may take off, from 0 to 1.
    pub jitter: f64,
}

impl Backoff {
    /// 1 s, doubling, at most 30 s, half of it random.
    pub const DEFAULT: Self = Self {
        initial: Duration::from_secs(1),
        factor: 2.0,
        max: Duration::from_secs(30),
        jitter: 0.5,
    };

    /// The delay before retry number `retry`, counted from 1.
    #[must_use]
    pub fn delay(&self, retry: u32) -> Duration {
        self.delay_with(retry, rand::random())
    }

    /// [`delay`](Self::delay) with the random number given: a pure function, `random` from 0 to 1.
    #[must_use]
    pub fn delay_with(&self, retry: u32, random: f64) -> Duration {
        let exponent = i32::try_from(retry.saturating_sub(1)).unwrap_or(i32::MAX);
        let grown = self.initial.as_secs_f64() * self.factor.max(1.0).powi(exponent);
        // `min` also turns an overflow to infinity into the cap.
        let capped = grown.min(self.max.as_secs_f64());
        let jittered = capped * (1.0 - self.jitter.clamp(0.0, 1.0) * random);
        // What no `Duration` can be: the cap was `Duration::MAX`, or a field is not a number.
        Duration::try_from_secs_f64(jittered).unwrap_or(self.max)
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// When, and how often, a failed operation is tried again.
///
/// Only what is safe is retried: errors known not to have been applied, and operations that may be
/// applied twice without harm.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// Attempts in total, the first included; `None` is without limit (a deadline still ends it).
    pub attempts: Option<std::num::NonZeroU32>,
    /// The delay between attempts.
    pub backoff: Backoff,
}

impl RetryPolicy {
    /// Three attempts, 1 s apart, doubling, at most 30 s, half of it random.
    pub const DEFAULT: Self = Self {
        attempts: std::num::NonZeroU32::new(3),
        backoff: Backoff::DEFAULT,
    };

    /// One attempt, no retry.
    pub const NEVER: Self = Self {
        attempts: std::num::NonZeroU32::new(1),
        backoff: Backoff::DEFAULT,
    };

    /// Whether attempt number `attempt` (counted from 1) may be followed by another.
    #[must_use]
    pub fn allows_after(&self, attempt: u32) -> bool {
        self.attempts.is_none_or(|limit| attempt < limit.get())
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self::DEFAULT
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_delay_lies_between_its_jittered_floor_and_its_cap(
            retry in 0_u32..=u32::MAX, random in 0.0..=1.0_f64, jitter in 0.0..=1.0_f64,
        ) {
            let backoff = Backoff { jitter, ..Backoff::DEFAULT };
            let delay = backoff.delay_with(retry, random);
            prop_assert!(delay <= backoff.max);
            prop_assert!(delay.as_secs_f64() >= backoff.initial.as_secs_f64() * (1.0 - jitter) - 1e-9);
        }

        #[test]
        fn delays_never_shrink_without_jitter(retry in 1_u32..100) {
            let backoff = Backoff { jitter: 0.0, ..Backoff::DEFAULT };
            prop_assert!(backoff.delay_with(retry, 0.5) <= backoff.delay_with(retry + 1, 0.5));
        }
    }

    #[test]
    fn three_attempts_mean_two_retries() {
        assert!(RetryPolicy::DEFAULT.allows_after(2));
        assert!(!RetryPolicy::DEFAULT.allows_after(3));
        assert!(!RetryPolicy::NEVER.allows_after(1));
    }
}
