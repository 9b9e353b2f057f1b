//! What ends when: an index that finds what is due without looking at the rest.

use std::borrow::Borrow;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::Hash;

use crate::clock::Micros;

/// Keys ordered by when they are due. Setting a key again moves it.
#[derive(Debug)]
pub(crate) struct ExpiryIndex<K> {
    due: HashMap<K, Micros>,
    /// May hold times that no longer count; they are skipped when they come up, and cleared out once
    /// they outnumber the rest.
    heap: BinaryHeap<Reverse<Entry<K>>>,
}

impl<K> Default for ExpiryIndex<K> {
    fn default() -> Self {
        Self {
            due: HashMap::new(),
            heap: BinaryHeap::new(),
        }
    }
}

/// Ordered by time alone: keys need no order.
#[derive(Clone, Debug)]
struct Entry<K> {
    at: Micros,
    key: K,
}

impl<K> PartialEq for Entry<K> {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl<K> Eq for Entry<K> {}

impl<K> PartialOrd for Entry<K> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<K> Ord for Entry<K> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}

impl<K: Clone + Eq + Hash> ExpiryIndex<K> {
    /// Lets `key` be due at `at`.
    pub(crate) fn set(&mut self, key: K, at: Micros) {
        self.due.insert(key.clone(), at);
        self.heap.push(Reverse(Entry { at, key }));
        if self.heap.len() > 2 * self.due.len() + 64 {
            let due = &self.due;
            self.heap
                .retain(|Reverse(entry)| due.get(&entry.key) == Some(&entry.at));
        }
    }

    /// Whether `key` is due at just this time.
    pub(crate) fn is_due_at<Q: ?Sized + Eq + Hash>(&self, key: &Q, at: Micros) -> bool
    where
        K: Borrow<Q>,
    {
        self.due.get(key) == Some(&at)
    }

    /// Lets `key` never be due.
    pub(crate) fn remove<Q: ?Sized + Eq + Hash>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
    {
        // Nothing is ever due in many tables.
        if self.due.is_empty() {
            return;
        }
        self.due.remove(key);
        // What it left in the heap is skipped, or cleared out by the next `set`.
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.due.len()
    }

    /// Takes out one key that is due, if there is any.
    pub(crate) fn pop_due(&mut self, now: Micros) -> Option<K> {
        while self
            .heap
            .peek()
            .is_some_and(|Reverse(entry)| entry.at <= now)
        {
            let Reverse(entry) = self.heap.pop()?;
            if self.due.get(&entry.key) == Some(&entry.at) {
                self.due.remove(&entry.key);
                return Some(entry.key);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn it_answers_as_a_sorted_map_would(
            steps in proptest::collection::vec((0_u8..8, 0_u64..50, 0_u8..4), 1..300),
        ) {
            let mut index = ExpiryIndex::default();
            let mut model: BTreeMap<u8, u64> = BTreeMap::new();
            for (key, at, verb) in steps {
                match verb {
                    0 => {
                        let popped = index.pop_due(Micros::new(at));
                        let earliest = model.values().min().copied().filter(|due| *due <= at);
                        prop_assert_eq!(popped.map(|key| model[&key]), earliest);
                        popped.map(|key| model.remove(&key));
                    }
                    1 => {
                        index.remove(&key);
                        model.remove(&key);
                    }
                    _ => {
                        index.set(key, Micros::new(at));
                        model.insert(key, at);
                    }
                }
                prop_assert_eq!(index.len(), model.len());
                prop_assert!(index.heap.len() <= 2 * 8 + 65);
            }
        }
    }
}
