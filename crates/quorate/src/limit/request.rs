//! A request under construction: it is decided when it is awaited.

use std::fmt;
use std::future::IntoFuture;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};

use futures_util::future::BoxFuture;

use super::decision::{Basis, Decision, Receipt, Usage};
use super::down::{WhenDown, is_down};
use super::handle::Limiter;
use super::port::LimitKey;
use super::setup::{Setup, Terms};
use super::usage::{Charge, Verdict};
use crate::context::{Operation, Repeat};
use crate::entry_key::EntryKey;
use crate::error::{Error, Result};

static CONSUME: Operation = Operation::new(
    "limit.consume",
    "limit",
    "consume",
    Repeat::OnlyIfNotApplied,
);
static CHECK: Operation = Operation::new("limit.check", "limit", "check", Repeat::Harmless);

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    Take,
    Look,
}

impl Ask {
    const fn operation(self) -> &'static Operation {
        match self {
            Self::Take => &CONSUME,
            Self::Look => &CHECK,
        }
    }
}

/// A request about to be decided: optional arguments, then `.await`.
///
/// # Errors
/// `InvalidInput` with the field and the rule, before anything is touched: for a name, a policy or a key that breaks one,
/// and for a cost that no policy could ever allow. And those of the backend. A refusal is not an error but
/// [`Decision::Deny`].
///
/// # Cancel safety
/// When the future is dropped, the request may or may not be counted.
#[must_use = "nothing is decided until it is awaited"]
#[derive(Clone, Debug)]
pub struct LimitRequest {
    pub(super) limiter: Limiter,
    ask: Ask,
    key: std::result::Result<LimitKey, Arc<Error>>,
    pub(super) cost: u64,
    limits: Option<Vec<u64>>,
}

impl LimitRequest {
    pub(super) fn new<K: EntryKey + ?Sized>(limiter: &Limiter, key: &K, ask: Ask) -> Self {
        let named = limiter.setup(ask.operation().name);
        let key = named.and_then(|setup| setup.key(key, limiter.inner.action.as_deref()));
        Self {
            limiter: limiter.clone(),
            ask,
            key: key.map_err(Arc::new),
            cost: 1,
            limits: None,
        }
    }

    /// What the request costs, instead of 1.
    pub fn cost(mut self, cost: u64) -> Self {
        self.cost = cost;
        self
    }

    /// Decides by another limit, for this call: such as that of the customer's plan. For limiters with one policy.
    pub fn limit(self, limit: u64) -> Self {
        self.limits([limit])
    }

    /// Decides by other limits, one for each policy in their order, for this call.
    pub fn limits(mut self, limits: impl Into<Vec<u64>>) -> Self {
        self.limits = Some(limits.into());
        self
    }

    /// The decision, where it takes neither waiting nor a failure: of the process, or of what is in hand.
    fn at_once(&self) -> Option<Result<Decision>> {
        let limiter = &self.limiter;
        let (shared, cost) = (&limiter.inner.shared, self.cost);
        let (Ok(setup), Ok(key)) = (&limiter.inner.setup, &self.key) else {
            return None;
        };
        let terms = &setup.terms;
        if self.ask == Ask::Look || self.limits.is_some() || terms.check_cost(cost).is_err() {
            return None;
        }
        let decision = if limiter.inner.batch.is_some() {
            shared.context.check_open().ok()?;
            local(terms, shared.hand.decide(key, cost).ok()?)
        } else {
            let verdict = shared.port.take_at_once(key, &terms.rates, self.charge())?;
            if let Err(closed) = shared.context.at_once(&CONSUME) {
                return Some(Err(closed));
            }
            let receipt = verdict.is_allowed().then(|| Receipt::new(verdict.at, cost));
            Usage::new(terms.policies.clone(), verdict).decide(receipt)
        };
        Some(Ok(self.settle(setup, decision)))
    }

    async fn run(self) -> Result<Decision> {
        let (setup, terms) = self.check_input()?;
        let (_, key) = self.target()?;
        let decision = self.decide(&key, &terms).await?;
        Ok(self.settle(setup, decision))
    }

    /// What it costs, whatever comes of it.
    pub(super) fn charge(&self) -> Charge {
        self.charge_of(self.cost)
    }

    /// The same for a part of it.
    pub(super) fn charge_of(&self, cost: u64) -> Charge {
        Charge::of(cost).block_for(self.limiter.inner.block_for)
    }

    /// Whose request it is.
    pub(super) fn target(&self) -> Result<(Limiter, LimitKey)> {
        let key = self.key.as_ref().map_err(|error| {
            let same = Error::new(error.kind());
            let same = same.with_message(error.message().unwrap_or_default());
            same.with_operation(self.ask.operation().name)
        })?;
        Ok((self.limiter.clone(), key.clone()))
    }

    /// Whether it keeps the rules.
    pub(super) fn check_input(&self) -> Result<(&Setup, Terms)> {
        let operation = self.ask.operation();
        let named = |error: Error| error.with_operation(operation.name);
        let setup = self.limiter.setup(operation.name)?;
        self.target()?;
        let terms = match &self.limits {
            None => setup.terms.clone(),
            Some(limits) => setup.terms.with_limits(limits).map_err(named)?,
        };
        terms.check_cost(self.cost).map_err(named)?;
        Ok((setup, terms))
    }

    async fn decide(&self, key: &LimitKey, terms: &Terms) -> Result<Decision> {
        match (self.limiter.inner.batch, self.ask) {
            // What is in hand was taken by the limits of the limiter.
            (Some(batch), Ask::Take) if self.limits.is_none() => {
                Box::pin(self.decide_local(key, terms, batch)).await
            }
            _ => self.decide_home(key, terms, self.charge()).await,
        }
    }

    /// The home's answer, or the limiter's own if that cannot be had.
    pub(super) async fn decide_home(
        &self,
        key: &LimitKey,
        terms: &Terms,
        charge: Charge,
    ) -> Result<Decision> {
        let (shared, when) = (&self.limiter.inner.shared, self.limiter.inner.when_down);
        if when == WhenDown::Closed {
            return self.ask_home(key, terms, charge).await;
        }
        let alone = || shared.answer_alone(when, self.ask, key, terms, self.charge());
        if !shared.reach.is_to_be_asked()
            && let Some(decision) = alone()
        {
            return Ok(decision);
        }
        let answer = self.ask_home(key, terms, charge).await;
        shared.reach.note(&answer);
        match answer {
            Err(error) if is_down(&error) => alone().ok_or(error),
            answer => answer,
        }
    }

    async fn ask_home(&self, key: &LimitKey, terms: &Terms, charge: Charge) -> Result<Decision> {
        let limiter = &self.limiter;
        let (context, port, rates) = (
            &limiter.inner.shared.context,
            &limiter.inner.shared.port,
            &terms.rates,
        );
        let operation = self.ask.operation();
        let verdict = context
            .run_within(limiter.inner.limits, operation, key.shown(), |attempt| {
                let options = attempt.options();
                match self.ask {
                    Ask::Take => port.take(key, rates, charge, options),
                    Ask::Look => port.look(key, rates, charge.cost, options),
                }
            })
            .await?;
        let counted = self.ask == Ask::Take && verdict.is_allowed();
        let receipt = counted.then(|| {
            let receipt = Receipt::new(verdict.at, charge.cost);
            match &self.limits {
                None => receipt,
                Some(limits) => receipt.with_limits(limits.clone()),
            }
        });
        Ok(Usage::new(terms.policies.clone(), verdict).decide(receipt))
    }

    /// Counts the decision, and refuses nobody in shadow mode.
    fn settle(&self, setup: &Setup, decision: Decision) -> Decision {
        let decision = match decision {
            Decision::Deny {
                limit,
                retry_after,
                usage,
                ..
            } if self.limiter.inner.is_shadow => Decision::Allow {
                remaining: 0,
                limit,
                reset_after: retry_after,
                receipt: None,
                basis: Basis::Shadow,
                usage,
            },
            decision => decision,
        };
        if self.ask == Ask::Take
            && let Ok(key) = &self.key
        {
            let meters = &self.limiter.inner.shared.meters;
            let counting = setup.counting(meters);
            counting.decided(&setup.name, key, &decision);
        }
        decision
    }
}

/// What is said of what is in hand.
pub(super) fn local(terms: &Terms, verdict: Verdict) -> Decision {
    let usage = Usage::new(terms.policies.clone(), verdict);
    usage.decide(None).on(Basis::Local)
}

impl IntoFuture for LimitRequest {
    type Output = Result<Decision>;
    type IntoFuture = Deciding;

    fn into_future(self) -> Deciding {
        Deciding(Step::Asked(self))
    }
}

/// A request being decided; see [`LimitRequest`].
///
/// Nothing happens before it is polled.
///
/// # Panics
/// When polled again after it was ready.
#[must_use = "a request is decided by awaiting it"]
pub struct Deciding(Step);

// A state machine of its own: where a decision takes no waiting, it needs no box.
enum Step {
    Asked(LimitRequest),
    Waiting(BoxFuture<'static, Result<Decision>>),
    Ended,
}

impl Future for Deciding {
    type Output = Result<Decision>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let step = &mut self.0;
        loop {
            let decided = match step {
                Step::Asked(request) => match request.at_once() {
                    Some(decided) => decided,
                    None => {
                        if let Step::Asked(request) = std::mem::replace(step, Step::Ended) {
                            *step = Step::Waiting(Box::pin(request.run()));
                        }
                        continue;
                    }
                },
                Step::Waiting(waiting) => ready!(waiting.as_mut().poll(cx)),
                Step::Ended => panic!("a request was polled after it was decided"),
            };
            *step = Step::Ended;
            return Poll::Ready(decided);
        }
    }
}

impl fmt::Debug for Deciding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Step::Asked(_) => "Deciding(asked)",
            Step::Waiting(_) => "Deciding(waiting)",
            Step::Ended => "Deciding(ended)",
        })
    }
}
