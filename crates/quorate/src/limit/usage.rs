//! What is remembered of the requests of one key: a pure function of the policies, the time and what was asked.
//! `scripts/*.lua`, into which the parts of the policies are put, mirror it line by line.

use std::time::Duration;

use smallvec::SmallVec;

use super::policy::{MAX_POLICIES, Rate};
use super::tally::Tally;
use crate::clock::Micros;

/// What is remembered of one key.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Tallies {
    /// When something was last counted, µs.
    newest: u64,
    /// Until when every request is refused, µs.
    blocked: u64,
    /// When none of it counts any more, µs.
    ends: u64,
    // Nearly always one, which is then found where the rest is.
    each: SmallVec<[Tally; 1]>,
}

/// What a request costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Charge {
    /// What it is counted with, if it is allowed.
    pub cost: u64,
    /// For how long a key is blocked by a request that is refused; zero: not at all.
    pub block_for: Duration,
}

impl Charge {
    /// So much, and a refusal changes nothing.
    #[must_use]
    pub const fn of(cost: u64) -> Self {
        Self {
            cost,
            block_for: Duration::ZERO,
        }
    }

    /// A refusal blocks the key for so long.
    #[must_use]
    pub const fn block_for(mut self, time: Duration) -> Self {
        self.block_for = time;
        self
    }
}

/// The answer to a request, or to the question what one would be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verdict {
    /// The moment of the home it holds for.
    pub at: Micros,
    /// How much longer the key is blocked; then nothing was looked at.
    pub blocked: Option<Duration>,
    standings: Standings,
}

// Most limiters have one policy, and what is small is moved about quickly.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Standings {
    One(Standing),
    Others(Box<[Standing]>),
}

/// How a key stands with one policy: after a request that was counted, else before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Standing {
    /// What a request could cost and be allowed.
    pub remaining: u64,
    /// How long until nothing counts, if nobody comes.
    pub reset_after: Duration,
    /// `Some` if this policy refuses: how long until it would not, if nobody else comes.
    pub retry_after: Option<Duration>,
}

impl Standing {
    /// One of these.
    #[must_use]
    pub const fn new(remaining: u64, reset_after: Duration, retry_after: Option<Duration>) -> Self {
        Self {
            remaining,
            reset_after,
            retry_after,
        }
    }
}

impl Verdict {
    /// How a key that is not blocked stands with each policy; those beyond [`MAX_POLICIES`](super::MAX_POLICIES)
    /// are left out.
    #[must_use]
    pub fn new(at: Micros, standings: impl IntoIterator<Item = Standing>) -> Self {
        let mut standings = standings.into_iter().take(MAX_POLICIES);
        let standings = match (standings.next(), standings.next()) {
            (Some(only), None) => Standings::One(only),
            (first, second) => {
                let first = first.into_iter().chain(second);
                Standings::Others(first.chain(standings).collect())
            }
        };
        Self {
            at,
            blocked: None,
            standings,
        }
    }

    /// A key that is blocked for so much longer.
    #[must_use]
    pub fn blocked(at: Micros, time: Duration) -> Self {
        Self {
            blocked: Some(time),
            ..Self::new(at, [])
        }
    }

    /// How the key stands, in the order of the policies; empty if it is blocked.
    #[must_use]
    pub fn standings(&self) -> &[Standing] {
        match &self.standings {
            Standings::One(standing) => std::slice::from_ref(standing),
            Standings::Others(standings) => standings,
        }
    }

    /// Whether no policy refuses.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        let refuses = |standing: &Standing| standing.retry_after.is_some();
        self.blocked.is_none() && !self.standings().iter().any(refuses)
    }
}

impl Tallies {
    /// Counts what a request costs with every policy, or with none if one of them refuses.
    pub(crate) fn take(&mut self, now: Micros, rates: &[Rate], charge: Charge) -> Verdict {
        let cost = charge.cost;
        let now = self.advance(now.get(), rates);
        if self.blocked > now {
            self.punish(now, charge);
            let time = Duration::from_micros(self.blocked - now);
            return Verdict::blocked(Micros::new(now), time);
        }
        let mut waits = self.waits(now, rates, cost);
        if waits.iter().all(Option::is_none) {
            for (tally, rate) in self.each.iter_mut().zip(rates) {
                tally.take(now, rate, cost);
            }
            self.newest = now;
            self.ends = now + self.reset_after(now, rates);
        } else if !charge.block_for.is_zero() {
            self.punish(now, charge);
            let blocked = self.blocked - now;
            waits = waits.map(|wait| wait.map(|wait| wait.max(blocked)));
        }
        self.verdict(now, rates, waits)
    }

    /// What [`take`](Self::take) would answer. A `cost` of zero asks how the key stands.
    pub(crate) fn look(&mut self, now: Micros, rates: &[Rate], cost: u64) -> Verdict {
        let now = self.advance(now.get(), rates);
        if let Some(blocked) = self.blocked_at(now) {
            return blocked;
        }
        let waits = self.waits(now, rates, cost);
        self.verdict(now, rates, waits)
    }

    /// Takes back what was counted at `at`, as far as it still counts. Whether anything was.
    pub(crate) fn give_back(&mut self, now: Micros, rates: &[Rate], at: Micros, cost: u64) -> bool {
        let now = self.advance(now.get(), rates);
        let mut given = false;
        for (tally, rate) in self.each.iter_mut().zip(rates) {
            given |= tally.give_back(now, rate, at.get(), cost);
        }
        given
    }

    /// Refuses every request for `time` from now; zero lifts it.
    pub(crate) fn block(&mut self, now: Micros, time: Duration) {
        self.blocked = now.plus(time).get();
    }

    /// Forgets all of it. Whether anything counted, or it was blocked.
    pub(crate) fn reset(&mut self, now: Micros, rates: &[Rate]) -> bool {
        let now = self.advance(now.get(), rates);
        let counted = self.blocked > now || self.reset_after(now, rates) > 0;
        *self = Self::default();
        counted
    }

    /// When nothing of it is needed any more.
    pub(crate) fn needed_until(&self) -> Micros {
        Micros::new(self.ends.max(self.blocked))
    }

    /// Lets go of what does not count any more. Returns the time that decides, which does not run backwards.
    fn advance(&mut self, now: u64, rates: &[Rate]) -> u64 {
        let longest = rates.iter().map(Rate::longest).max().unwrap_or(0);
        // A clock that was set back by more than any of this lasts would keep it for just as long.
        let set_back = self.newest > now && self.newest - now > longest;
        let known = self.each.len() == rates.len()
            && self
                .each
                .iter()
                .zip(rates)
                .all(|(tally, rate)| tally.is_for(rate.algorithm));
        if set_back || !known {
            self.each.clear();
            self.each
                .extend(rates.iter().map(|rate| Tally::new(rate.algorithm)));
            self.newest = 0;
        }
        let now = now.max(self.newest);
        for (tally, rate) in self.each.iter_mut().zip(rates) {
            tally.advance(now, rate);
        }
        now
    }

    /// Blocks the key for a refusal, if that is asked for.
    fn punish(&mut self, now: u64, charge: Charge) {
        if !charge.block_for.is_zero() {
            let until = Micros::new(now).plus(charge.block_for).get();
            self.blocked = self.blocked.max(until);
        }
    }

    fn blocked_at(&self, now: u64) -> Option<Verdict> {
        let time = Duration::from_micros(self.blocked.saturating_sub(now));
        (!time.is_zero()).then(|| Verdict::blocked(Micros::new(now), time))
    }

    fn waits(&self, now: u64, rates: &[Rate], cost: u64) -> [Option<u64>; MAX_POLICIES] {
        let mut waits = [None; MAX_POLICIES];
        for ((tally, rate), wait) in self.each.iter().zip(rates).zip(&mut waits) {
            *wait = tally.wait(now, rate, cost);
        }
        waits
    }

    fn reset_after(&self, now: u64, rates: &[Rate]) -> u64 {
        let each = self.each.iter().zip(rates);
        let resets = each.map(|(tally, rate)| tally.reset_after(now, rate));
        resets.max().unwrap_or(0)
    }

    fn verdict(&self, now: u64, rates: &[Rate], waits: [Option<u64>; MAX_POLICIES]) -> Verdict {
        let each = self.each.iter().zip(rates).zip(waits);
        let standings = each.map(|((tally, rate), wait)| Standing {
            remaining: tally.remaining(now, rate),
            reset_after: Duration::from_micros(tally.reset_after(now, rate)),
            retry_after: wait.map(Duration::from_micros),
        });
        Verdict::new(Micros::new(now), standings)
    }
}

#[cfg(test)]
mod tests;
