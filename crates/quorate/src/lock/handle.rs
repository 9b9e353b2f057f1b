//! A lock as users hold it.

use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::guard::LockGuard;
use super::lease::{AcquireReply, FencingToken, LeaseId};
use super::port::LockPort;
use crate::backoff::Backoff;
use crate::clock::after;
use crate::context::{Context, Operation, Repeat};
use crate::error::{Error, ErrorKind, Outcome, Result};
use crate::events::{Hub, Subscription, subscribe_raw};
use crate::hooks::ErrorSource;
use crate::key::{Key, Namespace};
use crate::port::CallOptions;

/// The lease of an acquisition that names none.
const DEFAULT_LEASE: Duration = Duration::from_secs(30);
const SHORTEST_LEASE: Duration = Duration::from_millis(10);
const LONGEST_LEASE: Duration = Duration::from_secs(30 * 24 * 3600);

/// Between two looks at a lock whose releases are not announced.
const POLL: Backoff = Backoff {
    initial: Duration::from_millis(50),
    factor: 1.5,
    max: Duration::from_secs(1),
    jitter: 0.5,
};

static TRY_ACQUIRE: Operation =
    Operation::new("lock.try_acquire", "lock", "try_acquire", Repeat::Harmless);
static ACQUIRE: Operation = Operation::new("lock.acquire", "lock", "acquire", Repeat::Harmless);
static EXTEND: Operation = Operation::new("lock.extend", "lock", "extend", Repeat::Harmless);
static RELEASE: Operation = Operation::new("lock.release", "lock", "release", Repeat::Harmless);

/// What the locks of an instance share.
#[derive(Debug)]
pub(crate) struct Locks {
    pub(crate) context: Arc<Context>,
    pub(crate) port: Arc<dyn LockPort>,
    pub(crate) hub: Arc<Hub>,
}

/// A lock of a given name. Holding this holds nothing: acquire it.
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
    shared: Arc<Locks>,
    // Kept as an error until it is used: naming a lock is not a place to fail.
    key: std::result::Result<Key, Arc<Error>>,
}

/// The result of asking for a lock.
#[derive(Debug)]
#[must_use = "an acquired lock is released when its guard is dropped"]
#[non_exhaustive]
pub enum Acquire {
    /// It is held, for as long as the guard lives.
    Acquired(LockGuard),
    /// Another holder has it, and had it for as long as the call waited.
    #[non_exhaustive]
    Held {
        /// How long the other lease runs, unless it is extended or released.
        remaining: Duration,
    },
}

impl Acquire {
    /// The guard, if the lock was acquired.
    #[must_use]
    pub fn guard(self) -> Option<LockGuard> {
        match self {
            Self::Acquired(guard) => Some(guard),
            Self::Held { .. } => None,
        }
    }

    /// Whether the lock was acquired.
    #[must_use]
    pub const fn is_acquired(&self) -> bool {
        matches!(self, Self::Acquired(_))
    }
}

impl Lock {
    pub(crate) fn new(shared: Arc<Locks>, namespace: &Namespace, name: &str) -> Self {
        Self {
            shared,
            key: Key::new(namespace, name).map_err(Arc::new),
        }
    }

    /// The lock's name; empty if it was given one that breaks the rule for names.
    #[must_use]
    pub fn name(&self) -> &str {
        self.key.as_ref().map_or("", Key::name)
    }

    /// Asks once, without waiting.
    pub fn try_acquire(&self) -> AcquireLock {
        AcquireLock {
            lock: self.clone(),
            lease: DEFAULT_LEASE,
            wait: Some(Duration::ZERO),
            renew: true,
            once: true,
        }
    }

    /// Waits until the lock is free and takes it. Without [`wait`](AcquireLock::wait), for as long as
    /// it takes.
    pub fn acquire(&self) -> AcquireLock {
        AcquireLock {
            lock: self.clone(),
            lease: DEFAULT_LEASE,
            wait: None,
            renew: true,
            once: false,
        }
    }

    /// Lets a lease end `length` from now, wherever its guard is. `false`: it does not hold the lock.
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

    fn key(&self, operation: &Operation) -> Result<&Key> {
        self.key.as_ref().map_err(|error| {
            Error::new(error.kind())
                .with_message(error.message().unwrap_or_default())
                .with_operation(operation.name)
        })
    }
}

impl Locks {
    pub(crate) async fn extend(&self, key: &Key, lease: LeaseId, length: Duration) -> Result<bool> {
        self.context
            .run(&EXTEND, key.name(), None, |attempt| {
                self.port
                    .extend(key, lease, length, CallOptions::until(attempt.deadline))
            })
            .await
    }

    pub(crate) async fn release(&self, key: &Key, lease: LeaseId) -> Result<bool> {
        self.context
            .run(&RELEASE, key.name(), None, |attempt| {
                self.port
                    .release(key, lease, CallOptions::until(attempt.deadline))
            })
            .await
    }

    /// Releases in the background, for who cannot wait: best effort, the lease's end does the rest.
    pub(crate) fn release_later(self: &Arc<Self>, key: Key, lease: LeaseId) {
        let shared = self.clone();
        self.context.spawn(async move {
            let result = match shared.release(&key, lease).await {
                // Dropped just before the fleet was closed, which waits for this task.
                Err(error) if error.kind() == ErrorKind::Closed => {
                    shared.give_back(&key, lease).await
                }
                result => result.map(drop),
            };
            if let Err(error) = result {
                shared.context.hooks.error(ErrorSource::Lock, &error);
            }
        });
    }

    /// Releases past the choke point, which refuses calls once the fleet is closing.
    pub(crate) async fn give_back(&self, key: &Key, lease: LeaseId) -> Result<()> {
        let options = CallOptions::until(self.context.attempt_deadline());
        let released = self.port.release(key, lease, options).await;
        released
            .map(drop)
            .map_err(|error| error.with_operation(RELEASE.name).with_target(key.name()))
    }
}

/// An acquisition about to be made: optional arguments, then `.await`.
///
/// # Errors
/// `InvalidInput` for a name or lease that breaks its rule, and those of the backend. "Held by
/// somebody else" is not an error but [`Acquire::Held`].
///
/// # Cancel safety
/// When the future is dropped, the lock is not kept: an acquisition under way is released in the
/// background.
#[must_use = "a lock is acquired by awaiting"]
#[derive(Clone, Debug)]
pub struct AcquireLock {
    lock: Lock,
    lease: Duration,
    wait: Option<Duration>,
    renew: bool,
    once: bool,
}

impl AcquireLock {
    /// How long the lock stays held without a sign of life; from 10 ms to 30 days. Default 30 s.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// How long to wait for the lock at most. No effect on [`try_acquire`](Lock::try_acquire).
    pub fn wait(mut self, wait: Duration) -> Self {
        if !self.once {
            self.wait = Some(wait);
        }
        self
    }

    /// Does not renew the lease: it ends when it ends, unless extended by hand.
    pub fn no_renewal(mut self) -> Self {
        self.renew = false;
        self
    }

    async fn run(self) -> Result<Acquire> {
        let operation = if self.once { &TRY_ACQUIRE } else { &ACQUIRE };
        let key = self.lock.key(operation)?;
        check_lease(self.lease).map_err(|error| error.with_operation(operation.name))?;
        let give_up = self.wait.map(|wait| after(Instant::now(), wait));
        let mut turns = Turns {
            shared: &self.lock.shared,
            key,
            announcements: None,
            looks: 0,
        };
        loop {
            let remaining = match self.attempt(operation, key).await? {
                Ok(guard) => return Ok(Acquire::Acquired(guard)),
                Err(remaining) => remaining,
            };
            if give_up.is_some_and(|at| Instant::now() >= at) {
                return Ok(Acquire::Held { remaining });
            }
            turns.wait(remaining, give_up).await?;
        }
    }

    /// One request: the guard, or how long the lock is held.
    async fn attempt(
        &self,
        operation: &Operation,
        key: &Key,
    ) -> Result<std::result::Result<LockGuard, Duration>> {
        let shared = &self.lock.shared;
        let pending = Pending {
            shared,
            key,
            lease: Some(LeaseId::random()),
        };
        let lease = pending.lease.expect("set above, taken below");
        // Counted from before the request: the backend's lease cannot end before ours does.
        let mut asked = Instant::now();
        let reply = shared
            .context
            .run(operation, key.name(), None, |attempt| {
                asked = Instant::now();
                shared
                    .port
                    .acquire(key, lease, self.lease, CallOptions::until(attempt.deadline))
            })
            .await;
        match reply {
            Ok(AcquireReply::Acquired { token }) => {
                pending.settle();
                let ends = asked + self.lease;
                let renew = self.renew.then_some(self.lease);
                Ok(Ok(LockGuard::new(
                    shared.clone(),
                    key.clone(),
                    lease,
                    token,
                    ends,
                    renew,
                )))
            }
            Ok(AcquireReply::Held { remaining }) => {
                pending.settle();
                Ok(Err(remaining))
            }
            Err(error) => {
                if error.outcome() == Outcome::NotApplied {
                    pending.settle();
                }
                Err(error)
            }
        }
    }
}

impl IntoFuture for AcquireLock {
    type Output = Result<Acquire>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

/// An acquisition whose result is not known. Dropping it unsettled releases whatever it got.
struct Pending<'a> {
    shared: &'a Arc<Locks>,
    key: &'a Key,
    lease: Option<LeaseId>,
}

impl Pending<'_> {
    fn settle(mut self) {
        self.lease = None;
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if let Some(lease) = self.lease.take() {
            self.shared.release_later(self.key.clone(), lease);
        }
    }
}

/// When to ask again.
struct Turns<'a> {
    shared: &'a Arc<Locks>,
    key: &'a Key,
    announcements: Option<Subscription<bytes::Bytes>>,
    looks: u32,
}

impl Turns<'_> {
    /// Waits until the lock may be free: a release was announced, the lease ended, or `give_up`.
    async fn wait(&mut self, remaining: Duration, give_up: Option<Instant>) -> Result<()> {
        let remaining = remaining.saturating_add(Duration::from_millis(1));
        let lease_ends = after(Instant::now(), remaining);
        let until = |at: Instant| give_up.map_or(at, |give_up| at.min(give_up));
        let Some(channel) = self.shared.port.announced_on(self.key) else {
            self.looks += 1;
            let next = Instant::now() + POLL.delay(self.looks);
            tokio::time::sleep_until(until(next.min(lease_ends))).await;
            return self.shared.context.check_open();
        };
        let Some(announcements) = &mut self.announcements else {
            // Only those who have to wait pay for a subscription. A release between the question and
            // the acknowledgement would be missed: ask once more before waiting.
            self.announcements = Some(subscribe_raw(&self.shared.hub, channel).await?);
            return Ok(());
        };
        tokio::select! {
            event = announcements.next() => match event {
                // A gap may hide a release: ask again, as for a message.
                Some(_) => Ok(()),
                // The fleet was closed, or everything was unsubscribed.
                None => {
                    self.announcements = None;
                    let open = self.shared.context.check_open();
                    open.map_err(|error| error.with_operation(ACQUIRE.name))
                }
            },
            () = tokio::time::sleep_until(until(lease_ends)) => Ok(()),
        }
    }
}

pub(super) fn check_lease(length: Duration) -> Result<()> {
    if length < SHORTEST_LEASE || length > LONGEST_LEASE {
        return Err(Error::invalid("lease", "must be from 10 ms to 30 days"));
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
