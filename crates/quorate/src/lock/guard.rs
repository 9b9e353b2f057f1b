//! A held lock.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::ask::LockKey;
use super::handle::{Lease, check_lease};
use super::lease::{FencingToken, LeaseId};
use super::locks::{EXTEND, Locks};
use crate::error::{Error, ErrorKind, Outcome, Result};
use crate::events::Subscription;
use crate::telemetry;

/// A lock that is held. Dropping the guard releases it in the background.
///
/// The lease is renewed every third of its length until the guard is dropped or the lock is lost.
///
/// # Concurrent calls
/// All methods may be called from several tasks.
#[must_use = "dropping the guard releases the lock"]
pub struct LockGuard {
    held: Arc<Held>,
    /// Whether dropping still has to release.
    release_on_drop: bool,
}

/// A look at a lock that a [`LockGuard`] holds, which neither keeps nor releases it.
///
/// # Clone
/// Clones look at the same lock.
#[derive(Clone)]
pub struct LockLease {
    held: Arc<Held>,
}

/// What was acquired.
pub(super) struct Granted {
    pub(super) lease: LeaseId,
    pub(super) token: FencingToken,
    /// Until when it is certain.
    pub(super) ends: Instant,
    /// Of the lease that was asked for.
    pub(super) length: Duration,
    pub(super) renew: bool,
    /// Whether the lease has that length already, or only what a grant has.
    pub(super) confirmed: bool,
    /// Whether the backend may still come to a request for it that was given up.
    pub(super) unanswered: bool,
}

/// What the guard and its keeper share.
pub(super) struct Held {
    pub(super) shared: Arc<Locks>,
    pub(super) key: LockKey,
    pub(super) granted: Granted,
    /// When ownership can no longer be assumed, on this process's monotonic clock.
    pub(super) ends: watch::Sender<Instant>,
    /// Whether the lease has the length that was asked for.
    pub(super) confirmed: AtomicBool,
    /// One extension at a time: what the backend did last has to be what is believed last.
    pub(super) extending: tokio::sync::Mutex<()>,
    /// The shortest length of which no answer came: a request that was given up may be carried out at any time, over
    /// another connection, and let the lease end so long from then.
    unanswered: Mutex<Option<Duration>>,
    pub(super) lost: CancellationToken,
    /// Whether the backend knows nothing of the lease any more: unlike when our own clock ran out, there is nothing to
    /// release.
    gone: AtomicBool,
    pub(super) stop: CancellationToken,
}

impl LockGuard {
    pub(super) fn new(
        shared: Arc<Locks>,
        key: LockKey,
        granted: Granted,
        news: Option<Subscription<Bytes>>,
    ) -> Self {
        metrics::gauge!(telemetry::LOCKS_HELD).increment(1.0);
        let held = Arc::new(Held {
            shared,
            key,
            ends: watch::Sender::new(granted.ends),
            confirmed: AtomicBool::new(granted.confirmed),
            unanswered: Mutex::new(granted.unanswered.then_some(granted.length)),
            granted,
            extending: tokio::sync::Mutex::new(()),
            lost: CancellationToken::new(),
            gone: AtomicBool::new(false),
            stop: CancellationToken::new(),
        });
        let kept = held.clone();
        held.shared
            .context
            .spawn(async move { kept.keep(news).await });
        Self {
            held,
            release_on_drop: true,
        }
    }

    /// The fencing token: pass it to whatever the lock protects.
    #[must_use]
    pub fn token(&self) -> FencingToken {
        self.held.granted.token
    }

    /// The lock's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.held.key.name()
    }

    /// Identifies this acquisition to [`Lock::extend`](crate::Lock::extend) and
    /// [`Lock::release`](crate::Lock::release).
    #[must_use]
    pub fn lease_id(&self) -> LeaseId {
        self.held.granted.lease
    }

    /// A look at the lock for those who work under it.
    #[must_use]
    pub fn lease(&self) -> LockLease {
        LockLease {
            held: self.held.clone(),
        }
    }

    /// How much longer ownership can be assumed, on this process's monotonic clock, counted from
    /// before the last request. Zero once the lock is lost.
    ///
    /// It may be less than the lease for a moment after one has waited: then the lease is about to be confirmed.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.held.remaining()
    }

    /// Whether ownership can no longer be assumed.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.held.is_lost()
    }

    /// Resolves as soon as ownership can no longer be assumed: the backend says so, it was taken away, or the lease has
    /// run out unrenewed.
    ///
    /// # Cancel safety
    /// Yes.
    pub async fn lost(&self) {
        self.held.lost.cancelled().await;
    }

    /// Lets the lease end `length` from now. `false`: the lock is lost.
    ///
    /// With renewal on, the next renewal sets the length given at the acquisition again.
    ///
    /// # Concurrent calls
    /// One after the other, renewals included.
    ///
    /// # Errors
    /// `InvalidInput` if `length` is not from 10 ms to 30 days, and those of the backend. Where those leave open whether
    /// the lease was made shorter, the guard assumes that it was, or will be: a request that was given up may be carried
    /// out late, and from then on the guard never counts on more than its length.
    ///
    /// # Cancel safety
    /// When the future is dropped, the lease may or may not be extended, which is assumed as above.
    pub async fn extend(&self, length: Duration) -> Result<bool> {
        check_lease(length).map_err(|error| error.with_operation(EXTEND.name))?;
        self.held.extend(length).await
    }

    /// Gives the lock back and returns when that is certain. `false`: it was lost before.
    ///
    /// # Errors
    /// Those of the backend. The lock is free when its lease ends at the latest.
    ///
    /// # Cancel safety
    /// When the future is dropped, the lock is released in the background.
    pub async fn release(mut self) -> Result<bool> {
        self.held.stop.cancel();
        let held = &self.held;
        let result = held.shared.release(&held.key, held.granted.lease).await;
        // Only now: a future dropped above leaves it to the guard's drop, and so does a failure.
        self.release_on_drop = result.is_err();
        result
    }

    /// Stops renewing and releasing: whoever has the lease's id carries on with it.
    ///
    /// A lease that was granted a moment ago, after waiting, is given its whole length first.
    ///
    /// # Errors
    /// `Closed` if the lock is lost, and those of the backend; it is released in the background then.
    ///
    /// # Cancel safety
    /// When the future is dropped, the lock is released in the background.
    pub async fn detach(mut self) -> Result<Lease> {
        let held = self.held.clone();
        // A renewal under way could end up after what the next owner of the lease makes of it.
        let _turn = match held.extending.try_lock() {
            // Without a moment in which the future could be dropped.
            Ok(turn) => turn,
            Err(_) => held.extending.lock().await,
        };
        held.stop.cancel();
        if !held.confirmed.load(Ordering::Acquire) {
            held.extend_in_turn(held.granted.length).await?;
        }
        if held.is_lost() {
            return Err(held.was_lost());
        }
        self.release_on_drop = false;
        Ok(Lease::new(held.granted.lease, held.granted.token))
    }
}

impl LockLease {
    /// The fencing token: pass it to whatever the lock protects.
    #[must_use]
    pub fn token(&self) -> FencingToken {
        self.held.granted.token
    }

    /// The lock's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.held.key.name()
    }

    /// As [`LockGuard::remaining`]; zero also once the lock was given back.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        if self.is_lost() {
            return Duration::ZERO;
        }
        self.held.remaining()
    }

    /// As [`LockGuard::is_lost`]; also once the lock was given back.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.held.stop.is_cancelled() || self.held.is_lost()
    }

    /// As [`LockGuard::lost`]; also once the lock was given back.
    ///
    /// # Cancel safety
    /// Yes.
    pub async fn lost(&self) {
        tokio::select! {
            () = self.held.lost.cancelled() => {}
            () = self.held.stop.cancelled() => {}
        }
    }
}

impl Held {
    fn remaining(&self) -> Duration {
        if self.is_lost() {
            return Duration::ZERO;
        }
        let ends = *self.ends.borrow();
        ends.saturating_duration_since(Instant::now())
    }

    fn is_lost(&self) -> bool {
        self.lost.is_cancelled() || Instant::now() >= *self.ends.borrow()
    }

    pub(super) async fn extend(&self, length: Duration) -> Result<bool> {
        let _turn = self.extending.lock().await;
        self.extend_in_turn(length).await
    }

    /// For who has the turn.
    async fn extend_in_turn(&self, length: Duration) -> Result<bool> {
        if self.is_lost() {
            self.lose();
            return Ok(false);
        }
        let asked = Instant::now();
        // Whether or not an answer comes, the lease may end as early as this from now on.
        self.move_end(|ends| ends.min(asked + length));
        let before = *self.unanswered.lock();
        *self.unanswered.lock() = Some(before.map_or(length, |before| before.min(length)));
        let lease = self.granted.lease;
        let (extended, attempts) = self.shared.extend_at(&self.key, lease, length).await;
        let is_answered = match &extended {
            Ok(_) => attempts <= 1,
            Err(error) => error.outcome() == Outcome::NotApplied && attempts <= 1,
        };
        if is_answered {
            *self.unanswered.lock() = before;
        }
        if !extended? {
            self.lose_for_good();
            return Ok(false);
        }
        if self.is_lost() {
            // It ran out by our clock before the answer, which others were told: nobody would give back what came too late.
            self.lose_for_good();
            self.shared.release_later(self.key.clone(), lease);
            return Ok(false);
        }
        let certain = self.unanswered.lock().map_or(length, |it| it.min(length));
        self.move_end(|_| asked + certain);
        self.confirmed.store(true, Ordering::Release);
        Ok(true)
    }

    fn was_lost(&self) -> Error {
        Error::new(ErrorKind::Closed)
            .with_outcome(Outcome::NotApplied)
            .with_message("the lock was lost")
            .with_operation(EXTEND.name)
            .with_target(self.key.name())
    }

    pub(super) fn move_end(&self, to: impl FnOnce(Instant) -> Instant) {
        self.ends.send_modify(|ends| *ends = to(*ends));
    }

    /// The backend has nothing to release any more, or is asked to already.
    pub(super) fn lose_for_good(&self) {
        self.gone.store(true, Ordering::Release);
        self.lose();
    }

    /// Ownership cannot be assumed any more.
    pub(super) fn lose(&self) {
        if !self.stop.is_cancelled() && !self.lost.is_cancelled() {
            metrics::counter!(telemetry::LOCKS_LOST).increment(1);
        }
        self.lost.cancel();
    }
}

impl Drop for LockGuard {
    fn drop(&mut self) {
        metrics::gauge!(telemetry::LOCKS_HELD).decrement(1.0);
        self.held.stop.cancel();
        if self.release_on_drop && !self.held.gone.load(Ordering::Acquire) {
            let (key, lease) = (self.held.key.clone(), self.held.granted.lease);
            self.held.shared.release_later(key, lease);
        }
    }
}

impl fmt::Debug for LockGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockGuard")
            .field("name", &self.name())
            .field("token", &self.token())
            .field("remaining", &self.remaining())
            .finish()
    }
}

impl fmt::Debug for LockLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockLease")
            .field("name", &self.name())
            .field("token", &self.token())
            .field("remaining", &self.remaining())
            .finish()
    }
}
