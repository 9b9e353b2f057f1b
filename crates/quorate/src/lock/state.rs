//! The lock as a pure function of its state and the time. `library.lua` and `scripts/*.lua` mirror it line by line.
//!
//! One state for every kind. A lock has a capacity and a holder a weight: of a mutex both are 1, a writer weighs as
//! much as all readers may together. Who cannot have it waits in a queue, and is granted it there by whichever transition
//! of others makes room: nobody passes a waiter that does not fit yet.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use super::ask::{AcquireReply, Ask, LockHolder, LockStatus, LockWaiter};
use super::lease::{FencingToken, LeaseId};
use super::news::News;
use crate::clock::Micros;

/// How long a waiter counts as alive after it asked, and how long a grant lasts that nobody has confirmed.
pub const HEARTBEAT: Duration = Duration::from_secs(3);
/// How long the counter outlives the last lease. After it, server time keeps tokens growing.
pub(crate) const RETENTION: Duration = Duration::from_secs(24 * 3600);
/// How many may hold a lock together, whatever its capacity: a transition may have to look at each of them.
pub const MOST_HOLDERS: usize = 1_000;
/// How many may wait for a lock.
pub const MOST_WAITERS: usize = 10_000;
/// How many of those who wait are shown.
pub const MOST_SHOWN: usize = 100;
/// How many waiters one transition looks at; the next goes on.
pub(super) const MOST_GRANTS: usize = 128;

/// Everything remembered of one lock.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct LockState {
    /// The last token given out.
    last: u64,
    /// The last lease given back, to recognise a repeated release.
    released: Option<LeaseId>,
    /// The last token taken away, to recognise a repeated force.
    forced: Option<FencingToken>,
    holders: Vec<Holder>,
    queue: VecDeque<Waiter>,
    /// No lease ends before this, and none after `latest`: bounds, so that most transitions need not look at all of them.
    soonest: Micros,
    latest: Micros,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Holder {
    lease: LeaseId,
    token: FencingToken,
    weight: u32,
    owner: String,
    reentrant: bool,
    since: Micros,
    ends: Micros,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Waiter {
    ask: Ask,
    since: Micros,
    /// Until when it counts, unless it asks again.
    alive: Micros,
}

/// What a transition answers, and what of it is announced.
pub(super) type Told<R> = (R, Vec<News>);

impl LockState {
    /// A lock that nobody holds, whose last token was this.
    #[cfg(feature = "file")]
    pub(super) fn after(last: u64) -> Self {
        Self {
            last,
            ..Self::default()
        }
    }

    /// The last token given out; 0 if there is none.
    pub(super) const fn last(&self) -> u64 {
        self.last
    }

    /// Takes the lock if it can be had and nobody is in front, or queues for it. Asking again with a lease that holds it
    /// makes that end `length` from now, and gives the same token.
    pub(super) fn acquire(&mut self, now: Micros, ask: &Ask) -> Told<AcquireReply> {
        let mut news = self.settle(now);
        if let Some(at) = self.position(ask.lease) {
            self.let_end(at, now.plus(ask.length));
            let token = self.holders[at].token;
            return (AcquireReply::Acquired { token }, news);
        }
        let first = self.queue.front();
        let in_turn = first.is_none_or(|first| first.ask.lease == ask.lease);
        if self.admits(ask) && (in_turn || self.companion(ask).is_some()) {
            self.leave_queue(ask.lease);
            let token = self.enter(now, ask, ask.length);
            news.push(News::Acquired { token });
            return (AcquireReply::Acquired { token }, news);
        }
        if ask.wait {
            return (self.queue_up(now, ask), news);
        }
        if self.leave_queue(ask.lease) {
            // Somebody behind may fit where the one in front did not.
            news.extend(self.settle(now));
        }
        let remaining = self.remaining(now);
        (AcquireReply::Held { remaining }, news)
    }

    /// Lets the lease end `length` from now. `false`: it is not, or no longer, held.
    pub(super) fn extend(&mut self, now: Micros, lease: LeaseId, length: Duration) -> Told<bool> {
        let news = self.settle(now);
        let held = self.position(lease);
        if let Some(at) = held {
            self.let_end(at, now.plus(length));
        }
        (held.is_some(), news)
    }

    /// Gives the lock back, or the place in the queue. `false`: it was not, or no longer, held. Releasing again gives the
    /// same answer until another lease was released.
    pub(super) fn release(&mut self, now: Micros, lease: LeaseId) -> Told<bool> {
        let mut news = Vec::new();
        let held = self.position(lease);
        let held = held.filter(|at| self.holders[*at].ends > now);
        if let Some(at) = held {
            news.push(News::Released {
                token: self.holders[at].token,
            });
            self.remove(at);
            self.released = Some(lease);
        } else {
            self.leave_queue(lease);
        }
        news.extend(self.settle(now));
        (held.is_some() || self.released == Some(lease), news)
    }

    /// Takes the lock away from the holder with `token`, or from all. Returns the tokens of those who lost it; asking
    /// again for a token gives the same answer until another was taken away.
    pub(super) fn force(
        &mut self,
        now: Micros,
        token: Option<FencingToken>,
    ) -> Told<Vec<FencingToken>> {
        self.end_leases(now);
        let is_meant = |holder: &Holder| token.is_none_or(|token| token == holder.token);
        let meant = self.holders.iter().filter(|holder| is_meant(holder));
        let tokens: BTreeSet<_> = meant.map(|holder| holder.token).collect();
        let tokens: Vec<_> = tokens.into_iter().collect();
        if tokens.is_empty() {
            let again = token.filter(|_| token == self.forced);
            return (again.into_iter().collect(), self.settle(now));
        }
        self.holders.retain(|holder| !is_meant(holder));
        self.forget_bounds_of_none();
        self.forced = tokens.last().copied();
        let mut news = vec![News::Forced {
            tokens: tokens.clone(),
        }];
        news.extend(self.settle(now));
        (tokens, news)
    }

    /// The lock as it is, unchanged.
    pub(super) fn look(&self, now: Micros) -> LockStatus {
        let holders = self.holders.iter().filter(|holder| holder.ends > now);
        let holders = holders.map(|it| {
            let (held_for, remaining) = (now.since(it.since), it.ends.since(now));
            LockHolder::new(it.token, it.owner.clone(), it.weight, held_for, remaining)
        });
        let mut holders: Vec<_> = holders.collect();
        holders.sort_unstable();
        let shown = self.queue.iter().take(MOST_SHOWN);
        let shown = shown.filter(|waiter| waiter.alive > now);
        let waiters = shown
            .map(|it| LockWaiter::new(it.ask.owner.clone(), it.ask.weight, now.since(it.since)));
        LockStatus {
            holders,
            waiters: waiters.collect(),
            waiting: self.queue.len() as u64,
        }
    }

    /// Until when anything of it is worth keeping.
    pub(crate) fn retained_until(&self, now: Micros) -> Micros {
        self.latest.max(now).plus(RETENTION)
    }

    /// Frees what has ended, and grants what is free to those whose turn it is.
    fn settle(&mut self, now: Micros) -> Vec<News> {
        self.end_leases(now);
        let mut news = Vec::new();
        for _ in 0..MOST_GRANTS {
            let Some(head) = self.queue.front() else {
                break;
            };
            let is_alive = head.alive > now;
            if is_alive && !self.admits(&head.ask) {
                break;
            }
            let Some(Waiter { ask, .. }) = self.queue.pop_front() else {
                break;
            };
            if is_alive {
                // Only for so long until it confirms: it may be gone.
                let token = self.enter(now, &ask, ask.length.min(HEARTBEAT));
                let waiter = ask.lease.into();
                news.push(News::Granted { waiter, token });
            }
        }
        news
    }

    fn end_leases(&mut self, now: Micros) {
        if self.holders.is_empty() || self.soonest > now {
            return;
        }
        self.holders.retain(|holder| holder.ends > now);
        let ends = || self.holders.iter().map(|holder| holder.ends);
        let (soonest, latest) = (ends().min(), ends().max());
        self.soonest = soonest.unwrap_or_default();
        self.latest = latest.unwrap_or_default();
    }

    /// Whether there is room, whoever is in front.
    fn admits(&self, ask: &Ask) -> bool {
        let used = u64::from(self.used()) + u64::from(ask.weight);
        self.holders.len() < MOST_HOLDERS
            && (self.companion(ask).is_some() || used <= u64::from(ask.capacity))
    }

    /// Who holds it already, and holds it together with who asks.
    fn companion(&self, ask: &Ask) -> Option<&Holder> {
        let mut holders = self.holders.iter();
        holders.find(|holder| ask.reentrant && holder.reentrant && holder.owner == ask.owner)
    }

    /// How much of it is held; those who hold it together count once.
    fn used(&self) -> u32 {
        let mut seen = BTreeSet::new();
        let counted = self
            .holders
            .iter()
            .filter(|it| !it.reentrant || seen.insert(&it.owner));
        counted.map(|holder| holder.weight).sum()
    }

    fn enter(&mut self, now: Micros, ask: &Ask, length: Duration) -> FencingToken {
        let companion = self.companion(ask).map(|it| (it.token, it.weight));
        let (token, weight) = companion.unwrap_or_else(|| {
            let token = (self.last + 1).max(now.get());
            (FencingToken::new(token), ask.weight)
        });
        self.last = self.last.max(token.get());
        self.holders.push(Holder {
            lease: ask.lease,
            token,
            weight,
            owner: ask.owner.clone(),
            reentrant: ask.reentrant,
            since: now,
            ends: now,
        });
        self.let_end(self.holders.len() - 1, now.plus(length));
        token
    }

    fn let_end(&mut self, at: usize, ends: Micros) {
        self.holders[at].ends = ends;
        let only = self.holders.len() == 1;
        self.soonest = if only { ends } else { self.soonest.min(ends) };
        self.latest = if only { ends } else { self.latest.max(ends) };
    }

    fn remove(&mut self, at: usize) {
        self.holders.swap_remove(at);
        self.forget_bounds_of_none();
    }

    fn forget_bounds_of_none(&mut self) {
        if self.holders.is_empty() {
            (self.soonest, self.latest) = (Micros::default(), Micros::default());
        }
    }

    fn queue_up(&mut self, now: Micros, ask: &Ask) -> AcquireReply {
        let alive = now.plus(HEARTBEAT);
        let known = self.queue.iter().position(|it| it.ask.lease == ask.lease);
        let ahead = known.unwrap_or(self.queue.len());
        if known.is_none() && ahead >= MOST_WAITERS {
            return AcquireReply::QueueFull;
        }
        let since = known.map_or(now, |at| self.queue[at].since);
        let waiter = Waiter {
            ask: ask.clone(),
            since,
            alive,
        };
        match known {
            Some(at) => self.queue[at] = waiter,
            None => self.queue.push_back(waiter),
        }
        AcquireReply::Queued {
            ahead: ahead as u64,
            remaining: self.remaining(now),
            last: FencingToken::new(self.last),
        }
    }

    fn leave_queue(&mut self, lease: LeaseId) -> bool {
        let at = self.queue.iter().position(|it| it.ask.lease == lease);
        at.and_then(|at| self.queue.remove(at)).is_some()
    }

    fn position(&self, lease: LeaseId) -> Option<usize> {
        self.holders.iter().position(|holder| holder.lease == lease)
    }

    /// How long at least until a lease ends.
    fn remaining(&self, now: Micros) -> Duration {
        self.soonest.since(now)
    }
}

#[cfg(test)]
mod tests;
