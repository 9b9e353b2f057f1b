//! States by key, found by a hash that is made once.

use std::borrow::Borrow;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

/// States by key. Every call is given the hash of its key, always made by the same function.
#[derive(Debug)]
pub(super) struct States<S, K> {
    rows: HashTable<Row<S, K>>,
}

#[derive(Debug)]
struct Row<S, K> {
    hash: u64,
    key: K,
    state: S,
}

impl<S, K> Default for States<S, K> {
    fn default() -> Self {
        Self {
            rows: HashTable::new(),
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
                let state = S::default();
                free.insert(Row { hash, key, state }).into_mut()
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
            found.remove();
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &S)> {
        self.rows.iter().map(|row| (&row.key, &row.state))
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }
}
