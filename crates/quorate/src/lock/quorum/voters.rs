//! The servers of a quorum, asked together.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::ballot::EVERY_ATTEMPT;
use super::port::VotePort;
use super::tally::no_majority;
use super::validity::majority;
use crate::backoff::Backoff;
use crate::context::Context;
use crate::error::{Error, Outcome, Result};
use crate::hooks::ErrorSource;
use crate::lock::{LeaseId, LockKey};
use crate::port::CallOptions;

/// Between two attempts to take a vote back from a server that does not answer.
const AGAIN: Backoff = Backoff {
    initial: Duration::from_millis(100),
    factor: 2.0,
    max: Duration::from_secs(2),
    jitter: 0.5,
};

/// Answers to come, each with the number of its server.
pub(super) type Round<T> = FuturesUnordered<BoxFuture<'static, (usize, Result<T>)>>;

/// The servers of a quorum.
#[derive(Clone)]
pub(super) struct Voters {
    ports: Arc<[Arc<dyn VotePort>]>,
    context: Arc<Context>,
}

/// What has come of a round.
#[derive(Debug)]
pub(super) struct Answers<T> {
    servers: usize,
    pub(super) given: Vec<(usize, T)>,
    failed: Vec<Error>,
}

impl Voters {
    pub(super) fn new(ports: Vec<Arc<dyn VotePort>>, context: Arc<Context>) -> Self {
        Self {
            ports: ports.into(),
            context,
        }
    }

    pub(super) fn count(&self) -> usize {
        self.ports.len()
    }

    pub(super) fn majority(&self) -> usize {
        majority(self.count())
    }

    /// Asks all of them at once, for an answer until `deadline`.
    pub(super) fn ask<T, F>(
        &self,
        deadline: Instant,
        ask: impl Fn(Arc<dyn VotePort>, CallOptions) -> F,
    ) -> Round<T>
    where
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let options = CallOptions::until(deadline);
        let asked = self.ports.iter().enumerate().map(|(server, port)| {
            let answer = ask(port.clone(), options);
            let answer: BoxFuture<'static, _> = Box::pin(async move { (server, answer.await) });
            answer
        });
        asked.collect()
    }

    /// Collects answers until they are enough, or all.
    pub(super) async fn collect<T>(
        &self,
        round: &mut Round<T>,
        enough: impl Fn(&Answers<T>) -> bool,
    ) -> Answers<T> {
        let mut answers = Answers {
            servers: self.count(),
            given: Vec::new(),
            failed: Vec::new(),
        };
        while !enough(&answers) {
            match round.next().await {
                Some((server, Ok(answer))) => answers.given.push((server, answer)),
                Some((_, Err(error))) => answers.failed.push(error),
                None => break,
            }
        }
        answers
    }

    /// Lets those who have not answered do so, though nobody waits for it: what they were asked is to be done.
    pub(super) fn let_finish<T: Send + 'static>(&self, round: Round<T>) {
        self.finish(round, |_, _| {});
    }

    /// The same, and looks at what they answer.
    pub(super) fn finish<T: Send + 'static>(
        &self,
        mut round: Round<T>,
        look: impl Fn(usize, T) + Send + 'static,
    ) {
        if round.is_empty() {
            return;
        }
        let voters = self.clone();
        self.spawn(async move {
            while let Some((server, answer)) = round.next().await {
                match answer {
                    Ok(answer) => look(server, answer),
                    Err(error) => voters.report_all([error]),
                }
            }
        });
    }

    /// Takes the votes for a lease back everywhere, also from servers that have not answered: until they do, or the
    /// lease, `kept` at most for so long, has ended there. Returns what each says first.
    pub(super) fn take_back(
        &self,
        lock: &LockKey,
        lease: LeaseId,
        number: u64,
        kept: Duration,
    ) -> mpsc::UnboundedReceiver<Result<bool>> {
        let (sender, answers) = mpsc::unbounded_channel();
        let ends = Instant::now() + kept;
        for port in &*self.ports {
            let (voters, port, lock) = (self.clone(), port.clone(), lock.clone());
            let sender = sender.clone();
            self.spawn(async move {
                let withdraw = || {
                    let options = CallOptions::until(voters.context.attempt_deadline());
                    port.withdraw(&lock, lease, number, options)
                };
                let first = withdraw().await;
                let mut failed = first.is_err().then_some(1);
                // Nobody may be waiting for it any more.
                let unheard = sender.send(first).err();
                drop(sender);
                voters.report_all(unheard.and_then(|answer| answer.0.err()));
                while let Some(times) = failed.take()
                    && Instant::now() < ends
                    && voters.stays_open_for(AGAIN.delay(times)).await
                {
                    failed = match withdraw().await {
                        Err(error) if error.is_retryable() => Some(times.saturating_add(1)),
                        answer => {
                            voters.report_all(answer.err());
                            None
                        }
                    };
                }
            });
        }
        answers
    }

    /// Whether a lease that is given back for good had the lock.
    pub(super) async fn release(
        &self,
        lock: &LockKey,
        lease: LeaseId,
        kept: Duration,
        deadline: Instant,
    ) -> Result<bool> {
        let mut answers = self.take_back(lock, lease, EVERY_ATTEMPT, kept);
        let (mut had, mut had_not, mut failed) = (0, 0, Vec::new());
        let spare = self.count() - self.majority();
        while let Ok(Some(answer)) = tokio::time::timeout_at(deadline, answers.recv()).await {
            match answer {
                Ok(true) => had += 1,
                Ok(false) => had_not += 1,
                Err(error) => failed.push(error),
            }
            if had >= self.majority() || had_not > spare {
                self.report_all(failed);
                return Ok(had >= self.majority());
            }
        }
        // Those who answered have done it, and the others are still asked.
        let answered = had + had_not;
        Err(no_majority(self.count(), answered, failed).with_outcome(Outcome::Unknown))
    }

    /// Tells of what failed and decided nothing.
    pub(super) fn report_all(&self, errors: impl IntoIterator<Item = Error>) {
        for error in errors {
            self.context.hooks.error(ErrorSource::Lock, &error);
        }
    }

    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        // Always called inside of a runtime.
        self.context.spawn(task);
    }

    async fn stays_open_for(&self, pause: Duration) -> bool {
        tokio::select! {
            () = tokio::time::sleep(pause) => true,
            () = self.context.closed().cancelled() => false,
        }
    }
}

impl<T> Answers<T> {
    /// How many answers are like this.
    pub(super) fn count(&self, is_it: impl Fn(&T) -> bool) -> usize {
        self.given
            .iter()
            .filter(|(_, answer)| is_it(answer))
            .count()
    }

    /// Whether so many servers failed that the rest is no majority.
    pub(super) fn is_unreachable(&self) -> bool {
        self.failed.len() > self.servers - majority(self.servers)
    }

    /// The error of a round that decided nothing.
    pub(super) fn no_majority(&mut self) -> Error {
        no_majority(self.servers, self.given.len(), self.take_failed())
    }

    /// How many servers did not answer.
    pub(super) fn missing(&self) -> usize {
        self.servers - self.given.len()
    }

    pub(super) fn take_failed(&mut self) -> Vec<Error> {
        std::mem::take(&mut self.failed)
    }
}

impl fmt::Debug for Voters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&*self.ports).finish()
    }
}
