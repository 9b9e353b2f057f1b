//! What kinds of locks are called by who is not Rust.

use quorate::lock::LockKind;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What kind of lock a name is: in two kinds it is two locks.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, clap::ValueEnum,
)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// One holder at a time.
    #[default]
    Mutex,
    /// Many readers, or one writer.
    ReadWrite,
    /// So many permits.
    Semaphore,
    /// One leader at a time.
    Election,
}

impl Kind {
    const ALL: [Self; 4] = [
        Self::Mutex,
        Self::ReadWrite,
        Self::Semaphore,
        Self::Election,
    ];

    /// As the library has it.
    pub(crate) const fn of_library(self) -> LockKind {
        match self {
            Self::Mutex => LockKind::Mutex,
            Self::ReadWrite => LockKind::ReadWrite,
            Self::Semaphore => LockKind::Semaphore,
            Self::Election => LockKind::Election,
        }
    }

    /// What the library has; `None` for kinds that this server does not know.
    pub(crate) fn from_library(kind: LockKind) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.of_library() == kind)
    }
}
