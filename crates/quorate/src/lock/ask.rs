//! What is asked of a lock, and what is answered.

use std::time::Duration;

use super::lease::{FencingToken, LeaseId};
use super::news::WaiterId;
use crate::key::Key;

/// The kinds of locks. One name in two kinds is two locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum LockKind {
    /// One holder at a time.
    Mutex,
    /// Many readers, or one writer.
    ReadWrite,
    /// So many permits.
    Semaphore,
    /// One leader at a time, which others observe.
    Election,
}

impl LockKind {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Mutex,
        Self::ReadWrite,
        Self::Semaphore,
        Self::Election,
    ];

    /// What its keys begin with, after the namespace.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mutex => "lock",
            Self::ReadWrite => "rwlock",
            Self::Semaphore => "semaphore",
            Self::Election => "election",
        }
    }

    /// Whether every change of holders is announced, and not only what a waiter or a holder has to know.
    #[must_use]
    pub const fn is_watched(self) -> bool {
        matches!(self, Self::Election)
    }
}

/// One lock: what kind it is, and its name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LockKey {
    kind: LockKind,
    key: Key,
}

impl LockKey {
    /// The lock of this kind and name.
    #[must_use]
    pub const fn new(kind: LockKind, key: Key) -> Self {
        Self { kind, key }
    }

    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> LockKind {
        self.kind
    }

    /// Its name, in its namespace.
    #[must_use]
    pub const fn key(&self) -> &Key {
        &self.key
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.key.name()
    }

    /// A key or channel of it; all of them share its hash tag.
    #[must_use]
    pub fn unit(&self, rest: &str) -> String {
        self.key.unit(self.kind.as_str(), rest)
    }
}

impl From<&Self> for LockKey {
    fn from(key: &Self) -> Self {
        key.clone()
    }
}

/// What an acquisition asks for. The same lease asking again repeats the question, and keeps its place in the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ask {
    /// Who asks.
    pub lease: LeaseId,
    /// How long the lease is to be.
    pub length: Duration,
    /// How much of the lock it takes; from 1 to `capacity`.
    pub weight: u32,
    /// How much of it there is, as far as who asks knows.
    pub capacity: u32,
    /// For people: who it is. At most 128 bytes, without control characters.
    pub owner: String,
    /// Whether holders with the same `owner`, who ask for this too, hold it together.
    pub reentrant: bool,
    /// Whether to queue when the lock cannot be had now. Who is queued and asks again without it leaves the queue.
    pub wait: bool,
}

impl Ask {
    /// A mutex, for nobody in particular, without waiting.
    #[must_use]
    pub const fn new(lease: LeaseId, length: Duration) -> Self {
        Self {
            lease,
            length,
            weight: 1,
            capacity: 1,
            owner: String::new(),
            reentrant: false,
            wait: false,
        }
    }
}

/// The answer to an acquire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "an acquire has these four answers")]
pub enum AcquireReply {
    /// It is now held.
    Acquired {
        /// Its fencing token.
        token: FencingToken,
    },
    /// It cannot be had now, and who asked is not in the queue.
    Held {
        /// How long until the first lease that holds it ends, unless that is extended or released.
        remaining: Duration,
    },
    /// It cannot be had now, and who asked is in the queue for [`HEARTBEAT`](super::HEARTBEAT), unless it asks again.
    Queued {
        /// How many are in front.
        ahead: u64,
        /// How long until the first lease that holds it ends, unless that is extended or released.
        remaining: Duration,
        /// The last token given out by now: what is granted to who asked from now on is greater.
        last: FencingToken,
    },
    /// It cannot be had now, and too many are waiting for it.
    QueueFull,
}

/// A lock as it is at a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LockStatus {
    /// Who holds it, in the order of their tokens; at most [`MOST_HOLDERS`](super::MOST_HOLDERS).
    pub holders: Vec<LockHolder>,
    /// Who waits for it, in the order of their turns; the first [`MOST_SHOWN`](super::MOST_SHOWN) of them.
    pub waiters: Vec<LockWaiter>,
    /// How many wait for it: who asked within [`HEARTBEAT`](super::HEARTBEAT).
    pub waiting: u64,
}

/// What is public of a holder: not its lease id, by which it could be released.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct LockHolder {
    /// Its fencing token.
    pub token: FencingToken,
    /// What is public of the id of its lease: tells those apart who hold the lock together, with one token.
    pub lease: WaiterId,
    /// Who it says it is: the name of its service unless it was told otherwise.
    pub owner: String,
    /// How much of the lock it has: 1 of a mutex, its permits of a semaphore.
    pub weight: u32,
    /// How long it has held it.
    pub held_for: Duration,
    /// How long until its lease ends, unless that is extended or released.
    pub remaining: Duration,
}

/// What is public of a waiter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct LockWaiter {
    /// Who it says it is: the name of its service unless it was told otherwise.
    pub owner: String,
    /// How much of the lock it wants.
    pub weight: u32,
    /// How long it has waited.
    pub waiting_for: Duration,
}

impl LockHolder {
    /// As a backend makes it.
    #[must_use]
    pub const fn new(
        token: FencingToken,
        lease: WaiterId,
        owner: String,
        weight: u32,
        held_for: Duration,
        remaining: Duration,
    ) -> Self {
        Self {
            token,
            lease,
            owner,
            weight,
            held_for,
            remaining,
        }
    }
}

impl LockWaiter {
    /// As a backend makes it.
    #[must_use]
    pub const fn new(owner: String, weight: u32, waiting_for: Duration) -> Self {
        Self {
            owner,
            weight,
            waiting_for,
        }
    }
}
