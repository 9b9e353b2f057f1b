//! What does not belong together in a queue.

use super::job::JobId;
use crate::scan::ScanCursor;

/// What was found of some of what a queue consists of.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[expect(clippy::exhaustive_structs, reason = "backends make it")]
pub struct FsckPage {
    /// How much was looked at: jobs, their places, what is kept of them.
    pub checked: u64,
    /// What does not belong there, as it was found.
    pub strays: Vec<Stray>,
    /// Where the next page begins; `None`: this was the last.
    pub next: Option<ScanCursor>,
}

/// Something that does not belong where it is, and what is done when it is put right.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stray {
    /// A job is in no place. It becomes ready.
    Unplaced(JobId),
    /// A job is in several places. It stays in the one where it is still to be done.
    Twice(JobId),
    /// A place has a job of which nothing else is there. It goes.
    Member(JobId),
    /// What became of a job is there, but not until when that is kept. It goes.
    Result(JobId),
    /// A job is over, and not dead, but its input is still there. That goes.
    Body(JobId),
    /// How often a job failed is there, but not the job. It goes.
    Tries(JobId),
    /// Something was noted of a job that is not there. It goes.
    Note(JobId),
    /// A journal or an inbox is there, but not the job. It goes.
    Journal(JobId),
    /// A job counts as cancelled that nobody has. It does not any more.
    Cancelled(JobId),
    /// Something about this job is to be brought elsewhere, but nobody would be told to, or only that is known of it. It is brought, or goes.
    Effect(JobId),
    /// A group counts as one that is not over, of which nothing else is there. It does not any more.
    Group(JobId),
    /// A job waits for its fairness group to have room, but nobody would let it go on; or only that is known of it. It goes on, or that goes.
    Aside(JobId),
    /// A delivery of this job counts for the limit of its fairness group, and nobody has it. It does not any more.
    Counted(JobId),
    /// Nobody has this uniqueness key who could let it go, or it has no end where it should have one. It is free, or ends in time.
    Key(String),
    /// The queue has counted wrong. It counts anew.
    Count(String),
}
