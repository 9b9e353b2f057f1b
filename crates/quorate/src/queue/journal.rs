//! What a job has beside its input: a journal, in which who has it writes what was done, and an inbox, in which others put messages
//! for it.

use bytes::Bytes;

use super::job::{JobId, LeaseNumber};
use crate::clock::Micros;
use crate::error::{Error, Result};

/// The longest entry of a journal, and the longest message, in bytes.
pub const MAX_ENTRY: usize = 1024 * 1024;
/// How many entries one call appends, for all jobs together.
pub const MOST_APPENDED: usize = 1_000;
/// How many bytes one call appends, for all jobs together.
pub const MAX_APPENDED: usize = 8 * 1024 * 1024;
/// How many entries, and how many messages, one call reads.
pub const MOST_READ: usize = 1_000;
/// After how many bytes a call that reads leaves the rest to the next.
pub const MAX_READ: usize = 4 * 1024 * 1024;
/// How many entries a journal has at most.
pub const MOST_ENTRIES: u64 = 1_000_000;
/// How many messages an inbox has at most.
pub const MOST_MESSAGES: u64 = 100_000;

/// Entries for the journal of a job, from who has it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "backends take it apart")]
pub struct Append {
    /// Of which job.
    pub id: JobId,
    /// By which delivery.
    pub lease: LeaseNumber,
    /// How many entries are before these.
    pub at: u64,
    /// At least one.
    pub entries: Vec<Bytes>,
}

/// What became of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "backends make it")]
pub enum Appended {
    /// They are there, since then, by the clock of the home.
    Written(Micros),
    /// The lease has ended, and nothing was written.
    Lost,
    /// The journal has another number of entries before these, or others in their place, and nothing was written.
    Conflict,
}

/// Where somebody goes on reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "backends take it apart")]
pub struct ReadFrom {
    /// How many entries of the journal are known.
    pub entry: u64,
    /// How many messages of the inbox are known.
    pub message: u64,
}

/// Some of the journal and the inbox of a job, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "backends make it")]
pub struct JournalPage {
    /// What time it is by the clock of the home.
    pub now: Micros,
    /// Entries, and when each was written.
    pub entries: Vec<(Micros, Bytes)>,
    /// How many there are in all.
    pub length: u64,
    /// Messages, and when each came.
    pub messages: Vec<(Micros, Bytes)>,
    /// How many there are in all.
    pub told: u64,
}

/// What the first entry, or the first wait, makes of the [checkpoint](super::Delivered::checkpoint) of a job that has none: JSON, as others are.
pub(super) const BEGUN: &[u8] = b"null";

/// The same of the first message, if that comes before: there is something to read, although the job has not begun.
pub(super) const TOLD: &[u8] = b"0";

/// Refuses what no queue takes.
pub(super) fn check_appends(appends: &[Append]) -> Result<()> {
    let number: usize = appends.iter().map(|it| it.entries.len()).sum();
    if number > MOST_APPENDED {
        let rule = format_args!("must be at most {MOST_APPENDED} together");
        return Err(Error::invalid("entries", rule));
    }
    if appends.iter().any(|it| it.entries.is_empty()) {
        return Err(Error::invalid(
            "entries",
            "must be at least one of each job",
        ));
    }
    let entries = || appends.iter().flat_map(|it| &it.entries);
    entries().try_for_each(|it| check_entry("entry", it))?;
    if entries().map(Bytes::len).sum::<usize>() > MAX_APPENDED {
        let rule = format_args!("must be at most {MAX_APPENDED} bytes together");
        return Err(Error::invalid("entries", rule));
    }
    let end = |it: &Append| it.at.saturating_add(it.entries.len() as u64);
    if appends.iter().any(|it| end(it) > MOST_ENTRIES) {
        let rule = format_args!("must be at most {MOST_ENTRIES} entries");
        return Err(Error::invalid("journal", rule));
    }
    Ok(())
}

/// Refuses an entry, or a message, that is too long.
pub(super) fn check_entry(field: &str, entry: &Bytes) -> Result<()> {
    if entry.len() > MAX_ENTRY {
        let rule = format_args!("must be at most {MAX_ENTRY} bytes");
        return Err(Error::invalid(field, rule));
    }
    Ok(())
}

/// That nothing more goes into an inbox.
pub(super) fn inbox_is_full() -> Error {
    let rule = format_args!("must have at most {MOST_MESSAGES} messages");
    Error::invalid("inbox", rule)
}

/// That a journal has fewer entries than are to be left of it.
pub(super) fn journal_is_shorter(length: u64) -> Error {
    let rule = format_args!("must be at most the {length} that there are");
    Error::invalid("entries", rule)
}
