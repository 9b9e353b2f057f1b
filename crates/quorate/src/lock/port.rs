//! What a backend for locks must do.

use std::fmt::{Debug, Display};
use std::time::Duration;

use async_trait::async_trait;

use super::ask::{AcquireReply, Ask, LockKey, LockKind, LockStatus};
use super::lease::{FencingToken, LeaseId};
use crate::error::Result;
use crate::events::Channel;
use crate::key::Namespace;
use crate::port::CallOptions;
use crate::scan::ScanCursor;

/// Some of the locks of a home.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "backends make it")]
pub struct ScannedLocks {
    /// What they are and what they are called; a lock may occur on several pages.
    pub locks: Vec<(LockKind, String)>,
    /// Where the next page begins; `None`: this was the last.
    pub next: Option<ScanCursor>,
}

/// Where our own backends announce what happens to a lock.
pub(super) fn announcement(lock: &LockKey) -> Channel {
    Channel {
        name: lock.unit(":news").into(),
        sharded: true,
    }
}

/// A backend for locks.
///
/// # Contract
/// * At any moment of the backend's clock, the weights of the leases that hold a lock add up to no more than the
///   capacity that the last of them asked with; those that hold it together as one owner count once.
/// * `acquire` and `extend` let the lease end `length` from the backend's now. A lease that has ended is as good as
///   released.
/// * `acquire` repeated with one lease while it holds the lock gives the token of the first; so does that of another
///   lease which holds it together with the first. Otherwise every token is greater than all tokens of that lock before
///   it.
/// * Who asks with `wait` and cannot have the lock is queued. Who is queued is passed by nobody but who shares the lock
///   with a holder as one owner. Asking again keeps the place; asking without `wait`, or `release`, gives it up; and
///   [`HEARTBEAT`](super::HEARTBEAT) after it last asked, a waiter counts as gone.
/// * When there is room, by whatever makes it, the first in the queue is granted the lock by the next call of anybody at
///   the latest. A grant lasts for [`HEARTBEAT`](super::HEARTBEAT), or the length of the lease if that is shorter, until
///   its lease acquires or extends.
/// * `release`, `extend` and `force_release` change nothing for a lease or token that does not hold the lock, and answer
///   `false`, or nobody. `release` repeated answers as the first time until another lease was released, `force_release`
///   of a token until another was taken away.
/// * Grants to those who waited, and tokens taken away, are announced as [`News`](super::News) on the channel named by
///   `announced_on`, once they are done and before any other transition can be seen; of kinds that are watched,
///   everything is.
/// * `scan` gives every lock that is held from its first page to its last at least once, whatever its kind; those that come or
///   go meanwhile may be left out. It may give locks that are not held any more.
/// * Every operation but `force_release` without a token may be repeated when its reply was lost.
#[async_trait]
pub trait LockPort: Debug + Display + Send + Sync + 'static {
    /// Takes the lock if it can be had and nobody is in front, or queues for it.
    ///
    /// # Errors
    /// Those of the backend.
    async fn acquire(
        &self,
        lock: &LockKey,
        ask: &Ask,
        options: CallOptions,
    ) -> Result<AcquireReply>;

    /// Lets the lease end `length` from now; `false` if it does not hold the lock.
    ///
    /// # Errors
    /// Those of the backend.
    async fn extend(
        &self,
        lock: &LockKey,
        lease: LeaseId,
        length: Duration,
        options: CallOptions,
    ) -> Result<bool>;

    /// Gives the lock back, or the place in its queue; `false` if the lease did not hold it.
    ///
    /// # Errors
    /// Those of the backend.
    async fn release(&self, lock: &LockKey, lease: LeaseId, options: CallOptions) -> Result<bool>;

    /// Takes the lock away from the holder with `token`, or from all of them; says from whom.
    ///
    /// # Errors
    /// Those of the backend.
    async fn force_release(
        &self,
        lock: &LockKey,
        token: Option<FencingToken>,
        options: CallOptions,
    ) -> Result<Vec<FencingToken>>;

    /// Who holds the lock, and who waits for it.
    ///
    /// # Errors
    /// Those of the backend.
    async fn look(&self, lock: &LockKey, options: CallOptions) -> Result<LockStatus>;

    /// Some of the locks of a namespace whose names begin with `prefix`.
    ///
    /// # Errors
    /// Those of the backend.
    async fn scan(
        &self,
        namespace: &Namespace,
        prefix: &str,
        from: Option<&ScanCursor>,
        options: CallOptions,
    ) -> Result<ScannedLocks>;

    /// Where what happens to it is announced; `None` if it is not, so that waiting means asking again.
    fn announced_on(&self, lock: &LockKey) -> Option<Channel>;
}
