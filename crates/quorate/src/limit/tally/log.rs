//! Every request that still counts. Pure functions; `parts/log.lua` mirrors them.

use std::collections::VecDeque;

use crate::limit::policy::Rate;

#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::limit) struct Log {
    /// When, µs, and the cost; the oldest in front, whose cost is never zero.
    requests: VecDeque<(u64, u64)>,
    total: u64,
}

impl Log {
    pub(super) fn advance(&mut self, now: u64, rate: &Rate) {
        while let Some((at, cost)) = self.requests.front()
            && (at + rate.window <= now || *cost == 0)
        {
            self.total -= cost;
            self.requests.pop_front();
        }
    }

    pub(super) fn wait(&self, now: u64, rate: &Rate, cost: u64) -> Option<u64> {
        let over = (self.total + cost).checked_sub(rate.capacity)?;
        let mut left = over;
        for (at, cost) in &self.requests {
            if left == 0 {
                return None;
            }
            left = left.saturating_sub(*cost);
            if left == 0 {
                return Some(at + rate.window - now);
            }
        }
        // Not even an empty log is enough for it: the caller refuses such a cost before it asks.
        (over > 0).then_some(rate.window)
    }

    pub(super) fn take(&mut self, now: u64, _rate: &Rate, cost: u64) {
        self.requests.push_back((now, cost));
        self.total += cost;
    }

    pub(super) fn remaining(&self, _now: u64, rate: &Rate) -> u64 {
        rate.capacity.saturating_sub(self.total)
    }

    pub(super) fn reset_after(&self, now: u64, rate: &Rate) -> u64 {
        let last = self.requests.back().filter(|_| self.total > 0);
        last.map_or(0, |(at, _)| at + rate.window - now)
    }

    pub(super) fn give_back(&mut self, now: u64, rate: &Rate, at: u64, cost: u64) -> bool {
        let mut left = cost;
        let mut index = self.requests.partition_point(|(when, _)| *when <= at);
        while left > 0 && index > 0 && self.requests[index - 1].0 == at {
            index -= 1;
            let back = left.min(self.requests[index].1);
            self.requests[index].1 -= back;
            self.total -= back;
            left -= back;
        }
        self.advance(now, rate);
        left < cost
    }
}
