//! Several locks at once, as users hold them.

use std::future::IntoFuture;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all, select_all};
use tokio::time::Instant;

use super::acquire::{ACQUIRE, Acquire, AcquireLock};
use super::guard::LockGuard;
use super::handle::Lock;
use super::lease::FencingToken;
use crate::clock::after;
use crate::error::{Error, Result};

/// How many locks are taken together at most.
const MOST: usize = 64;

/// Several locks that are held together or not at all.
///
/// They are taken one after the other in the order of their names, so that two who want some of the same cannot wait for
/// each other; while the later ones are waited for, those who want the earlier ones wait too.
///
/// # Clone
/// Clones are the same locks.
///
/// # Example
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> quorate::Result<()> {
/// use quorate::Fleet;
/// use quorate::lock::AcquireAll;
/// use std::time::Duration;
///
/// let fleet = Fleet::embedded();
/// let accounts = fleet.multi_lock(["account:7", "account:3"]);
/// match accounts.acquire().wait(Duration::from_secs(5)).await? {
///     AcquireAll::Acquired(guard) => {
///         let token = guard.token("account:3").expect("it is one of them");
///         // … move money, under the tokens …
///         guard.release().await?;
///     }
///     AcquireAll::Held { name, remaining, .. } => println!("{name} is held for {remaining:?}"),
///     _ => {}
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct MultiLock {
    /// In the order of their names.
    locks: Vec<Lock>,
}

/// The result of asking for several locks.
#[derive(Debug)]
#[must_use = "acquired locks are released when their guard is dropped"]
#[non_exhaustive]
pub enum AcquireAll {
    /// All of them are held, for as long as the guard lives.
    Acquired(MultiGuard),
    /// None of them is held: others have this one, and had it for as long as the call waited.
    #[non_exhaustive]
    Held {
        /// Which one.
        name: String,
        /// How long until its lease ends, unless that is extended or released.
        remaining: Duration,
    },
}

impl AcquireAll {
    /// The guard, if the locks were acquired.
    #[must_use]
    pub fn guard(self) -> Option<MultiGuard> {
        match self {
            Self::Acquired(guard) => Some(guard),
            Self::Held { .. } => None,
        }
    }

    /// Whether the locks were acquired.
    #[must_use]
    pub const fn is_acquired(&self) -> bool {
        matches!(self, Self::Acquired(_))
    }
}

impl MultiLock {
    pub(crate) fn new(mut locks: Vec<Lock>) -> Self {
        locks.sort_by(|a, b| a.name().cmp(b.name()));
        Self { locks }
    }

    /// The names of the locks, in the order in which they are taken.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.locks.iter().map(Lock::name)
    }

    /// Asks once for each, without waiting.
    pub fn try_acquire(&self) -> AcquireLocks {
        AcquireLocks::new(self.clone(), Some(Duration::ZERO))
    }

    /// Waits until all of them are held. Without [`wait`](AcquireLocks::wait), for as long as it takes.
    pub fn acquire(&self) -> AcquireLocks {
        AcquireLocks::new(self.clone(), None)
    }

    fn check(&self) -> Result<()> {
        if self.locks.is_empty() || self.locks.len() > MOST {
            return Err(Error::invalid("names", "must be 1 to 64"));
        }
        let mut pairs = self.locks.windows(2);
        // Those that break the rule for names have none, and are refused for that.
        if pairs.any(|two| !two[0].name().is_empty() && two[0].name() == two[1].name()) {
            return Err(Error::invalid("names", "must be different from each other"));
        }
        self.locks
            .iter()
            .try_for_each(|lock| lock.key(&ACQUIRE).map(drop))
    }
}

/// An acquisition of several locks about to be made: optional arguments, then `.await`.
///
/// # Errors
/// `InvalidInput` unless there are 1 to 64 different names that keep the rule for names, and for a lease or owner that
/// breaks its rule; and those of the backend. "One is held by somebody else" is not an error but [`AcquireAll::Held`].
///
/// # Cancel safety
/// When the future is dropped, none of the locks is kept: those that were taken are released in the background.
#[must_use = "locks are acquired by awaiting"]
#[derive(Clone, Debug)]
pub struct AcquireLocks {
    locks: MultiLock,
    lease: Option<Duration>,
    wait: Option<Duration>,
    owner: Option<String>,
    once: bool,
}

impl AcquireLocks {
    fn new(locks: MultiLock, wait: Option<Duration>) -> Self {
        Self {
            locks,
            lease: None,
            wait,
            owner: None,
            once: wait.is_some(),
        }
    }

    /// How long each lock stays held without a sign of life; from 10 ms to 30 days. Default 30 s.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = Some(lease);
        self
    }

    /// How long to wait for all of them at most. No effect on [`try_acquire`](MultiLock::try_acquire).
    pub fn wait(mut self, wait: Duration) -> Self {
        if !self.once {
            self.wait = Some(wait);
        }
        self
    }

    /// As [`AcquireLock::owner`].
    pub fn owner(mut self, owner: impl Into<String>) -> Self {
        self.owner = Some(owner.into());
        self
    }

    async fn run(self) -> Result<AcquireAll> {
        let checked = self.locks.check();
        checked.map_err(|error| error.with_operation(ACQUIRE.name))?;
        let give_up = self.wait.map(|wait| after(Instant::now(), wait));
        loop {
            // Held from one to the next, they are given back when this returns without them.
            let mut guards = Vec::with_capacity(self.locks.locks.len());
            for lock in &self.locks.locks {
                match self.acquire_of(lock, give_up).await {
                    Ok(Acquire::Acquired(guard)) => guards.push(guard),
                    Ok(Acquire::Held { remaining }) => {
                        give_back(guards).await?;
                        let name = lock.name().to_owned();
                        return Ok(AcquireAll::Held { name, remaining });
                    }
                    Err(error) => {
                        // The error that is told is the first; what could not be given back ends by itself.
                        drop(give_back(guards).await);
                        return Err(error);
                    }
                }
            }
            // An early one may have been lost while a later one was waited for.
            let guard = MultiGuard { guards };
            if !guard.is_lost() {
                return Ok(AcquireAll::Acquired(guard));
            }
            let lost = guard.first_lost();
            // Some of them: that is known.
            let _ = guard.release().await?;
            if self.once || give_up.is_some_and(|at| Instant::now() >= at) {
                return self.held_up_by(lost).await;
            }
        }
    }

    /// Out of time: the lock that was taken and lost again is the one that could not be had.
    async fn held_up_by(&self, lost: usize) -> Result<AcquireAll> {
        let lock = &self.locks.locks[lost];
        let remaining = lock.remaining().await?.unwrap_or_default();
        let name = lock.name().to_owned();
        Ok(AcquireAll::Held { name, remaining })
    }

    fn acquire_of(&self, lock: &Lock, give_up: Option<Instant>) -> AcquireLock {
        let mut acquire = if self.once {
            lock.try_acquire()
        } else {
            lock.acquire()
        };
        if let Some(lease) = self.lease {
            acquire = acquire.lease(lease);
        }
        if let Some(owner) = &self.owner {
            acquire = acquire.owner(owner);
        }
        match give_up {
            Some(at) => acquire.wait(at.saturating_duration_since(Instant::now())),
            None => acquire,
        }
    }
}

impl IntoFuture for AcquireLocks {
    type Output = Result<AcquireAll>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

/// Gives all of them back, and says whether all were still held.
async fn give_back(guards: Vec<LockGuard>) -> Result<bool> {
    let released = join_all(guards.into_iter().map(LockGuard::release)).await;
    let mut all = true;
    for released in released {
        all &= released?;
    }
    Ok(all)
}

/// Several locks that are held. Dropping the guard releases them in the background.
///
/// Each lease is renewed every third of its length, until the guard is dropped or that lock is lost.
#[must_use = "dropping the guard releases the locks"]
#[derive(Debug)]
pub struct MultiGuard {
    guards: Vec<LockGuard>,
}

impl MultiGuard {
    /// The fencing token of each lock, in the order of their names.
    pub fn tokens(&self) -> impl Iterator<Item = (&str, FencingToken)> {
        self.guards.iter().map(|it| (it.name(), it.token()))
    }

    /// The fencing token of one of the locks.
    #[must_use]
    pub fn token(&self, name: &str) -> Option<FencingToken> {
        let mut tokens = self.tokens();
        tokens.find_map(|(it, token)| (it == name).then_some(token))
    }

    /// How much longer ownership of all of them can be assumed; see [`LockGuard::remaining`].
    #[must_use]
    pub fn remaining(&self) -> Duration {
        let each = self.guards.iter().map(LockGuard::remaining);
        each.min().unwrap_or_default()
    }

    /// The place of the first that is lost; of the first of all, if none is.
    fn first_lost(&self) -> usize {
        let mut guards = self.guards.iter();
        guards.position(LockGuard::is_lost).unwrap_or_default()
    }

    /// Whether ownership of one of them can no longer be assumed.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.guards.iter().any(LockGuard::is_lost)
    }

    /// Resolves as soon as ownership of one of them can no longer be assumed.
    ///
    /// # Cancel safety
    /// Yes.
    pub async fn lost(&self) {
        let each = self.guards.iter().map(|guard| Box::pin(guard.lost()));
        select_all(each).await;
    }

    /// Gives all of them back and returns when that is certain. `false`: one of them was lost before.
    ///
    /// # Errors
    /// Those of the backend. The locks are free when their leases end at the latest.
    ///
    /// # Cancel safety
    /// When the future is dropped, the locks are released in the background.
    pub async fn release(self) -> Result<bool> {
        give_back(self.guards).await
    }
}
