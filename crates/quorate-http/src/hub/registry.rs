//! The clients of this instance, by id.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use parking_lot::Mutex;

use super::client::Client;

/// Parts that are locked apart from each other: thousands of clients may come at once.
const PARTS: usize = 16;

/// The clients of this instance.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    hasher: RandomState,
    parts: [Mutex<HashMap<Arc<str>, Arc<Client>>>; PARTS],
}

impl Registry {
    pub(crate) fn insert(&self, client: Arc<Client>) {
        self.part(&client.id)
            .lock()
            .insert(client.id.clone(), client);
    }

    pub(crate) fn remove(&self, id: &str) {
        let removed = self.part(id).lock().remove(id);
        drop(removed);
    }

    pub(crate) fn get(&self, id: &str) -> Option<Arc<Client>> {
        self.part(id).lock().get(id).cloned()
    }

    /// All of them, as of now.
    pub(crate) fn all(&self) -> Vec<Arc<Client>> {
        let mut all = Vec::new();
        for part in &self.parts {
            all.extend(part.lock().values().cloned());
        }
        all
    }

    fn part(&self, id: &str) -> &Mutex<HashMap<Arc<str>, Arc<Client>>> {
        let at = usize::try_from(self.hasher.hash_one(id) % PARTS as u64).unwrap_or(0);
        &self.parts[at]
    }
}
