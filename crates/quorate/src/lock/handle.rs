//! A lock as users hold it.

use std::sync::Arc;
use std::time::Duration;

use super::acquire::AcquireLock;
use super::ask::{LockHolder, LockKey, LockKind, LockStatus};
use super::lease::{FencingToken, LeaseId};
use super::locks::{EXTEND, FORCE, LOOK, Locks, RELEASE};
use super::state::MOST_HOLDERS;
use crate::context::Operation;
use crate::error::{Error, Result};
use crate::key::{Key, Namespace};

const SHORTEST_LEASE: Duration = Duration::from_millis(10);
const LONGEST_LEASE: Duration = Duration::from_secs(30 * 24 * 3600);
/// Longest name of an owner, in bytes.
const MAX_OWNER: usize = 128;

/// A lock of a given name. Holding this holds nothing: acquire it.
///
/// Who waits is served in the order of asking. A waiter that dies is passed over within 3 s.
///
/// # Clone
/// Clones are the same lock.
///
/// # Example
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> quorate::Result<()> {
/// use quorate::{Acquire, Fleet};
/// use std::time::Duration;
///
/// let fleet = Fleet::embedded();
/// let report = fleet.lock("nightly-report");
/// match report.acquire().lease(Duration::from_secs(30)).wait(Duration::from_secs(5)).await? {
///     Acquire::Acquired(guard) => {
///         tokio::select! {
///             () = write_report(guard.token()) => {}
///             () = guard.lost() => panic!("another instance may be writing now"),
///         }
///         guard.release().await?;
///     }
///     Acquire::Held { remaining, .. } => println!("held for {remaining:?} more"),
///     _ => {}
/// }
/// # async fn write_report(_: quorate::FencingToken) {}
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Lock {
    pub(super) shared: Arc<Locks>,
    // Kept as an error until it is used: naming a lock is not a place to fail.
    key: std::result::Result<LockKey, Arc<Error>>,
    /// How much of the lock this takes, of how much there is.
    pub(super) weight: u32,
    pub(super) capacity: u32,
    /// Who holds it together.
    pub(super) together: Option<Arc<str>>,
}

impl Lock {
    pub(crate) fn new(
        shared: Arc<Locks>,
        kind: LockKind,
        namespace: &Namespace,
        name: &str,
    ) -> Self {
        let key = Key::new(namespace, name).map(|key| LockKey::new(kind, key));
        Self {
            shared,
            key: key.map_err(Arc::new),
            weight: 1,
            capacity: 1,
            together: None,
        }
    }

    /// The lock's name; empty if it was given one that breaks the rule for names.
    #[must_use]
    pub fn name(&self) -> &str {
        self.key.as_ref().map_or("", LockKey::name)
    }

    /// The same lock, held together by all who name the same `owner` here: whoever of them asks for it while another has
    /// it gets it at once, with the same token, and others get it when the last of them has given it back.
    ///
    /// Only of a mutex: who reads and who writes do not hold a lock together.
    ///
    /// An owner is a line of work, such as a request that passes through several functions or services; at most 128
    /// bytes, without control characters.
    #[must_use]
    pub fn reentrant(mut self, owner: &str) -> Self {
        self.together = Some(owner.into());
        self
    }

    /// Asks once, without waiting.
    pub fn try_acquire(&self) -> AcquireLock {
        AcquireLock::new(self.clone(), true)
    }

    /// Waits until it is one's turn, and takes the lock. Without [`wait`](AcquireLock::wait), for as long as it takes.
    pub fn acquire(&self) -> AcquireLock {
        AcquireLock::new(self.clone(), false)
    }

    /// Whether anybody holds it.
    ///
    /// # Errors
    /// `InvalidInput` for a name that breaks its rule, and those of the backend.
    ///
    /// # Cancel safety
    /// Yes.
    pub async fn is_locked(&self) -> Result<bool> {
        Ok(!self.status().await?.holders.is_empty())
    }

    /// How long until the first lease that holds it ends, unless that is extended or released; `None` if nobody holds it.
    ///
    /// # Errors
    /// `InvalidInput` for a name that breaks its rule, and those of the backend.
    ///
    /// # Cancel safety
    /// Yes.
    pub async fn remaining(&self) -> Result<Option<Duration>> {
        let holders = self.status().await?.holders;
        Ok(holders.iter().map(|holder| holder.remaining).min())
    }

    /// Who holds it, as far as that is public: not the id of its lease, by which it could be released. Of several, the
    /// one that has held it longest.
    ///
    /// # Errors
    /// `InvalidInput` for a name that breaks its rule, and those of the backend.
    ///
    /// # Cancel safety
    /// Yes.
    pub async fn holder(&self) -> Result<Option<LockHolder>> {
        Ok(self.status().await?.holders.into_iter().next())
    }

    /// Who holds it, and who waits for it, as of one moment.
    ///
    /// # Errors
    /// `InvalidInput` for a name that breaks its rule, and those of the backend.
    ///
    /// # Cancel safety
    /// Yes.
    pub async fn status(&self) -> Result<LockStatus> {
        self.shared.look(self.key(&LOOK)?).await
    }

    /// Lets a lease end `length` from now, wherever its guard is. `false`: it does not hold the lock.
    ///
    /// By the id of its lease, and not by its fencing token: that is shown to everything the lock protects, and can be
    /// guessed.
    ///
    /// # Errors
    /// `InvalidInput` if `length` is not from 10 ms to 30 days, and those of the backend.
    ///
    /// # Cancel safety
    /// When the future is dropped, the lease may or may not be extended.
    pub async fn extend(&self, lease: LeaseId, length: Duration) -> Result<bool> {
        let key = self.key(&EXTEND)?;
        check_lease(length).map_err(|error| error.with_operation(EXTEND.name))?;
        self.shared.extend(key, lease, length).await
    }

    /// Gives a lease back, wherever its guard is. `false`: it did not hold the lock.
    ///
    /// # Errors
    /// Those of the backend.
    ///
    /// # Cancel safety
    /// When the future is dropped, the lease may or may not be released.
    pub async fn release(&self, lease: LeaseId) -> Result<bool> {
        self.shared.release(self.key(&RELEASE)?, lease).await
    }

    /// Takes the lock away from whoever holds it, and says from whom. Their guards learn of it at once, or at their next
    /// renewal where nothing is announced; who waits gets the lock.
    ///
    /// What they do meanwhile they go on doing until they learn of it: only fencing stops them before.
    ///
    /// # Errors
    /// Those of the backend. After a lost reply the outcome is `Unknown`, and nothing is repeated: somebody else may hold
    /// it by then.
    ///
    /// # Cancel safety
    /// When the future is dropped, the lock may or may not be taken away.
    pub async fn force_release(&self) -> Result<Vec<FencingToken>> {
        self.shared.force(self.key(&FORCE)?, None).await
    }

    /// Takes the lock away from the holder with this token, and from nobody who got it since. `false`: it does not hold
    /// the lock.
    ///
    /// # Errors
    /// Those of the backend.
    ///
    /// # Cancel safety
    /// When the future is dropped, the lock may or may not be taken away.
    pub async fn force_release_token(&self, token: FencingToken) -> Result<bool> {
        let forced = self.shared.force(self.key(&FORCE)?, Some(token)).await?;
        Ok(!forced.is_empty())
    }

    /// What it is; `None` if its name breaks the rule for names.
    pub(super) fn kind(&self) -> Option<LockKind> {
        self.key.as_ref().ok().map(LockKey::kind)
    }

    /// So much of the lock, of so much.
    pub(super) const fn of(mut self, weight: u32, capacity: u32) -> Self {
        (self.weight, self.capacity) = (weight, capacity);
        self
    }

    /// Refuses to ask for none of it, or more than there is.
    pub(super) fn check_weight(&self) -> Result<()> {
        let most = MOST_HOLDERS as u32;
        if self.capacity == 0 || self.capacity > most {
            return Err(Error::invalid("permits", "must be from 1 to 1000"));
        }
        if self.weight == 0 || self.weight > self.capacity {
            return Err(Error::invalid(
                "permits",
                "must be at least 1, and no more than there are",
            ));
        }
        Ok(())
    }

    pub(super) fn key(&self, operation: &Operation) -> Result<&LockKey> {
        self.key.as_ref().map_err(|error| {
            Error::new(error.kind())
                .with_message(error.message().unwrap_or_default())
                .with_operation(operation.name)
        })
    }
}

pub(super) fn check_lease(length: Duration) -> Result<()> {
    if length < SHORTEST_LEASE || length > LONGEST_LEASE {
        return Err(Error::invalid("lease", "must be from 10 ms to 30 days"));
    }
    Ok(())
}

pub(super) fn check_owner(owner: &str) -> Result<()> {
    if owner.is_empty() || owner.len() > MAX_OWNER || owner.chars().any(char::is_control) {
        let rule = "must have 1 to 128 bytes, and no control characters";
        return Err(Error::invalid("owner", rule));
    }
    Ok(())
}

/// The parts of a guard that a program in another process can carry on with.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Lease {
    /// Identifies the lease to [`Lock::extend`] and [`Lock::release`].
    pub id: LeaseId,
    /// The fencing token.
    pub token: FencingToken,
}

impl Lease {
    pub(crate) const fn new(id: LeaseId, token: FencingToken) -> Self {
        Self { id, token }
    }
}
