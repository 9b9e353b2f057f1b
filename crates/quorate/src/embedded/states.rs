//! States by key, found by a hash that is made once, and by when they have to be looked at.

use std::borrow::Borrow;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::expiry::{Date, Dates};
use crate::clock::Micros;

/// States by key. Every call is given the hash of its key, always made by the same function.
#[derive(Debug)]
pub(super) struct States<S, K> {
    rows: HashTable<Row<S, K>>,
    dates: Dates<K>,
    /// Rows with a date. There may be more dates: those that count no more are skipped when they come up, and cleared out
    /// once they outnumber the rest.
    dated: usize,
}

#[derive(Debug)]
struct Row<S, K> {
    hash: u64,
    key: K,
    state: S,
    /// Its date, if it has one.
    date: Option<Micros>,
}

impl<S, K> Default for States<S, K> {
    fn default() -> Self {
        Self {
            rows: HashTable::new(),
            dates: Dates::default(),
            dated: 0,
        }
    }
}

impl<S, K: Eq> States<S, K> {
    pub(super) fn get<Q>(&self, hash: u64, key: &Q) -> Option<&S>
    where
        Q: ?Sized + Eq,
        K: Borrow<Q>,
    {
        let row = self.rows.find(hash, |row| row.key.borrow() == key)?;
        Some(&row.state)
    }

    /// With the key as it is kept.
    pub(super) fn get_mut<Q>(&mut self, hash: u64, key: &Q) -> Option<(&K, &mut S)>
    where
        Q: ?Sized + Eq,
        K: Borrow<Q>,
    {
        let row = self.rows.find_mut(hash, |row| row.key.borrow() == key)?;
        Some((&row.key, &mut row.state))
    }

    /// What is there, or the default state from now on.
    pub(super) fn get_or_default(&mut self, hash: u64, key: K) -> &mut S
    where
        S: Default,
    {
        let is_it = |row: &Row<S, K>| row.key == key;
        let row = match self.rows.entry(hash, is_it, |row| row.hash) {
            Entry::Occupied(found) => found.into_mut(),
            Entry::Vacant(free) => {
                let new = Row {
                    hash,
                    key,
                    state: S::default(),
                    date: None,
                };
                free.insert(new).into_mut()
            }
        };
        &mut row.state
    }

    pub(super) fn remove<Q>(&mut self, hash: u64, key: &Q)
    where
        Q: ?Sized + Eq,
        K: Borrow<Q>,
    {
        if let Ok(found) = self.rows.find_entry(hash, |row| row.key.borrow() == key) {
            let (row, _) = found.remove();
            self.dated -= usize::from(row.date.is_some());
        }
    }

    /// Lets the row be looked at again when `due` has come, or before that; `None`: never.
    ///
    /// A date that is earlier stays: what is used all the time ends later each time, and is looked at once in a while.
    pub(super) fn look_again<Q>(&mut self, hash: u64, key: &Q, due: Option<Micros>)
    where
        Q: ?Sized + Eq,
        K: Borrow<Q> + Clone,
    {
        let row = self.rows.find_mut(hash, |row| row.key.borrow() == key);
        let Some(row) = row else { return };
        if due.is_some() && row.date.is_some() && row.date <= due {
            return;
        }
        self.dated += usize::from(due.is_some());
        self.dated -= usize::from(row.date.is_some());
        row.date = due;
        if let Some(at) = due {
            let key = row.key.clone();
            self.dates.push(Date { at, hash, key });
            self.clear_out();
        }
    }

    /// Takes a row's date away that has come, if there is one. Returns its hash and key.
    pub(super) fn pop_due(&mut self, now: Micros) -> Option<(u64, K)> {
        while let Some(Date { at, hash, key }) = self.dates.pop(now) {
            let row = self.rows.find_mut(hash, |row| row.key == key);
            if let Some(row) = row.filter(|row| row.date == Some(at)) {
                row.date = None;
                self.dated -= 1;
                return Some((hash, key));
            }
        }
        None
    }

    fn clear_out(&mut self) {
        if self.dates.len() > 2 * self.dated + 64 {
            let rows = &self.rows;
            self.dates.retain(|date| {
                let row = rows.find(date.hash, |row| row.key == date.key);
                row.is_some_and(|row| row.date == Some(date.at))
            });
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &S)> {
        self.rows.iter().map(|row| (&row.key, &row.state))
    }

    /// How many there are, and how many of them have a date.
    #[cfg(test)]
    pub(super) fn len(&self) -> (usize, usize) {
        (self.rows.len(), self.dated)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const KEYS: u8 = 8;

    proptest! {
        /// None that is due is missed, and none comes up before its time; a row's date is the earliest it was given since
        /// it last came up, which a model of it knows.
        #[test]
        fn what_is_due_comes_up(
            steps in proptest::collection::vec((0_u8..KEYS, 0_u64..50, 0_u8..5), 1..300),
        ) {
            let mut states: States<(), u8> = States::default();
            let mut model: BTreeMap<u8, Option<u64>> = BTreeMap::new();
            for (key, at, verb) in steps {
                // All alike: the key itself must decide.
                let hash = 7;
                match verb {
                    0 => {
                        let popped = states.pop_due(Micros::new(at)).map(|(_, key)| key);
                        let earliest = model.values().flatten().min().copied().filter(|due| *due <= at);
                        prop_assert_eq!(popped.and_then(|key| model[&key]), earliest);
                        popped.map(|key| model.insert(key, None));
                    }
                    1 => {
                        states.remove(hash, &key);
                        model.remove(&key);
                    }
                    2 => {
                        states.look_again(hash, &key, None);
                        model.entry(key).and_modify(|due| *due = None);
                    }
                    _ => {
                        states.get_or_default(hash, key);
                        states.look_again(hash, &key, Some(Micros::new(at)));
                        let due = model.entry(key).or_default();
                        *due = Some(due.map_or(at, |before| before.min(at)));
                    }
                }
                let dated = model.values().flatten().count();
                prop_assert_eq!(states.len(), (model.len(), dated));
                prop_assert!(states.dates.len() <= 2 * usize::from(KEYS) + 65);
            }
        }
    }
}
