//! Locks: leases with fencing tokens.
//!
//! A lock is held for the length of a lease, which the guard renews in the background. A holder that
//! stops renewing (killed, paused, cut off) loses the lock when its lease ends, and learns of it through
//! [`LockGuard::lost`]. Because it may learn of it late, every acquisition carries a [`FencingToken`]
//! for the protected resource to check.

mod guard;
mod handle;
mod lease;
mod memory;
mod port;
#[cfg(feature = "redis")]
mod redis;

pub use guard::LockGuard;
pub(crate) use handle::Locks;
pub use handle::{Acquire, AcquireLock, Lease, Lock};
pub(crate) use lease::LockState;
pub use lease::{AcquireReply, FencingToken, LeaseId};
pub(crate) use memory::MemoryLocks;
pub use port::LockPort;
#[cfg(feature = "redis")]
pub(crate) use redis::RedisLocks;
