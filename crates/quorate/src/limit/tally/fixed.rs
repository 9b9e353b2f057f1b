//! A window that begins with its first request. Pure functions; `parts/fixed.lua` mirrors them.

use crate::limit::policy::Rate;

#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::limit) struct Fixed {
    /// When the window began, µs.
    start: u64,
    used: u64,
}

impl Fixed {
    pub(super) fn advance(&mut self, now: u64, rate: &Rate) {
        if self.used == 0 || self.start + rate.window <= now {
            *self = Self {
                start: now,
                used: 0,
            };
        }
    }

    pub(super) fn wait(&self, now: u64, rate: &Rate, cost: u64) -> Option<u64> {
        (self.used + cost > rate.capacity).then(|| self.start + rate.window - now)
    }

    pub(super) fn take(&mut self, _now: u64, _rate: &Rate, cost: u64) {
        self.used += cost;
    }

    pub(super) fn remaining(&self, _now: u64, rate: &Rate) -> u64 {
        rate.capacity.saturating_sub(self.used)
    }

    pub(super) fn reset_after(&self, now: u64, rate: &Rate) -> u64 {
        if self.used == 0 {
            0
        } else {
            self.start + rate.window - now
        }
    }

    pub(super) fn give_back(&mut self, _now: u64, rate: &Rate, at: u64, cost: u64) -> bool {
        let counts = self.used > 0 && self.start <= at && at < self.start + rate.window;
        if counts {
            self.used = self.used.saturating_sub(cost);
        }
        counts
    }
}
