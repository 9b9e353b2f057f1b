//! Publishing the week, faster than it was.

use std::str::FromStr;
use std::time::Duration;

use quorate::{Fleet, Receipt};
use tokio::time::Instant;

use crate::quake::{EARTHQUAKES, Quake, Report};

/// How much faster than it happened.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Speed(f64);

impl Speed {
    /// A factor above 0; 3600 is an hour a second.
    ///
    /// # Errors
    /// If it is not above 0, or not finite.
    pub fn new(factor: f64) -> Result<Self, String> {
        if factor.is_finite() && factor > 0.0 {
            Ok(Self(factor))
        } else {
            Err("the speed must be a number above 0".to_owned())
        }
    }

    /// How long after the first of the week the earthquake is published. Past the year 2500 of
    /// waiting it is the same.
    fn delay(self, first: &Quake, quake: &Quake) -> Duration {
        const LONGEST: f64 = 1.6e10;
        let seconds = Duration::from_millis(quake.time.saturating_sub(first.time)).as_secs_f64();
        Duration::from_secs_f64((seconds / self.0).min(LONGEST))
    }
}

impl FromStr for Speed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let factor = text.parse().map_err(|error| format!("{error}"))?;
        Self::new(factor)
    }
}

/// How a replay went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Replayed {
    /// Earthquakes the home took.
    pub published: usize,
    /// Earthquakes that could not be published.
    pub failed: usize,
}

/// Publishes the earthquakes one after the other, at the pace they had, `speed` times faster.
///
/// `each` hears how each of them went. One that cannot be published (the server is away for longer than
/// the call may take) is not tried again, and does not stop the rest: the hole in the numbers is
/// noticed where it matters, by whoever watches.
///
/// # Cancel safety
/// When the future is dropped, the rest is not published.
pub async fn replay(
    fleet: &Fleet,
    quakes: &[Quake],
    speed: Speed,
    mut each: impl FnMut(&Report, quorate::Result<Receipt>),
) -> Replayed {
    let topic = fleet.topic(&EARTHQUAKES);
    let start = Instant::now();
    let mut replayed = Replayed::default();
    for (at, quake) in quakes.iter().enumerate() {
        let due = speed.delay(&quakes[0], quake);
        tokio::time::sleep_until(start + due).await;
        let report = Report::new(at + 1, quakes.len(), quake.clone());
        let result = topic.publish(&report).await;
        match &result {
            Ok(_) => replayed.published += 1,
            Err(_) => replayed.failed += 1,
        }
        each(&report, result);
    }
    replayed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_speed_is_a_finite_number_above_zero() {
        for wrong in ["0", "-1", "nan", "inf", "fast", ""] {
            assert!(wrong.parse::<Speed>().is_err(), "{wrong}");
        }
        assert_eq!("2.5".parse(), Ok(Speed(2.5)));
    }

    #[tokio::test(start_paused = true)]
    async fn the_pace_is_the_weeks_own() {
        let week = crate::week().unwrap();
        let days = Duration::from_millis(week[week.len() - 1].time - week[0].time);
        let start = Instant::now();
        let speed = Speed::new(1000.0).unwrap();
        let replayed = replay(&Fleet::embedded(), &week, speed, |_, _| {}).await;
        assert_eq!((replayed.published, replayed.failed), (week.len(), 0));
        let took = start.elapsed();
        let (least, most) = (days / 1000, days / 1000 + Duration::from_millis(2));
        assert!((least..most).contains(&took), "{took:?}"); // of paused time, which is exact
    }

    #[tokio::test]
    async fn what_cannot_be_published_is_told_and_does_not_stop_the_rest() {
        let week = &crate::week().unwrap()[..3];
        let fleet = Fleet::embedded();
        fleet.close().await;
        let mut told = 0;
        let each =
            |_: &Report, result: quorate::Result<Receipt>| told += usize::from(result.is_err());
        let replayed = replay(&fleet, week, Speed::new(1e9).unwrap(), each).await;
        assert_eq!((replayed.published, replayed.failed, told), (0, 3, 3));
    }
}
