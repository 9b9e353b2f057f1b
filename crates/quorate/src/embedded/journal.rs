//! What of a table is not yet in the file as it is in memory, and which round of writing brings it there.
//!
//! Rows are written in rounds. A change belongs to the round that is open when it is made, and may be seen once
//! that round is on disk. In memory alone there is no journal, and nothing to wait for.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Above it, a map of changes that has become empty gives its memory back.
#[cfg(any(feature = "file", test))]
const SPARE: usize = 256;

/// Numbers the rounds.
#[derive(Debug)]
pub(crate) struct Journal {
    open: AtomicU64,
}

impl Journal {
    #[cfg(any(feature = "file", test))]
    pub(super) fn new() -> Self {
        Self {
            open: AtomicU64::new(1),
        }
    }

    /// The round that writes what changes now. To be read under the lock under which the change is made: then
    /// whoever closes a round and takes that lock afterwards sees all of its changes.
    pub(super) fn open(&self) -> u64 {
        self.open.load(Ordering::SeqCst)
    }

    /// Closes the open round, and says which it was.
    #[cfg(any(feature = "file", test))]
    pub(super) fn close(&self) -> u64 {
        self.open.fetch_add(1, Ordering::SeqCst)
    }
}

/// Which round must be on disk before an answer may be given.
#[must_use = "an answer may be given only when it is on disk"]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(u64);

impl Ticket {
    /// No round has to be waited for.
    pub(crate) const NONE: Self = Self(0);

    #[cfg(feature = "file")]
    pub(super) const fn round(self) -> u64 {
        self.0
    }
}

/// Keys of rows that are not in the file as they are in memory.
#[derive(Debug)]
pub(super) struct Changed<K>(HashMap<K, Change>);

#[derive(Debug)]
struct Change {
    /// The round that writes the row.
    round: u64,
    /// The last round that brought something which may not be seen before it is on disk; 0: none did.
    awaited: u64,
    /// Side rows that changed, and the round that writes each.
    sides: HashMap<Arc<str>, u64>,
}

impl<K> Default for Changed<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash> Changed<K> {
    /// `round` has to write the row. With `awaited`, nobody may see it earlier; without, only space is freed.
    pub(super) fn mark(&mut self, key: K, round: u64, awaited: bool) {
        let change = self.change(key, round);
        if awaited {
            change.awaited = round;
        }
    }

    /// `round` has to write the row, and of its side rows these.
    pub(super) fn mark_sides(&mut self, key: K, sides: Vec<Arc<str>>, round: u64) {
        let change = self.change(key, round);
        change
            .sides
            .extend(sides.into_iter().map(|side| (side, round)));
    }

    fn change(&mut self, key: K, round: u64) -> &mut Change {
        let change = self.0.entry(key).or_insert_with(|| Change {
            round,
            awaited: 0,
            sides: HashMap::new(),
        });
        change.round = round;
        change
    }

    /// What has to be waited for before the row may be seen.
    pub(super) fn ticket<Q: ?Sized + Eq + Hash>(&self, key: &Q) -> Ticket
    where
        K: Borrow<Q>,
    {
        // Always, in memory alone.
        if self.0.is_empty() {
            return Ticket::NONE;
        }
        self.0
            .get(key)
            .map_or(Ticket::NONE, |change| Ticket(change.awaited))
    }

    /// What has to be waited for before any of the rows may be seen.
    pub(super) fn ticket_of_all(&self) -> Ticket {
        let awaited = self.0.values().map(|change| change.awaited).max();
        awaited.map_or(Ticket::NONE, Ticket)
    }

    /// The keys, each with those of its side rows that changed.
    #[cfg(any(feature = "file", test))]
    pub(super) fn rows(&self) -> impl Iterator<Item = (&K, impl Iterator<Item = &Arc<str>>)> {
        self.0
            .iter()
            .map(|(key, change)| (key, change.sides.keys()))
    }

    /// Drops what `round` has written.
    #[cfg(any(feature = "file", test))]
    pub(super) fn settle(&mut self, round: u64) {
        self.0.retain(|_, change| {
            change.sides.retain(|_, written| *written > round);
            change.round > round
        });
        if self.0.is_empty() && self.0.capacity() > SPARE {
            self.0 = HashMap::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_waited_for_until_its_round_is_written() {
        let journal = Journal::new();
        let mut changed = Changed::default();
        changed.mark(1, journal.open(), true);
        assert_eq!(changed.ticket(&1), Ticket(1));
        assert_eq!(changed.ticket(&2), Ticket::NONE);
        let first = journal.close();
        // Changed again while the first round was under way.
        changed.mark(1, journal.open(), true);
        changed.settle(first);
        assert_eq!(changed.ticket(&1), Ticket(2));
        assert_eq!(changed.ticket_of_all(), Ticket(2));
        changed.settle(journal.close());
        assert_eq!(changed.ticket(&1), Ticket::NONE);
        assert_eq!(changed.rows().count(), 0);
    }

    #[test]
    fn what_only_frees_space_is_written_and_not_waited_for() {
        let journal = Journal::new();
        let mut changed = Changed::default();
        changed.mark(1, journal.open(), true);
        let first = journal.close();
        changed.mark(1, journal.open(), false);
        changed.mark(2, journal.open(), false);
        changed.settle(first);
        assert_eq!(changed.ticket(&1), Ticket(1), "which is written");
        assert_eq!(changed.ticket(&2), Ticket::NONE);
        assert_eq!(changed.rows().count(), 2);
    }

    #[test]
    fn a_side_row_is_written_by_the_round_that_is_open_when_it_changes() {
        let journal = Journal::new();
        let mut changed = Changed::default();
        let sides = |changed: &Changed<u8>| {
            let mut sides: Vec<_> = changed.rows().flat_map(|(_, it)| it.cloned()).collect();
            sides.sort_unstable();
            sides
        };
        let of = |names: [&str; 2]| names.map(Arc::from).to_vec();
        changed.mark_sides(1, of(["a", "b"]), journal.open());
        let first = journal.close();
        changed.mark_sides(1, of(["b", "c"]), journal.open());
        assert_eq!(sides(&changed), ["a".into(), "b".into(), "c".into()]);
        changed.settle(first);
        assert_eq!(sides(&changed), of(["b", "c"]));
        changed.settle(journal.close());
        assert_eq!(changed.rows().count(), 0);
    }
}
