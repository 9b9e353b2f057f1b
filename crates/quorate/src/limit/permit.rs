//! A slot that is taken.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::handle::Limiters;
use super::port::LimitKey;
use crate::error::{Error, Result};
use crate::hooks::ErrorSource;
use crate::lock::LeaseId;

/// Between two attempts to renew a lease, when one has failed.
const RETRY_RENEWAL: Duration = Duration::from_millis(200);

/// A slot of a [`ConcurrencyLimit`](super::ConcurrencyLimit) that is taken. Dropping it gives the slot back in the
/// background.
///
/// Its lease is renewed every third of its length until the permit is dropped or lost.
#[must_use = "dropping the permit gives the slot back"]
pub struct Permit {
    held: Arc<Held>,
    remaining: u64,
    /// Whether dropping still has to give the slot back.
    leave_on_drop: bool,
}

/// What the permit and its renewal share.
struct Held {
    shared: Arc<Limiters>,
    key: LimitKey,
    id: LeaseId,
    length: Duration,
    /// When the slot can no longer be assumed, on this process's monotonic clock.
    ends: Mutex<Instant>,
    lost: CancellationToken,
    stop: CancellationToken,
}

impl Permit {
    pub(super) fn new(
        shared: Arc<Limiters>,
        key: LimitKey,
        id: LeaseId,
        remaining: u64,
        ends: Instant,
        length: Duration,
    ) -> Self {
        let held = Arc::new(Held {
            shared,
            key,
            id,
            length,
            ends: Mutex::new(ends),
            lost: CancellationToken::new(),
            stop: CancellationToken::new(),
        });
        let watched = held.clone();
        held.shared
            .context
            .spawn(async move { watched.watch().await });
        Self {
            held,
            remaining,
            leave_on_drop: true,
        }
    }

    /// How many slots were free behind this one.
    #[must_use]
    pub const fn remaining(&self) -> u64 {
        self.remaining
    }

    /// Whether the slot may be somebody else's by now.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.held.lost.is_cancelled() || Instant::now() >= *self.held.ends.lock()
    }

    /// Resolves as soon as the slot may be somebody else's: the backend says so, or the lease has run out unrenewed.
    ///
    /// # Cancel safety
    /// Yes.
    pub async fn lost(&self) {
        self.held.lost.cancelled().await;
    }

    /// Gives the slot back and returns when that is certain. `false`: it was lost before.
    ///
    /// # Errors
    /// Those of the backend. The slot is free when its lease ends at the latest.
    ///
    /// # Cancel safety
    /// When the future is dropped, the slot is given back in the background.
    pub async fn release(mut self) -> Result<bool> {
        self.held.stop.cancel();
        let result = self.held.shared.leave(&self.held.key, self.held.id).await;
        // Only now: a future dropped above leaves it to the permit's drop, and so does a failure.
        self.leave_on_drop = result.is_err();
        result
    }
}

impl Held {
    /// Renews until told to stop, and says when the lease has run out.
    async fn watch(self: Arc<Self>) {
        let closed = self.shared.context.closed();
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = closed.cancelled() => self.give_up().await,
            () = self.run_out() => {}
            () = self.renew() => {}
        }
    }

    /// A closing fleet gives its slots back, past the choke point that refuses calls by now.
    async fn give_up(&self) {
        self.lost.cancel();
        if let Err(error) = self.shared.give_up(&self.key, self.id).await {
            self.report(&error);
        }
    }

    /// Resolves, and loses the slot, when the lease has ended by our clock.
    async fn run_out(&self) {
        loop {
            let ends = *self.ends.lock();
            if Instant::now() >= ends {
                return self.lost.cancel();
            }
            // A renewal moves the end, never nearer.
            tokio::time::sleep_until(ends).await;
        }
    }

    async fn renew(&self) {
        let mut pause = self.length / 3;
        loop {
            tokio::time::sleep(pause).await;
            let asked = Instant::now();
            match self.shared.stay(&self.key, self.id, self.length).await {
                Ok(true) => {
                    *self.ends.lock() = asked + self.length;
                    pause = self.length / 3;
                }
                Ok(false) => return self.lost.cancel(),
                Err(error) => {
                    self.report(&error);
                    pause = RETRY_RENEWAL.min(self.length / 3);
                }
            }
        }
    }

    fn report(&self, error: &Error) {
        self.shared.context.hooks.error(ErrorSource::Limit, error);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.held.stop.cancel();
        if self.leave_on_drop && !self.held.lost.is_cancelled() {
            let held = &self.held;
            held.shared.leave_later(held.key.clone(), held.id);
        }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit")
            .field("limit", &self.held.key.shown())
            .field("lost", &self.is_lost())
            .finish_non_exhaustive()
    }
}
