//! Locks of a quorum as a backend: each operation is a round of questions to all of its servers.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::ballot::{Ballot, EVERY_ATTEMPT, Seat};
use super::port::VotePort;
use super::tally::{Tally, Verdict};
use super::validity::{kept_for, patience};
use super::voters::{Answers, Voters};
use crate::context::Context;
use crate::error::{Error, ErrorKind, Outcome, Result};
use crate::events::Channel;
use crate::key::Namespace;
use crate::lock::{
    AcquireReply, Ask, FencingToken, LeaseId, LockHolder, LockKey, LockKind, LockPort, LockStatus,
    ScannedLocks,
};
use crate::port::CallOptions;
use crate::scan::ScanCursor;

/// How long to wait for servers that are looked at, or have a lock taken away.
const LOOK_PATIENCE: Duration = Duration::from_secs(1);

/// Numbers the attempts of this process. A lease is asked for by one process alone.
static NEXT_NUMBER: AtomicU64 = AtomicU64::new(1);

/// The locks of a quorum.
pub(super) struct QuorumPort {
    voters: Voters,
    /// No lease is longer.
    longest: Duration,
    /// For how long a server must have been up to vote.
    quarantine: Duration,
    /// Which servers these turned out to be; empty while that is not known.
    known: Arc<Mutex<Vec<String>>>,
}

impl QuorumPort {
    /// With `trusting`, servers vote as soon as they are up.
    pub(super) fn new(
        ports: Vec<Arc<dyn VotePort>>,
        context: Arc<Context>,
        longest: Duration,
        trusting: bool,
    ) -> Self {
        let known = vec![String::new(); ports.len()];
        Self {
            known: Arc::new(Mutex::new(known)),
            voters: Voters::new(ports, context),
            longest,
            quarantine: if trusting {
                Duration::ZERO
            } else {
                kept_for(longest)
            },
        }
    }

    fn check(&self, lock: &LockKey, ask: &Ask) -> Result<()> {
        if lock.kind() != LockKind::Mutex || ask.reentrant {
            return Err(Error::new(ErrorKind::Unsupported)
                .with_message("a quorum has plain mutexes alone, which are not re-entrant"));
        }
        self.check_length(ask.length)?;
        self.check_different()
    }

    /// Two votes of one server are one, however often it is asked.
    fn check_different(&self) -> Result<()> {
        let known = self.known.lock();
        let seen: Vec<_> = known.iter().filter(|server| !server.is_empty()).collect();
        let different: BTreeSet<_> = seen.iter().collect();
        if different.len() < seen.len() {
            let rule = "must be different ones: two of them are the same";
            return Err(Error::config("servers", rule));
        }
        Ok(())
    }

    fn check_length(&self, length: Duration) -> Result<()> {
        if length > self.longest {
            let rule = format!(
                "must be at most the longest lease of the quorum, {:?}",
                self.longest
            );
            return Err(Error::invalid("lease", rule));
        }
        Ok(())
    }

    /// One attempt: the votes, and then the token.
    async fn attempt(
        &self,
        lock: &LockKey,
        ask: &Ask,
        number: u64,
        options: CallOptions,
    ) -> Verdict {
        let asked = Instant::now();
        let deadline = options.deadline.min(asked + patience(ask.length));
        let mut ballot = Ballot::new(ask.lease, number, kept_for(ask.length), self.quarantine);
        ballot.owner.clone_from(&ask.owner);
        let verdict = match self.votes(lock, ballot, deadline).await {
            Verdict::Won {
                token,
                is_recorded: false,
            } => {
                let until = options.deadline.min(Instant::now() + patience(ask.length));
                self.record(lock, ask.lease, number, token, until).await
            }
            verdict => verdict,
        };
        if matches!(verdict, Verdict::Won { .. }) && asked.elapsed() >= ask.length {
            let error = Error::new(ErrorKind::Timeout)
                .with_outcome(Outcome::Unknown)
                .with_message("the votes took longer than the lease is to last");
            return Verdict::Failed(error);
        }
        verdict
    }

    async fn votes(&self, lock: &LockKey, ballot: Ballot, deadline: Instant) -> Verdict {
        let mut round = self.voters.ask(deadline, |port, options| {
            let (lock, ballot) = (lock.clone(), ballot.clone());
            async move { port.vote(&lock, &ballot, options).await }
        });
        let mut tally = Tally::new(self.voters.count());
        while !tally.is_decided()
            && let Some((server, voted)) = round.next().await
        {
            tally.add(voted.map(|voted| {
                self.known.lock()[server] = voted.server;
                voted.vote
            }));
        }
        let known = self.known.clone();
        self.voters.finish(round, move |server, voted| {
            known.lock()[server] = voted.server;
        });
        let (verdict, failed) = tally.verdict();
        self.voters.report_all(failed);
        if let Err(error) = self.check_different() {
            return Verdict::Failed(error.with_outcome(Outcome::Unknown));
        }
        verdict
    }

    /// The second round. A majority writes the token down, each only while the attempt has its vote and only after smaller
    /// ones: so every later majority has a server that knows of it, and no other lease is given it.
    async fn record(
        &self,
        lock: &LockKey,
        lease: LeaseId,
        number: u64,
        token: FencingToken,
        deadline: Instant,
    ) -> Verdict {
        let mut round = self.voters.ask(deadline, |port, options| {
            let lock = lock.clone();
            async move { port.record(&lock, lease, number, token, options).await }
        });
        let needed = self.voters.majority();
        let written = |answers: &Answers<bool>| answers.count(|it| *it);
        let enough = |answers: &Answers<bool>| written(answers) >= needed;
        let mut answers = self.voters.collect(&mut round, enough).await;
        let is_recorded = enough(&answers);
        if !is_recorded && answers.is_unreachable() {
            let error = answers.no_majority().with_outcome(Outcome::Unknown);
            return Verdict::Failed(error);
        }
        self.voters.report_all(answers.take_failed());
        self.voters.let_finish(round);
        if is_recorded {
            return Verdict::Won { token, is_recorded };
        }
        // The votes were lost since: taken away, or their time was over.
        Verdict::Held {
            remaining: Duration::ZERO,
        }
    }

    /// Takes back what an attempt that failed may have got everywhere, and waits for a majority to have done so.
    async fn undo(&self, lock: &LockKey, ask: &Ask, number: u64) {
        let kept = kept_for(ask.length);
        let mut answers = self.voters.take_back(lock, ask.lease, number, kept);
        let (mut done, mut failed) = (0, Vec::new());
        let until = Instant::now() + patience(ask.length);
        // Who does not answer in time is told all the same.
        while done < self.voters.majority()
            && let Ok(Some(answer)) = tokio::time::timeout_at(until, answers.recv()).await
        {
            done += usize::from(answer.is_ok());
            failed.extend(answer.err());
        }
        self.voters.report_all(failed);
    }

    /// Asks servers that lost a lease, or never had it, for one vote more: so a lock outlives that they start again one
    /// after the other.
    fn repair(&self, lock: &LockKey, lease: LeaseId, length: Duration, answers: &Extended) {
        if answers.count(Option::is_none) == 0 {
            return;
        }
        let tokens = answers.given.iter().filter_map(|(_, token)| *token);
        let mut ballot = Ballot::new(lease, EVERY_ATTEMPT, kept_for(length), self.quarantine);
        ballot.token = tokens.max().filter(|token| token.get() > 0);
        let deadline = Instant::now() + patience(length);
        let round = self.voters.ask(deadline, |port, options| {
            let (lock, ballot) = (lock.clone(), ballot.clone());
            async move { port.vote(&lock, &ballot, options).await }
        });
        self.voters.let_finish(round);
    }

    async fn seats(&self, lock: &LockKey, options: CallOptions) -> Answers<Option<Seat>> {
        let deadline = options.deadline.min(Instant::now() + LOOK_PATIENCE);
        let mut round = self.voters.ask(deadline, |port, options| {
            let lock = lock.clone();
            async move { port.look(&lock, options).await }
        });
        self.voters.collect(&mut round, |_| false).await
    }
}

type Extended = Answers<Option<FencingToken>>;

#[async_trait]
impl LockPort for QuorumPort {
    async fn acquire(
        &self,
        lock: &LockKey,
        ask: &Ask,
        options: CallOptions,
    ) -> Result<AcquireReply> {
        self.check(lock, ask)?;
        let number = NEXT_NUMBER.fetch_add(1, Ordering::Relaxed);
        let verdict = self.attempt(lock, ask, number, options).await;
        if let Verdict::Won { token, .. } = verdict {
            return Ok(AcquireReply::Acquired { token });
        }
        self.undo(lock, ask, number).await;
        match verdict {
            Verdict::Failed(error) => Err(error),
            Verdict::Silent { error, .. } if !ask.wait => Err(error),
            Verdict::Held { remaining } if !ask.wait => Ok(AcquireReply::Held { remaining }),
            Verdict::Held { remaining } | Verdict::Silent { remaining, .. } => {
                // Nobody has a place in a queue: who asks again first, by chance, has it.
                Ok(AcquireReply::Queued {
                    ahead: 1,
                    remaining,
                    last: FencingToken::new(0),
                })
            }
            Verdict::Won { token, .. } => Ok(AcquireReply::Acquired { token }),
        }
    }

    async fn extend(
        &self,
        lock: &LockKey,
        lease: LeaseId,
        length: Duration,
        options: CallOptions,
    ) -> Result<bool> {
        self.check_length(length)?;
        let kept = kept_for(length);
        let deadline = options.deadline.min(Instant::now() + patience(length));
        let mut round = self.voters.ask(deadline, |port, options| {
            let lock = lock.clone();
            async move { port.extend(&lock, lease, kept, options).await }
        });
        let needed = self.voters.majority();
        let spare = self.voters.count() - needed;
        let is_held = |answers: &Extended| answers.count(Option::is_some) >= needed;
        let is_lost = |answers: &Extended| answers.count(Option::is_none) > spare;
        let enough = |answers: &Extended| is_held(answers) || is_lost(answers);
        let mut answers = self.voters.collect(&mut round, enough).await;
        if !enough(&answers) {
            // Those who answered have done it.
            return Err(answers.no_majority().with_outcome(Outcome::Unknown));
        }
        self.voters.report_all(answers.take_failed());
        self.voters.let_finish(round);
        let is_held = is_held(&answers);
        if is_held {
            self.repair(lock, lease, length, &answers);
        } else {
            // A few may still have it, and nobody else would tell them.
            drop(self.voters.take_back(lock, lease, EVERY_ATTEMPT, kept));
        }
        Ok(is_held)
    }

    async fn release(&self, lock: &LockKey, lease: LeaseId, options: CallOptions) -> Result<bool> {
        let kept = kept_for(self.longest);
        let deadline = options.deadline;
        self.voters.release(lock, lease, kept, deadline).await
    }

    async fn force_release(
        &self,
        lock: &LockKey,
        token: Option<FencingToken>,
        options: CallOptions,
    ) -> Result<Vec<FencingToken>> {
        let deadline = options.deadline.min(Instant::now() + LOOK_PATIENCE);
        let mut round = self.voters.ask(deadline, |port, options| {
            let lock = lock.clone();
            async move { port.force(&lock, token, options).await }
        });
        let mut answers = self.voters.collect(&mut round, |_| false).await;
        if answers.is_unreachable() {
            // Those who answered may have taken it away.
            return Err(answers.no_majority().with_outcome(Outcome::Unknown));
        }
        self.voters.report_all(answers.take_failed());
        let tokens = answers.given.into_iter().filter_map(|(_, token)| token);
        let mut tokens: Vec<_> = tokens.filter(|token| token.get() > 0).collect();
        tokens.sort_unstable();
        tokens.dedup();
        Ok(tokens)
    }

    async fn look(&self, lock: &LockKey, options: CallOptions) -> Result<LockStatus> {
        let mut answers = self.seats(lock, options).await;
        if answers.is_unreachable() {
            return Err(answers.no_majority());
        }
        let needed = self.voters.majority();
        let seats: Vec<_> = answers
            .given
            .iter()
            .filter_map(|it| it.1.as_ref())
            .collect();
        let most = largest(&seats).len();
        if most > 0 && most < needed && most + answers.missing() >= needed {
            let message = "whether it is held, a server knows that did not answer";
            return Err(answers.no_majority().with_message(message));
        }
        let mut status = LockStatus::default();
        status.holders.extend(holder(&seats, needed));
        self.voters.report_all(answers.take_failed());
        Ok(status)
    }

    async fn scan(
        &self,
        _namespace: &Namespace,
        _prefix: &str,
        _from: Option<&ScanCursor>,
        _options: CallOptions,
    ) -> Result<ScannedLocks> {
        Err(Error::new(ErrorKind::Unsupported).with_message("locks of a quorum are not listed"))
    }

    fn announced_on(&self, _lock: &LockKey) -> Option<Channel> {
        None
    }
}

/// Who has the votes of a majority, until the first of those that it needs ends.
fn holder(seats: &[&Seat], needed: usize) -> Option<LockHolder> {
    let mut own: Vec<_> = largest(seats);
    if own.len() < needed {
        return None;
    }
    own.sort_unstable_by_key(|seat| std::cmp::Reverse(seat.remaining));
    let remaining = own[needed - 1].remaining;
    let token = own.iter().map(|seat| seat.token).max()?;
    let held_for = own.iter().map(|seat| seat.held_for).max()?;
    // A vote that came later does not say whose it is.
    let owner = own.iter().find(|seat| !seat.owner.is_empty());
    let owner = owner.map(|seat| seat.owner.clone()).unwrap_or_default();
    let lease = own[0].lease;
    Some(LockHolder::new(token, lease, owner, 1, held_for, remaining))
}

/// The votes of the lease that has most.
fn largest<'a>(seats: &[&'a Seat]) -> Vec<&'a Seat> {
    let of = |lease| seats.iter().copied().filter(move |it| it.lease == lease);
    let sizes = seats
        .iter()
        .map(|seat| (of(seat.lease).count(), seat.lease));
    let most = sizes.max_by_key(|(size, _)| *size);
    most.map_or_else(Vec::new, |(_, lease)| of(lease).collect())
}

impl fmt::Display for QuorumPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "locks of a quorum of {} servers", self.voters.count())
    }
}

impl fmt::Debug for QuorumPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuorumPort")
            .field("voters", &self.voters)
            .field("longest", &self.longest)
            .finish_non_exhaustive()
    }
}
