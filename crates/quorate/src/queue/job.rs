//! What a queue is told of a job, and what it tells of one.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use foldhash::fast::RandomState;
use serde::{Deserialize, Serialize};

use super::group::Work;
use super::unique::Unique;
use crate::clock::{Micros, system_now};

/// Identifies a job: 128 bits, of which the first 48 are the time when it was made, in milliseconds, by the clock of who made
/// it, and the others random.
///
/// Made before the job is pushed, so that a push whose reply was lost is recognised when it is repeated.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(u128);

impl JobId {
    /// A new one, never seen before.
    #[must_use]
    pub fn random() -> Self {
        let millis = u128::from(system_now().get() / 1_000);
        Self((millis << 80) | (rand::random::<u128>() >> 48))
    }

    /// From its 16 bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }

    /// Its 16 bytes, in an order that sorts as it does.
    #[must_use]
    pub const fn bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// Reads the form that `Display` writes: 32 hexadecimal digits, small ones.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let digits = text.len() == 32 && text.bytes().all(is_digit);
        let number = u128::from_str_radix(text, 16).ok();
        digits.then_some(number).flatten().map(Self)
    }
}

/// What is kept of each of many jobs. Ids are 16 bytes, most of them random: the usual hash would take longer than the rest.
pub(super) type ById<T> = HashMap<JobId, T, RandomState>;

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JobId({self})")
    }
}

/// A number that grows with every delivery of a queue: of two deliveries of a job, the later one has the greater.
///
/// Pass it to whatever the job changes, and let that refuse a smaller one than the greatest it has seen: a worker that was
/// paused beyond its lease then does no harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LeaseNumber(u64);

impl LeaseNumber {
    /// From its number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The next one after `last`, at this time by the clock of the home. It grows also when everything was forgotten. An odd
    /// one says that the job is bound: that it has to be read when it ends.
    pub(super) fn after(last: u64, now: Micros, is_bound: bool) -> Self {
        let next = (last + 1).max(now.get());
        Self(next + (next + u64::from(is_bound)) % 2)
    }

    /// Whether the job has to be read when it ends.
    #[cfg(feature = "redis")]
    pub(super) const fn is_bound(self) -> bool {
        self.0 % 2 == 1
    }
}

/// The job group that a job belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "backends take it apart")]
pub struct MemberOf {
    /// The name of the queue that has it.
    pub queue: String,
    /// Which: the id of its first job.
    pub group: JobId,
}

/// A job to be queued.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "backends take it apart")]
pub struct NewJob {
    /// By which a repeated push is recognised.
    pub id: JobId,
    /// What the handler gets.
    pub input: Bytes,
    /// How long it waits before anybody may have it.
    pub delay: Duration,
    /// How many steps it is ahead of others, 0 to [`MOST_PRIORITY`](super::MOST_PRIORITY).
    pub priority: u8,
    /// With whom it shares what is fair; empty: with all others that name nobody.
    pub group: String,
    /// How often it is delivered at most, at least once.
    pub attempts: u32,
    /// How long from now it is worth beginning it, for the first time or again.
    pub expires: Option<Duration>,
    /// How long is kept what became of it, unless it is done, when its worker says so, or dead, when it is kept for
    /// [`KEEP_DEAD`](super::KEEP_DEAD). If not at all, nobody knows its id from then on.
    pub keep: Duration,
    /// The job group it belongs to.
    pub member_of: Option<MemberOf>,
    /// What other pushes are the same job.
    pub unique: Option<Unique>,
}

/// What a worker says of a job that it has.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "backends take it apart")]
pub enum Settlement {
    /// It is done.
    Succeeded {
        /// What the handler returned.
        result: Bytes,
        /// How long that is kept; as [`Delivered::keep`] says, or as the handler does.
        keep: Duration,
        /// Jobs that it leaves, and what it says of its group.
        work: Option<Box<Work>>,
    },
    /// It failed, and is to be tried again so much later; if it has been delivered often enough, it is dead.
    Failed {
        /// How much later.
        after: Duration,
        /// Why.
        error: String,
    },
    /// It is to be delivered again so much later, and this was no attempt.
    Deferred(Duration),
    /// It waits, and is to be delivered again so much later, or as soon as there is a message that it has not seen. This was no attempt.
    /// The next delivery comes with a [checkpoint](Delivered::checkpoint).
    Waiting {
        /// How much later at the latest.
        after: Duration,
        /// How many messages of its inbox it has seen.
        seen: u64,
    },
    /// It failed, and must not be tried again.
    Dead(String),
    /// It ends because it was asked to.
    Cancelled,
}

/// A settlement of one delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "backends take it apart")]
pub struct Settled {
    /// Of which job.
    pub id: JobId,
    /// By which delivery.
    pub lease: LeaseNumber,
    /// What became of it.
    pub settlement: Settlement,
}

/// A job that was delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "backends make it")]
pub struct Delivered {
    /// Which.
    pub id: JobId,
    /// The delivery.
    pub lease: LeaseNumber,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// How many there are at most.
    pub attempts: u32,
    /// When it was queued, by the clock of the home.
    pub queued: Micros,
    /// What the handler gets.
    pub input: Bytes,
    /// Its fairness group.
    pub group: String,
    /// How long is to be kept what becomes of it.
    pub keep: Duration,
    /// The job group it belongs to.
    pub member_of: Option<MemberOf>,
    /// The last [checkpoint](super::Note::Checkpoint) of those before.
    pub checkpoint: Option<Bytes>,
}

/// What became of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum JobEnd {
    /// It is done; what the handler returned.
    Succeeded(Bytes),
    /// It failed for good: why, at last.
    Dead(String),
    /// It was cancelled.
    Cancelled,
    /// Nobody began it in time.
    Expired,
}

/// Where a job is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JobState {
    /// It waits for a worker.
    Ready,
    /// It waits for a time, by the clock of the home.
    Due(Micros),
    /// It waits until its fairness group has room, by the [limits](super::QueueLimits) of the queue.
    Limited,
    /// A worker has it.
    Active {
        /// Whether it was asked to stop.
        cancelled: bool,
    },
    /// It is over.
    Ended(JobEnd),
}
