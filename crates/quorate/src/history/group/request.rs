//! What is asked of a consumer group, and what it answers.

use std::time::Duration;

use bytes::Bytes;

use super::super::Position;
use super::super::log::PageLimit;

/// Settlements of one call, at most: the work of one transition is bounded.
pub const MAX_SETTLEMENTS: usize = 128;

/// Identifies one take, and with it what was handed out by it: only that may be settled with it. 64
/// random bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TakeId(u64);

impl TakeId {
    /// A new one, never seen before.
    #[must_use]
    pub fn random() -> Self {
        Self(rand::random())
    }

    /// From its bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(u64::from_be_bytes(bytes))
    }

    /// Its bytes.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }
}

/// A request for what is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a backend needs each")]
pub struct Take {
    /// The same when the take is repeated.
    pub id: TakeId,
    /// How much to hand out at most. One message is handed out however large it is.
    pub limit: PageLimit,
    /// How long what is handed out is leased.
    pub visibility: Duration,
    /// How long ago the first attempt began, if this is not the first.
    pub again: Option<Duration>,
}

/// What came of a take.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a backend answers with one of these"
)]
pub enum TakeReply {
    /// What was handed out, which may be nothing.
    Taken(Taken),
    /// The group was deleted.
    Deleted,
}

/// What was handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a backend needs each")]
pub struct Taken {
    /// Of the history the offsets are of.
    pub epoch: u64,
    /// First what was handed out before, then what is new, both oldest first.
    pub deliveries: Vec<Handed>,
    /// When there may be something to take even if nothing is published: when the next lease ends. Zero:
    /// there is more already.
    pub next: Option<Duration>,
}

/// One thing that was handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a backend needs each")]
pub struct Handed {
    /// The number of the message in its epoch; of a gap, of the last message that is missing.
    pub offset: u64,
    /// How many times it was handed out by now, from 1.
    pub attempt: u32,
    /// The message, or that it is gone.
    pub content: Content,
}

/// What is handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "it is there or it is not")]
pub enum Content {
    /// As it was announced.
    Message(Bytes),
    /// Messages up to this offset are no longer kept; so many, where that is known.
    Gone(Option<u64>),
}

/// What becomes of one delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a backend needs each")]
pub struct Settlement {
    /// Which.
    pub offset: u64,
    /// What handed it out: if another take has it since, nothing is changed.
    pub take: TakeId,
    /// What becomes of it.
    pub settle: Settle,
}

/// What may become of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a backend must do each")]
pub enum Settle {
    /// It is done, and never handed out again.
    Acknowledge,
    /// Its lease ends so long from now.
    Extend(Duration),
    /// It is given back, and due again so long from now.
    Retry(Duration),
    /// It is given back, due at once, and as if it had never been handed out.
    Return,
}

/// Where a group stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupStatus {
    /// Deliveries that are handed out and not acknowledged, or due to be handed out again.
    pub pending: u64,
    /// Messages that were never handed out; with those that are no longer kept.
    pub lag: u64,
    /// After which position the group takes its next new message.
    pub position: Position,
}

impl GroupStatus {
    /// From its parts, for backends.
    #[must_use]
    pub const fn new(pending: u64, lag: u64, position: Position) -> Self {
        Self {
            pending,
            lag,
            position,
        }
    }
}
