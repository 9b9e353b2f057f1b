//! What a worker notes of a job while it has it.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::clock::Micros;
use crate::error::{Error, Result};

/// The longest progress, in bytes.
pub const MAX_PROGRESS: usize = 16 * 1024;
/// The longest checkpoint, in bytes.
pub const MAX_CHECKPOINT: usize = 256 * 1024;
/// The longest line of a log, in bytes.
pub const MAX_LINE: usize = 4 * 1024;
/// How many lines are kept of a job's log, the last ones.
pub const MOST_LINES: usize = 100;
/// How much text is kept of a job's log, in bytes: the last lines of it.
pub const MAX_LOG: usize = 16 * 1024;

/// Something to be known of a job that is active.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "backends take it apart")]
pub enum Note {
    /// How far it is; in place of what was said of that before. Kept as long as what becomes of the job.
    Progress(Bytes),
    /// One more line for its log, of which the [last ones](MOST_LINES) are kept as long as what becomes of the job.
    Log(String),
    /// What the next delivery begins with, if there is one; in place of the one before.
    Checkpoint(Bytes),
}

/// A line of a job's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "backends make it")]
pub struct LogLine {
    /// When it was written, by the clock of the home.
    pub at: Micros,
    /// In which attempt.
    pub attempt: u32,
    /// What it says.
    pub text: String,
}

impl Note {
    /// Refuses what no queue takes.
    pub(super) fn check(&self) -> Result<()> {
        let (field, length, most) = match self {
            Self::Progress(value) => ("progress", value.len(), MAX_PROGRESS),
            Self::Log(line) => ("line", line.len(), MAX_LINE),
            Self::Checkpoint(value) => ("checkpoint", value.len(), MAX_CHECKPOINT),
        };
        if length > most {
            return Err(Error::invalid(
                field,
                format_args!("must be at most {most} bytes"),
            ));
        }
        Ok(())
    }
}
