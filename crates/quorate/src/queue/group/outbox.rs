//! What a queue has for others, and how it gets there.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::MemberEnded;
use crate::error::{Error, Result};
use crate::queue::ask::check_number;
use crate::queue::job::{JobId, NewJob};

/// How many effects are handed out at once.
pub const MOST_BROUGHT: usize = 100;
/// How long who was handed an effect has to perform it, before another is handed it.
pub const BRING_LEASE: Duration = Duration::from_secs(10);

/// Something that has to happen in a queue because of what happened in another one, or in the same.
///
/// It is kept in the slot where its cause happened until somebody says that it was performed, and may be performed more than once: it
/// says what can become true once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_enums, reason = "who performs them has to know all")]
pub enum Effect {
    /// The group in this queue learns that a member has ended: [`bring`](crate::queue::QueuePort::bring) it there.
    Ended(String, MemberEnded),
    /// This queue gets a job: [`push`](crate::queue::QueuePort::push) it there.
    Push(String, NewJob),
}

/// What an effect is called in the slot that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[expect(clippy::exhaustive_enums, reason = "backends take it apart")]
pub enum EffectName {
    /// That this job has ended.
    Ended(JobId),
    /// That this job is to be queued.
    Push(JobId),
}

impl Effect {
    /// What it is called in the slot that has it.
    #[must_use]
    pub const fn name(&self) -> EffectName {
        match self {
            Self::Ended(_, ended) => EffectName::Ended(ended.id),
            Self::Push(_, job) => EffectName::Push(job.id),
        }
    }

    /// The name of the queue in which it has to happen.
    #[must_use]
    pub fn queue(&self) -> &str {
        match self {
            Self::Ended(queue, _) | Self::Push(queue, _) => queue,
        }
    }
}

/// What a queue is brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "backends take it apart")]
pub struct Bring {
    /// Members of its groups that have ended.
    pub ended: Vec<MemberEnded>,
    /// Effects of its own that were performed.
    pub performed: Vec<EffectName>,
    /// Groups whose end somebody was told of that takes them.
    pub told: Vec<JobId>,
    /// How many effects whoever brings it performs next, at most [`MOST_BROUGHT`].
    pub want: usize,
}

impl Bring {
    /// Refuses what no queue takes.
    pub(in crate::queue) fn check(&self) -> Result<()> {
        check_number("ended", self.ended.len())?;
        check_number("performed", self.performed.len())?;
        check_number("told", self.told.len())?;
        if self.want > MOST_BROUGHT {
            let rule = format_args!("must be at most {MOST_BROUGHT}");
            return Err(Error::invalid("want", rule));
        }
        self.ended
            .iter()
            .try_for_each(|it| super::check::check_left(&it.left, &it.said))
    }
}
