//! Job groups: what they are told, and what they tell.
//!
//! A group is what grows out of one job: its handler leaves other jobs, in any queue, and so do theirs. It lives in the slot of the queue
//! of its first job, whose id is its own, and is over when none of its jobs is left to be done.

mod check;
mod outbox;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub(super) use self::check::check_work;
pub use self::outbox::{BRING_LEASE, Bring, Effect, EffectName, MOST_BROUGHT};
use super::job::{JobEnd, JobId, MemberOf, NewJob};
use crate::error::Result;

/// The longest value that a job says of its group, in bytes.
pub const MAX_VALUE: usize = 1024 * 1024;
/// How many values a job says of its group at most.
pub const MOST_SAID: usize = 100;
/// How many values of a group are kept.
pub const MOST_VALUES: usize = 10_000;
/// How many bytes of values of a group are kept.
pub const MAX_VALUES: usize = 4 * 1024 * 1024;
/// How many bytes of inputs and values a job leaves at most.
pub const MAX_WORK: usize = 32 * 1024 * 1024;

/// What a job leaves behind that is done: jobs that belong to the same group, and what it says of that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "backends take it apart")]
pub struct Work {
    /// The group: as [`Delivered::member_of`](super::Delivered::member_of) says, or else one that begins with this job.
    pub group: MemberOf,
    /// Jobs, at most [`MOST_AT_ONCE`](super::MOST_AT_ONCE).
    pub left: Vec<Left>,
    /// What it says of the value of the group, at most [`MOST_SAID`] times.
    pub said: Vec<Said>,
}

/// A job that another leaves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "backends take it apart")]
pub struct Left {
    /// The name of its queue.
    pub queue: String,
    /// The job. Its id is new, it has no uniqueness key, and it is a member of the group of the one that leaves it.
    pub job: NewJob,
    /// What it waits for, if not for nothing.
    pub after: Option<Gate>,
}

/// Other jobs of the group that have to end before a job is queued.
///
/// An id that the group does not know when the job is left counts as one that ended without success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "backends take it apart")]
pub struct Gate {
    /// How many of them, and how.
    pub condition: Condition,
    /// They, each once.
    pub on: Vec<JobId>,
}

impl Gate {
    /// Refuses what no queue takes.
    pub(super) fn check(&self) -> Result<()> {
        check::check_gate(self)
    }
}

/// When a job is queued that waits for others. When that can't come any more, it ends as cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Condition {
    /// All have ended, whichever way.
    AllDone,
    /// All have succeeded.
    AllSucceeded,
    /// So many have ended, whichever way.
    Done(u32),
    /// So many have succeeded.
    Succeeded(u32),
}

impl Condition {
    /// How many have to end of so many, and whether they have to succeed.
    pub(super) fn least(self, of: usize) -> (u32, bool) {
        let all = u32::try_from(of).unwrap_or(u32::MAX);
        match self {
            Self::AllDone => (all, false),
            Self::AllSucceeded => (all, true),
            Self::Done(least) => (least, false),
            Self::Succeeded(least) => (least, true),
        }
    }
}

/// What a job says of the value of its group, which is a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_enums, reason = "backends take it apart")]
pub enum Said {
    /// This is all of it.
    Set(Bytes),
    /// This is the next of it.
    Append(Bytes),
    /// This is all of it, and what anybody says from now on changes nothing.
    Fix(Bytes),
}

impl Said {
    /// The value that it says.
    #[must_use]
    pub const fn value(&self) -> &Bytes {
        match self {
            Self::Set(value) | Self::Append(value) | Self::Fix(value) => value,
        }
    }
}

/// How a member of a group ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(clippy::exhaustive_enums, reason = "a job ends in one of these ways")]
pub enum MemberEnd {
    /// It was done.
    Succeeded,
    /// It failed for good.
    Dead,
    /// It was cancelled, or taken away, or what it waited for can't come any more.
    Cancelled,
    /// Nobody began it in time.
    Expired,
}

impl MemberEnd {
    /// How it is told that a job ended so.
    pub(super) const fn of(end: &JobEnd) -> Self {
        match end {
            JobEnd::Succeeded(_) => Self::Succeeded,
            JobEnd::Dead(_) => Self::Dead,
            JobEnd::Cancelled => Self::Cancelled,
            JobEnd::Expired => Self::Expired,
        }
    }
}

/// That a member of a group has ended, as its queue tells the group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "backends take it apart")]
pub struct MemberEnded {
    /// The group.
    pub group: JobId,
    /// The member.
    pub id: JobId,
    /// How it ended.
    pub end: MemberEnd,
    /// Jobs that it left.
    pub left: Vec<Left>,
    /// What it said of the value of the group.
    pub said: Vec<Said>,
}

/// A job group, as it is seen.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "backends make it")]
pub struct GroupView {
    /// How many of its jobs are still to be done.
    pub open: u64,
    /// How many are done.
    pub succeeded: u64,
    /// How many failed for good.
    pub dead: u64,
    /// How many were cancelled, or waited for what could not come any more.
    pub cancelled: u64,
    /// How many nobody began in time.
    pub expired: u64,
    /// Its value.
    pub values: Vec<Bytes>,
    /// Whether that is fixed.
    pub is_fixed: bool,
    /// How many values were too many to be kept.
    pub dropped: u64,
}

impl GroupView {
    /// Whether none of its jobs is left to be done. Then it does not change any more.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.open == 0
    }

    /// Counts a member that ended.
    pub(super) const fn count(&mut self, end: MemberEnd) {
        match end {
            MemberEnd::Succeeded => self.succeeded += 1,
            MemberEnd::Dead => self.dead += 1,
            MemberEnd::Cancelled => self.cancelled += 1,
            MemberEnd::Expired => self.expired += 1,
        }
    }
}
