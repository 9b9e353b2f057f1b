//! Locks of several independent servers, of which a majority decides.
//!
//! Each server is a home of its own, reached by a fleet of its own, and has one vote on each lock ([`VotePort`]). Who has the
//! votes of a majority holds the lock. So it outlives a server that is gone, and a replica that was behind when it was
//! promoted is no danger, for there is none.

mod ballot;
mod handle;
mod memory;
mod port;
#[cfg(feature = "redis")]
mod redis;
mod rounds;
#[cfg(test)]
mod simulation;
mod state;
mod tally;
mod validity;
mod voters;

pub use ballot::{Ballot, EVERY_ATTEMPT, Seat, Vote, Voted};
pub use handle::{MOST_SERVERS, QuorumLocks};
pub(crate) use memory::{MemoryVotes, VoteTable};
pub use port::VotePort;
#[cfg(feature = "redis")]
pub(crate) use redis::RedisVotes;
