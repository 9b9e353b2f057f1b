//! A held lock.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::handle::{Lease, Locks};
use super::lease::{FencingToken, LeaseId};
use crate::error::{Error, Result};
use crate::hooks::ErrorSource;
use crate::key::Key;
use crate::telemetry;

/// Between two attempts at a renewal that failed.
const RETRY_RENEWAL: Duration = Duration::from_millis(100);

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

/// What the guard and its renewal share.
struct Held {
    shared: Arc<Locks>,
    key: Key,
    lease: LeaseId,
    token: FencingToken,
    /// When ownership can no longer be assumed, on this process's monotonic clock.
    ends: Mutex<Instant>,
    /// Wakes the renewal when `ends` was moved by hand.
    moved: tokio::sync::Notify,
    lost: CancellationToken,
    stop: CancellationToken,
}

impl LockGuard {
    pub(super) fn new(
        shared: Arc<Locks>,
        key: Key,
        lease: LeaseId,
        token: FencingToken,
        ends: Instant,
        renew: Option<Duration>,
    ) -> Self {
        metrics::gauge!(telemetry::LOCKS_HELD).increment(1.0);
        let held = Arc::new(Held {
            shared,
            key,
            lease,
            token,
            ends: Mutex::new(ends),
            moved: tokio::sync::Notify::new(),
            lost: CancellationToken::new(),
            stop: CancellationToken::new(),
        });
        let watched = held.clone();
        held.shared
            .context
            .spawn(async move { watched.watch(renew).await });
        Self {
            held,
            release_on_drop: true,
        }
    }

    /// The fencing token: pass it to whatever the lock protects.
    #[must_use]
    pub fn token(&self) -> FencingToken {
        self.held.token
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
        self.held.lease
    }

    /// How much longer ownership can be assumed, on this process's monotonic clock, counted from
    /// before the last request. Zero once the lock is lost.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        if self.is_lost() {
            return Duration::ZERO;
        }
        self.held
            .ends
            .lock()
            .saturating_duration_since(Instant::now())
    }

    /// Whether ownership can no longer be assumed.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.held.lost.is_cancelled() || Instant::now() >= *self.held.ends.lock()
    }

    /// Resolves as soon as ownership can no longer be assumed: the backend says so, or the lease has
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
    /// # Errors
    /// `InvalidInput` if `length` is not from 10 ms to 30 days, and those of the backend.
    ///
    /// # Cancel safety
    /// When the future is dropped, the lease may or may not be extended.
    pub async fn extend(&self, length: Duration) -> Result<bool> {
        super::handle::check_lease(length).map_err(|error| error.with_operation("lock.extend"))?;
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
        let result = self
            .held
            .shared
            .release(&self.held.key, self.held.lease)
            .await;
        // Only now: a future dropped above leaves it to the guard's drop, and so does a failure.
        self.release_on_drop = result.is_err();
        result
    }

    /// Stops renewing and releasing: whoever has the lease's id carries on with it.
    #[must_use = "without its id the lease cannot be released"]
    pub fn detach(mut self) -> Lease {
        self.release_on_drop = false;
        Lease::new(self.held.lease, self.held.token)
    }
}

impl Held {
    async fn extend(&self, length: Duration) -> Result<bool> {
        let asked = Instant::now();
        let extended = self.shared.extend(&self.key, self.lease, length).await?;
        if extended {
            *self.ends.lock() = asked + length;
            self.moved.notify_one();
        } else {
            self.lose();
        }
        Ok(extended)
    }

    fn lose(&self) {
        if !self.stop.is_cancelled() && !self.lost.is_cancelled() {
            metrics::counter!(telemetry::LOCKS_LOST).increment(1);
        }
        self.lost.cancel();
    }

    /// Renews until told to stop, and says when the lease has run out.
    async fn watch(self: Arc<Self>, renew: Option<Duration>) {
        let closed = self.shared.context.closed();
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = closed.cancelled() => self.give_up().await,
            () = self.lost.cancelled() => {}
            () = self.run_out() => {}
            () = self.renew(renew) => {}
        }
    }

    /// A closing fleet gives its locks back, past the choke point that refuses calls by now.
    async fn give_up(&self) {
        self.lose();
        if let Err(error) = self.shared.give_back(&self.key, self.lease).await {
            self.report(&error);
        }
    }

    /// Resolves, and loses the lock, when the lease has ended by our clock.
    async fn run_out(&self) {
        loop {
            let ends = *self.ends.lock();
            if Instant::now() >= ends {
                return self.lose();
            }
            tokio::select! {
                () = tokio::time::sleep_until(ends) => {}
                () = self.moved.notified() => {}
            }
        }
    }

    async fn renew(&self, length: Option<Duration>) {
        let Some(length) = length else {
            return std::future::pending().await;
        };
        let mut pause = length / 3;
        loop {
            tokio::time::sleep(pause).await;
            match self.extend(length).await {
                Ok(true) => pause = length / 3,
                Ok(false) => return,
                Err(error) => {
                    self.report(&error);
                    pause = RETRY_RENEWAL.min(length / 3);
                }
            }
        }
    }

    fn report(&self, error: &Error) {
        self.shared.context.hooks.error(ErrorSource::Lock, error);
    }
}

impl Drop for LockGuard {
    fn drop(&mut self) {
        metrics::gauge!(telemetry::LOCKS_HELD).decrement(1.0);
        self.held.stop.cancel();
        if self.release_on_drop && !self.held.lost.is_cancelled() {
            self.held
                .shared
                .release_later(self.held.key.clone(), self.held.lease);
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
