//! Two counts for a sliding window. Pure functions; `parts/counter.lua` mirrors them, in the same floating-point
//! operations, so that both round alike.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "all of these are far below 2^53, and estimates are not negative"
)]

use crate::limit::policy::Rate;

#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::limit) struct Counter {
    /// When the present window began, µs: a multiple of its length.
    start: u64,
    used: u64,
    /// What was used in the window before.
    before: u64,
}

impl Counter {
    pub(super) fn advance(&mut self, now: u64, rate: &Rate) {
        let this = now - now % rate.window;
        if self.start == this {
            return;
        }
        let is_next = self.start + rate.window == this;
        *self = Self {
            start: this,
            used: 0,
            before: if is_next { self.used } else { 0 },
        };
    }

    pub(super) fn wait(&self, now: u64, rate: &Rate, cost: u64) -> Option<u64> {
        if self.estimate(now, rate) + cost as f64 <= rate.capacity as f64 {
            return None;
        }
        let (window, passed) = (rate.window, now - self.start);
        // How far into a window its estimate is low enough. A microsecond more, for what was rounded.
        let far_enough = |share: u64, room: u64| {
            let far = window as f64 - window as f64 * room as f64 / share as f64;
            far.max(0.0).floor() as u64 + 1
        };
        if self.before > 0 && self.used + cost <= rate.capacity {
            let far = far_enough(self.before, rate.capacity - self.used - cost);
            if far < window {
                return Some(far.saturating_sub(passed).max(1));
            }
        }
        let left = window - passed;
        if self.used + cost <= rate.capacity {
            return Some(left);
        }
        Some(left + far_enough(self.used, rate.capacity.saturating_sub(cost)))
    }

    pub(super) fn take(&mut self, _now: u64, _rate: &Rate, cost: u64) {
        self.used += cost;
    }

    pub(super) fn remaining(&self, now: u64, rate: &Rate) -> u64 {
        (rate.capacity as f64 - self.estimate(now, rate))
            .max(0.0)
            .floor() as u64
    }

    pub(super) fn reset_after(&self, now: u64, rate: &Rate) -> u64 {
        if self.used > 0 {
            self.start + 2 * rate.window - now
        } else if self.before > 0 {
            self.start + rate.window - now
        } else {
            0
        }
    }

    pub(super) fn give_back(&mut self, _now: u64, rate: &Rate, at: u64, cost: u64) -> bool {
        let then = at - at % rate.window;
        if then == self.start && self.used > 0 {
            self.used = self.used.saturating_sub(cost);
        } else if then + rate.window == self.start && self.before > 0 {
            self.before = self.before.saturating_sub(cost);
        } else {
            return false;
        }
        true
    }

    /// How many the sliding window has, if those of the window before came evenly.
    fn estimate(&self, now: u64, rate: &Rate) -> f64 {
        let window = rate.window as f64;
        self.before as f64 * ((window - (now - self.start) as f64) / window) + self.used as f64
    }
}
