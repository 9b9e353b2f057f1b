//! Locks: leases with fencing tokens.
//!
//! A lock is held for the length of a lease, which the guard renews in the background. A holder that
//! stops renewing (killed, paused, cut off) loses the lock when its lease ends, and learns of it through
//! [`LockGuard::lost`]. Because it may learn of it late, every acquisition carries a [`FencingToken`]
//! for the protected resource to check.

mod acquire;
mod all;
mod ask;
mod election;
mod guard;
mod handle;
mod keeper;
mod lease;
mod locks;
mod memory;
mod multi;
mod news;
mod observe;
mod port;
mod quorum;
#[cfg(feature = "redis")]
mod redis;
mod rw;
mod semaphore;
mod state;
mod turn;
mod with_lock;

pub use acquire::{Acquire, AcquireLock};
pub use all::{AllLocks, LockPage, LockRef, LockScan};
pub use ask::{AcquireReply, Ask, LockHolder, LockKey, LockKind, LockStatus, LockWaiter};
pub use election::{Campaign, Elected, Election, Leader, Leadership};
pub use guard::{LockGuard, LockLease};
pub use handle::{Lease, Lock};
pub use lease::{FencingToken, LeaseId};
pub(crate) use locks::Locks;
pub(crate) use memory::{LockTable, MemoryLocks};
pub use multi::{AcquireAll, AcquireLocks, MultiGuard, MultiLock};
pub use news::{News, WaiterId};
pub use observe::{LockEvent, LockWatch, Observation};
pub use port::{LockPort, ScannedLocks};
#[cfg(feature = "redis")]
pub(crate) use quorum::RedisVotes;
pub use quorum::{Ballot, EVERY_ATTEMPT, MOST_SERVERS, QuorumLocks, Seat, Vote, VotePort, Voted};
pub(crate) use quorum::{MemoryVotes, VoteTable};
#[cfg(feature = "redis")]
pub(crate) use redis::RedisLocks;
pub use rw::RwLock;
pub use semaphore::Semaphore;
pub use state::{HEARTBEAT, MOST_HOLDERS, MOST_SHOWN, MOST_WAITERS};
pub use with_lock::WithLock;
