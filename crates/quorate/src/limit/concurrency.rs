//! How many may do something at the same time, as users hold it.

use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::handle::Limiters;
use super::permit::Permit;
use super::policy::{MAX_LOGGED, check_between};
use super::port::LimitKey;
use super::setup::Setup;
use super::slots::Entered;
use crate::context::{Limits, Operation, Repeat};
use crate::entry_key::EntryKey;
use crate::error::{Error, ErrorKind, Outcome, Result};
use crate::hooks::ErrorSource;
use crate::key::Namespace;
use crate::lock::LeaseId;
use crate::port::CallOptions;

const DEFAULT_LEASE: Duration = Duration::from_secs(30);
const SHORTEST_LEASE: Duration = Duration::from_millis(10);
const LONGEST_LEASE: Duration = Duration::from_secs(30 * 24 * 3600);

static ENTER: Operation = Operation::new("limit.enter", "limit", "enter", Repeat::Harmless);
static STAY: Operation = Operation::new("limit.stay", "limit", "stay", Repeat::Harmless);
static LEAVE: Operation = Operation::new("limit.leave", "limit", "leave", Repeat::Harmless);
static TAKEN: Operation = Operation::new("limit.taken", "limit", "taken", Repeat::Harmless);

/// Limits how many do something at the same time, over the whole fleet.
///
/// Who enters has a slot for the length of a lease, which its [`Permit`] renews in the background. The slot of an
/// instance that is gone is free when its lease ends.
///
/// # Clone
/// Cheap; clones are the same limit.
///
/// # Example
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> quorate::Result<()> {
/// use quorate::Fleet;
/// use quorate::limit::Admission;
///
/// let fleet = Fleet::embedded();
/// let exports = fleet.concurrency("exports", 2);
/// match exports.enter("customer:7").await? {
///     Admission::Entered(permit) => {
///         // … export …
///         permit.release().await?;
///     }
///     Admission::Full { retry_after, .. } => println!("busy for up to {retry_after:?}"),
///     _ => {}
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct ConcurrencyLimit {
    shared: Arc<Limiters>,
    // Kept as an error until it is used: naming a limit is not a place to fail.
    setup: std::result::Result<Arc<Setup>, Arc<Error>>,
    most: u64,
    limits: Limits,
}

/// The result of asking for a slot.
#[derive(Debug)]
#[must_use = "a slot is given back when its permit is dropped"]
#[non_exhaustive]
pub enum Admission {
    /// There was one, and it is taken for as long as the permit lives.
    Entered(Permit),
    /// All of them are taken.
    #[non_exhaustive]
    Full {
        /// When the first of their leases ends, unless it is renewed; sooner if one is given back.
        retry_after: Duration,
        /// How many there are.
        limit: u64,
    },
}

impl Admission {
    /// The permit, if there was a slot.
    #[must_use]
    pub fn permit(self) -> Option<Permit> {
        match self {
            Self::Entered(permit) => Some(permit),
            Self::Full { .. } => None,
        }
    }
}

impl ConcurrencyLimit {
    pub(crate) fn new(shared: Arc<Limiters>, namespace: &Namespace, name: &str, most: u64) -> Self {
        let setup = check_between("limit", most, MAX_LOGGED)
            .and_then(|()| Setup::of_slots(namespace, name));
        Self {
            shared,
            setup: setup.map(Arc::new).map_err(Arc::new),
            most,
            limits: Limits::default(),
        }
    }

    /// Bounds each call of this handle with all its attempts, instead of the fleet's own deadline.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.limits.deadline = Some(deadline);
        self
    }

    /// Takes a slot of a key, if one is free.
    pub fn enter<K: EntryKey + ?Sized>(&self, key: &K) -> Enter {
        Enter {
            key: self.key(key, &ENTER),
            limit: self.clone(),
            lease: DEFAULT_LEASE,
        }
    }

    /// How many slots of a key are taken.
    ///
    /// # Errors
    /// `InvalidInput` if the name, the limit or the key breaks a rule, and those of the backend.
    ///
    /// # Cancel safety
    /// Yes.
    pub async fn taken<K: EntryKey + ?Sized>(&self, key: &K) -> Result<u64> {
        let key = self.key(key, &TAKEN)?;
        let (context, port) = (&self.shared.context, &self.shared.port);
        context
            .run_within(self.limits, &TAKEN, key.shown(), |attempt| {
                port.taken(&key, attempt.options())
            })
            .await
    }

    fn key<K: EntryKey + ?Sized>(&self, key: &K, operation: &Operation) -> Result<LimitKey> {
        let setup = self.setup.as_ref().map_err(|error| {
            Error::new(error.kind()).with_message(error.message().unwrap_or_default())
        });
        let key = setup.and_then(|setup| setup.key(key, None));
        key.map_err(|error| error.with_operation(operation.name))
    }
}

/// A slot about to be asked for: optional arguments, then `.await`.
///
/// # Errors
/// `InvalidInput` for a name, limit, key or lease that breaks its rule, and those of the backend. "All are taken" is not an
/// error but [`Admission::Full`]. A call whose reply is lost is repeated, and takes one slot.
///
/// # Cancel safety
/// When the future is dropped, no slot is kept: one that is being taken is given back in the background.
#[must_use = "a slot is taken by awaiting"]
#[derive(Debug)]
pub struct Enter {
    limit: ConcurrencyLimit,
    key: Result<LimitKey>,
    lease: Duration,
}

impl Enter {
    /// How long the slot stays taken without a sign of life; from 10 ms to 30 days. Default 30 s.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    async fn run(self) -> Result<Admission> {
        let Self { limit, key, lease } = self;
        let key = key?;
        if lease < SHORTEST_LEASE || lease > LONGEST_LEASE {
            let error = Error::invalid("lease", "must be from 10 ms to 30 days");
            return Err(error.with_operation(ENTER.name));
        }
        let mut pending = Pending {
            shared: &limit.shared,
            key: &key,
            id: Some(LeaseId::random()),
        };
        let id = pending.id.expect("set above, taken below");
        // Counted from before the request: the backend's lease cannot end before ours does.
        let mut asked = Instant::now();
        let (context, port) = (&limit.shared.context, &limit.shared.port);
        let entered = context
            .run_within(limit.limits, &ENTER, key.shown(), |attempt| {
                asked = Instant::now();
                let options = attempt.options();
                port.enter(&key, id, limit.most, lease, options)
            })
            .await;
        // What may have been taken although nobody was told is given back when `pending` is dropped.
        if !matches!(&entered, Err(error) if error.outcome() == Outcome::Unknown) {
            pending.id = None;
        }
        drop(pending);
        let entered = entered?;
        if let Ok(setup) = &limit.setup {
            let has_entered = matches!(entered, Entered::Entered { .. });
            let counting = setup.counting(&limit.shared.meters);
            counting.entered(&setup.name, &key, has_entered);
        }
        Ok(match entered {
            Entered::Entered { remaining } => {
                let ends = asked + lease;
                let shared = limit.shared.clone();
                Admission::Entered(Permit::new(shared, key, id, remaining, ends, lease))
            }
            Entered::Full { retry_after } => Admission::Full {
                retry_after,
                limit: limit.most,
            },
        })
    }
}

impl IntoFuture for Enter {
    type Output = Result<Admission>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

/// A slot that may have been taken. Dropped with its id, it is given back.
struct Pending<'a> {
    shared: &'a Arc<Limiters>,
    key: &'a LimitKey,
    id: Option<LeaseId>,
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id.take() {
            self.shared.leave_later(self.key.clone(), id);
        }
    }
}

impl Limiters {
    pub(super) async fn stay(&self, key: &LimitKey, id: LeaseId, length: Duration) -> Result<bool> {
        let port = &self.port;
        self.context
            .run(&STAY, key.shown(), None, |attempt| {
                port.stay(key, id, length, attempt.options())
            })
            .await
    }

    pub(super) async fn leave(&self, key: &LimitKey, id: LeaseId) -> Result<bool> {
        let port = &self.port;
        self.context
            .run(&LEAVE, key.shown(), None, |attempt| {
                port.leave(key, id, attempt.options())
            })
            .await
    }

    /// Gives a slot back past the choke point, which refuses calls once the fleet is closing.
    pub(super) async fn give_up(&self, key: &LimitKey, id: LeaseId) -> Result<()> {
        let options = CallOptions::until(self.context.attempt_deadline());
        let left = self.port.leave(key, id, options).await;
        left.map(drop).map_err(|error| {
            error
                .with_operation(LEAVE.name)
                .with_target(key.shown().to_owned())
        })
    }

    /// Gives a slot back in the background: best effort, the lease's end does the rest.
    pub(super) fn leave_later(self: &Arc<Self>, key: LimitKey, id: LeaseId) {
        let shared = self.clone();
        self.context.spawn(async move {
            let result = match shared.leave(&key, id).await {
                Err(error) if error.kind() == ErrorKind::Closed => shared.give_up(&key, id).await,
                result => result.map(drop),
            };
            if let Err(error) = result {
                shared.context.hooks.error(ErrorSource::Limit, &error);
            }
        });
    }
}
