//! How many jobs of a queue may be begun: limits over the whole fleet. Pure functions; `limits.lua` mirrors them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::clock::{Micros, whole_micros};
use crate::error::{Error, Result};
use crate::limit::{Policy, Rate};

/// How long a fairness group whose jobs are held back waits at most to be looked at again, if nobody says that it could go on.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// How often jobs are begun: so many in a period, in the long run.
///
/// A token bucket: as many as [`burst`](Self::burst) says may begin at once after a time without any, and then one each
/// `period / limit`. So in any time `t` at most `burst + limit × t / period` begin.
///
/// # Example
/// ```
/// use quorate::QueueSpec;
/// use quorate::queue::StartRate;
/// use std::time::Duration;
///
/// const MINUTE: Duration = Duration::from_secs(60);
/// /// What the provider allows: 600 a minute, and no more than 20 at once.
/// const MAILS: QueueSpec<String> = QueueSpec::new("mails").max_starts(StartRate::new(600, MINUTE).burst(20));
/// # let _ = MAILS;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StartRate {
    limit: u64,
    period: Duration,
    burst: u64,
}

impl StartRate {
    /// `limit` in each `period`, of which all may begin at once. A limit is from 1 to 1 000 000 000, a period from 1 ms to 366 days.
    #[must_use]
    pub const fn new(limit: u64, period: Duration) -> Self {
        Self {
            limit,
            period,
            burst: limit,
        }
    }

    /// How many may begin at once when none did for long. Default: the limit.
    #[must_use]
    pub const fn burst(mut self, burst: u64) -> Self {
        self.burst = burst;
        self
    }

    /// In whole numbers.
    pub(super) fn rate(self, field: &str) -> Result<Rate> {
        let policy = Policy::token_bucket(self.limit, self.period).burst(self.burst);
        policy.rate().map_err(|error| {
            let rule = error.message().unwrap_or("can't be counted");
            Error::invalid(&format!("{field}:"), rule)
        })
    }
}

/// `<limit>/<period>`, and `+<burst>` behind that: `600/60s`, `600/60s+20`.
impl FromStr for StartRate {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let policy: Policy = format!("bucket:{text}").parse().map_err(|_| {
            let rule = "must be a limit and a period, such as `600/60s`, or `600/60s+20` with a burst; a period has the \
                unit ms, s, m, h or d";
            Error::invalid("rate", rule)
        })?;
        Ok(Self {
            limit: policy.limit(),
            period: policy.window(),
            burst: policy.capacity(),
        })
    }
}

impl fmt::Display for StartRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let policy = Policy::token_bucket(self.limit, self.period).burst(self.burst);
        let text = policy.to_string();
        f.write_str(text.trim_start_matches("bucket:"))
    }
}

/// How many jobs of a queue may be active, and how often they are begun, over the whole fleet. What is `None` is not limited.
///
/// A limit of each fairness group is none of jobs that name no [group](super::NewJob::group).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[expect(clippy::exhaustive_structs, reason = "backends take it apart")]
pub struct QueueLimits {
    /// How many are active at most.
    pub active: Option<u32>,
    /// How many of each fairness group are.
    pub active_per_group: Option<u32>,
    /// How often one is begun.
    pub starts: Option<StartRate>,
    /// How often one of each fairness group is.
    pub starts_per_group: Option<StartRate>,
}

impl QueueLimits {
    /// None at all.
    pub const NONE: Self = Self {
        active: None,
        active_per_group: None,
        starts: None,
        starts_per_group: None,
    };

    /// Refuses limits that can't be kept.
    pub(super) fn check(&self) -> Result<()> {
        self.rates()?;
        let numbers = [
            ("max_active", self.active),
            ("max_active_per_group", self.active_per_group),
        ];
        match numbers.iter().find(|(_, number)| *number == Some(0)) {
            Some((field, _)) => Err(Error::invalid(field, "must be at least 1")),
            None => Ok(()),
        }
    }

    /// Whether fairness groups have limits.
    pub(super) const fn are_of_groups(&self) -> bool {
        self.active_per_group.is_some() || self.starts_per_group.is_some()
    }

    /// How often a job of the queue is begun, and one of each group.
    pub(super) fn rates(&self) -> Result<(Option<Rate>, Option<Rate>)> {
        let rate = |rate: Option<StartRate>, field| rate.map(|it| it.rate(field)).transpose();
        let of_queue = rate(self.starts, "max_starts")?;
        Ok((
            of_queue,
            rate(self.starts_per_group, "max_starts_per_group")?,
        ))
    }
}

/// What counts of jobs that were begun: until when, if none is begun any more.
///
/// The same as the limiter's token bucket, but for what that remembers beside a whole microsecond: of jobs, a little less is begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct Begun(pub(super) Micros);

impl Begun {
    /// What of it has not run out, at most as much as there can be: the rate may have been another, or the clock was set back.
    fn counting(self, now: Micros, rate: &Rate) -> u64 {
        let left = whole_micros(self.0.since(now));
        let full = rate.capacity * rate.token;
        left.saturating_mul(rate.drained).min(full)
    }

    /// How many more may begin now.
    pub(super) fn left(self, now: Micros, rate: &Rate) -> u64 {
        (rate.capacity * rate.token - self.counting(now, rate)) / rate.token
    }

    /// In how long one may begin that is so many behind the next.
    pub(super) fn wait(self, now: Micros, rate: &Rate, behind: u64) -> Duration {
        let wanted = self.counting(now, rate) + (behind + 1) * rate.token;
        let over = wanted.saturating_sub(rate.capacity * rate.token);
        Duration::from_micros(over.div_ceil(rate.drained))
    }

    /// When so many more have begun.
    pub(super) fn after(self, now: Micros, rate: &Rate, number: u64) -> Self {
        let used = self.counting(now, rate) + number * rate.token;
        Self(now.plus(Duration::from_micros(used.div_ceil(rate.drained))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(millis: u64) -> Micros {
        Micros::new(1_000_000_000 + millis * 1_000)
    }

    #[test]
    fn as_many_begin_as_the_rate_says() {
        let rate = StartRate::new(10, SECOND).burst(3).rate("x").unwrap();
        let begun = Begun::default();
        assert_eq!(begun.left(at(0), &rate), 3);
        let begun = begun.after(at(0), &rate, 3);
        assert_eq!(begun.left(at(99), &rate), 0);
        assert_eq!(begun.wait(at(0), &rate, 0), Duration::from_millis(100));
        assert_eq!(begun.wait(at(0), &rate, 2), Duration::from_millis(300));
        assert_eq!(begun.left(at(100), &rate), 1);
        assert_eq!(begun.left(at(10_000), &rate), 3);
    }

    #[test]
    fn a_clock_that_was_set_back_costs_no_more_than_a_full_bucket() {
        let rate = StartRate::new(10, SECOND).rate("x").unwrap();
        let begun = Begun::default().after(at(3_600_000), &rate, 10);
        assert_eq!(begun.wait(at(0), &rate, 0), Duration::from_millis(100));
    }

    #[test]
    fn rates_read_back_what_they_write() {
        for text in ["600/60s", "600/60s+20", "1/250ms"] {
            assert_eq!(text.parse::<StartRate>().unwrap().to_string(), text);
        }
        for text in ["", "600", "600/60", "0/1s", "bucket:1/1s", "1/0s"] {
            let error = text.parse::<StartRate>().unwrap_err().to_string();
            assert!(
                error.contains("rate must be a limit and a period"),
                "{error}"
            );
        }
    }

    #[test]
    fn limits_that_cannot_be_kept_are_refused() {
        let said = |limits: QueueLimits| limits.check().unwrap_err().to_string();
        let none = QueueLimits::default();
        let text = said(QueueLimits {
            active: Some(0),
            ..none
        });
        assert!(text.contains("max_active must be at least 1"), "{text}");
        let text = said(QueueLimits {
            starts_per_group: Some(StartRate::new(0, SECOND)),
            ..none
        });
        assert!(
            text.contains("max_starts_per_group: limit must be from 1"),
            "{text}"
        );
        assert!(none.check().is_ok());
    }
}
