//! What is fired at the moments of a schedule: once for each, whoever asks.

use std::time::Duration;

use super::ask::{Pushed, check_jobs};
use super::job::NewJob;
use crate::clock::Micros;
use crate::entry_key::check_area;
use crate::error::{Error, Result};

/// How long the schedules of a queue are remembered after one of them was last fired: longer than a year, so that one that is
/// fired each year is not forgotten in between.
pub const KEEP_SCHEDULES: Duration = Duration::from_secs(400 * 24 * 3600);

/// A moment of a schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "backends take it apart")]
pub struct Firing {
    /// The name of the schedule.
    pub schedule: String,
    /// The moment before it, as far as who asks knows: it counts only if that is so.
    pub after: Option<Micros>,
    /// The moment, by the clock of the home; now, if it is not said.
    pub moment: Option<Micros>,
    /// What is queued then; nothing if the moment is only taken note of.
    pub job: Option<NewJob>,
}

/// What became of a [`Firing`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "backends make it")]
pub enum Fired {
    /// The moment is the last one now, and what a push of the job would have come to has.
    Done(Option<Pushed>),
    /// It does not come next: this was the last one.
    Other(Option<Micros>),
    /// It comes so much later, by the clock of the home.
    NotYet(Duration),
}

impl Firing {
    /// Refuses what no queue takes.
    pub(super) fn check(&self) -> Result<()> {
        check_schedule(&self.schedule)?;
        if self.moment.is_some() && self.after >= self.moment {
            return Err(Error::invalid(
                "moment",
                "must be later than the one before",
            ));
        }
        check_jobs(self.job.as_slice())
    }
}

/// Refuses a name that no schedule has.
pub(super) fn check_schedule(name: &str) -> Result<()> {
    check_area(name.as_bytes()).map_err(|rule| Error::invalid("schedule", rule))
}
