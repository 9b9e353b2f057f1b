//! What makes of several pushes one job.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ask::check_time;
use crate::error::{Error, Result};

/// The longest uniqueness key, in bytes.
pub const MAX_UNIQUE: usize = 512;

/// The key of a job, which no other job of its queue has as well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "backends take it apart")]
pub struct Unique {
    /// Whatever tells one job from the other: an order's number, a user and a kind of mail.
    pub key: String,
    /// For how long the job has it, and what becomes of a push that finds it taken.
    pub scope: UniqueScope,
}

/// For how long a job has its key: that is what the job says that has it. What becomes of a push that finds it taken is what the
/// push says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum UniqueScope {
    /// Until it has ended. Who finds the key taken queues nothing, and is told who has it.
    UntilEnded,
    /// For as long as is known what became of it, so that who comes again gets the first one's result: an idempotency key.
    UntilForgotten,
    /// For so long from when it is pushed, whatever becomes of it.
    Throttle(Duration),
    /// Until it has ended or another takes it over. Who finds that the job still waits gives it its own input, delay and expiry,
    /// counted from then; who finds that somebody has it already is queued behind it.
    Debounce,
}

impl Unique {
    /// Refuses what no queue takes.
    pub(super) fn check(&self) -> Result<()> {
        if self.key.is_empty() {
            return Err(Error::invalid("unique", "must not be empty"));
        }
        if self.key.len() > MAX_UNIQUE {
            let rule = format_args!("must be at most {MAX_UNIQUE} bytes");
            return Err(Error::invalid("unique", rule));
        }
        match self.scope {
            UniqueScope::Throttle(span) if span < Duration::from_micros(1) => {
                Err(Error::invalid("throttle", "must be longer than nothing"))
            }
            UniqueScope::Throttle(span) => check_time("throttle", span),
            _ => Ok(()),
        }
    }
}
