//! Asking for a lock.

use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::ask::{AcquireReply, Ask, LockKey, LockKind};
use super::guard::{Granted, LockGuard};
use super::handle::{Lock, check_lease, check_owner};
use super::lease::{FencingToken, LeaseId};
use super::locks::Locks;
use super::state::{HEARTBEAT, MOST_WAITERS};
use super::turn::{Turn, Turns};
use crate::backoff::Backoff;
use crate::clock::after;
use crate::context::{Operation, Repeat};
use crate::error::{Error, ErrorKind, Outcome, Result};
use crate::port::CallOptions;

/// The lease of an acquisition that names none.
const DEFAULT_LEASE: Duration = Duration::from_secs(30);

/// Between two looks at a lock of which nothing is announced.
const DEFAULT_RETRY: Backoff = Backoff {
    initial: Duration::from_millis(100),
    factor: 1.0,
    max: Duration::from_millis(100),
    jitter: 0.5,
};

static TRY_ACQUIRE: Operation =
    Operation::new("lock.try_acquire", "lock", "try_acquire", Repeat::Harmless);
pub(super) static ACQUIRE: Operation =
    Operation::new("lock.acquire", "lock", "acquire", Repeat::Harmless);

/// The result of asking for a lock.
#[derive(Debug)]
#[must_use = "an acquired lock is released when its guard is dropped"]
#[non_exhaustive]
pub enum Acquire {
    /// It is held, for as long as the guard lives.
    Acquired(LockGuard),
    /// Others have it, and had it for as long as the call waited.
    #[non_exhaustive]
    Held {
        /// How long until the first of their leases ends, unless that is extended or released.
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

/// An acquisition about to be made: optional arguments, then `.await`.
///
/// # Errors
/// `InvalidInput` for a name, lease, owner or number of permits that breaks its rule, `Overloaded` if 10 000 are waiting
/// for it already, and those of the backend. "Held by somebody else" is not an error but [`Acquire::Held`].
///
/// # Cancel safety
/// When the future is dropped, the lock is not kept, nor a place in its queue: both are given back in the background; but
/// not with a [`lease_id`](Self::lease_id).
#[must_use = "a lock is acquired by awaiting"]
#[derive(Clone, Debug)]
pub struct AcquireLock {
    pub(super) lock: Lock,
    lease: Duration,
    wait: Option<Duration>,
    renew: bool,
    once: bool,
    owner: Option<String>,
    id: Option<LeaseId>,
    retry: Backoff,
}

impl AcquireLock {
    pub(super) fn new(lock: Lock, once: bool) -> Self {
        Self {
            lock,
            lease: DEFAULT_LEASE,
            wait: None,
            renew: true,
            once,
            owner: None,
            id: None,
            retry: DEFAULT_RETRY,
        }
    }

    /// How long the lock stays held without a sign of life; from 10 ms to 30 days. Default 30 s.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// How long to wait for the lock at most. No effect on [`try_acquire`](Lock::try_acquire).
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = Some(wait);
        self
    }

    /// Does not renew the lease: it ends when it ends, unless extended by hand.
    pub fn no_renewal(mut self) -> Self {
        self.renew = false;
        self
    }

    /// Who this is, for whoever looks at the lock: 1 to 128 bytes, without control characters. Default: the name of the
    /// service; of a [re-entrant](Lock::reentrant) lock, its owner.
    pub fn owner(mut self, owner: impl Into<String>) -> Self {
        self.owner = Some(owner.into());
        self
    }

    /// The id of the lease, where that has to be known before there is an answer; by itself each acquisition has a random one.
    ///
    /// Who has no answer repeats the call with the same id, and gets the same token: the lease ends its length from then on. A
    /// guard of the first call and one of the second hold the same lease; the first to be dropped releases it. Draw ids at
    /// random, use each for one acquisition, and keep them secret: who knows it can release the lock.
    ///
    /// When the future is dropped, or fails without a certain outcome, nothing is given back: a repetition may have the lock
    /// by then. What nobody repeats ends with its lease, or within 3 s in the queue.
    pub fn lease_id(mut self, id: LeaseId) -> Self {
        self.id = Some(id);
        self
    }

    /// When to ask again where nothing is announced, by a backend of one's own; every second at least. Default: after
    /// 100 ms, of which up to half is left to chance.
    pub fn retry(mut self, retry: Backoff) -> Self {
        self.retry = retry;
        self
    }

    pub(super) async fn run(self) -> Result<Acquire> {
        let operation = if self.once { &TRY_ACQUIRE } else { &ACQUIRE };
        let key = self.lock.key(operation)?;
        let ask = self
            .ask()
            .map_err(|error| error.with_operation(operation.name))?;
        let give_up = match self.wait {
            _ if self.once => Some(Instant::now()),
            Some(wait) => Some(after(Instant::now(), wait)),
            None => None,
        };
        let shared = &self.lock.shared;
        let mut turns = Turns::new(shared, key, (ask.lease, ask.length), self.retry, give_up);
        if !self.once {
            turns.listen_with_others().await?;
        }
        let mut asking = Asking {
            shared,
            key,
            operation,
            asked: Instant::now(),
            pending: Some(ask.lease),
            unanswered: false,
            is_repeated: self.id.is_some(),
            ask,
        };
        loop {
            let waits = give_up.is_none_or(|at| Instant::now() < at);
            let token = match asking.ask(waits).await? {
                AcquireReply::Acquired { token } => Ok(token),
                AcquireReply::Held { remaining } => return Ok(Acquire::Held { remaining }),
                AcquireReply::QueueFull => return Err(full(operation, key)),
                AcquireReply::Queued {
                    ahead,
                    remaining,
                    last,
                } => {
                    let ends = (ahead == 0).then(|| after(Instant::now(), remaining));
                    match turns.wait(last, ends).await? {
                        Turn::Ask => continue,
                        Turn::Granted(token) => Err(token),
                    }
                }
            };
            if let Some(guard) = asking.guard(token, self.renew, &mut turns) {
                return Ok(Acquire::Acquired(guard));
            }
        }
    }

    /// What is asked for, with a new lease.
    fn ask(&self) -> Result<Ask> {
        let (lock, together) = (&self.lock, self.lock.together.as_deref());
        if together.is_some() && lock.kind() != Some(LockKind::Mutex) {
            return Err(Error::invalid("owner", "only a mutex can be re-entrant"));
        }
        check_lease(self.lease)?;
        lock.check_weight()?;
        let owner = together.or(self.owner.as_deref());
        if let Some(owner) = owner {
            check_owner(owner)?;
        }
        Ok(Ask {
            weight: lock.weight,
            capacity: lock.capacity,
            owner: owner.unwrap_or(&lock.shared.service).to_owned(),
            reentrant: together.is_some(),
            ..Ask::new(self.id.unwrap_or_else(LeaseId::random), self.lease)
        })
    }
}

impl IntoFuture for AcquireLock {
    type Output = Result<Acquire>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

fn full(operation: &Operation, key: &LockKey) -> Error {
    Error::new(ErrorKind::Overloaded)
        .with_outcome(Outcome::NotApplied)
        .with_message(format!("{MOST_WAITERS} are waiting for it already"))
        .with_operation(operation.name)
        .with_target(key.name())
}

/// An acquisition under way. Dropped while it may have got something, it gives that back.
struct Asking<'a> {
    shared: &'a Arc<Locks>,
    key: &'a LockKey,
    operation: &'static Operation,
    ask: Ask,
    /// Before the last request: what that granted cannot end sooner than counted from here.
    asked: Instant,
    /// Set while the backend may know of the lease.
    pending: Option<LeaseId>,
    /// Whether a request was given up, and repeated.
    unanswered: bool,
    /// Whether somebody may ask the same again, and have what this gave back.
    is_repeated: bool,
}

impl Asking<'_> {
    /// One request.
    async fn ask(&mut self, wait: bool) -> Result<AcquireReply> {
        self.ask.wait = wait;
        let before = self.pending.replace(self.ask.lease);
        let (shared, key, ask, asked) = (self.shared, self.key, &self.ask, &mut self.asked);
        let mut attempts = 0;
        let reply = shared
            .context
            .run(self.operation, key.name(), None, |attempt| {
                *asked = Instant::now();
                attempts += 1;
                let options = CallOptions::until(attempt.deadline);
                shared.port.acquire(key, ask, options)
            })
            .await;
        self.unanswered |= attempts > 1;
        match &reply {
            Ok(AcquireReply::Held { .. } | AcquireReply::QueueFull) => self.pending = None,
            Err(error) if error.outcome() == Outcome::NotApplied => self.pending = before,
            _ => {}
        }
        reply
    }

    /// The guard; `None` if it is not certain enough that the lock is still held.
    ///
    /// `Ok`: the token was the answer to the last request. `Err`: it was announced, and the grant came after that request
    /// was answered, so that it cannot end sooner than counted from there.
    fn guard(
        &mut self,
        token: std::result::Result<FencingToken, FencingToken>,
        renew: bool,
        turns: &mut Turns<'_>,
    ) -> Option<LockGuard> {
        let (token, length, confirmed) = match token {
            Ok(token) => (token, self.ask.length, true),
            Err(token) => (token, self.ask.length.min(HEARTBEAT), false),
        };
        let ends = self.asked + length;
        let left = ends.saturating_duration_since(Instant::now());
        // Who does not renew is promised the whole of its lease, and that takes another request.
        if !confirmed && (!renew || left < length / 2) {
            return None;
        }
        self.pending = None;
        Some(LockGuard::new(
            self.shared.clone(),
            self.key.clone(),
            Granted {
                lease: self.ask.lease,
                token,
                ends,
                length: self.ask.length,
                renew,
                confirmed,
                unanswered: self.unanswered,
            },
            turns.take_news(),
        ))
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        if let Some(lease) = self.pending.take()
            && !self.is_repeated
        {
            self.shared.release_later(self.key.clone(), lease);
        }
    }
}
