//! What is seen of a queue by who operates it.

use std::time::Duration;

use bytes::Bytes;

use super::job::{JobId, JobState, MemberOf};
use super::note::LogLine;
use super::state::QueueTotals;
use super::unique::Unique;
use crate::clock::Micros;
use crate::error::{Error, Result};
use crate::scan::ScanCursor;

/// How many jobs are on one page of a list at most; and how many are changed at once.
pub const MOST_LISTED: usize = 1_000;
/// How many bytes of inputs and results are on one page of a list, unless a single one has more.
pub(super) const MAX_PAGE: usize = 4 * 1024 * 1024;

/// A job, as it is seen by who operates its queue.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "backends make it")]
pub struct JobView {
    /// Which.
    pub id: JobId,
    /// Where it is.
    pub state: JobState,
    /// How it was pushed; `None` when it is over, unless it is dead: then only what became of it is kept.
    pub details: Option<JobDetails>,
    /// How far it is, or was.
    pub progress: Option<Bytes>,
    /// The last lines of its log. A list has none.
    pub log: Vec<LogLine>,
    /// How many entries its journal has. A list says nothing of that.
    pub entries: u64,
    /// How many messages its inbox has. A list says nothing of that.
    pub messages: u64,
}

/// How a job was pushed, and how often it failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "backends make it")]
pub struct JobDetails {
    /// When, by the clock of the home.
    pub queued: Micros,
    /// What the handler gets.
    pub input: Bytes,
    /// How many deliveries there are at most.
    pub attempts: u32,
    /// How many of them failed.
    pub failed: u32,
    /// Why the last of those did.
    pub error: Option<String>,
    /// How many steps it is ahead of others.
    pub priority: u8,
    /// Its fairness group.
    pub group: String,
    /// What other pushes are the same job.
    pub unique: Option<Unique>,
    /// The job group it belongs to.
    pub member_of: Option<MemberOf>,
    /// Until when it is worth beginning it, by the clock of the home.
    pub expires: Option<Micros>,
    /// How long is kept what becomes of it.
    pub keep: Duration,
}

/// Where jobs are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "a job is in one of these")]
pub enum JobPlace {
    /// They wait for a worker: the next one first.
    Ready,
    /// They wait for a time: the soonest first.
    Due,
    /// They wait until their fairness group has room: in the order in which they were ready.
    Limited,
    /// Workers have them: the one whose lease ends first is first.
    Active,
    /// They are over, and not dead: whose end is forgotten last is first.
    Ended,
    /// They failed for good: the last one first.
    Dead,
}

/// Some of the jobs of a queue.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[expect(clippy::exhaustive_structs, reason = "backends make it")]
pub struct JobPage {
    /// They.
    pub jobs: Vec<JobView>,
    /// Where the next page begins; `None`: this was the last.
    pub next: Option<ScanCursor>,
}

/// A queue in numbers.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[expect(clippy::exhaustive_structs, reason = "backends make it")]
pub struct QueueStats {
    /// How many wait for a worker.
    pub ready: u64,
    /// How many wait for a time.
    pub due: u64,
    /// How many wait until their fairness group has room.
    pub limited: u64,
    /// How many workers have.
    pub active: u64,
    /// How many are over, and not dead, whose ends are known.
    pub ended: u64,
    /// How many failed for good.
    pub dead: u64,
    /// How many workers are idle.
    pub idle: u64,
    /// Whether nothing is delivered.
    pub paused: bool,
    /// For how long the job has waited that is next, since it was queued.
    pub waited: Option<Duration>,
    /// Which of those that wait for a worker is last in line.
    pub last: Option<JobId>,
    /// In how long the next is due.
    pub next_due: Option<Duration>,
    /// How many groups that began here are not over.
    pub open_groups: u64,
    /// How many [effects](super::Effect) wait here until somebody says that they were performed.
    pub effects: u64,
    /// For how long the next of them has waited for somebody to bring it; `None` if each that there is, somebody is bringing.
    pub effects_waited: Option<Duration>,
    /// What has happened so far.
    pub totals: QueueTotals,
}

/// The place of a job in the order of a list: its rank or its time, its lease number if it is active, its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Spot {
    pub(super) score: i64,
    pub(super) lease: u64,
    pub(super) id: JobId,
}

impl Spot {
    pub(super) fn cursor(self) -> ScanCursor {
        ScanCursor::new(format!("{} {} {}", self.score, self.lease, self.id))
    }

    fn from_words(score: &str, lease: &str, id: &str) -> Option<Self> {
        let (score, lease) = (score.parse().ok()?, lease.parse().ok()?);
        let id = JobId::parse(id)?;
        Some(Self { score, lease, id })
    }

    /// What `cursor` wrote.
    ///
    /// # Errors
    /// `InvalidInput` for anything else.
    pub(super) fn read(cursor: &ScanCursor) -> Result<Self> {
        let words: Vec<_> = cursor.as_str().split(' ').collect();
        let spot = match words[..] {
            [score, lease, id] => Self::from_words(score, lease, id),
            _ => None,
        };
        spot.filter(|it| it.cursor() == *cursor)
            .ok_or_else(|| Error::invalid("cursor", "must be one that a page of this list gave"))
    }
}

/// Refuses to list, or to change, more than a queue does at once.
pub(super) fn check_most(field: &'static str, most: usize) -> Result<()> {
    if most == 0 || most > MOST_LISTED {
        let rule = format_args!("must be from 1 to {MOST_LISTED}");
        return Err(Error::invalid(field, rule));
    }
    Ok(())
}

/// Refuses to take jobs away that somebody has.
pub(super) fn check_purged(place: JobPlace) -> Result<()> {
    if place == JobPlace::Active {
        return Err(Error::invalid(
            "place",
            "must be one where nobody has the jobs",
        ));
    }
    Ok(())
}
