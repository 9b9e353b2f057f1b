//! What a limit is, and what it comes to in whole numbers. Pure functions: nothing here waits.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use crate::error::{Error, Result};

/// The most policies of one limiter.
pub const MAX_POLICIES: usize = 4;

/// The largest limit.
pub const MAX_LIMIT: u64 = 1_000_000_000;

/// The largest limit of a sliding log, which keeps every request that still counts.
pub const MAX_LOGGED: u64 = 10_000;

const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// Up to here, sums of two whole numbers are exact where the only numbers are floating point.
pub(super) const EXACT: u64 = 1 << 52;

/// How many requests may be made in what time, and how they are counted.
///
/// | | counts | exact | costs |
/// | --- | --- | --- | --- |
/// | [`sliding_log`](Self::sliding_log) | every request of the last `window` | yes | 16 bytes per request that counts |
/// | [`sliding_counter`](Self::sliding_counter) | this window and a share of the one before | within a bound | 24 bytes |
/// | [`fixed_window`](Self::fixed_window) | from the first request on, for `window` | yes | 24 bytes |
/// | [`token_bucket`](Self::token_bucket) | what has not yet run out again (GCRA) | yes | 24 bytes |
///
/// A request has a cost, 1 unless it says otherwise. Limits and costs are whole numbers.
///
/// Rules, kept by every call of a limiter before anything is touched: a limit is from 1 to 1 000 000 000 (of a
/// log, to 10 000), a window from 1 ms to 366 days.
///
/// # Example
/// ```
/// use quorate::Policy;
/// use std::time::Duration;
///
/// const MINUTE: Duration = Duration::from_secs(60);
/// /// At most 100 in any minute.
/// const EXACT: Policy = Policy::sliding_log(100, MINUTE);
/// /// 10 per second on average, 50 at once.
/// const SMOOTH: Policy = Policy::token_bucket(10, Duration::from_secs(1)).burst(50);
/// assert!(EXACT.check().is_ok() && SMOOTH.check().is_ok());
/// let error = Policy::fixed_window(0, MINUTE).check().unwrap_err();
/// assert_eq!(error.message(), Some("limit must be from 1 to 1000000000"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Policy {
    algorithm: Algorithm,
    limit: u64,
    window: Duration,
    burst: Option<u64>,
    name: Option<Cow<'static, str>>,
}

/// How requests are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// From the first request on, for one window.
    FixedWindow,
    /// This window, and of the one before the share that the sliding window still has of it.
    SlidingCounter,
    /// Every request for itself.
    SlidingLog,
    /// Tokens that come back at a steady rate, up to a burst; also known as GCRA.
    TokenBucket,
}

impl Algorithm {
    /// The name in policies, keys and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FixedWindow => "fixed",
            Self::SlidingCounter => "counter",
            Self::SlidingLog => "log",
            Self::TokenBucket => "bucket",
        }
    }
}

impl Policy {
    /// At most `limit` from the first request on until `window` is over; then the next request begins another.
    ///
    /// Exact for its windows. Around the end of one, twice the limit may come within a short time.
    #[must_use]
    pub const fn fixed_window(limit: u64, window: Duration) -> Self {
        Self::new(Algorithm::FixedWindow, limit, window)
    }

    /// At most `limit` in any `window`, exactly: every request is remembered for that long.
    #[must_use]
    pub const fn sliding_log(limit: u64, window: Duration) -> Self {
        Self::new(Algorithm::SlidingLog, limit, window)
    }

    /// About `limit` in any `window`, from two counts: that of the present window, which begins at a multiple of
    /// its length, and the part of the one before that the sliding window still covers, as if its requests
    /// had come evenly.
    ///
    /// The count is off by less than what was admitted in the window before. So never more than `2 × limit - 1`
    /// are admitted in any window, and never more than `limit` in one that begins at a multiple of its length;
    /// the more evenly requests come, the nearer to the limit.
    #[must_use]
    pub const fn sliding_counter(limit: u64, window: Duration) -> Self {
        Self::new(Algorithm::SlidingCounter, limit, window)
    }

    /// `limit` per `period` on average, and at most [`burst`](Self::burst) at once: tokens come back one by one,
    /// `period / limit` apart. Also known as leaky bucket or GCRA.
    ///
    /// In any time `t`, at most `burst + limit × t / period` are admitted. The arithmetic is exact, for which `burst`
    /// times the microseconds of `period`, divided by what they have in common with `limit`, must not exceed 2⁵².
    #[must_use]
    pub const fn token_bucket(limit: u64, period: Duration) -> Self {
        Self::new(Algorithm::TokenBucket, limit, period)
    }

    const fn new(algorithm: Algorithm, limit: u64, window: Duration) -> Self {
        Self {
            algorithm,
            limit,
            window,
            burst: None,
            name: None,
        }
    }

    /// How many may come at once when none came for long. Default: the limit. Token buckets only.
    #[must_use]
    pub const fn burst(mut self, burst: u64) -> Self {
        self.burst = Some(burst);
        self
    }

    /// What refusals and headers call it: 1 to 64 letters, digits and `_ . -`. Default: the algorithm and the
    /// window, such as `log-60s`.
    #[must_use]
    pub fn named(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The same policy with another limit. A burst that was set stays; one that was not follows the limit.
    #[must_use]
    pub(crate) fn with_limit(&self, limit: u64) -> Self {
        Self {
            limit,
            ..self.clone()
        }
    }

    /// What one of so many instances may allow on its own, so that all of them together keep to the policy.
    pub(crate) fn share(&self, instances: u32) -> Self {
        let part = |number: u64| number / u64::from(instances.max(1));
        let mut share = self.clone();
        if self.algorithm == Algorithm::TokenBucket {
            share.burst = Some(part(self.capacity()));
            share.window = self.window.saturating_mul(instances);
            // Its own name stays: it says the period of the whole.
            share.name = Some(self.name().into_owned().into());
        } else {
            share.limit = part(self.limit);
        }
        share
    }

    /// How requests are counted.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// How many are allowed per window.
    #[must_use]
    pub const fn limit(&self) -> u64 {
        self.limit
    }

    /// The window, or the period of a token bucket.
    #[must_use]
    pub const fn window(&self) -> Duration {
        self.window
    }

    /// The most that can come at once, and so the largest cost.
    #[must_use]
    pub const fn capacity(&self) -> u64 {
        match self.burst {
            Some(burst) => burst,
            None => self.limit,
        }
    }

    /// What refusals and headers call it.
    #[must_use]
    pub fn name(&self) -> Cow<'_, str> {
        match &self.name {
            Some(name) => Cow::Borrowed(name),
            None => format!("{}-{}", self.algorithm.as_str(), Span(self.window)).into(),
        }
    }

    /// Whether it keeps the rules. Every call of a limiter asks this first.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) with the field and the rule.
    pub fn check(&self) -> Result<()> {
        self.rate().map(drop)
    }

    /// The policy in whole numbers.
    pub(crate) fn rate(&self) -> Result<Rate> {
        let most = match self.algorithm {
            Algorithm::SlidingLog => MAX_LOGGED,
            _ => MAX_LIMIT,
        };
        check_between("limit", self.limit, most)?;
        if self.window < SHORTEST || self.window > LONGEST {
            return Err(Error::invalid("window", "must be from 1 ms to 366 days"));
        }
        if let Some(burst) = self.burst {
            if self.algorithm != Algorithm::TokenBucket {
                return Err(Error::invalid("burst", "is for token buckets"));
            }
            check_between("burst", burst, MAX_LIMIT)?;
        }
        if let Some(name) = &self.name {
            check_policy_name(name)?;
        }
        // Up, where it is not whole: a shorter window would allow more than was asked for.
        let window = u64::try_from(self.window.as_nanos().div_ceil(1000)).unwrap_or(u64::MAX);
        let common = gcd(self.limit, window);
        let rate = Rate {
            algorithm: self.algorithm,
            capacity: self.capacity(),
            window,
            drained: self.limit / common,
            token: window / common,
        };
        if self.algorithm == Algorithm::TokenBucket && rate.full().is_none() {
            let rule = "and its burst are too fine for the period: a rounder limit, a smaller burst or a shorter \
                        period can be counted exactly";
            return Err(Error::invalid("limit", rule));
        }
        Ok(rate)
    }
}

pub(super) fn check_between(field: &str, number: u64, most: u64) -> Result<()> {
    if number == 0 || number > most {
        return Err(Error::invalid(
            field,
            format_args!("must be from 1 to {most}"),
        ));
    }
    Ok(())
}

fn check_policy_name(name: &str) -> Result<()> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    if name.is_empty() || name.len() > 64 || !name.bytes().all(allowed) {
        let rule = "must be 1 to 64 letters, digits and `_ . -`";
        return Err(Error::invalid("policy name", rule));
    }
    Ok(())
}

const fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// A time as people write it: in the largest unit of which it is a whole number.
pub(super) struct Span(pub(super) Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_micros();
        match micros {
            _ if micros.is_multiple_of(1_000_000) => write!(f, "{}s", micros / 1_000_000),
            _ if micros.is_multiple_of(1000) => write!(f, "{}ms", micros / 1000),
            _ => write!(f, "{micros}us"),
        }
    }
}

/// A policy as it is counted: whole numbers, within what a floating-point number holds exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rate {
    /// How requests are counted.
    pub algorithm: Algorithm,
    /// The most that can be allowed at once.
    pub capacity: u64,
    /// The window, or the period of a token bucket, µs.
    pub window: u64,
    /// Of a token bucket: how much of what was used runs out in a microsecond, and how much of that one token is.
    pub drained: u64,
    /// See `drained`.
    pub token: u64,
}

impl Rate {
    /// A full token bucket, in what runs out; `None` if that cannot be counted exactly.
    pub(super) fn full(&self) -> Option<u64> {
        let full = self.capacity.checked_mul(self.token)?;
        (full <= EXACT).then_some(full)
    }

    /// After how long nothing of now counts any more, µs: for a clock that was set back.
    pub(super) fn longest(&self) -> u64 {
        match self.algorithm {
            Algorithm::TokenBucket => {
                let full = self.full().unwrap_or(EXACT);
                full.div_ceil(self.drained)
            }
            _ => self.window,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_breaks_a_rule_is_refused_with_it() {
        let day = SECOND * 86_400;
        for (policy, rule) in [
            (
                Policy::fixed_window(0, SECOND),
                "limit must be from 1 to 1000000000",
            ),
            (
                Policy::sliding_log(10_001, SECOND),
                "limit must be from 1 to 10000",
            ),
            (
                Policy::sliding_counter(1, Duration::ZERO),
                "window must be from 1 ms to 366 days",
            ),
            (
                Policy::fixed_window(1, Duration::MAX),
                "window must be from 1 ms to 366 days",
            ),
            (
                Policy::token_bucket(1, SECOND).burst(0),
                "burst must be from 1 to 1000000000",
            ),
            (
                Policy::fixed_window(1, SECOND).burst(1),
                "burst is for token buckets",
            ),
            (
                Policy::fixed_window(1, SECOND).named("a b"),
                "policy name must be 1 to 64 letters, digits and `_ . -`",
            ),
        ] {
            assert_eq!(policy.check().unwrap_err().message(), Some(rule));
        }
        let fine = Policy::token_bucket(999_983, day).check().unwrap_err();
        assert!(fine.message().unwrap().starts_with("limit and its burst"));
        assert!(Policy::token_bucket(1_000_000, day).check().is_ok());
    }

    #[test]
    fn names_say_what_it_is() {
        assert_eq!(Policy::sliding_log(1, SECOND * 60).name(), "log-60s");
        assert_eq!(Policy::fixed_window(1, SECOND / 4).name(), "fixed-250ms");
        assert_eq!(
            Policy::token_bucket(1, SECOND).named("burst").name(),
            "burst"
        );
    }

    #[test]
    fn a_bucket_is_a_ratio_of_whole_numbers() {
        let rate = Policy::token_bucket(3, SECOND).burst(5).rate().unwrap();
        assert_eq!((rate.drained, rate.token), (3, 1_000_000));
        assert_eq!(rate.longest(), 1_666_667);
    }
}
