//! What workers and producers ask of a queue, what they are answered, and what is too much to ask.

use std::time::Duration;

use super::fairness::MOST_PRIORITY;
use super::group::{Effect, check_work};
use super::job::{Delivered, JobId, LeaseNumber, NewJob, Settled, Settlement};
use super::limits::QueueLimits;
use super::unique::{Unique, UniqueScope};
use crate::clock::Micros;
use crate::error::{Error, Result};
use crate::key::check_name;

/// How many jobs are pushed, settled, wanted or renewed at once, at most.
pub const MOST_AT_ONCE: usize = 1_000;
/// The longest name of a fairness group, in bytes.
pub const MAX_GROUP: usize = 512;
/// The longest name of a queue that has groups of jobs, in bytes.
pub const MAX_QUEUE: usize = 200;
/// The longest error that is kept of a job, in bytes.
pub const MAX_ERROR: usize = 4_096;
/// The longest time that a queue takes: about a hundred years, so that every moment is a whole number on a server.
pub const MAX_TIME: Duration = Duration::from_secs(36_500 * 24 * 3600);

/// Identifies a worker: a number that no other has, nor had within a minute.
pub type WorkerId = u64;

/// What a worker asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "backends take it apart")]
pub struct Ask {
    /// Who.
    pub worker: WorkerId,
    /// Of which of its turns, from 1: a repeated one gets the answer of the first.
    pub number: u64,
    /// What became of what it had.
    pub settled: Vec<Settled>,
    /// How many more it wants at most.
    pub want: usize,
    /// How long it may have them without a sign of life.
    pub lease: Duration,
    /// Whether it is told of groups that are over, and for which nobody waited.
    pub takes_groups: bool,
    /// How many of the queue's jobs may be begun, over the whole fleet.
    pub limits: QueueLimits,
}

/// What a worker gets.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[expect(clippy::exhaustive_structs, reason = "backends make it")]
pub struct Turn {
    /// Of each settlement, whether the delivery still counted.
    pub settled: Vec<bool>,
    /// What it has from now on.
    pub delivered: Vec<Delivered>,
    /// What it has to bring elsewhere, within [`BRING_LEASE`](super::BRING_LEASE); not of a repeated turn.
    pub effects: Vec<Effect>,
    /// Groups of this queue that are over. Others are told of them unless it says, within [`TELLING`](super::TELLING), that somebody
    /// [was](super::Bring::told); not of a repeated turn.
    pub groups: Vec<JobId>,
    /// In how long something may be to be had that nobody will announce. Only for who wanted more.
    pub next: Option<Duration>,
}

/// What became of a push of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "backends make it")]
pub enum Pushed {
    /// It is queued.
    New,
    /// It was queued before.
    Known,
    /// It is not queued: this job has its [uniqueness key](NewJob::unique).
    Same(JobId),
}

/// What became of a job that was to be begun where it was pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "backends make it")]
pub struct Started {
    /// Of the push.
    pub pushed: Pushed,
    /// When that was, by the clock of the home.
    pub at: Micros,
    /// The delivery, if it is delivered.
    pub lease: Option<LeaseNumber>,
}

/// What became of a job that was to be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "backends make it")]
pub enum Removed {
    /// It is gone.
    Gone,
    /// Somebody has it, so it is still there.
    Active,
    /// There is none, or not any more.
    Unknown,
}

/// What became of the lease of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "backends make it")]
pub enum Renewed {
    /// It is held, and lasts longer now.
    Held,
    /// It is held, and lasts longer now; but the job was cancelled.
    Cancelled,
    /// It is not held any more.
    Lost,
}

impl Ask {
    /// Refuses what no queue takes.
    pub(super) fn check(&self) -> Result<()> {
        check_number("settled", self.settled.len())?;
        check_number("want", self.want)?;
        check_lease(self.lease)?;
        self.limits.check()?;
        if self.number == 0 || self.number > 1 << 53 {
            return refuse("number", "must be from 1 to 2^53");
        }
        self.settled
            .iter()
            .try_for_each(|it| check_settlement(&it.settlement))
    }
}

/// Refuses jobs that no queue takes.
pub(super) fn check_jobs(jobs: &[NewJob]) -> Result<()> {
    check_number("jobs", jobs.len())?;
    jobs.iter().try_for_each(check_job)
}

/// Refuses a job that no queue takes.
pub(super) fn check_job(job: &NewJob) -> Result<()> {
    check_time("delay", job.delay)?;
    check_time("keep", job.keep)?;
    if let Some(expires) = job.expires {
        check_time("expires", expires)?;
        if expires < Duration::from_micros(1) {
            return refuse("expires", "must be longer than nothing");
        }
    }
    if job.attempts == 0 {
        return refuse("attempts", "must be at least 1");
    }
    if job.priority > MOST_PRIORITY {
        let rule = format_args!("must be from 0 to {MOST_PRIORITY}");
        return refuse("priority", rule);
    }
    if job.group.len() > MAX_GROUP {
        return refuse("group", format_args!("must be at most {MAX_GROUP} bytes"));
    }
    if let Some(group) = &job.member_of {
        check_queue("member_of", &group.queue)?;
    }
    job.unique.as_ref().map_or(Ok(()), Unique::check)
}

/// Refuses a job that cannot be begun where it is pushed.
pub(super) fn check_start(job: &NewJob, lease: Duration) -> Result<()> {
    check_job(job)?;
    check_lease(lease)?;
    let is_debounced = |it: &Unique| it.scope == UniqueScope::Debounce;
    if job.unique.as_ref().is_some_and(is_debounced) {
        return refuse("unique", "must not be debounced: that is to wait");
    }
    Ok(())
}

/// Refuses a renewal that no queue takes.
pub(super) fn check_renewal(held: &[(JobId, LeaseNumber)], lease: Duration) -> Result<()> {
    check_number("held", held.len())?;
    check_lease(lease)
}

fn check_settlement(settlement: &Settlement) -> Result<()> {
    match settlement {
        Settlement::Succeeded { keep, work, .. } => {
            check_time("keep", *keep)?;
            work.as_deref().map_or(Ok(()), check_work)
        }
        Settlement::Failed { after, error } => {
            check_time("after", *after)?;
            check_error(error)
        }
        Settlement::Deferred(after) | Settlement::Waiting { after, .. } => {
            check_time("after", *after)
        }
        Settlement::Cancelled => Ok(()),
        Settlement::Dead(error) => check_error(error),
    }
}

fn check_error(error: &str) -> Result<()> {
    if error.len() > MAX_ERROR {
        return refuse("error", format_args!("must be at most {MAX_ERROR} bytes"));
    }
    Ok(())
}

/// Refuses the name of a queue in another one's jobs.
pub(super) fn check_queue(field: &'static str, name: &str) -> Result<()> {
    if name.len() > MAX_QUEUE {
        return refuse(field, format_args!("must be at most {MAX_QUEUE} bytes"));
    }
    check_name(field, name)
}

pub(super) fn check_number(field: &'static str, number: usize) -> Result<()> {
    if number > MOST_AT_ONCE {
        return refuse(field, format_args!("must be at most {MOST_AT_ONCE}"));
    }
    Ok(())
}

fn check_lease(lease: Duration) -> Result<()> {
    if lease < Duration::from_micros(1) {
        return refuse("lease", "must be longer than nothing");
    }
    check_time("lease", lease)
}

pub(super) fn check_time(field: &'static str, time: Duration) -> Result<()> {
    if time > MAX_TIME {
        return refuse(field, "must be at most 36500 days");
    }
    Ok(())
}

fn refuse(field: &str, rule: impl std::fmt::Display) -> Result<()> {
    Err(Error::invalid(field, rule))
}
