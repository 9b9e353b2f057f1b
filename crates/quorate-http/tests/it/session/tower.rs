//! What tower-sessions expects of a store, on every home.

use quorate_testing::harness::{Embedded, EmbeddedFile, OnServer};
use quorate_testing::servers::ServerKind;

/// One test per clause and home.
macro_rules! on_every_home {
    ($($clause:ident),* $(,)?) => {
        on_every_home!(@ embedded, Embedded, [$($clause),*]);
        on_every_home!(@ file, EmbeddedFile, [$($clause),*]);
        on_every_home!(@ redis, OnServer(ServerKind::Redis), [$($clause),*]);
        on_every_home!(@ valkey, OnServer(ServerKind::Valkey), [$($clause),*]);
        on_every_home!(@ cluster, OnServer(ServerKind::RedisCluster), [$($clause),*]);
    };
    (@ $home:ident, $harness:expr, [$($clause:ident),*]) => {
        mod $home {
            use super::*;
            $(
                #[test]
                fn $clause() {
                    quorate_testing::harness::run(&$harness, clauses::$clause);
                }
            )*
        }
    };
}

on_every_home!(
    what_was_made_is_loaded_on_every_instance,
    a_session_that_is_made_replaces_no_other,
    what_was_saved_is_loaded,
    what_was_deleted_does_not_come_back,
    what_has_ended_is_not_loaded_nor_saved,
    what_is_saved_as_ended_is_gone,
    the_sessions_of_tower_sessions_work,
);

mod clauses {
    use std::sync::Arc;
    use std::time::Duration;

    use quorate_http::session::TowerSessionStore;
    use quorate_testing::harness::Home;
    use serde_json::json;
    use tower_sessions_core::session::{Id, Record};
    use tower_sessions_core::{Session, SessionStore};

    const MINUTE: Duration = Duration::from_secs(60);
    /// How long a session has that says nothing else.
    const FORTNIGHT: Duration = Duration::from_secs(14 * 24 * 3600);

    fn store(home: &Home) -> TowerSessionStore {
        TowerSessionStore::new(home.fleet())
    }

    /// A session that has a minute.
    fn record(store: &TowerSessionStore) -> Record {
        let now = Session::new(None, Arc::new(store.clone()), None).expiry_date() - FORTNIGHT;
        Record {
            id: Id::default(),
            data: [("visits".to_owned(), json!({"count": 1}))].into(),
            expiry_date: now + MINUTE,
        }
    }

    pub(super) async fn what_was_made_is_loaded_on_every_instance(home: Home) {
        let other = TowerSessionStore::new(&home.instance("b").await);
        let mut made = record(&other);
        let wanted = made.id;
        store(&home).create(&mut made).await.unwrap();
        assert_eq!(made.id, wanted);
        assert_eq!(other.load(&made.id).await.unwrap(), Some(made));
        assert_eq!(other.load(&Id::default()).await.unwrap(), None);
    }

    pub(super) async fn a_session_that_is_made_replaces_no_other(home: Home) {
        let store = store(&home);
        let mut first = record(&store);
        store.create(&mut first).await.unwrap();
        let mut second = Record {
            data: [].into(),
            ..first.clone()
        };
        store.create(&mut second).await.unwrap();
        assert_ne!(first.id, second.id);
        assert_eq!(store.load(&first.id).await.unwrap(), Some(first));
        assert_eq!(store.load(&second.id).await.unwrap(), Some(second));
    }

    /// With another end.
    pub(super) async fn what_was_saved_is_loaded(home: Home) {
        let store = store(&home);
        let mut record = record(&store);
        store.create(&mut record).await.unwrap();
        record.data.insert("more".to_owned(), json!([1, "two"]));
        record.expiry_date += MINUTE;
        store.save(&record).await.unwrap();
        home.elapse(MINUTE + MINUTE / 2).await;
        assert_eq!(store.load(&record.id).await.unwrap(), Some(record));
    }

    pub(super) async fn what_was_deleted_does_not_come_back(home: Home) {
        let store = store(&home);
        let mut record = record(&store);
        store.create(&mut record).await.unwrap();
        for _ in 0..2 {
            store.delete(&record.id).await.unwrap();
            store.save(&record).await.unwrap_err();
            assert_eq!(store.load(&record.id).await.unwrap(), None);
        }
    }

    pub(super) async fn what_has_ended_is_not_loaded_nor_saved(home: Home) {
        let store = store(&home);
        let mut record = record(&store);
        store.create(&mut record).await.unwrap();
        home.elapse(MINUTE).await;
        assert_eq!(store.load(&record.id).await.unwrap(), None);
        store.save(&record).await.unwrap_err();
    }

    pub(super) async fn what_is_saved_as_ended_is_gone(home: Home) {
        let store = store(&home);
        let mut record = record(&store);
        store.create(&mut record).await.unwrap();
        record.expiry_date -= MINUTE * 2;
        store.save(&record).await.unwrap();
        assert_eq!(store.load(&record.id).await.unwrap(), None);
        store.create(&mut record).await.unwrap();
        assert_eq!(store.load(&record.id).await.unwrap(), None);
    }

    pub(super) async fn the_sessions_of_tower_sessions_work(home: Home) {
        let store = Arc::new(store(&home));
        let session = Session::new(None, store.clone(), None);
        session.insert("user", "alice").await.unwrap();
        session.save().await.unwrap();
        let before = session.id();
        let session = Session::new(before, store.clone(), None);
        assert_eq!(
            session.get::<String>("user").await.unwrap().as_deref(),
            Some("alice")
        );
        session.cycle_id().await.unwrap();
        session.save().await.unwrap();
        assert_ne!(session.id(), before);
        let old = Session::new(before, store.clone(), None);
        assert_eq!(old.get::<String>("user").await.unwrap(), None);
        let session = Session::new(session.id(), store.clone(), None);
        assert_eq!(
            session.get::<String>("user").await.unwrap().as_deref(),
            Some("alice")
        );
        let id = session.id().unwrap();
        session.flush().await.unwrap();
        assert_eq!(store.load(&id).await.unwrap(), None);
    }
}
