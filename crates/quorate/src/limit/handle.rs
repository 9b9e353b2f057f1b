//! A limiter as users hold it.

use std::sync::Arc;
use std::time::Duration;

use super::decision::{Receipt, Usage};
use super::down::{Reach, WhenDown};
use super::local::Hand;
use super::meters::AllMeters;
use super::port::{LimitKey, LimitPort};
use super::request::{Ask, LimitRequest};
use super::setup::{Policies, Setup};
use super::usage::Tallies;
use crate::clock::{HomeClock, TestClock};
use crate::context::{Context, Limits, Operation, Repeat};
use crate::embedded::Table;
use crate::entry_key::EntryKey;
use crate::error::{Error, Result};
use crate::key::Namespace;
use crate::told::Telling;

static USAGE: Operation = Operation::new("limit.usage", "limit", "usage", Repeat::Harmless);
static REFUND: Operation =
    Operation::new("limit.refund", "limit", "refund", Repeat::OnlyIfNotApplied);
static RESET: Operation = Operation::new("limit.reset", "limit", "reset", Repeat::Harmless);
static BLOCK: Operation = Operation::new("limit.block", "limit", "block", Repeat::Harmless);

const LONGEST_BLOCK: Duration = Duration::from_secs(366 * 24 * 3600);

/// What the limiters of an instance share.
#[derive(Debug)]
pub(crate) struct Limiters {
    pub(crate) context: Arc<Context>,
    pub(crate) port: Arc<dyn LimitPort>,
    pub(super) reach: Reach,
    pub(super) meters: AllMeters,
    /// What this instance counts on its own while the home cannot be asked.
    pub(super) shares: Table<Tallies, Arc<str>>,
    /// What this instance has taken beforehand.
    pub(super) hand: Hand,
}

impl Limiters {
    pub(crate) fn new(
        context: Arc<Context>,
        port: Arc<dyn LimitPort>,
        moved: Option<TestClock>,
        telling: Telling,
    ) -> Self {
        let clock = HomeClock::new(moved);
        Self {
            context,
            port,
            reach: Reach::default(),
            meters: AllMeters::new(Some(telling)),
            shares: Table::new(clock.clone()),
            hand: Hand::new(Table::new(clock)),
        }
    }
}

/// Limits how often something may be done, over the whole fleet: 100 means 100, however many instances there are.
///
/// A limiter has a name, one to four policies, and counts each key on its own. A request is decided by the home at one
/// moment, in one round trip: it is counted with all policies, or refused and counted with none.
///
/// # Clone
/// Cheap; clones are the same limiter.
///
/// # Lost replies
/// When the reply to [`consume`](Self::consume) is lost, the request may have been counted although nobody was told, and the
/// call fails with [`Outcome::Unknown`](crate::Outcome). It is not repeated, since then it could be counted twice. So a
/// lost reply costs the key at most what the request cost, and never allows more than the limit.
///
/// # Changes
/// A limiter with another limit goes on with what was counted. With other algorithms or windows it counts in keys of its own:
/// while instances with the old and the new ones run beside each other, each of both allows its own limit.
///
/// # Example
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> quorate::Result<()> {
/// use quorate::{Decision, Fleet, Policy};
/// use std::time::Duration;
///
/// let fleet = Fleet::embedded();
/// let second = Duration::from_secs(1);
/// let api = fleet.limiter("api", [
///     Policy::token_bucket(10, second).burst(20),
///     Policy::sliding_log(1000, second * 3600),
/// ]);
/// match api.consume("user:7").await? {
///     Decision::Allow { remaining, .. } => println!("{remaining} left"),
///     Decision::Deny { retry_after, policy, .. } => println!("{policy}: again in {retry_after:?}"),
///     _ => {}
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Limiter {
    // One pointer: each request has one, and is moved about.
    pub(super) inner: Arc<Inner>,
}

#[derive(Clone, Debug)]
pub(super) struct Inner {
    pub(super) shared: Arc<Limiters>,
    // Kept as an error until it is used: naming a limiter is not a place to fail.
    pub(super) setup: std::result::Result<Arc<Setup>, Arc<Error>>,
    pub(super) action: Option<Arc<str>>,
    pub(super) limits: Limits,
    pub(super) is_shadow: bool,
    pub(super) when_down: WhenDown,
    /// How much an instance takes at a time, to decide by itself.
    pub(super) batch: Option<u64>,
    /// For how long a refusal blocks its key.
    pub(super) block_for: Duration,
}

impl Limiter {
    pub(crate) fn new(
        shared: Arc<Limiters>,
        namespace: &Namespace,
        name: &str,
        policies: Policies,
    ) -> Self {
        let setup = Setup::new(namespace, name, policies);
        let inner = Inner {
            shared,
            setup: setup.map(Arc::new).map_err(Arc::new),
            action: None,
            limits: Limits::default(),
            is_shadow: false,
            when_down: WhenDown::default(),
            batch: None,
            block_for: Duration::ZERO,
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    pub(super) fn with(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        change(Arc::make_mut(&mut self.inner));
        self
    }

    /// The limiter's name; empty if it, or a policy, breaks a rule.
    #[must_use]
    pub fn name(&self) -> &str {
        self.inner.setup.as_ref().map_or("", |setup| &setup.name)
    }

    /// Whether the name and the policies keep the rules, as every call asks first.
    ///
    /// # Errors
    /// `InvalidInput` with the field and the rule.
    pub fn check_terms(&self) -> Result<()> {
        self.setup("limit").map(drop)
    }

    /// The same limiter for one action, whose requests are counted on their own: a key may do it as often as the policies
    /// say, whatever else it does.
    ///
    /// An action has 1 to 128 letters, digits and `_ . / -`; the calls refuse another one.
    #[must_use]
    pub fn action(self, action: impl Into<Arc<str>>) -> Self {
        self.with(|it| it.action = Some(action.into()))
    }

    /// Bounds each call of this handle with all its attempts, instead of the fleet's own deadline.
    #[must_use]
    pub fn deadline(self, deadline: Duration) -> Self {
        self.with(|it| it.limits.deadline = Some(deadline))
    }

    /// What to do when the home cannot be asked, instead of failing.
    ///
    /// A limiter with another answer than [`Closed`](WhenDown::Closed) does not ask a home again at once that could not be
    /// asked: one request per second finds out whether it is back. The first one waits for as long as a call may take:
    /// give it a [`deadline`](Self::deadline). The calls of a share of less than one request are refused with
    /// `InvalidInput`.
    #[must_use]
    pub fn when_down(self, when: WhenDown) -> Self {
        self.with(|it| {
            it.when_down = when;
            if let (WhenDown::Share { instances }, Ok(setup)) = (when, &it.setup)
                && let Err(error) = setup.terms.share(instances)
            {
                it.setup = Err(Arc::new(error));
            }
        })
    }

    /// Takes `batch` of a key at a time, and decides by itself for as long as there is some in hand: one round trip for
    /// many requests.
    ///
    /// What is in hand was counted when it was taken, and may be used when it no longer counts: in any window up to
    /// [`overshoot(instances, batch)`](super::overshoot) more than the limit. What is in hand and not used is missing to the
    /// others, until it no longer counts. A refusal is repeated for up to a second without asking. Decisions have
    /// [`Basis::Local`](super::Basis::Local) and no receipt; `check` and `usage` count what is in hand as used. Calls with
    /// other limits than the limiter's ask the home.
    ///
    /// From 2 to the least limit of the policies; the calls refuse another one.
    #[must_use]
    pub fn local(self, batch: u64) -> Self {
        self.with(|it| {
            it.batch = Some(batch);
            if let Ok(setup) = &it.setup
                && let Err(error) = setup.terms.check_batch(batch)
            {
                it.setup = Err(Arc::new(error));
            }
        })
    }

    /// Decides and counts, and refuses nobody: what would be refused is allowed with
    /// [`Basis::Shadow`](super::Basis::Shadow), and shows in the metrics. For trying a limit out.
    #[must_use]
    pub fn shadow(self) -> Self {
        self.with(|it| it.is_shadow = true)
    }

    /// A refused request blocks its key for `time`, and each further one begins that anew: who does not stop asking is not
    /// let in again. Without it, what is refused leaves no trace.
    ///
    /// At most 366 days, and zero is as without it; the calls refuse more. [`check`](Self::check) and
    /// [`usage`](Self::usage) block nobody. A limiter that decides [by itself](Self::local) repeats a refusal for up to a
    /// second without asking, which counts as one.
    ///
    /// # Example
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> quorate::Result<()> {
    /// use quorate::{Decision, Fleet, Policy};
    /// use std::time::Duration;
    ///
    /// const MINUTE: Duration = Duration::from_secs(60);
    /// let fleet = Fleet::embedded();
    /// let logins = fleet.limiter("login", Policy::sliding_log(1, MINUTE)).block_for(15 * MINUTE);
    /// assert!(logins.consume("203.0.113.7").await?.is_allowed());
    /// match logins.consume("203.0.113.7").await? {
    ///     Decision::Deny { retry_after, .. } => assert!(retry_after > 14 * MINUTE),
    ///     other => panic!("{other:?}"),
    /// }
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn block_for(self, time: Duration) -> Self {
        self.with(|it| {
            it.block_for = time;
            if time > LONGEST_BLOCK {
                let error = Error::invalid("block_for", "must be at most 366 days");
                it.setup = Err(Arc::new(error));
            }
        })
    }

    /// Counts a request of a key, or refuses it.
    pub fn consume<K: EntryKey + ?Sized>(&self, key: &K) -> LimitRequest {
        LimitRequest::new(self, key, Ask::Take)
    }

    /// What [`consume`](Self::consume) would say now. Nothing is counted, and nothing changes.
    pub fn check<K: EntryKey + ?Sized>(&self, key: &K) -> LimitRequest {
        LimitRequest::new(self, key, Ask::Look)
    }

    /// How a key stands.
    ///
    /// # Errors
    /// `InvalidInput` if the key breaks a rule, and those of the backend.
    ///
    /// # Cancel safety
    /// Yes.
    pub async fn usage<K: EntryKey + ?Sized>(&self, key: &K) -> Result<Usage> {
        let setup = self.setup(USAGE.name)?;
        let key = named(&USAGE, setup.key(key, self.inner.action.as_deref()))?;
        let port = &self.inner.shared.port;
        let verdict = self
            .inner
            .shared
            .context
            .run_within(self.inner.limits, &USAGE, key.shown(), |attempt| {
                let options = attempt.options();
                port.look(&key, &setup.terms.rates, 0, options)
            })
            .await?;
        Ok(Usage::new(setup.terms.policies.clone(), verdict))
    }

    /// Takes back a request that was counted, as far as it still counts. Whether anything of it did.
    ///
    /// No policy then allows more than if the request had never been made: what a window has left behind stays
    /// behind, and of a token bucket comes back what has not run out since.
    ///
    /// # Errors
    /// `InvalidInput` if the key breaks a rule, and those of the backend. When the reply is lost it is not repeated.
    ///
    /// # Cancel safety
    /// When the future is dropped, the request may or may not be taken back.
    pub async fn refund<K: EntryKey + ?Sized>(&self, key: &K, receipt: Receipt) -> Result<bool> {
        let setup = self.setup(REFUND.name)?;
        let key = named(&REFUND, setup.key(key, self.inner.action.as_deref()))?;
        self.take_back(&key, &receipt).await
    }

    pub(super) async fn take_back(&self, key: &LimitKey, receipt: &Receipt) -> Result<bool> {
        let setup = self.setup(REFUND.name)?;
        // What it cost is given back as it was taken: by the limits of that call.
        let terms = match receipt.limits() {
            None => setup.terms.clone(),
            Some(limits) => named(&REFUND, setup.terms.with_limits(limits))?,
        };
        named(&REFUND, terms.check_receipt(receipt))?;
        let (port, rates) = (&self.inner.shared.port, &terms.rates);
        self.inner
            .shared
            .context
            .run_within(self.inner.limits, &REFUND, key.shown(), |attempt| {
                let options = attempt.options();
                port.give_back(key, rates, receipt.at(), receipt.cost(), options)
            })
            .await
    }

    /// Forgets what was counted of a key, and lifts a block. Whether there was anything.
    ///
    /// # Errors
    /// `InvalidInput` if the key breaks a rule, and those of the backend.
    ///
    /// # Cancel safety
    /// When the future is dropped, the key may or may not be forgotten.
    pub async fn reset<K: EntryKey + ?Sized>(&self, key: &K) -> Result<bool> {
        let setup = self.setup(RESET.name)?;
        let key = named(&RESET, setup.key(key, self.inner.action.as_deref()))?;
        self.inner.shared.hand.forget(&key);
        let port = &self.inner.shared.port;
        self.inner
            .shared
            .context
            .run_within(self.inner.limits, &RESET, key.shown(), |attempt| {
                let options = attempt.options();
                port.reset(&key, &setup.terms.rates, options)
            })
            .await
    }

    /// Refuses every request of a key for `time`, whatever it has left: at most 366 days, and zero lifts a block.
    ///
    /// # Errors
    /// `InvalidInput` if the key or the time breaks a rule, and those of the backend.
    ///
    /// # Cancel safety
    /// When the future is dropped, the key may or may not be blocked.
    pub async fn block<K: EntryKey + ?Sized>(&self, key: &K, time: Duration) -> Result<()> {
        let setup = self.setup(BLOCK.name)?;
        let key = named(&BLOCK, setup.key(key, self.inner.action.as_deref()))?;
        if time > LONGEST_BLOCK {
            let error = Error::invalid("time", "must be at most 366 days");
            return Err(error.with_operation(BLOCK.name));
        }
        // The other instances go on with what they have in hand.
        self.inner.shared.hand.forget(&key);
        let port = &self.inner.shared.port;
        self.inner
            .shared
            .context
            .run_within(self.inner.limits, &BLOCK, key.shown(), |attempt| {
                let options = attempt.options();
                port.block(&key, &setup.terms.rates, time, options)
            })
            .await
    }

    pub(super) fn setup(&self, operation: &'static str) -> Result<&Arc<Setup>> {
        self.inner.setup.as_ref().map_err(|error| {
            Error::new(error.kind())
                .with_message(error.message().unwrap_or_default())
                .with_operation(operation)
        })
    }
}

fn named<T>(operation: &Operation, result: Result<T>) -> Result<T> {
    result.map_err(|error| error.with_operation(operation.name))
}
