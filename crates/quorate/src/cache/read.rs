//! What a read found.

use std::time::Duration;

use super::slot::Stored;

/// A value, and how it came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Read<T> {
    /// The value.
    pub value: T,
    /// How it came about.
    pub kind: ReadKind,
}

/// How a read was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReadKind {
    /// By what was kept in the process, without asking anybody.
    NearHit,
    /// By what was kept.
    Hit,
    /// By what was kept and is no longer fresh.
    #[non_exhaustive]
    Stale {
        /// Why it was given all the same.
        why: StaleReason,
        /// Time since it was stored.
        age: Duration,
    },
    /// By the caller's own load.
    Loaded,
    /// By somebody else's load, which it waited for.
    Followed,
    /// There was nothing.
    Miss,
}

/// Why a value was given that is no longer fresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StaleReason {
    /// Loading a new one failed.
    LoadFailed,
    /// Loading a new one takes longer than the caller waits, and goes on.
    Slow,
}

impl<T> Read<T> {
    pub(super) const fn new(value: T, kind: ReadKind) -> Self {
        Self { value, kind }
    }

    /// A value that was kept, decoded: a hit, or one that is no longer fresh and was given for this reason.
    pub(super) fn kept(value: T, stored: &Stored, why: StaleReason) -> Self {
        let age = stored.now.since(stored.stored);
        let kind = if stored.fresh_until > stored.now {
            ReadKind::Hit
        } else {
            ReadKind::Stale { why, age }
        };
        Self::new(value, kind)
    }
}
