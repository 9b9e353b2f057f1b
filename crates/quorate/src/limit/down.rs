//! What a limiter does when its home cannot be asked.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::decision::{Basis, Decision, Usage};
use super::handle::Limiters;
use super::port::LimitKey;
use super::request::Ask;
use super::setup::Terms;
use super::usage::{Charge, Verdict};
use crate::clock::Micros;
use crate::error::{Error, ErrorKind, Result};

/// How often a home that could not be asked is asked again by a limiter that has another answer.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// What a limiter does when its home cannot be asked: it is not there, does not answer in time, or answers with an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum WhenDown {
    /// The call fails, and the request is to be turned away. The default.
    #[default]
    Closed,
    /// Everything is allowed, with [`Basis::Open`], and nothing is counted.
    Open,
    /// Each instance allows its share, with [`Basis::Share`]: it counts on its own, and allows a limit divided by the
    /// number of instances, rounded down.
    ///
    /// So all of them together allow no more than the limit on their own. Across the moments when the home goes and comes
    /// back, what it counted and what they count do not know of each other: there, up to twice the limit may come in
    /// one window.
    #[non_exhaustive]
    Share {
        /// How many instances there are at most.
        instances: u32,
    },
}

impl WhenDown {
    /// A share of a fleet of at most so many instances.
    #[must_use]
    pub const fn share(instances: u32) -> Self {
        Self::Share { instances }
    }
}

/// Whether the home could be asked, last time.
#[derive(Debug, Default)]
pub(crate) struct Reach {
    /// When to ask it again, if it could not.
    again: Mutex<Option<Instant>>,
}

impl Reach {
    /// Whether to ask it now. One request in a while finds out whether it is back.
    pub(super) fn is_to_be_asked(&self) -> bool {
        let mut again = self.again.lock();
        let Some(at) = *again else { return true };
        let now = Instant::now();
        if now < at {
            return false;
        }
        *again = Some(now + ASK_AGAIN);
        true
    }

    /// Takes note of how asking it went.
    pub(super) fn note<T>(&self, result: &Result<T>) {
        let failed = result.as_ref().is_err_and(is_down);
        let mut again = self.again.lock();
        if failed {
            *again = Some(Instant::now() + ASK_AGAIN);
        } else if again.is_some() {
            *again = None;
        }
    }
}

/// Whether it is the home that failed, rather than the call.
pub(super) fn is_down(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Disconnected
            | ErrorKind::Overloaded
            | ErrorKind::Timeout
            | ErrorKind::ConnectionLost
            | ErrorKind::Auth
            | ErrorKind::Backend
            | ErrorKind::Protocol
    )
}

impl Limiters {
    /// The answer without the home; `None` if a limiter has none.
    pub(super) fn answer_alone(
        &self,
        when: WhenDown,
        ask: Ask,
        key: &LimitKey,
        terms: &Terms,
        charge: Charge,
    ) -> Option<Decision> {
        match when {
            WhenDown::Closed => None,
            WhenDown::Open => {
                let verdict = Verdict::new(Micros::default(), []);
                let usage = Usage::new(terms.policies.clone(), verdict);
                Some(usage.decide(None).on(Basis::Open))
            }
            WhenDown::Share { instances } => {
                let terms = terms.share(instances).ok()?;
                let rates = &terms.rates;
                let verdict = self
                    .shares
                    .transition(key.text(), |tallies, now| match ask {
                        Ask::Take => tallies.take(now, rates, charge),
                        Ask::Look => tallies.look(now, rates, charge.cost),
                    });
                let usage = Usage::new(terms.policies.clone(), verdict);
                // Without a receipt: the home counted nothing that could be taken back.
                Some(usage.decide(None).on(Basis::Share))
            }
        }
    }
}
