//! How long entries of stores and caches live, and how many a call may name.

use std::time::Duration;

use crate::error::{Error, Result};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// How long an entry may live at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Longest {
    time: Duration,
    rule: &'static str,
}

/// In a store: a hundred years.
pub(crate) const OF_STORES: Longest = Longest {
    time: DAY.saturating_mul(36_500),
    rule: "must be at most 100 years",
};

/// In a cache, and whatever else it keeps: a year.
pub(crate) const OF_CACHES: Longest = Longest {
    time: DAY.saturating_mul(365),
    rule: "must be at most a year",
};

/// The shortest time that is neither refused nor rounded to nothing by a server.
const SHORTEST: Duration = Duration::from_millis(1);

/// Entries of one call.
const MOST: usize = 10_000;

impl Longest {
    /// The rule for times, as a `const fn` so that a bad `const` does not compile.
    pub(crate) const fn check(self, time: Duration) -> Result<(), &'static str> {
        if time.as_nanos() < SHORTEST.as_nanos() {
            return Err("must be at least 1 ms");
        }
        self.check_or_zero(time)
    }

    /// The same where zero means not at all.
    pub(crate) const fn check_or_zero(self, time: Duration) -> Result<(), &'static str> {
        if time.as_nanos() > self.time.as_nanos() {
            return Err(self.rule);
        }
        Ok(())
    }

    /// A time, if `field` may be that.
    pub(crate) fn checked(self, field: &str, time: Duration) -> Result<Duration> {
        self.check(time)
            .map_err(|rule| Error::invalid(field, rule))?;
        Ok(time)
    }
}

/// Refuses calls of more entries than there may be.
pub(crate) fn check_count(count: usize) -> Result<()> {
    if count > MOST {
        let rule = format_args!("must be at most {MOST}");
        return Err(Error::invalid("keys", rule));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_counts_are_refused_just_beyond_their_bounds() {
        let nano = Duration::from_nanos(1);
        for (longest, most) in [(OF_STORES, "100 years"), (OF_CACHES, "a year")] {
            for time in [SHORTEST, longest.time] {
                assert_eq!(longest.checked("ttl", time).unwrap(), time);
            }
            for (time, rule) in [
                (Duration::ZERO, "at least 1 ms"),
                (SHORTEST - nano, "at least 1 ms"),
                (longest.time + nano, most),
                (Duration::MAX, most),
            ] {
                let error = longest.checked("ttl", time).unwrap_err();
                assert!(error.to_string().contains(rule), "{error}");
                assert!(error.to_string().contains("ttl"), "{error}");
            }
            assert_eq!(longest.check_or_zero(Duration::ZERO), Ok(()));
        }
        check_count(MOST).unwrap();
        assert!(
            check_count(MOST + 1)
                .unwrap_err()
                .to_string()
                .contains("10000")
        );
    }
}
