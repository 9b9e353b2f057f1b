//! Requests that an instance decides by itself, from what it has taken of the limit beforehand.

use std::hash::BuildHasher;
use std::time::Duration;

use foldhash::quality::RandomState;

use super::decision::{Basis, Decision};
use super::port::LimitKey;
use super::request::{LimitRequest, local};
use super::setup::Terms;
use super::usage::{Charge, Standing, Verdict};
use crate::clock::Micros;
use crate::embedded::{State, Table};
use crate::error::Result;

/// For how long at most a refusal is repeated without asking: what others give back is seen after that.
const REFUSE_FOR: Duration = Duration::from_secs(1);

/// Locks for the keys that are being asked for: so few that they are nothing, so many that keys rarely share one.
const TURNS: usize = 256;

/// By how much a limit can be exceeded at most, in any window, when so many instances take it in batches of this size.
///
/// An instance has at most `batch - 1` in hand after it has used some, for that is when it took them. What it has in hand
/// when a window begins was counted before that window, and can be used in it, beside the limit that is counted within.
///
/// # Example
/// ```
/// // 4 instances, 10 at a time: of a limit of 1000 at most 1036 are used in any window.
/// assert_eq!(quorate::limit::overshoot(4, 10), 36);
/// ```
#[must_use]
pub const fn overshoot(instances: u32, batch: u64) -> u64 {
    (instances as u64).saturating_mul(batch.saturating_sub(1))
}

/// What an instance has in hand of one key.
#[derive(Debug, Default)]
pub(super) struct InHand {
    count: u64,
    /// When the home is to be asked before it is used.
    until: Micros,
    /// What the home said last.
    verdict: Option<Verdict>,
    /// Requests that cost so much, or more, are refused until then.
    refused: Option<(Micros, u64)>,
}

impl State for InHand {
    fn forgotten_at(&self, _now: Micros) -> Option<Micros> {
        Some(
            self.refused
                .map_or(self.until, |(at, _)| at.max(self.until)),
        )
    }

    fn expire(&mut self, now: Micros) {
        if self.until <= now {
            *self = Self::default();
        }
    }
}

/// What an instance has in hand of all keys.
#[derive(Debug)]
pub(super) struct Hand {
    table: Table<InHand, std::sync::Arc<str>>,
    turns: Box<[tokio::sync::Mutex<()>]>,
    hasher: RandomState,
}

impl Hand {
    pub(super) fn new(table: Table<InHand, std::sync::Arc<str>>) -> Self {
        Self {
            table,
            turns: (0..TURNS).map(|_| tokio::sync::Mutex::default()).collect(),
            hasher: RandomState::default(),
        }
    }

    /// Only one of an instance asks for a key at a time: the bound is that of one batch.
    async fn turn(&self, key: &LimitKey) -> tokio::sync::MutexGuard<'_, ()> {
        let hash = self.hasher.hash_one(key.text());
        let at = usize::try_from(hash % TURNS as u64).unwrap_or(0);
        self.turns[at].lock().await
    }

    /// Decides from what is in hand; else how much is missing.
    pub(super) fn decide(&self, key: &LimitKey, cost: u64) -> std::result::Result<Verdict, u64> {
        self.table.transition(key.text(), |hand, now| {
            let Some(verdict) = hand.verdict.as_ref().filter(|_| hand.until > now) else {
                return Err(cost);
            };
            if hand.count >= cost {
                hand.count -= cost;
                return Ok(with_more(verdict, hand.count, None));
            }
            match hand.refused {
                Some((until, least)) if cost >= least && until > now => {
                    Ok(with_more(verdict, hand.count, Some(until.since(now))))
                }
                _ => Err(cost - hand.count),
            }
        })
    }

    /// Takes note of a batch that was taken, and uses `cost` of it. `None` if others were quicker.
    fn add(
        &self,
        key: &LimitKey,
        batch: u64,
        cost: u64,
        verdict: &Verdict,
        keep: Duration,
    ) -> Option<Verdict> {
        self.table.transition(key.text(), |hand, now| {
            let in_hand = if hand.until > now { hand.count } else { 0 };
            *hand = InHand {
                count: in_hand + batch,
                until: now.plus(keep),
                verdict: Some(verdict.clone()),
                refused: None,
            };
            let left = hand.count.checked_sub(cost)?;
            hand.count = left;
            Some(with_more(verdict, left, None))
        })
    }

    /// Takes note of a refusal.
    fn refuse(&self, key: &LimitKey, cost: u64, verdict: &Verdict, retry_after: Duration) {
        self.table.transition(key.text(), |hand, now| {
            let count = if hand.until > now { hand.count } else { 0 };
            let until = now.plus(retry_after.min(REFUSE_FOR));
            *hand = InHand {
                count,
                until: hand.until.max(until),
                verdict: Some(verdict.clone()),
                refused: Some((until, cost)),
            };
        });
    }

    /// Forgets what is in hand of a key.
    pub(super) fn forget(&self, key: &LimitKey) {
        self.table
            .transition(key.text(), |hand, _| *hand = InHand::default());
    }
}

/// What the home said, and what is in hand beside it; a refusal for so much longer.
fn with_more(verdict: &Verdict, in_hand: u64, refused: Option<Duration>) -> Verdict {
    let standings = verdict.standings().iter().map(|standing| Standing {
        remaining: standing.remaining + in_hand,
        retry_after: refused,
        ..*standing
    });
    Verdict::new(verdict.at, standings)
}

impl LimitRequest {
    /// Decides from what is in hand, and takes another batch when that is not enough.
    pub(super) async fn decide_local(
        &self,
        key: &LimitKey,
        terms: &Terms,
        batch: u64,
    ) -> Result<Decision> {
        let hand = &self.limiter.inner.shared.hand;
        // In turn: what one takes is there for the next.
        let _turn = hand.turn(key).await;
        loop {
            let missing = match hand.decide(key, self.cost) {
                Ok(verdict) => return Ok(local(terms, verdict)),
                Err(missing) => missing,
            };
            let wanted = batch.max(missing);
            // A batch that is refused is nobody's request.
            let charge = if wanted > missing {
                Charge::of(wanted)
            } else {
                self.charge_of(missing)
            };
            let mut decision = self.decide_home(key, terms, charge).await?;
            let mut taken = wanted;
            if !decision.is_allowed() && wanted > missing {
                // There is less than a batch left: only what is needed, then.
                decision = self
                    .decide_home(key, terms, self.charge_of(missing))
                    .await?;
                taken = missing;
            }
            if decision.basis() != Basis::Fleet {
                return Ok(decision);
            }
            let verdict = decision.usage().verdict().clone();
            if let Decision::Deny { retry_after, .. } = &decision {
                if verdict.blocked.is_none() {
                    hand.refuse(key, self.cost, &verdict, *retry_after);
                }
                return Ok(decision);
            }
            // What no longer counts with the home may still be used once; then it is forgotten.
            let keep = terms.policies.iter().map(super::Policy::window).min();
            let keep = keep.unwrap_or_default();
            if let Some(verdict) = hand.add(key, taken, self.cost, &verdict, keep) {
                return Ok(local(terms, verdict));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Fleet, Limiter, Policy};

    async fn used(limiter: &Limiter, most: u64) -> u64 {
        let mut used = 0;
        while used < most && limiter.consume("k").await.unwrap().is_allowed() {
            used += 1;
        }
        used
    }

    /// The bound, reached exactly: each instance has as much in hand as it can when a window begins.
    #[tokio::test(start_paused = true)]
    async fn instances_that_take_batches_exceed_a_limit_by_no_more_than_the_bound() {
        let window = Duration::from_secs(60);
        let fleet = Fleet::embedded();
        let mut limiters = Vec::new();
        for name in ["a", "b", "c"] {
            let instance = fleet.instance(name).await.unwrap();
            limiters.push(
                instance
                    .limiter("api", Policy::sliding_log(100, window))
                    .local(10),
            );
        }
        tokio::time::advance(window).await;
        for limiter in &limiters {
            assert_eq!(used(limiter, 1).await, 1);
        }
        // Just before what is in hand is forgotten, and what was counted is.
        tokio::time::advance(window - Duration::from_millis(1)).await;
        let mut early = 0;
        for limiter in &limiters {
            early += used(limiter, 9).await;
        }
        tokio::time::advance(Duration::from_millis(1)).await;
        let mut all = early;
        for limiter in &limiters {
            all += used(limiter, u64::MAX).await;
        }
        assert_eq!(all, 100 + overshoot(3, 10));
    }

    /// One round trip for many, and never more than was taken.
    #[tokio::test(start_paused = true)]
    async fn one_instance_uses_exactly_the_limit() {
        let fleet = Fleet::embedded();
        let policy = Policy::fixed_window(25, Duration::from_secs(60));
        let limiter = fleet.limiter("api", &policy).local(10);
        assert_eq!(used(&limiter, 1).await, 1);
        let usage = fleet.limiter("api", &policy).usage("k").await.unwrap();
        assert_eq!(usage.policies().next().unwrap().remaining, 15);
        assert_eq!(used(&limiter, u64::MAX).await, 24);
        let refused = limiter.consume("k").await.unwrap();
        assert_eq!(refused.basis(), Basis::Local);
        tokio::time::advance(Duration::from_secs(61)).await;
        assert_eq!(used(&limiter, u64::MAX).await, 25);
        assert!(limiter.reset("k").await.unwrap());
        assert!(limiter.consume("k").cost(20).await.unwrap().is_allowed());
    }
}
