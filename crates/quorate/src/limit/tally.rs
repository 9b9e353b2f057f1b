//! What is remembered of the requests of one key for one policy. Pure functions of that and the time, one file per
//! algorithm; `parts/*.lua` mirror them line by line.

mod bucket;
mod counter;
mod fixed;
mod log;

pub(super) use bucket::Bucket;
pub(super) use counter::Counter;
pub(super) use fixed::Fixed;
pub(super) use log::Log;

use super::policy::{Algorithm, Rate};

/// The tally of one policy.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Tally {
    Fixed(Fixed),
    Counter(Counter),
    Bucket(Bucket),
    Log(Log),
}

/// Calls the same method of whichever it is.
macro_rules! whichever {
    ($tally:expr, $it:ident => $call:expr) => {
        match $tally {
            Tally::Fixed($it) => $call,
            Tally::Counter($it) => $call,
            Tally::Bucket($it) => $call,
            Tally::Log($it) => $call,
        }
    };
}

impl Tally {
    pub(super) fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::FixedWindow => Self::Fixed(Fixed::default()),
            Algorithm::SlidingCounter => Self::Counter(Counter::default()),
            Algorithm::TokenBucket => Self::Bucket(Bucket::default()),
            Algorithm::SlidingLog => Self::Log(Log::default()),
        }
    }

    pub(super) const fn is_for(&self, algorithm: Algorithm) -> bool {
        matches!(
            (self, algorithm),
            (Self::Fixed(_), Algorithm::FixedWindow)
                | (Self::Counter(_), Algorithm::SlidingCounter)
                | (Self::Bucket(_), Algorithm::TokenBucket)
                | (Self::Log(_), Algorithm::SlidingLog)
        )
    }

    /// Lets go of what does not count any more.
    pub(super) fn advance(&mut self, now: u64, rate: &Rate) {
        whichever!(self, it => it.advance(now, rate));
    }

    /// How long until `cost` would be allowed if nobody else came, µs; `None` if it is now.
    pub(super) fn wait(&self, now: u64, rate: &Rate, cost: u64) -> Option<u64> {
        whichever!(self, it => it.wait(now, rate, cost))
    }

    /// Counts `cost`.
    pub(super) fn take(&mut self, now: u64, rate: &Rate, cost: u64) {
        whichever!(self, it => it.take(now, rate, cost));
    }

    /// What a request could cost and be allowed.
    pub(super) fn remaining(&self, now: u64, rate: &Rate) -> u64 {
        whichever!(self, it => it.remaining(now, rate))
    }

    /// How long until nothing counts, if nobody comes, µs.
    pub(super) fn reset_after(&self, now: u64, rate: &Rate) -> u64 {
        whichever!(self, it => it.reset_after(now, rate))
    }

    /// Takes back what was counted at `at`, as far as it still counts. Whether anything was.
    pub(super) fn give_back(&mut self, now: u64, rate: &Rate, at: u64, cost: u64) -> bool {
        whichever!(self, it => it.give_back(now, rate, at, cost))
    }
}
