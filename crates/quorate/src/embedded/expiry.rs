//! Dates, in their order.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::clock::Micros;

/// When to look at which row. A date that counts no more is not searched for: whoever takes it out, or clears out, knows.
#[derive(Debug)]
pub(super) struct Dates<K> {
    heap: BinaryHeap<Reverse<Date<K>>>,
}

/// Ordered by time alone: keys need no order.
#[derive(Clone, Debug)]
pub(super) struct Date<K> {
    pub(super) at: Micros,
    /// The hash of the key.
    pub(super) hash: u64,
    pub(super) key: K,
}

impl<K> Default for Dates<K> {
    fn default() -> Self {
        Self {
            heap: BinaryHeap::new(),
        }
    }
}

impl<K> PartialEq for Date<K> {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl<K> Eq for Date<K> {}

impl<K> PartialOrd for Date<K> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<K> Ord for Date<K> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}

impl<K> Dates<K> {
    pub(super) fn push(&mut self, date: Date<K>) {
        self.heap.push(Reverse(date));
    }

    pub(super) fn len(&self) -> usize {
        self.heap.len()
    }

    /// Lets go of all but those.
    pub(super) fn retain(&mut self, mut counts: impl FnMut(&Date<K>) -> bool) {
        self.heap.retain(|Reverse(date)| counts(date));
    }

    /// Takes out the first date, if it has come.
    pub(super) fn pop(&mut self, now: Micros) -> Option<Date<K>> {
        let first = self.heap.peek()?;
        if first.0.at > now {
            return None;
        }
        self.heap.pop().map(|Reverse(date)| date)
    }
}
