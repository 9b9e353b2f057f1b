//! What a backend for locks must do.

use std::fmt::{Debug, Display};
use std::time::Duration;

use async_trait::async_trait;

use super::lease::{AcquireReply, LeaseId};
use crate::error::Result;
use crate::events::Channel;
use crate::key::Key;
use crate::port::CallOptions;

/// What the keys of locks begin with, after the namespace.
pub(super) const UNIT: &str = "lock";

/// Where our own backends announce the release of a lock.
pub(super) fn announcement(key: &Key) -> Channel {
    Channel {
        name: key.unit(UNIT, ":released").into(),
        sharded: true,
    }
}

/// A backend for locks.
///
/// # Contract
/// * At most one lease holds a lock at any moment of the backend's clock.
/// * `acquire` and `extend` let the lease end `length` from the backend's now. A lease that has ended
///   is as good as released.
/// * `acquire` repeated with one lease while it is held gives the token of the first; otherwise every
///   token is greater than all tokens of that lock before it.
/// * `release` and `extend` change nothing for a lease that does not hold the lock, and answer
///   `false`. `release` repeated answers as the first time, until another lease was released.
/// * After a release or by the end of a lease the lock is free. A release is announced on the channel
///   named by `announced_on`, with any payload.
/// * Every operation may be repeated when its reply was lost.
#[async_trait]
pub trait LockPort: Debug + Display + Send + Sync + 'static {
    /// Takes the lock if it is free.
    ///
    /// # Errors
    /// Those of the backend.
    async fn acquire(
        &self,
        key: &Key,
        lease: LeaseId,
        length: Duration,
        options: CallOptions,
    ) -> Result<AcquireReply>;

    /// Lets the lease end `length` from now; `false` if it does not hold the lock.
    ///
    /// # Errors
    /// Those of the backend.
    async fn extend(
        &self,
        key: &Key,
        lease: LeaseId,
        length: Duration,
        options: CallOptions,
    ) -> Result<bool>;

    /// Gives the lock back; `false` if the lease did not hold it.
    ///
    /// # Errors
    /// Those of the backend.
    async fn release(&self, key: &Key, lease: LeaseId, options: CallOptions) -> Result<bool>;

    /// Where releases are announced; `None` if they are not, so that waiting means asking again.
    fn announced_on(&self, key: &Key) -> Option<Channel>;
}
