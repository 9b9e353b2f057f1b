//! What the votes of a round amount to, as a pure function of them.

use std::time::Duration;

use super::ballot::Vote;
use super::validity::majority;
use crate::error::{Error, ErrorKind, Outcome, Result};
use crate::lock::FencingToken;

/// The votes of a round, as they come in.
#[derive(Debug)]
pub(super) struct Tally {
    servers: usize,
    /// Floors and tokens.
    given: Vec<(FencingToken, Option<FencingToken>)>,
    held: Vec<Duration>,
    silent: Vec<Duration>,
    refused: usize,
    failed: Vec<Error>,
}

/// What a round decided.
#[derive(Debug)]
pub(super) enum Verdict {
    /// A majority gave its vote.
    Won {
        /// The token of the lease.
        token: FencingToken,
        /// Whether a majority has it written down already.
        is_recorded: bool,
    },
    /// Others have the votes that are missing.
    Held { remaining: Duration },
    /// The votes that are missing are those of servers that do not vote yet.
    Silent { remaining: Duration, error: Error },
    /// A majority cannot be asked.
    Failed(Error),
}

impl Tally {
    pub(super) fn new(servers: usize) -> Self {
        Self {
            servers,
            given: Vec::new(),
            held: Vec::new(),
            silent: Vec::new(),
            refused: 0,
            failed: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, vote: Result<Vote>) {
        match vote {
            Ok(vote) => match vote {
                Vote::Given { floor, token } => self.given.push((floor, token)),
                Vote::Held { remaining } => self.held.push(remaining),
                Vote::Silent { remaining } => self.silent.push(remaining),
                Vote::Refused => self.refused += 1,
            },
            Err(error) => self.failed.push(error),
        }
    }

    /// Whether further votes change nothing, and why it is so is certain: that a majority cannot be asked is not known
    /// before it was.
    pub(super) fn is_decided(&self) -> bool {
        let spare = self.servers - majority(self.servers);
        let is_lost = self.answered() - self.given.len() + self.failed.len() > spare;
        self.has_won()
            || self.failed.len() > spare
            || is_lost && self.answered() >= majority(self.servers)
    }

    fn answered(&self) -> usize {
        self.given.len() + self.held.len() + self.silent.len() + self.refused
    }

    fn has_won(&self) -> bool {
        self.given.len() >= majority(self.servers)
    }

    /// What it is, and the errors that did not decide it.
    pub(super) fn verdict(mut self) -> (Verdict, Vec<Error>) {
        if self.has_won() {
            return (self.won(), self.failed);
        }
        let spare = self.servers - majority(self.servers);
        if self.failed.len() > spare {
            return (Verdict::Failed(self.unreachable()), self.failed);
        }
        let remaining = self.remaining();
        if self.failed.len() + self.silent.len() > spare {
            let error = self.not_yet(remaining);
            return (Verdict::Silent { remaining, error }, self.failed);
        }
        (Verdict::Held { remaining }, self.failed)
    }

    fn won(&self) -> Verdict {
        let recorded = |token| self.given.iter().filter(|it| it.1 == Some(token)).count();
        let mut tokens = self.given.iter().filter_map(|it| it.1);
        if let Some(token) = tokens.find(|token| recorded(*token) >= majority(self.servers)) {
            let is_recorded = true;
            return Verdict::Won { token, is_recorded };
        }
        // Greater than all that a majority knows, so than all that any majority ever wrote.
        let token = self.given.iter().map(|it| it.0).max();
        Verdict::Won {
            token: token.unwrap_or(FencingToken::new(0)),
            is_recorded: false,
        }
    }

    /// How long until enough of the votes that are missing may be had.
    fn remaining(&self) -> Duration {
        let mut remaining = [&*self.held, &*self.silent].concat();
        remaining.sort_unstable();
        let needed = majority(self.servers) - self.given.len();
        let nth = remaining.get(needed - 1).or_else(|| remaining.last());
        nth.copied().unwrap_or_default()
    }

    fn not_yet(&self, remaining: Duration) -> Error {
        Error::new(ErrorKind::Backend)
            .with_retryable(true)
            .with_message(format!(
                "{} of {} servers started too short a time ago to vote; enough of them do in {:.1} s",
                self.silent.len(),
                self.servers,
                remaining.as_secs_f64()
            ))
    }

    fn unreachable(&mut self) -> Error {
        let may_be_given = !self.given.is_empty();
        let failed = std::mem::take(&mut self.failed);
        let error = no_majority(self.servers, self.answered(), failed);
        if may_be_given {
            error.with_outcome(Outcome::Unknown)
        } else {
            error
        }
    }
}

/// The error of a round in which so many servers did not answer that the rest is no majority.
pub(super) fn no_majority(servers: usize, answered: usize, failed: Vec<Error>) -> Error {
    let unknown = failed
        .iter()
        .any(|error| error.outcome() == Outcome::Unknown);
    let retryable = failed.iter().any(Error::is_retryable);
    let message = format!(
        "{answered} of {servers} servers answered, and {} have to",
        majority(servers)
    );
    let first = failed.into_iter().next();
    let kind = first.as_ref().map_or(ErrorKind::Timeout, Error::kind);
    let error = Error::new(kind)
        .with_retryable(retryable)
        .with_outcome(if unknown {
            Outcome::Unknown
        } else {
            Outcome::NotApplied
        });
    match first {
        Some(first) => {
            let message = match first.message() {
                Some(why) => format!("{message}: {why}"),
                None => message,
            };
            error.with_message(message).with_source(first)
        }
        None => error.with_message(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn given(floor: u64, token: u64) -> Vote {
        let token = if token == 0 {
            None
        } else {
            Some(FencingToken::new(token))
        };
        let floor = FencingToken::new(floor);
        Vote::Given { floor, token }
    }

    fn held(seconds: u64) -> Vote {
        let remaining = Duration::from_secs(seconds);
        Vote::Held { remaining }
    }

    fn silent(seconds: u64) -> Vote {
        let remaining = Duration::from_secs(seconds);
        Vote::Silent { remaining }
    }

    fn lost() -> Error {
        Error::new(ErrorKind::Timeout)
            .with_outcome(Outcome::Unknown)
            .with_message("no word of it")
    }

    /// What so many servers decided, once further answers would change nothing; and how many were needed for that.
    fn decided(servers: usize, votes: impl IntoIterator<Item = Result<Vote>>) -> (String, usize) {
        let (mut tally, mut needed) = (Tally::new(servers), 0);
        for vote in votes {
            if tally.is_decided() {
                break;
            }
            tally.add(vote);
            needed += 1;
        }
        let verdict = match tally.verdict().0 {
            Verdict::Won { token, is_recorded } => format!("won {token} {is_recorded}"),
            Verdict::Held { remaining } => format!("held {}", remaining.as_secs()),
            Verdict::Silent { remaining, .. } => format!("silent {}", remaining.as_secs()),
            Verdict::Failed(error) => format!("{error}"),
        };
        (verdict, needed)
    }

    fn verdict(servers: usize, votes: impl IntoIterator<Item = Result<Vote>>) -> String {
        decided(servers, votes).0
    }

    /// Those who come later need not be waited for.
    #[test]
    fn a_majority_of_votes_wins_with_the_greatest_floor() {
        let votes = [given(7, 0), given(9, 0), given(11, 0)];
        assert_eq!(decided(3, votes.map(Ok)), ("won 9 false".into(), 2));
        assert_eq!(decided(1, [Ok(given(7, 0))]), ("won 7 false".into(), 1));
        let votes = [
            Err(lost()),
            Ok(held(1)),
            Ok(given(9, 0)),
            Ok(given(7, 0)),
            Ok(given(8, 0)),
        ];
        assert_eq!(verdict(5, votes), "won 9 false");
        assert_eq!(verdict(2, [Ok(given(7, 0)), Ok(held(3))]), "held 3");
    }

    /// What fewer have may be another's token by then.
    #[test]
    fn a_token_that_a_majority_has_is_kept() {
        assert_eq!(verdict(3, [given(8, 5), given(9, 5)].map(Ok)), "won 5 true");
        assert_eq!(
            verdict(3, [given(8, 5), given(9, 0)].map(Ok)),
            "won 9 false"
        );
    }

    #[test]
    fn it_is_held_until_enough_votes_may_be_had() {
        let votes = [given(7, 0), held(3), held(5)];
        assert_eq!(verdict(3, votes.map(Ok)), "held 3");
        assert_eq!(verdict(3, [held(5), held(3), held(9)].map(Ok)), "held 5");
        let votes = [Ok(held(5)), Ok(held(3)), Ok(held(4)), Err(lost())];
        assert_eq!(decided(5, votes), ("held 5".into(), 3));
    }

    /// One that is silent is no reason where others have it.
    #[test]
    fn servers_that_do_not_vote_are_told_from_those_that_voted_for_others() {
        assert_eq!(verdict(3, [silent(5), silent(9)].map(Ok)), "silent 9");
        assert_eq!(
            verdict(3, [given(7, 0), silent(5), silent(9)].map(Ok)),
            "silent 5"
        );
        assert_eq!(
            verdict(3, [Err(lost()), Ok(silent(5)), Ok(given(7, 0))]),
            "silent 5"
        );
        assert_eq!(verdict(3, [held(3), silent(9)].map(Ok)), "held 9");
    }

    /// And not before it was tried: a server that has not answered yet may have been what was missing.
    #[test]
    fn without_a_majority_the_error_says_how_many_answered() {
        let says =
            "timeout: 1 of 3 servers answered, and 2 have to: no word of it (outcome unknown)";
        let votes = [Err(lost()), Ok(held(5)), Err(lost())];
        assert_eq!(decided(3, votes), (says.into(), 3));
        let votes = [Err(lost()), Ok(held(5)), Ok(held(3))];
        assert_eq!(decided(3, votes), ("held 5".into(), 3));
        let not_sent = || Err(Error::new(ErrorKind::Disconnected));
        let error = Tally::new(3);
        let error = [not_sent(), not_sent()]
            .into_iter()
            .fold(error, |mut tally, vote| {
                tally.add(vote);
                tally
            });
        let Verdict::Failed(error) = error.verdict().0 else {
            panic!("nobody answered");
        };
        assert_eq!(error.outcome(), Outcome::NotApplied);
        assert!(error.is_retryable());
    }
}
