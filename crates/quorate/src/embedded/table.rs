//! The table under every in-process backend: states by key, one transition at a time, and what nobody
//! needs any more freed.

use std::collections::HashMap;

use parking_lot::Mutex;

use super::ExpiryIndex;
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
}

/// States by key.
#[derive(Debug)]
pub(crate) struct Table<S> {
    clock: HomeClock,
    // One short lock: a transition is a pure function and never waits.
    rows: Mutex<Rows<S>>,
}

#[derive(Debug)]
struct Rows<S> {
    states: HashMap<Key, S>,
    forgotten: ExpiryIndex<Key>,
}

impl<S: State> Table<S> {
    pub(crate) fn new(clock: HomeClock) -> Self {
        let rows = Rows {
            states: HashMap::new(),
            forgotten: ExpiryIndex::default(),
        };
        Self {
            clock,
            rows: Mutex::new(rows),
        }
    }

    /// One transition of the unit `key`, which begins as the default state. The time is read under the
    /// lock, so that transitions and time have one order.
    pub(crate) fn transition<R>(&self, key: &Key, apply: impl FnOnce(&mut S, Micros) -> R) -> R {
        let mut rows = self.rows.lock();
        let now = self.clock.now();
        rows.sweep(now);
        // In place: a state may be large, and a transition is small.
        let reply = match rows.states.get_mut(key) {
            Some(state) => apply(state, now),
            None => apply(rows.states.entry(key.clone()).or_default(), now),
        };
        rows.keep(key, now);
        reply
    }

    /// States in the table, and dates in its index.
    #[cfg(test)]
    pub(crate) fn len(&self) -> (usize, usize) {
        let rows = self.rows.lock();
        (rows.states.len(), rows.forgotten.len())
    }
}

impl<S: State> Rows<S> {
    fn keep(&mut self, key: &Key, now: Micros) {
        let Some(state) = self.states.get_mut(key) else {
            return self.forgotten.remove(key);
        };
        let mut due = state.forgotten_at(now);
        if due.is_some_and(|at| at <= now) {
            state.expire(now);
            due = state.forgotten_at(now);
        }
        match due {
            Some(at) if at > now => self.forgotten.set(key.clone(), at),
            None => self.forgotten.remove(key),
            Some(_) => {
                self.states.remove(key);
                self.forgotten.remove(key);
            }
        }
    }

    fn sweep(&mut self, now: Micros) {
        for _ in 0..SWEEP {
            let Some(key) = self.forgotten.pop_due(now) else {
                return;
            };
            self.keep(&key, now);
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
        for _ in 0..60 {
            table.transition(&key(0), |_, _| ());
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
