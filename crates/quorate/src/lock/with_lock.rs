//! Work that is done only while a lock is held.

use std::pin::pin;
use std::time::Duration;

use super::acquire::{Acquire, AcquireLock};
use super::guard::LockLease;
use super::handle::Lock;
use crate::error::Result;

/// What became of work that needed a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the work may not have been done"]
#[non_exhaustive]
pub enum WithLock<T> {
    /// It was done, and the lock was held until its end.
    Done(T),
    /// It was not begun: others have the lock, and had it for as long as the call waited.
    #[non_exhaustive]
    Held {
        /// How long until the first of their leases ends, unless that is extended or released.
        remaining: Duration,
    },
    /// The lock was lost. The work was dropped where it stood, was not begun if that was before it could be, or had ended
    /// by itself before anybody knew.
    Lost {
        /// What it gave, if it had ended.
        result: Option<T>,
    },
}

impl<T> WithLock<T> {
    /// What the work gave, if the lock was held until its end.
    #[must_use]
    pub fn done(self) -> Option<T> {
        match self {
            Self::Done(value) => Some(value),
            Self::Held { .. } | Self::Lost { .. } => None,
        }
    }
}

impl Lock {
    /// Waits for the lock, does `work` while it is held, and gives it back. See [`AcquireLock::with`] for options.
    ///
    /// # Errors
    /// Those of [`acquire`](Self::acquire). What the work gives is the caller's, errors included; an error while giving
    /// the lock back goes to `on_error`.
    ///
    /// # Cancel safety
    /// When the future is dropped, so is the work, and the lock is released in the background.
    ///
    /// # Example
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> quorate::Result<()> {
    /// use quorate::{Fleet, WithLock};
    ///
    /// let fleet = Fleet::embedded();
    /// let sum = fleet.lock("sum").with_lock(async |_lease| 40 + 2).await?;
    /// assert_eq!(sum, WithLock::Done(42));
    /// # Ok(()) }
    /// ```
    pub async fn with_lock<T, F>(&self, work: F) -> Result<WithLock<T>>
    where
        F: AsyncFnOnce(LockLease) -> T,
    {
        self.acquire().with(work).await
    }
}

impl AcquireLock {
    /// Does `work` while the lock is held, and gives it back. A lost lease drops the work where it stands.
    ///
    /// # Errors
    /// Those of the acquisition. What the work gives is the caller's, errors included; an error while giving the lock
    /// back goes to `on_error`.
    ///
    /// # Cancel safety
    /// When the future is dropped, so is the work, and the lock is released in the background.
    pub async fn with<T, F>(self, work: F) -> Result<WithLock<T>>
    where
        F: AsyncFnOnce(LockLease) -> T,
    {
        let shared = self.lock.shared.clone();
        let guard = match self.await? {
            Acquire::Acquired(guard) => guard,
            Acquire::Held { remaining } => return Ok(WithLock::Held { remaining }),
        };
        // The answer may have taken longer than the lease lasts.
        if guard.is_lost() {
            return Ok(WithLock::Lost { result: None });
        }
        let result = {
            let mut working = pin!(work(guard.lease()));
            tokio::select! {
                // Work that goes on after the lock was lost is what locks are there to prevent.
                biased;
                () = guard.lost() => None,
                result = &mut working => Some(result),
            }
        };
        let Some(value) = result else {
            return Ok(WithLock::Lost { result: None });
        };
        // By our own clock: work that did not yield may have outlasted the lease unseen, and the backend not know it yet.
        if guard.is_lost() {
            let result = Some(value);
            return Ok(WithLock::Lost { result });
        }
        Ok(match guard.release().await {
            Ok(true) => WithLock::Done(value),
            Ok(false) => WithLock::Lost {
                result: Some(value),
            },
            Err(error) => {
                // The work is done, and was done under the lease: only that the next has to wait for its end.
                shared.report(&error);
                WithLock::Done(value)
            }
        })
    }
}
