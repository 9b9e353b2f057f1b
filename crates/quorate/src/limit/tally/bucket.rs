//! Tokens that come back at a steady rate. Pure functions; `parts/bucket.lua` mirrors them.
//!
//! What was used runs out, `drained` in a microsecond, where one token is `token` of it: a ratio of whole numbers, so
//! that nothing is rounded. It is remembered as the time when all of it has run out. So a call that brings another limit
//! finds that time, and what it comes to at its own rate.

use crate::limit::policy::{EXACT, Rate};

#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::limit) struct Bucket {
    /// When all that was used has run out, µs, rounded up.
    gone: u64,
    /// What it was rounded up by, in what runs out.
    rounded: u64,
    /// What ran out in a microsecond, then.
    drained: u64,
    /// What was used and has not run out: of the moment that `advance` was given.
    used: u64,
}

impl Bucket {
    pub(super) fn advance(&mut self, now: u64, rate: &Rate) {
        let left = self.gone.saturating_sub(now);
        let used = left.saturating_mul(rate.drained).min(EXACT);
        // What was rounded at another rate stays rounded: less is allowed rather than more.
        let rounded = if self.drained == rate.drained {
            self.rounded
        } else {
            0
        };
        self.used = used.saturating_sub(rounded);
    }

    pub(super) fn wait(&self, _now: u64, rate: &Rate, cost: u64) -> Option<u64> {
        let over = (self.used + cost * rate.token).saturating_sub(rate.capacity * rate.token);
        (over > 0).then(|| over.div_ceil(rate.drained))
    }

    pub(super) fn take(&mut self, now: u64, rate: &Rate, cost: u64) {
        self.used += cost * rate.token;
        self.remember(now, rate);
    }

    pub(super) fn remaining(&self, _now: u64, rate: &Rate) -> u64 {
        (rate.capacity * rate.token).saturating_sub(self.used) / rate.token
    }

    pub(super) fn reset_after(&self, _now: u64, rate: &Rate) -> u64 {
        self.used.div_ceil(rate.drained)
    }

    pub(super) fn give_back(&mut self, now: u64, rate: &Rate, at: u64, cost: u64) -> bool {
        // Some of it may have run out while nothing else did: that is gone.
        let run_out = now.saturating_sub(at).saturating_mul(rate.drained);
        let back = (cost * rate.token).saturating_sub(run_out).min(self.used);
        self.used -= back;
        if back > 0 {
            self.remember(now, rate);
        }
        back > 0
    }

    fn remember(&mut self, now: u64, rate: &Rate) {
        let left = self.used.div_ceil(rate.drained);
        self.gone = now + left;
        self.rounded = left * rate.drained - self.used;
        self.drained = rate.drained;
    }
}
