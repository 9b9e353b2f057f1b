//! Loads under way in this process: whoever asks for the same meanwhile waits for the first one.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;

/// What a load came to.
#[derive(Clone, Debug)]
pub(super) enum Landed {
    /// A value, encoded.
    Value(Bytes),
    /// It failed.
    Failed(SharedError),
}

/// Loads under way, by the key of the entry.
#[derive(Debug, Default)]
pub(super) struct Flights {
    // A short lock: a load is only looked up, added, and taken out.
    under_way: Mutex<HashMap<String, watch::Receiver<Option<Landed>>>>,
}

/// What asking for an entry makes of the asker.
pub(super) enum Role {
    /// It loads.
    Lead(Lead),
    /// Somebody else does.
    Follow(Follow),
}

/// Who loads. Dropped without an outcome, the next one of those who wait loads.
pub(super) struct Lead {
    flights: Arc<Flights>,
    key: String,
    outcome: watch::Sender<Option<Landed>>,
}

/// Who waits.
pub(super) struct Follow(watch::Receiver<Option<Landed>>);

impl Flights {
    pub(super) fn join(self: &Arc<Self>, key: String) -> Role {
        match self.under_way.lock().entry(key) {
            Entry::Occupied(found) => Role::Follow(Follow(found.get().clone())),
            Entry::Vacant(free) => {
                let (outcome, follow) = watch::channel(None);
                let key = free.key().clone();
                free.insert(follow);
                Role::Lead(Lead {
                    flights: self.clone(),
                    key,
                    outcome,
                })
            }
        }
    }
}

impl Lead {
    /// Hands the outcome to all who wait.
    pub(super) fn land(self, landed: Landed) {
        // Taken out first: who asks from now on wants to know what is there now.
        self.flights.under_way.lock().remove(&self.key);
        self.outcome.send_replace(Some(landed));
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        let mut under_way = self.flights.under_way.lock();
        // After landing, it may be somebody else's by now.
        let own = under_way
            .get(&self.key)
            .is_some_and(|found| found.same_channel(&self.outcome.subscribe()));
        if own {
            under_way.remove(&self.key);
        }
    }
}

impl Follow {
    /// The outcome; `None`: who loaded has given up.
    pub(super) async fn landed(mut self) -> Option<Landed> {
        let landed = self.0.wait_for(Option::is_some).await.ok()?;
        landed.clone()
    }
}

/// An error that several are told of.
#[derive(Clone)]
pub(super) struct SharedError(Arc<dyn std::error::Error + Send + Sync>);

impl SharedError {
    pub(super) fn new(error: Box<dyn std::error::Error + Send + Sync>) -> Self {
        Self(error.into())
    }
}

impl fmt::Display for SharedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for SharedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for SharedError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_leads_and_the_others_are_told() {
        let flights = Arc::new(Flights::default());
        let Role::Lead(lead) = flights.join("a".to_owned()) else {
            panic!("nobody else loads");
        };
        let Role::Follow(follow) = flights.join("a".to_owned()) else {
            panic!("somebody loads");
        };
        assert!(matches!(flights.join("b".to_owned()), Role::Lead(_)));
        lead.land(Landed::Value(Bytes::from_static(b"1")));
        assert!(matches!(follow.landed().await, Some(Landed::Value(value)) if value == "1"));
        assert!(matches!(flights.join("a".to_owned()), Role::Lead(_)));
    }

    #[tokio::test]
    async fn who_gives_up_leaves_the_load_to_others() {
        let flights = Arc::new(Flights::default());
        let Role::Lead(lead) = flights.join("a".to_owned()) else {
            panic!("nobody else loads");
        };
        let Role::Follow(follow) = flights.join("a".to_owned()) else {
            panic!("somebody loads");
        };
        drop(lead);
        assert!(follow.landed().await.is_none());
        assert!(matches!(flights.join("a".to_owned()), Role::Lead(_)));
        assert!(flights.under_way.lock().is_empty());
    }
}
