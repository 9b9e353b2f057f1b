//! What one job may have of its own.

use std::time::{Duration, SystemTime};

use super::ask::{MAX_GROUP, MAX_TIME};
use super::fairness::MOST_PRIORITY;
use super::unique::Unique;
use crate::backoff::Backoff;
use crate::clock::system_now;
use crate::error::{Error, Result};

/// How many tags a job has at most.
const MOST_TAGS: usize = 16;
/// The longest tag, in bytes.
const MAX_TAG: usize = 64;
/// What became of a job is known for so long at least, so that a push whose reply was lost is recognised when it is repeated.
pub(super) const SHORTEST_KEEP: Duration = Duration::from_secs(60);

/// What one job has of its own, where that differs from what its [`QueueSpec`](super::QueueSpec) says.
///
/// What is said at the push comes first, then what the spec [computes from the input](super::QueueSpec::options), then
/// the spec itself.
///
/// # Example
/// ```
/// use quorate::{JobOptions, QueueSpec};
/// use serde::{Deserialize, Serialize};
/// use std::time::Duration;
///
/// #[derive(Serialize, Deserialize)]
/// struct Export { customer: String, rows: u64 }
///
/// /// Customers take turns, and what is small is ahead.
/// const EXPORTS: QueueSpec<Export, String> = QueueSpec::new("exports").options(|export: &Export| {
///     let options = JobOptions::new().fairness_group(&export.customer);
///     if export.rows < 1_000 { options.priority(1) } else { options.timeout(Duration::from_secs(3600)) }
/// });
/// # let _ = EXPORTS;
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[must_use = "options do nothing until a job is pushed with them"]
pub struct JobOptions {
    pub(super) delay: Option<Duration>,
    pub(super) priority: Option<u8>,
    pub(super) fairness_group: Option<String>,
    pub(super) max_attempts: Option<u32>,
    pub(super) backoff: Option<Backoff>,
    pub(super) timeout: Option<Duration>,
    pub(super) expires_in: Option<Duration>,
    pub(super) keep_result: Option<Duration>,
    pub(super) tags: Vec<String>,
    pub(super) unique: Option<Unique>,
}

/// The same setters for all that have options: `|it| …` says where.
macro_rules! option_setters {
    (|$this:ident| $options:expr) => {
        /// Waits so long before anybody may have it, by the clock of the home. At most 36 500 days.
        pub fn delay(mut self, delay: std::time::Duration) -> Self {
            let $this = &mut self;
            $options.delay = Some(delay);
            self
        }

        /// Waits until then before anybody may have it; not at all if that has passed. How long that is, is counted once,
        /// by the clock of this process.
        pub fn run_at(self, time: std::time::SystemTime) -> Self {
            self.delay($crate::queue::options::until(time))
        }

        /// How urgent it is, from 0 (the default) to 9. A step is a head start of 1 000 turns: who has less waits longer, and
        /// never for ever.
        pub fn priority(mut self, priority: u8) -> Self {
            let $this = &mut self;
            $options.priority = Some(priority);
            self
        }

        /// With whom it shares what is fair, such as a customer: groups take turns, whatever each of them has queued. At
        /// most 512 bytes. Jobs that name none are a group together.
        pub fn fairness_group(mut self, group: impl Into<String>) -> Self {
            let $this = &mut self;
            $options.fairness_group = Some(group.into());
            self
        }

        /// How often it is delivered at most, at least once. A delivery counts also if its worker dies of it.
        pub fn max_attempts(mut self, attempts: u32) -> Self {
            let $this = &mut self;
            $options.max_attempts = Some(attempts);
            self
        }

        /// How long to wait before the next attempt after one that failed.
        pub fn backoff(mut self, backoff: $crate::Backoff) -> Self {
            let $this = &mut self;
            $options.backoff = Some(backoff);
            self
        }

        /// How long one attempt may take: after that the handler is dropped, and the attempt has failed.
        pub fn timeout(mut self, timeout: std::time::Duration) -> Self {
            let $this = &mut self;
            $options.timeout = Some(timeout);
            self
        }

        /// For how long it is worth beginning it, counted from the push by the clock of the home: for the first time or
        /// again. After that it is [expired](crate::queue::JobEnd::Expired).
        pub fn expires_in(mut self, time: std::time::Duration) -> Self {
            let $this = &mut self;
            $options.expires_in = Some(time);
            self
        }

        /// How long is kept what became of it, and what its handler returned: at least a minute, within which a push whose
        /// reply was lost is recognised when it is repeated. What failed for good is kept for 30 days, whatever is said here.
        pub fn keep_result(mut self, time: std::time::Duration) -> Self {
            let $this = &mut self;
            $options.keep_result = Some(time);
            self
        }

        /// The same job as others that are pushed with this key while it has not ended: a push gives the one that is there. At most
        /// 512 bytes, of this queue alone.
        pub fn unique(self, key: impl Into<String>) -> Self {
            self.uniqueness(key.into(), $crate::queue::UniqueScope::UntilEnded)
        }

        /// As [`unique`](Self::unique), also as long as it is kept what became of it: who pushes again with the same idempotency
        /// key gets the first one's result.
        pub fn idempotency_key(self, key: impl Into<String>) -> Self {
            self.uniqueness(key.into(), $crate::queue::UniqueScope::UntilForgotten)
        }

        /// One job for all pushes with this key within a time that begins with the first, whatever becomes of that.
        pub fn throttle(self, key: impl Into<String>, time: std::time::Duration) -> Self {
            self.uniqueness(key.into(), $crate::queue::UniqueScope::Throttle(time))
        }

        /// One job for all pushes with this key while it waits: each gives it its own input, and lets it wait anew for its own
        /// [delay](Self::delay). One that is running already is left alone, and the push is a job of its own.
        pub fn debounce(self, key: impl Into<String>) -> Self {
            self.uniqueness(key.into(), $crate::queue::UniqueScope::Debounce)
        }

        fn uniqueness(mut self, key: String, scope: $crate::queue::UniqueScope) -> Self {
            let $this = &mut self;
            $options.unique = Some($crate::queue::Unique { key, scope });
            self
        }

        /// Words to find it by, for people: at most 16, each of at most 64 bytes.
        pub fn tags<T: Into<String>>(mut self, tags: impl IntoIterator<Item = T>) -> Self {
            let $this = &mut self;
            $options.tags = tags.into_iter().map(Into::into).collect();
            self
        }
    };
}
pub(super) use option_setters;

impl JobOptions {
    /// Nothing that differs from the spec.
    pub fn new() -> Self {
        Self::default()
    }

    option_setters!(|it| it);

    /// These, and where they say nothing, those.
    pub(super) fn or(self, other: Self) -> Self {
        Self {
            delay: self.delay.or(other.delay),
            priority: self.priority.or(other.priority),
            fairness_group: self.fairness_group.or(other.fairness_group),
            max_attempts: self.max_attempts.or(other.max_attempts),
            backoff: self.backoff.or(other.backoff),
            timeout: self.timeout.or(other.timeout),
            expires_in: self.expires_in.or(other.expires_in),
            keep_result: self.keep_result.or(other.keep_result),
            unique: self.unique.or(other.unique),
            tags: if self.tags.is_empty() {
                other.tags
            } else {
                self.tags
            },
        }
    }

    /// Refuses what breaks a rule.
    pub(super) fn check(&self) -> Result<()> {
        check_time("delay", self.delay)?;
        check_time("expires_in", self.expires_in)?;
        check_time("keep_result", self.keep_result)?;
        check_time("timeout", self.timeout)?;
        self.unique.as_ref().map_or(Ok(()), Unique::check)?;
        let refuse = |field, rule| Err(Error::invalid(field, rule));
        if self.max_attempts == Some(0) {
            return refuse("max_attempts", "must be at least 1");
        }
        if self.priority.is_some_and(|it| it > MOST_PRIORITY) {
            return refuse("priority", "must be from 0 to 9");
        }
        let group = self.fairness_group.as_ref();
        if group.is_some_and(|it| it.len() > MAX_GROUP) {
            return refuse("fairness_group", "must be at most 512 bytes");
        }
        if self.expires_in.is_some_and(|it| it.as_millis() == 0) {
            return refuse("expires_in", "must be at least 1 ms");
        }
        if self.timeout.is_some_and(|it| it.as_millis() == 0) {
            return refuse("timeout", "must be at least 1 ms");
        }
        if self.keep_result.is_some_and(|it| it < SHORTEST_KEEP) {
            return refuse("keep_result", "must be at least a minute");
        }
        if self.tags.len() > MOST_TAGS {
            return refuse("tags", "must be at most 16");
        }
        let is_bad = |tag: &String| tag.is_empty() || tag.len() > MAX_TAG;
        if self.tags.iter().any(is_bad) {
            return refuse("tags", "must each have 1 to 64 bytes");
        }
        Ok(())
    }
}

fn check_time(field: &str, time: Option<Duration>) -> Result<()> {
    if time.is_some_and(|it| it > MAX_TIME) {
        return Err(Error::invalid(field, "must be at most 36500 days"));
    }
    Ok(())
}

/// How long it is until then, by the clock of this process.
pub(super) fn until(time: SystemTime) -> Duration {
    let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH);
    let now = Duration::from_micros(system_now().get());
    since_epoch.unwrap_or_default().saturating_sub(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_first_counts() {
        let (s1, s2) = (Duration::from_secs(1), Duration::from_secs(2));
        let said = JobOptions::new().delay(s1).tags(["a"]);
        let computed = JobOptions::new()
            .delay(s2)
            .priority(3)
            .tags(["b"])
            .max_attempts(7);
        let all = said.or(computed);
        assert_eq!(
            all,
            JobOptions::new()
                .delay(s1)
                .priority(3)
                .tags(["a"])
                .max_attempts(7)
        );
    }

    #[test]
    fn a_rule_that_is_broken_is_named_with_its_field() {
        let ages = MAX_TIME + Duration::from_nanos(1);
        let options = JobOptions::new;
        for (options, field) in [
            (options().delay(ages), "delay must be at most 36500 days"),
            (options().expires_in(ages), "expires_in must be at most"),
            (
                options().expires_in(Duration::ZERO),
                "expires_in must be at least 1 ms",
            ),
            (
                options().timeout(Duration::ZERO),
                "timeout must be at least 1 ms",
            ),
            (
                options().keep_result(Duration::ZERO),
                "keep_result must be at least a minute",
            ),
            (options().max_attempts(0), "max_attempts must be at least 1"),
            (options().priority(10), "priority must be from 0 to 9"),
            (
                options().fairness_group("x".repeat(513)),
                "fairness_group must be",
            ),
            (options().unique(""), "unique must not be empty"),
            (
                options().throttle("k", Duration::ZERO),
                "throttle must be longer than nothing",
            ),
            (options().tags([""]), "tags must each have 1 to 64 bytes"),
            (options().tags(["x"; 17]), "tags must be at most 16"),
        ] {
            let error = options.check().unwrap_err().to_string();
            assert!(error.contains(field), "{error}");
        }
        let edge = options()
            .delay(MAX_TIME)
            .priority(9)
            .max_attempts(1)
            .keep_result(SHORTEST_KEEP)
            .fairness_group("x".repeat(512))
            .tags(vec!["x".repeat(64); 16]);
        edge.check().unwrap();
    }

    #[test]
    fn a_time_that_has_passed_is_now() {
        assert_eq!(until(SystemTime::UNIX_EPOCH), Duration::ZERO);
        let soon = SystemTime::UNIX_EPOCH + Duration::from_micros(system_now().get() + 60_000_000);
        let left = until(soon);
        assert!(left <= Duration::from_secs(60) && left > Duration::from_secs(30));
    }
}
