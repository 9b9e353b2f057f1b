//! When something is to happen again and again.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::error::{Error, Result};

type Next = dyn Fn(SystemTime) -> Option<SystemTime> + Send + Sync;

/// When something is to happen again and again: by a cron expression, after equal times, or as a function says.
///
/// # Clone
/// Clones are the same timetable.
///
/// # Example
/// ```
/// use quorate::queue::Timetable;
/// use std::time::{Duration, SystemTime};
///
/// # fn main() -> quorate::Result<()> {
/// let hourly = Timetable::every(Duration::from_secs(3600))?;
/// let half_past = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800);
/// assert_eq!(hourly.next(half_past), Some(SystemTime::UNIX_EPOCH + Duration::from_secs(3600)));
/// # #[cfg(feature = "cron")] {
/// let mornings = Timetable::cron_in("30 8 * * mon-fri", "Europe/Berlin")?;
/// assert!(mornings.next(SystemTime::now()).is_some());
/// # }
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Timetable {
    next: Arc<Next>,
    name: Arc<str>,
}

impl Timetable {
    /// At the times of a cron expression, in UTC: minute, hour, day of the month, month, and day of the week.
    ///
    /// A field is `*`, a number, a range `1-5`, a list `1,3`, steps `*/15` or `10-50/20`, or names (`mon`, `jan`); Sunday is 0 and 7.
    /// Where both days are restricted, either will do, as cron has always had it. `L`, `W` and `#` are as in
    /// [Quartz](https://www.quartz-scheduler.org/documentation/quartz-2.3.0/tutorials/crontrigger.html), and `@hourly`,
    /// `@daily`, `@weekly`, `@monthly` and `@yearly` stand for themselves.
    ///
    /// # Errors
    /// `InvalidInput` for an expression that is none, has other than five fields, or never comes true.
    #[cfg(feature = "cron")]
    pub fn cron(expression: &str) -> Result<Self> {
        Self::cron_in(expression, "UTC")
    }

    /// The same by the clocks of a time zone, called as in the IANA database: `Europe/Berlin`.
    ///
    /// When clocks go forward, what falls into the hour that is left out happens right after it; when they go back, what happens at
    /// a fixed time happens once.
    ///
    /// # Errors
    /// Those of [`cron`](Self::cron), and `InvalidInput` for a time zone that is not known.
    #[cfg(feature = "cron")]
    pub fn cron_in(expression: &str, time_zone: &str) -> Result<Self> {
        use croner::parser::{CronParser, Seconds, Year};
        use jiff::tz::TimeZone;

        let parser = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .build();
        let cron = parser
            .parse(expression)
            .map_err(|error| Error::invalid("cron", error))?;
        let zone = TimeZone::get(time_zone).map_err(|_| {
            let rule = "must be the name of a time zone, as in Europe/Berlin";
            Error::invalid("time_zone", rule)
        })?;
        let next = move |after: SystemTime| {
            let after = jiff::Timestamp::try_from(after).ok()?;
            let after = after.to_zoned(zone.clone());
            let next = cron.find_next_occurrence(&after, false).ok()?;
            Some(next.timestamp().into())
        };
        if next(SystemTime::UNIX_EPOCH).is_none() {
            return Err(Error::invalid("cron", "must come true at some time"));
        }
        Ok(Self {
            next: Arc::new(next),
            name: format!("{expression} {time_zone}").into(),
        })
    }

    /// After equal times: whenever the time since the beginning of 1970 is a multiple of `interval`, so that all instances agree.
    ///
    /// # Errors
    /// `InvalidInput` for an interval that is shorter than a millisecond.
    pub fn every(interval: Duration) -> Result<Self> {
        if interval < Duration::from_millis(1) {
            return Err(Error::invalid("interval", "must be at least 1 ms"));
        }
        let next = move |after: SystemTime| {
            let since = after.duration_since(SystemTime::UNIX_EPOCH).ok()?;
            let begun = since.as_nanos() / interval.as_nanos();
            let nanos = (begun + 1).checked_mul(interval.as_nanos())?;
            let seconds = u64::try_from(nanos / 1_000_000_000).ok()?;
            let rest = u32::try_from(nanos % 1_000_000_000).ok()?;
            SystemTime::UNIX_EPOCH.checked_add(Duration::new(seconds, rest))
        };
        Ok(Self {
            next: Arc::new(next),
            name: format!("every {interval:?}").into(),
        })
    }

    /// At the times that `next` says: the first one after another, `None` if there is none. It has to say the same everywhere.
    pub fn following(
        next: impl Fn(SystemTime) -> Option<SystemTime> + Send + Sync + 'static,
    ) -> Self {
        Self {
            next: Arc::new(next),
            name: "a function".into(),
        }
    }

    /// The first time after another; `None` if there is none.
    #[must_use]
    pub fn next(&self, after: SystemTime) -> Option<SystemTime> {
        (self.next)(after)
    }
}

impl fmt::Debug for Timetable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Timetable").field(&self.name).finish()
    }
}

#[cfg(test)]
#[cfg(feature = "cron")]
mod tests {
    use super::*;

    /// The times of a timetable after another, in UTC.
    fn times(table: &Timetable, after: &str, many: usize) -> Vec<String> {
        let mut last = SystemTime::from(after.parse::<jiff::Timestamp>().unwrap());
        let mut times = Vec::new();
        for _ in 0..many {
            last = table.next(last).unwrap();
            times.push(jiff::Timestamp::try_from(last).unwrap().to_string());
        }
        times
    }

    #[test]
    fn a_cron_expression_has_five_fields_and_names() {
        let table = Timetable::cron("*/30 9-10 * jan MON,7").unwrap();
        assert_eq!(
            times(&table, "2026-01-01T00:00:00Z", 5),
            [
                "2026-01-04T09:00:00Z",
                "2026-01-04T09:30:00Z",
                "2026-01-04T10:00:00Z",
                "2026-01-04T10:30:00Z",
                "2026-01-05T09:00:00Z"
            ]
        );
        // Either day will do.
        let either = Timetable::cron("0 0 13 * fri").unwrap();
        assert_eq!(
            times(&either, "2026-01-10T00:00:00Z", 2),
            ["2026-01-13T00:00:00Z", "2026-01-16T00:00:00Z"]
        );
    }

    #[test]
    fn clocks_that_are_set_neither_skip_nor_repeat_a_time() {
        // Berlin left out 02:00 to 03:00 on 29 March 2026, and had it twice on 25 October.
        let table = Timetable::cron_in("30 2 * * *", "Europe/Berlin").unwrap();
        assert_eq!(
            times(&table, "2026-03-28T12:00:00Z", 2),
            ["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]
        );
        assert_eq!(
            times(&table, "2026-10-24T12:00:00Z", 2),
            ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]
        );
    }

    #[test]
    fn what_is_no_timetable_is_refused_with_the_rule() {
        for (expression, zone, field) in [
            ("", "UTC", "cron"),
            ("* * * *", "UTC", "cron"),
            ("* * * * * *", "UTC", "cron"),
            ("61 * * * *", "UTC", "cron"),
            ("0 0 30 2 *", "UTC", "cron"),
            ("0 0 * * someday", "UTC", "cron"),
            ("@reboot", "UTC", "cron"),
            ("0 0 * * *", "Berlin", "time_zone"),
        ] {
            let error = Timetable::cron_in(expression, zone).unwrap_err();
            assert!(error.to_string().contains(field), "{expression}: {error}");
        }
        assert!(Timetable::every(Duration::ZERO).is_err());
    }

    #[test]
    fn equal_times_are_the_same_everywhere() {
        let table = Timetable::every(Duration::from_millis(1_500)).unwrap();
        assert_eq!(
            times(&table, "2026-01-01T00:00:00.1Z", 2),
            ["2026-01-01T00:00:01.5Z", "2026-01-01T00:00:03Z"]
        );
    }
}
