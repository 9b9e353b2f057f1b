//! What a limiter says.

use std::sync::Arc;
use std::time::Duration;

use super::policy::Policy;
use super::usage::{Standing, Verdict};
use crate::clock::Micros;

/// What refusals of a blocked key name as the policy.
pub(super) const BLOCK: &str = "block";

/// The answer to a request.
#[derive(Debug)]
#[must_use = "a refused request is to be turned away"]
#[non_exhaustive]
pub enum Decision {
    /// It may go on.
    #[non_exhaustive]
    Allow {
        /// What a further request could cost and be allowed, by the policy with the least left.
        remaining: u64,
        /// The limit of that policy; the burst of a token bucket.
        limit: u64,
        /// How long until nothing counts any more with that policy, if nobody comes.
        reset_after: Duration,
        /// What it was counted with, to be given to [`refund`](super::Limiter::refund); `None` if it was not counted.
        receipt: Option<Receipt>,
        /// Who says so.
        basis: Basis,
        /// How the key stands with each policy.
        usage: Usage,
    },
    /// It is to be turned away, and was not counted.
    #[non_exhaustive]
    Deny {
        /// After how long it would be allowed, if nobody else came.
        retry_after: Duration,
        /// The limit of the policy that refuses for longest; the burst of a token bucket.
        limit: u64,
        /// The name of that policy, or `block` if the key is blocked.
        policy: String,
        /// Who says so.
        basis: Basis,
        /// How the key stands with each policy.
        usage: Usage,
    },
}

/// Who came to a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Basis {
    /// The home, over all instances.
    Fleet,
    /// This instance, by what it has taken of the home beforehand.
    Local,
    /// The home would have refused, and the limiter is in shadow mode.
    Shadow,
    /// This instance alone, by its share: the home could not be asked.
    Share,
    /// Nobody: the home could not be asked.
    Open,
}

impl Decision {
    /// Whether the request may go on.
    #[must_use]
    pub const fn is_allowed(&self) -> bool {
        matches!(self, Self::Allow { .. })
    }

    /// How the key stands with each policy.
    #[must_use]
    pub const fn usage(&self) -> &Usage {
        match self {
            Self::Allow { usage, .. } | Self::Deny { usage, .. } => usage,
        }
    }

    /// Who says so.
    #[must_use]
    pub const fn basis(&self) -> Basis {
        match self {
            Self::Allow { basis, .. } | Self::Deny { basis, .. } => *basis,
        }
    }

    /// The same decision, on another basis.
    pub(super) fn on(mut self, new: Basis) -> Self {
        match &mut self {
            Self::Allow { basis, .. } | Self::Deny { basis, .. } => *basis = new,
        }
        self
    }

    /// A receipt like that of the decision, for who sees to it that one of them is used.
    pub(super) fn receipt(&self) -> Option<Receipt> {
        match self {
            Self::Allow {
                receipt: Some(receipt),
                ..
            } => Some(Receipt {
                limits: receipt.limits.clone(),
                ..Receipt::new(receipt.at, receipt.cost)
            }),
            _ => None,
        }
    }

    /// What it was counted with; `None` if it was not.
    #[must_use]
    pub fn into_receipt(self) -> Option<Receipt> {
        match self {
            Self::Allow { receipt, .. } => receipt,
            Self::Deny { .. } => None,
        }
    }
}

/// What a request was counted with.
///
/// It is good for one refund. Its parts can be stored, and it can be made of them again.
#[derive(Debug, PartialEq, Eq)]
pub struct Receipt {
    at: Micros,
    cost: u64,
    limits: Option<Box<[u64]>>,
}

impl Receipt {
    /// The receipt of a request that was counted at a moment of the home and cost so much.
    #[must_use]
    pub const fn new(at: Micros, cost: u64) -> Self {
        Self {
            at,
            cost,
            limits: None,
        }
    }

    /// Of a request that was decided by other limits than those of the policies.
    #[must_use]
    pub fn with_limits(mut self, limits: impl Into<Vec<u64>>) -> Self {
        self.limits = Some(limits.into().into());
        self
    }

    /// The limits it was decided by, if they were not those of the policies.
    #[must_use]
    pub fn limits(&self) -> Option<&[u64]> {
        self.limits.as_deref()
    }

    /// When it was counted, by the home's clock.
    #[must_use]
    pub const fn at(&self) -> Micros {
        self.at
    }

    /// What it cost.
    #[must_use]
    pub const fn cost(&self) -> u64 {
        self.cost
    }
}

/// How a key stands with the policies of its limiter.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Usage {
    policies: Arc<[Policy]>,
    verdict: Verdict,
}

/// How a key stands with one policy.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PolicyUsage {
    /// The policy, with the limit of the call.
    pub policy: Policy,
    /// What a request could cost and be allowed.
    pub remaining: u64,
    /// How long until nothing counts, if nobody comes.
    pub reset_after: Duration,
    /// `Some` if the policy refuses.
    pub retry_after: Option<Duration>,
}

impl Usage {
    pub(super) const fn new(policies: Arc<[Policy]>, verdict: Verdict) -> Self {
        Self { policies, verdict }
    }

    /// How much longer every request of the key is refused, if it is blocked.
    #[must_use]
    pub const fn blocked(&self) -> Option<Duration> {
        self.verdict.blocked
    }

    /// How the key stands with each policy, in their order; empty if it is blocked.
    #[must_use]
    pub fn policies(&self) -> impl ExactSizeIterator<Item = PolicyUsage> + '_ {
        let each = self.verdict.standings().iter().zip(&*self.policies);
        each.map(|(standing, policy)| PolicyUsage {
            policy: policy.clone(),
            remaining: standing.remaining,
            reset_after: standing.reset_after,
            retry_after: standing.retry_after,
        })
    }

    /// Which policy refuses for longest, and for how long; `None` if none does, or the key is blocked.
    pub(super) fn refusing(&self) -> Option<(usize, Duration)> {
        let each = self.verdict.standings().iter().enumerate();
        let refusing = each.filter_map(|(number, standing)| Some((number, standing.retry_after?)));
        refusing
            .take(self.policies.len())
            .max_by_key(|(_, time)| *time)
    }

    pub(super) const fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// The decision on a request, which `receipt` says it was counted with.
    pub(super) fn decide(self, receipt: Option<Receipt>) -> Decision {
        if let Some(retry_after) = self.verdict.blocked {
            return Decision::Deny {
                retry_after,
                limit: self.policies.first().map_or(0, Policy::capacity),
                policy: BLOCK.to_owned(),
                basis: Basis::Fleet,
                usage: self,
            };
        }
        if let Some((number, retry_after)) = self.refusing()
            && let Some(policy) = self.policies.get(number)
        {
            return Decision::Deny {
                retry_after,
                limit: policy.capacity(),
                policy: policy.name().into_owned(),
                basis: Basis::Fleet,
                usage: self,
            };
        }
        let tightest = |(standing, _): &(&Standing, &Policy)| {
            (standing.remaining, std::cmp::Reverse(standing.reset_after))
        };
        let each = self.verdict.standings().iter().zip(&*self.policies);
        let (standing, limit) = each
            .min_by_key(tightest)
            .map_or_else(Default::default, |(standing, policy)| {
                (*standing, policy.capacity())
            });
        Decision::Allow {
            remaining: standing.remaining,
            limit,
            reset_after: standing.reset_after,
            receipt,
            basis: Basis::Fleet,
            usage: self,
        }
    }
}
