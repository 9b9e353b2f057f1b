//! Sessions of `tower-sessions`, kept by the fleet.

use std::fmt;
use std::time::Duration;

use quorate::{Codec, Fleet, Store, StoreSpec};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tower_sessions_core::session::{Id, Record};
use tower_sessions_core::session_store::{Error, Result, SessionStore};

use crate::hex::hex;

/// A keyspace of its own: ids of tower-sessions have 128 bits, and prove by themselves.
const SESSIONS: StoreSpec<String, Value> = StoreSpec::with_codec("tower-sessions", Codec::json());

/// The longest that a store keeps anything.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// How often others may write a session while somebody saves it.
const TRIES: usize = 16;

/// Keeps the sessions of [`tower-sessions`](https://docs.rs/tower-sessions), so that services that use it, or `axum-login`, have them on
/// every instance without a rewrite.
///
/// `SessionManagerLayer::new(TowerSessionStore::new(&fleet))` is all it takes.
///
/// # What it promises
/// A session that was deleted, or has ended, does not come back: saving it fails. One that is made replaces no other. Keys have a
/// hash of the id in them, so what the home keeps logs nobody in. Nothing has to clean up.
///
/// # What it cannot
/// tower-sessions reads a session, changes it, and writes all of it: of two requests at once the later one wins, and what the
/// other has changed is lost. It knows no users: nobody can list or end theirs. A
/// [`SessionLayer`](super::SessionLayer) does both.
///
/// # Clone
/// Cheap; clones are the same store.
///
/// # Example
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::sync::Arc;
/// use quorate::Fleet;
/// use quorate_http::session::TowerSessionStore;
/// use tower_sessions_core::Session;
///
/// let store = Arc::new(TowerSessionStore::new(&Fleet::embedded()));
/// let session = Session::new(None, store.clone(), None);
/// session.insert("visits", 1).await?;
/// session.save().await?;
///
/// let again = Session::new(session.id(), store, None);
/// assert_eq!(again.get::<u32>("visits").await?, Some(1));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct TowerSessionStore {
    store: Store<String, Value>,
}

impl TowerSessionStore {
    /// In this fleet's home.
    #[must_use]
    pub fn new(fleet: &Fleet) -> Self {
        Self {
            store: fleet.store(&SESSIONS),
        }
    }
}

#[async_trait::async_trait]
impl SessionStore for TowerSessionStore {
    async fn create(&self, record: &mut Record) -> Result<()> {
        let Some(left) = left(record) else {
            return Ok(()); // it has ended already
        };
        let kept = kept(record)?;
        loop {
            let making = self.store.set_if_absent(&key(record.id), &kept).ttl(left);
            if making.await.map_err(failed)? {
                return Ok(());
            }
            record.id = Id::default();
        }
    }

    async fn save(&self, record: &Record) -> Result<()> {
        let Some(left) = left(record) else {
            return self.delete(&record.id).await;
        };
        let (key, kept) = (key(record.id), kept(record)?);
        for _ in 0..TRIES {
            let Some(before) = self.store.get(&key).await.map_err(failed)? else {
                return Err(Error::Backend("the session ended meanwhile".to_owned()));
            };
            let saving = self.store.compare_and_set(&key, Some(&before), &kept);
            if saving.ttl(left).await.map_err(failed)? {
                return Ok(());
            }
        }
        Err(Error::Backend(
            "the session changes all the time".to_owned(),
        ))
    }

    async fn load(&self, id: &Id) -> Result<Option<Record>> {
        let Some(kept) = self.store.get(&key(*id)).await.map_err(failed)? else {
            return Ok(None);
        };
        let read = serde_json::from_value(kept);
        let record = read.map_err(|error| Error::Decode(error.to_string()))?;
        Ok(Some(Record { id: *id, ..record }))
    }

    async fn delete(&self, id: &Id) -> Result<()> {
        self.store.delete(&key(*id)).await.map_err(failed)?;
        Ok(())
    }
}

/// What stands for an id: from it nobody finds the id.
fn key(Id(id): Id) -> String {
    hex(&Sha256::digest(id.to_be_bytes()))
}

/// A record as it is kept: without its id.
fn kept(record: &Record) -> Result<Value> {
    let nameless = Record {
        id: Id(0),
        ..record.clone()
    };
    serde_json::to_value(nameless).map_err(|error| Error::Encode(error.to_string()))
}

/// How long a session has; `None` if it has ended.
fn left(record: &Record) -> Option<Duration> {
    let left = record.expiry_date.unix_timestamp_nanos() - jiff::Timestamp::now().as_nanosecond();
    let millis = u64::try_from(left / 1_000_000)
        .ok()
        .filter(|left| *left > 0)?;
    Some(Duration::from_millis(millis).min(LONGEST))
}

/// Its errors are text.
#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn failed(error: quorate::Error) -> Error {
    Error::Backend(error.to_string())
}

impl fmt::Debug for TowerSessionStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TowerSessionStore")
            .field(&self.store)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_the_home_keeps_has_no_id_in_it() {
        let store = std::sync::Arc::new(TowerSessionStore::new(&Fleet::embedded()));
        let session = tower_sessions_core::Session::new(None, store.clone(), None);
        session.save().await.unwrap();
        let id = session.id().unwrap();
        let key = key(id);
        let kept = store.store.get(&key).await.unwrap().unwrap().to_string();
        for shown in [id.to_string(), id.0.to_string(), format!("{:032x}", id.0)] {
            assert!(!key.contains(&shown) && !kept.contains(&shown), "{kept}");
        }
        assert_eq!(store.load(&id).await.unwrap().unwrap().id, id);
    }
}
