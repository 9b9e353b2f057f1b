//! The lock as a pure function of its state and the time. `library.lua` and `scripts/*.lua` mirror it: what they leave out
//! is what cannot have changed. Of more than [`MOST_COLLECTED`] dead waiters they may collect fewer after a grant.
//!
//! One state for every kind. A lock has a capacity and a holder a weight: of a mutex both are 1, a writer weighs as
//! much as all readers may together. Who cannot have it waits in a queue, and is granted it there by whichever transition
//! of others makes room: nobody passes a waiter that does not fit yet.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::time::Duration;

use super::ask::{AcquireReply, Ask, LockHolder, LockStatus, LockWaiter};
use super::lease::{FencingToken, LeaseId};
use super::news::{News, WaiterId};
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
/// To how many waiters one transition grants something; the next goes on.
pub(super) const MOST_GRANTS: usize = 128;
/// How many waiters that are gone one transition takes out of the queue at a time; the next goes on, unless one of them
/// still stands in front.
pub(super) const MOST_COLLECTED: usize = 500;
/// That a lease was given back is not announced before it is so old: its guard does not listen yet, and looks when it
/// begins to. Short work pays for no announcement.
pub(super) const UNHEARD: Duration = Duration::from_millis(500);

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
    /// Until when each of those counts who wait.
    alive: BTreeSet<(Micros, LeaseId)>,
    /// When an end was last written, of a lease or of who waits. A clock that shows less was set back since.
    written: Micros,
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
    /// How long it was to be when that was written.
    length: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Waiter {
    ask: Ask,
    since: Micros,
    /// Until when it counts, unless it asks again.
    alive: Micros,
}

impl Holder {
    /// When it ends, for a clock that may have been set back since that was written.
    fn ends_by(&self, now: Micros) -> Micros {
        self.ends.min(now.plus(self.length))
    }

    /// Whether its guard may be listening.
    fn is_heard(&self, now: Micros) -> bool {
        now < self.since || now.since(self.since) >= UNHEARD
    }
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
            news.extend(self.let_last(now, at, ask.length));
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
        let mut news = self.settle(now);
        let held = self.position(lease);
        if let Some(at) = held {
            news.extend(self.let_last(now, at, length));
        }
        (held.is_some(), news)
    }

    /// Gives the lock back, or the place in the queue. `false`: it was not, or no longer, held. Releasing again gives the
    /// same answer until another lease was released.
    pub(super) fn release(&mut self, now: Micros, lease: LeaseId) -> Told<bool> {
        self.follow_clock(now);
        let mut news = Vec::new();
        let held = self.position(lease);
        let held = held.filter(|at| self.holders[*at].ends > now);
        if let Some(at) = held {
            let holder = &self.holders[at];
            news.push(News::Released {
                token: holder.token,
            });
            if holder.is_heard(now) {
                let holder = lease.into();
                news.push(News::Ended { holder });
            }
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
        self.follow_clock(now);
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
            let (held_for, remaining) = (now.since(it.since), it.ends_by(now).since(now));
            let (lease, owner) = (WaiterId::from(it.lease), it.owner.clone());
            LockHolder::new(it.token, lease, owner, it.weight, held_for, remaining)
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
            waiting: self.queue.iter().filter(|it| it.alive > now).count() as u64,
        }
    }

    /// Until when anything of it is worth keeping.
    pub(crate) fn retained_until(&self, now: Micros) -> Micros {
        self.latest.max(now).plus(RETENTION)
    }

    /// Frees what has ended, and grants what is free to those whose turn it is.
    fn settle(&mut self, now: Micros) -> Vec<News> {
        self.follow_clock(now);
        self.end_leases(now);
        let mut news = Vec::new();
        for _ in 0..MOST_GRANTS {
            self.collect(now);
            let Some(ask) = self.queue.front().map(|head| head.ask.clone()) else {
                break;
            };
            if !self.admits(&ask) {
                break;
            }
            self.leave_queue(ask.lease);
            // Only for so long until it confirms: it may be gone.
            let token = self.enter(now, &ask, ask.length.min(HEARTBEAT));
            let waiter = ask.lease.into();
            news.push(News::Granted { waiter, token });
        }
        news
    }

    /// What was written by a clock that was ahead of this one ends as if it were written now, if it would end later.
    fn follow_clock(&mut self, now: Micros) {
        if self.written <= now {
            return;
        }
        self.written = now;
        for holder in &mut self.holders {
            holder.ends = holder.ends_by(now);
        }
        self.find_bounds();
        let most = now.plus(HEARTBEAT);
        for waiter in &mut self.queue {
            if waiter.alive > most {
                self.alive.remove(&(waiter.alive, waiter.ask.lease));
                waiter.alive = most;
                self.alive.insert((most, waiter.ask.lease));
            }
        }
    }

    /// Takes waiters that are gone out of the queue: some of them, and all that stand in front.
    fn collect(&mut self, now: Micros) {
        while self.alive.first().is_some_and(|(alive, _)| *alive <= now) {
            let all = self.alive.iter().take_while(|(alive, _)| *alive <= now);
            let gone: Vec<_> = all.take(MOST_COLLECTED).copied().collect();
            for it in &gone {
                self.alive.remove(it);
            }
            let gone: HashSet<_> = gone.into_iter().map(|(_, lease)| lease).collect();
            self.queue.retain(|it| !gone.contains(&it.ask.lease));
            if self.queue.front().is_none_or(|head| head.alive > now) {
                return;
            }
        }
    }

    fn end_leases(&mut self, now: Micros) {
        if self.holders.is_empty() || self.soonest > now {
            return;
        }
        self.holders.retain(|holder| holder.ends > now);
        self.find_bounds();
    }

    fn find_bounds(&mut self) {
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
            length,
        });
        self.let_last(now, self.holders.len() - 1, length);
        token
    }

    /// Lets a lease end `length` from now; news, if that is sooner than it was to.
    fn let_last(&mut self, now: Micros, at: usize, length: Duration) -> Option<News> {
        let holder = &mut self.holders[at];
        let (before, ends) = (holder.ends, now.plus(length));
        (holder.ends, holder.length) = (ends, length);
        let shortened = (ends < before).then(|| News::Shortened {
            holder: holder.lease.into(),
        });
        self.written = now;
        let only = self.holders.len() == 1;
        self.soonest = if only { ends } else { self.soonest.min(ends) };
        self.latest = if only { ends } else { self.latest.max(ends) };
        shortened
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
        self.written = now;
        self.alive.insert((alive, ask.lease));
        match known {
            Some(at) => {
                let before = std::mem::replace(&mut self.queue[at], waiter);
                if before.alive != alive {
                    self.alive.remove(&(before.alive, ask.lease));
                }
            }
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
        let left = at.and_then(|at| self.queue.remove(at));
        if let Some(waiter) = &left {
            self.alive.remove(&(waiter.alive, lease));
        }
        left.is_some()
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
