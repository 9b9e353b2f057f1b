//! The table under every in-process backend: states by key, one transition at a time, and what nobody
//! needs any more freed.

use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use foldhash::quality::RandomState;
use parking_lot::Mutex;

use super::journal::{Changed, Journal, Ticket};
use super::states::States;
use crate::clock::{HomeClock, Micros};
use crate::key::Key;

/// States dropped per transition: more than one transition can add, so that none pile up.
const SWEEP: usize = 2;

/// What one unit of a capability remembers.
pub(crate) trait State: Default {
    /// When something of it will not be needed any more: `Some(now)` or earlier removes it at once,
    /// `None` keeps it until a transition says otherwise.
    fn forgotten_at(&self, now: Micros) -> Option<Micros>;

    /// Frees what is not needed any more at `now`. What `forgotten_at` still says after it decides
    /// whether the rest is kept.
    fn expire(&mut self, now: Micros);

    /// What of it has a side row in the file, and has come or gone since this was last asked.
    fn changed_sides(&mut self) -> Vec<Arc<str>> {
        Vec::new()
    }

    /// The same where there is no file, so that nobody wants the names.
    fn forget_changed_sides(&mut self) {
        drop(self.changed_sides());
    }
}

/// Parts of a table, each with a lock of its own: enough that few tasks meet at one.
const PARTS: usize = 64;

/// States by key.
#[derive(Debug)]
pub(crate) struct Table<S, K = Key> {
    clock: HomeClock,
    hasher: RandomState,
    /// Where its rows are in a file as well.
    journal: Option<Arc<Journal>>,
    // Short locks: a transition is a pure function and never waits.
    parts: Box<[Mutex<Rows<S, K>>]>,
}

#[derive(Debug)]
struct Rows<S, K> {
    states: States<S, K>,
    changed: Changed<K>,
}

impl<S, K: Eq + Hash> Default for Rows<S, K> {
    fn default() -> Self {
        Self {
            states: States::default(),
            changed: Changed::default(),
        }
    }
}

impl<S: State, K: Clone + Eq + Hash> Table<S, K> {
    /// In memory alone.
    pub(crate) fn new(clock: HomeClock) -> Self {
        Self::with_journal(clock, None)
    }

    /// With a journal, its rows are written by the rounds of that as well.
    pub(super) fn with_journal(clock: HomeClock, journal: Option<Arc<Journal>>) -> Self {
        Self {
            clock,
            hasher: RandomState::default(),
            journal,
            parts: (0..PARTS).map(|_| Mutex::default()).collect(),
        }
    }

    /// The time of the home.
    pub(crate) fn now(&self) -> Micros {
        self.clock.now()
    }

    /// One transition of the unit `key`, which begins as the default state. The time is read under the
    /// lock, so that the transitions of a unit and time have one order.
    pub(crate) fn transition<Q, R>(&self, key: &Q, apply: impl FnOnce(&mut S, Micros) -> R) -> R
    where
        Q: ?Sized + Eq + Hash,
        K: Borrow<Q> + for<'a> From<&'a Q>,
    {
        self.change(key, |state, now| (apply(state, now), true)).0
    }

    /// One transition, which says beside its reply whether it changed what has to outlive the process; and
    /// what has to be waited for before that reply may be given.
    pub(crate) fn change<Q, R>(
        &self,
        key: &Q,
        apply: impl FnOnce(&mut S, Micros) -> (R, bool),
    ) -> (R, Ticket)
    where
        Q: ?Sized + Eq + Hash,
        K: Borrow<Q> + for<'a> From<&'a Q>,
    {
        let hash = self.hash(key);
        let mut rows = self.part(hash).lock();
        let now = self.clock.now();
        let round = self.journal.as_ref().map(|journal| journal.open());
        rows.sweep(now, round);
        // In place: a state may be large, and a transition is small.
        let known = rows.states.get_mut(hash, key);
        let was_there = known.is_some();
        let (reply, changed) = match known {
            Some((_, state)) => apply(state, now),
            None => apply(rows.states.get_or_default(hash, K::from(key)), now),
        };
        let freed = rows.keep(hash, key, now, round);
        let Some(round) = round else {
            return (reply, Ticket::NONE);
        };
        if changed || (freed && was_there) {
            rows.changed.mark(K::from(key), round, changed);
        }
        // What others changed and is not yet on disk may not be seen in a refusal either.
        let ticket = rows.changed.ticket(key);
        (reply, ticket)
    }

    /// Looks at the state of the unit `key`, if there is one.
    pub(crate) fn look<Q, R>(&self, key: &Q, look: impl FnOnce(&S, &HomeClock) -> R) -> Option<R>
    where
        Q: ?Sized + Eq + Hash,
        K: Borrow<Q>,
    {
        let hash = self.hash(key);
        let rows = self.part(hash).lock();
        let state = rows.states.get(hash, key);
        state.map(|state| look(state, &self.clock))
    }

    /// Looks at the state of the unit `key`, and says what has to be waited for before what was seen may be told.
    pub(crate) fn look_kept<Q, R>(
        &self,
        key: &Q,
        look: impl FnOnce(&S, &HomeClock) -> R,
    ) -> (Option<R>, Ticket)
    where
        Q: ?Sized + Eq + Hash,
        K: Borrow<Q>,
    {
        let hash = self.hash(key);
        let rows = self.part(hash).lock();
        let state = rows.states.get(hash, key);
        let seen = state.map(|state| look(state, &self.clock));
        (seen, rows.changed.ticket(key))
    }

    /// Looks at every state in one part of the table, from 0. Returns whether there is a next part.
    pub(crate) fn each_of(&self, part: usize, mut look: impl FnMut(&K, &S, &HomeClock)) -> bool {
        if let Some(rows) = self.parts.get(part) {
            for (key, state) in rows.lock().states.iter() {
                look(key, state, &self.clock);
            }
        }
        part.saturating_add(1) < self.parts.len()
    }

    /// What has to be waited for before it may be told what was seen in one part.
    pub(crate) fn ticket_of(&self, part: usize) -> Ticket {
        self.parts
            .get(part)
            .map_or(Ticket::NONE, |rows| rows.lock().changed.ticket_of_all())
    }

    /// Made once for a call: it is the larger part of finding a short key.
    fn hash<Q: ?Sized + Hash>(&self, key: &Q) -> u64 {
        self.hasher.hash_one(key)
    }

    fn part(&self, hash: u64) -> &Mutex<Rows<S, K>> {
        // Other bits of it than those that find a row in its part.
        &self.parts[usize::try_from((hash >> 32) % PARTS as u64).unwrap_or(0)]
    }

    /// States in the table, and dates in its index.
    #[cfg(test)]
    pub(crate) fn len(&self) -> (usize, usize) {
        let mut total = (0, 0);
        for part in &self.parts {
            let rows = part.lock();
            let (states, dates) = rows.states.len();
            total = (total.0 + states, total.1 + dates);
        }
        total
    }
}

/// For the file that its rows are kept in.
#[cfg(feature = "file")]
impl<S: State, K: Clone + Eq + Hash> Table<S, K> {
    /// Shows every row that is not in the file as it is in memory, `None` if there is none any more; and then,
    /// with its name, every such side row of it.
    pub(super) fn each_changed(&self, mut show: impl FnMut(&K, Option<&Arc<str>>, Option<&S>)) {
        for part in &self.parts {
            let rows = part.lock();
            for (key, sides) in rows.changed.rows() {
                let state = rows.states.get(self.hash(key), key);
                show(key, None, state);
                sides.for_each(|side| show(key, Some(side), state));
            }
        }
    }

    /// Takes note that `round` is on disk.
    pub(super) fn settle_changed(&self, round: u64) {
        for part in &self.parts {
            part.lock().changed.settle(round);
        }
    }

    /// Takes a state that was in the file, unless it is not needed any more: then that is to be written.
    pub(super) fn put_back(&self, key: K, state: S) {
        let _ = self.put_back_side(key, |before| {
            *before = state;
            Some(())
        });
    }

    /// The same for what was in a side row, which `put_back` adds to the state; `None` if it cannot.
    pub(super) fn put_back_side(
        &self,
        key: K,
        put_back: impl FnOnce(&mut S) -> Option<()>,
    ) -> Option<()> {
        let now = self.clock.now();
        let hash = self.hash(&key);
        let mut rows = self.part(hash).lock();
        let done = put_back(rows.states.get_or_default(hash, key.clone()));
        let round = self.journal.as_ref().map(|journal| journal.open());
        if rows.keep(hash, &key, now, round)
            && let Some(round) = round
        {
            rows.changed.mark(key, round, false);
        }
        done
    }
}

impl<S: State, K: Clone + Eq + Hash> Rows<S, K> {
    /// Frees what is not needed any more of a state, and takes note of when there will be more; in `round`, of the
    /// side rows that changed as well. Returns whether anything was freed.
    fn keep<Q>(&mut self, hash: u64, key: &Q, now: Micros, round: Option<u64>) -> bool
    where
        Q: ?Sized + Eq + Hash,
        K: Borrow<Q>,
    {
        let Some((kept, state)) = self.states.get_mut(hash, key) else {
            return false;
        };
        let mut due = state.forgotten_at(now);
        let freed = due.is_some_and(|at| at <= now);
        if freed {
            state.expire(now);
            due = state.forgotten_at(now);
        }
        // Before the state may go.
        if let Some(round) = round {
            let sides = state.changed_sides();
            if !sides.is_empty() {
                self.changed.mark_sides(kept.clone(), sides, round);
            }
        } else {
            state.forget_changed_sides();
        }
        if due.is_some_and(|at| at <= now) {
            self.states.remove(hash, key);
        } else {
            self.states.look_again(hash, key, due);
        }
        freed
    }

    fn sweep(&mut self, now: Micros, round: Option<u64>) {
        for _ in 0..SWEEP {
            let Some((hash, key)) = self.states.pop_due(now) else {
                return;
            };
            if self.keep(hash, &key, now, round)
                && let Some(round) = round
            {
                self.changed.mark(key, round, false);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::key::Namespace;

    #[derive(Clone, Copy, Default)]
    struct Value(Option<u64>, Option<Micros>);

    impl State for Value {
        fn forgotten_at(&self, now: Micros) -> Option<Micros> {
            if self.0.is_none() { Some(now) } else { self.1 }
        }

        fn expire(&mut self, _now: Micros) {}
    }

    fn key(number: usize) -> Key {
        Key::new(&Namespace::default(), &format!("k{number}")).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_due_frees_its_memory_and_what_is_not_stays() {
        let table = Table::<Value>::new(HomeClock::new(None));
        let second = Duration::from_secs(1);
        for number in 0..100 {
            table.transition(&key(number), |value, now| {
                *value = Value(Some(1), Some(now.plus(second)))
            });
        }
        // One loses its end, one is deleted.
        table.transition(&key(0), |value, _| value.1 = None);
        table.transition(&key(1), |value, _| *value = Value::default());
        assert_eq!(table.len(), (99, 98));
        tokio::time::advance(second * 2).await;
        // Each part frees what is due in it whenever it is used.
        for number in 100..4000 {
            table.transition(&key(number), |_, _| ());
        }
        assert_eq!(table.len(), (1, 0));
        assert_eq!(table.transition(&key(0), |value, _| value.0), Some(1));
    }

    #[tokio::test]
    async fn looking_at_what_never_was_leaves_nothing() {
        let table = Table::<Value>::new(HomeClock::new(None));
        table.transition(&key(0), |_, _| ());
        assert_eq!(table.len(), (0, 0));
    }
}
