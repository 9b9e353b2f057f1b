//! What of a queue has a row of its own in the file of its home, so that a change of it does not write the others: its name, a
//! pure function there and back.

use std::fmt;

use super::super::job::JobId;

/// What has a row of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side<'a> {
    Job(JobId),
    /// What was noted of a job.
    Notes(JobId),
    /// Who has a uniqueness key.
    Unique(&'a str),
}

#[cfg(feature = "file")]
impl<'a> Side<'a> {
    /// Reads the form that `Display` writes; `None` for anything else.
    pub(super) fn parse(name: &'a str) -> Option<Self> {
        match name.split_once(' ') {
            Some(("unique", key)) => Some(Self::Unique(key)),
            Some(("notes", id)) => JobId::parse(id).map(Self::Notes),
            Some(_) => None,
            None => JobId::parse(name).map(Self::Job),
        }
    }
}

impl fmt::Display for Side<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Job(id) => write!(f, "{id}"),
            Self::Notes(id) => write!(f, "notes {id}"),
            Self::Unique(key) => write!(f, "unique {key}"),
        }
    }
}
