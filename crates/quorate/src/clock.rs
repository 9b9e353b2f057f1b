//! Time, so that tests can move it.
//!
//! Decisions are made on the time of the home: the server's on Redis, this module's in-process.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// Microseconds since the Unix epoch on the clock of a home.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Micros(u64);

impl Micros {
    /// From a count of microseconds.
    #[must_use]
    pub const fn new(micros: u64) -> Self {
        Self(micros)
    }

    /// The count of microseconds.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// This moment plus `duration`, at microsecond precision; saturates.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(whole_micros(duration)))
    }

    /// Time from `earlier` to this moment; zero if `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

/// `duration` in whole microseconds; saturates.
pub(crate) fn whole_micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// `duration` in milliseconds, rounded up; saturates. What a server ends by itself, it ends to the millisecond.
pub(crate) fn whole_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

/// `from` plus `time`, or so much later that nobody lives to see it: who gives a time may give
/// `Duration::MAX`, and a sum that overflows panics.
pub(crate) fn after(from: Instant, time: Duration) -> Instant {
    const AGES: Duration = Duration::from_secs(30 * 366 * 24 * 3600);
    from.checked_add(time).unwrap_or_else(|| from + AGES)
}

/// The clock of an in-process home.
///
/// It starts at the system's time and then follows tokio's clock, so that it never runs backwards and
/// that `tokio::time::advance` in a test moves leases, expiry and timestamps together.
#[derive(Clone, Debug)]
pub(crate) struct HomeClock {
    wall: Micros,
    start: Arc<std::sync::OnceLock<Instant>>,
    moved: TestClock,
}

impl HomeClock {
    pub(crate) fn new(moved: Option<TestClock>) -> Self {
        Self::not_before(Micros::default(), moved)
    }

    /// Begins at `earliest` where the system's time is before that.
    pub(crate) fn not_before(earliest: Micros, moved: Option<TestClock>) -> Self {
        Self {
            wall: system_now().max(earliest),
            start: Arc::default(),
            moved: moved.unwrap_or_default(),
        }
    }

    pub(crate) fn now(&self) -> Micros {
        self.wall.plus(self.up_for())
    }

    /// For how long it has run.
    pub(crate) fn up_for(&self) -> Duration {
        // The first reading fixes the start, because a home may be made before its runtime is.
        let start = *self.start.get_or_init(Instant::now);
        start.elapsed() + Duration::from_micros(self.moved.offset_micros())
    }
}

/// The system's time. Only for what people read (timestamps), never for a decision.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the system clock"
)]
pub(crate) fn system_now() -> Micros {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Micros::new(whole_micros(since_epoch))
}

/// An offset that tests add to the time of a home, in steps.
///
/// A home built with it decides by its own time plus the offset: leases end, and nothing has to be
/// waited for. Timers of the process (renewals, `wait`) are not moved. Fleets that share the value share
/// the offset. In-process, tests that pause tokio's clock and advance it move both at once, and need no
/// test clock.
#[derive(Clone, Debug, Default)]
pub struct TestClock(Arc<AtomicU64>);

impl TestClock {
    /// A clock with no offset yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Moves time forward by `duration`.
    pub fn advance(&self, duration: Duration) {
        // SeqCst: a script sent after this returns must see it, whichever task sends it.
        self.0.fetch_add(whole_micros(duration), Ordering::SeqCst);
    }

    /// Moves time back by `duration`, at most to what it would be without this clock, as who administers a server may.
    pub fn set_back(&self, duration: Duration) {
        let micros = whole_micros(duration);
        let less = |offset: u64| Some(offset.saturating_sub(micros));
        // It always gives something.
        let _ = self
            .0
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, less);
    }

    /// The offset in microseconds.
    #[must_use]
    pub fn offset_micros(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_home_clock_follows_a_paused_runtime() {
        let clock = HomeClock::new(None);
        let before = clock.now();
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(clock.now().since(before), Duration::from_secs(5));
    }

    #[tokio::test(start_paused = true)]
    async fn the_home_clock_goes_on_where_it_was() {
        let later = system_now().plus(Duration::from_secs(3600));
        assert_eq!(HomeClock::not_before(later, None).now(), later);
        let earlier = Micros::new(1);
        assert!(HomeClock::not_before(earlier, None).now() > earlier);
    }
}
