//! What one server of a quorum remembers of a lock, as a pure function of it and the time. `library.lua` and
//! `scripts/*.lua` mirror it line by line.
//!
//! It gives its vote to one lease at a time. A vote belongs to the attempt that asked for it, by number: what takes the
//! vote of a failed attempt back may arrive long after a later attempt of the same lease was given it again.

use std::time::Duration;

use super::ballot::{Ballot, EVERY_ATTEMPT, Seat, Vote};
use crate::clock::Micros;
use crate::lock::{FencingToken, LeaseId};

/// How long the counter outlives the last lease. After it, server time keeps tokens growing.
pub(super) const RETENTION: Duration = Duration::from_secs(24 * 3600);

/// Everything remembered of one lock.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct VoteState {
    /// The greatest token recorded.
    last: u64,
    holder: Option<Holder>,
    /// The last lease given back, to recognise a repeated release.
    released: Option<LeaseId>,
    /// The last lease that is over without having been given back here.
    over: Option<LeaseId>,
    /// The last token taken away, to recognise a repeated force.
    forced: Option<FencingToken>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Holder {
    lease: LeaseId,
    number: u64,
    /// 0 until one is recorded.
    token: u64,
    owner: String,
    since: Micros,
    ends: Micros,
}

impl VoteState {
    /// Gives the vote to a lease, if nobody has it and the server is `up` for long enough to know that.
    pub(super) fn vote(&mut self, now: Micros, up: Duration, ballot: &Ballot) -> Vote {
        self.end_lease(now);
        if self.is_over(ballot.lease) {
            return Vote::Refused;
        }
        let ends = now.plus(ballot.length);
        if let Some(holder) = &mut self.holder {
            if holder.lease != ballot.lease {
                let remaining = holder.ends.since(now);
                return Vote::Held { remaining };
            }
            if ballot.number < holder.number {
                return Vote::Refused;
            }
            (holder.number, holder.ends) = (ballot.number, ends);
            let token = recorded(holder.token);
            let floor = self.floor(now);
            return Vote::Given { floor, token };
        }
        if up < ballot.quarantine {
            let remaining = ballot.quarantine.saturating_sub(up);
            return Vote::Silent { remaining };
        }
        let token = ballot.token.map_or(0, FencingToken::get);
        self.last = self.last.max(token);
        self.holder = Some(Holder {
            lease: ballot.lease,
            number: ballot.number,
            token,
            owner: ballot.owner.clone(),
            since: now,
            ends,
        });
        let (floor, token) = (self.floor(now), ballot.token);
        Vote::Given { floor, token }
    }

    /// Writes the token of an attempt that has the vote; `false` if it does not, or an equal or greater one was written.
    pub(super) fn record(
        &mut self,
        now: Micros,
        lease: LeaseId,
        number: u64,
        token: FencingToken,
    ) -> bool {
        self.end_lease(now);
        let Some(holder) = self.holder.as_mut() else {
            return false;
        };
        if holder.lease != lease || holder.number != number {
            return false;
        }
        if holder.token == token.get() {
            return true;
        }
        if token.get() <= self.last {
            return false;
        }
        (holder.token, self.last) = (token.get(), token.get());
        true
    }

    /// Lets a lease that has the vote end `length` from now, and no attempt take that back. Returns its token, 0 if none
    /// was recorded here; `None`: it does not have the vote.
    pub(super) fn extend(
        &mut self,
        now: Micros,
        lease: LeaseId,
        length: Duration,
    ) -> Option<FencingToken> {
        self.end_lease(now);
        let holder = self.holder.as_mut().filter(|it| it.lease == lease)?;
        (holder.number, holder.ends) = (EVERY_ATTEMPT, now.plus(length));
        Some(FencingToken::new(holder.token))
    }

    /// Takes back the vote for an attempt and those before it; of [`EVERY_ATTEMPT`], also of those to come. Returns whether the lease
    /// had the vote; of every attempt also when that is repeated, until another lease was given back.
    pub(super) fn withdraw(&mut self, now: Micros, lease: LeaseId, number: u64) -> bool {
        self.end_lease(now);
        let had = self
            .holder
            .take_if(|holder| holder.lease == lease && holder.number <= number);
        if number < EVERY_ATTEMPT {
            return had.is_some();
        }
        if had.is_some() {
            self.released = Some(lease);
        }
        if self.released != Some(lease) {
            self.over = Some(lease);
        }
        self.released == Some(lease)
    }

    /// Takes the vote away from the lease with `token`, or from whichever has it, for good. Returns its token, 0 if none
    /// was recorded here; asking again for a token gives the same answer until another was taken away.
    pub(super) fn force(
        &mut self,
        now: Micros,
        token: Option<FencingToken>,
    ) -> Option<FencingToken> {
        self.end_lease(now);
        let is_meant = |it: &mut Holder| token.is_none_or(|token| token.get() == it.token);
        let Some(holder) = self.holder.take_if(is_meant) else {
            return token.filter(|_| token == self.forced);
        };
        let taken = FencingToken::new(holder.token);
        (self.over, self.forced) = (Some(holder.lease), Some(taken));
        Some(taken)
    }

    /// Who has the vote.
    pub(super) fn look(&self, now: Micros) -> Option<Seat> {
        let holder = self.holder.as_ref().filter(|it| it.ends > now)?;
        Some(Seat {
            lease: holder.lease.into(),
            token: FencingToken::new(holder.token),
            owner: holder.owner.clone(),
            held_for: now.since(holder.since),
            remaining: holder.ends.since(now),
        })
    }

    /// Until when anything of it is worth keeping.
    pub(super) fn retained_until(&self, now: Micros) -> Micros {
        let ends = self.holder.as_ref().map_or(now, |it| it.ends);
        ends.max(now).plus(RETENTION)
    }

    fn floor(&self, now: Micros) -> FencingToken {
        FencingToken::new((self.last + 1).max(now.get()))
    }

    fn is_over(&self, lease: LeaseId) -> bool {
        self.released == Some(lease) || self.over == Some(lease)
    }

    fn end_lease(&mut self, now: Micros) {
        self.holder.take_if(|holder| holder.ends <= now);
    }
}

fn recorded(token: u64) -> Option<FencingToken> {
    (token > 0).then(|| FencingToken::new(token))
}
