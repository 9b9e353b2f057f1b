//! What is asked of a server of a quorum, and what it answers.

use std::time::Duration;

use crate::lock::{FencingToken, LeaseId, WaiterId};

/// The number that stands for all attempts of a lease: greater than that of any, and exact in a script.
pub const EVERY_ATTEMPT: u64 = (1 << 53) - 1;

/// A question for a server's vote.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ballot {
    /// Who asks.
    pub lease: LeaseId,
    /// Which attempt of the lease this is: greater than those before it, and at most [`EVERY_ATTEMPT`].
    pub number: u64,
    /// How long the vote is to last.
    pub length: Duration,
    /// For how long a server must have been up to vote.
    pub quarantine: Duration,
    /// The token that the lease has already, where it holds the lock and this is one server more.
    pub token: Option<FencingToken>,
    /// For people: who asks. At most 128 bytes, without control characters.
    pub owner: String,
}

impl Ballot {
    /// A ballot of nobody in particular, for a lease without a token.
    #[must_use]
    pub const fn new(lease: LeaseId, number: u64, length: Duration, quarantine: Duration) -> Self {
        Self {
            lease,
            number,
            length,
            quarantine,
            token: None,
            owner: String::new(),
        }
    }
}

/// A server's answer to a ballot.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "who answered, and what")]
pub struct Voted {
    /// Which server, or home in a process, this is: another one after each start. Empty if it does not say.
    pub server: String,
    /// Its vote.
    pub vote: Vote,
}

/// A server's vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a ballot has these four answers")]
pub enum Vote {
    /// It is the lease's, for as long as was asked for.
    Given {
        /// The least token that is greater than those recorded here.
        floor: FencingToken,
        /// The token recorded for this lease, if there is one.
        token: Option<FencingToken>,
    },
    /// Another lease has it.
    Held {
        /// How long until that ends, unless it is extended or given back.
        remaining: Duration,
    },
    /// The server started too short a time ago to know whose it is.
    Silent {
        /// How long until it votes.
        remaining: Duration,
    },
    /// The lease was given back or taken away, or a later attempt of it has the vote.
    Refused,
}

/// Who has a server's vote: what is public of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "backends make them")]
pub struct Seat {
    /// The public half of its lease.
    pub lease: WaiterId,
    /// Its token; 0 if none was recorded on this server.
    pub token: FencingToken,
    /// Who it says it is.
    pub owner: String,
    /// How long it has had the vote.
    pub held_for: Duration,
    /// How long until its lease ends, unless that is extended or given back.
    pub remaining: Duration,
}
