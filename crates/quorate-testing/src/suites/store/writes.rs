//! Times to live, conditions, and durability.

use std::future::IntoFuture;
use std::time::Duration;

use futures_util::future::join_all;
use quorate::{Durability, ErrorKind, Remaining, StoreSpec};

use super::{COUNTS, MINUTE, SECOND, text, texts};
use crate::harness::Home;

/// By the home's clock; until then every read finds it.
pub async fn an_entry_ends_when_its_time_is_over(home: Home) {
    const SHORT: StoreSpec<str, String> = StoreSpec::new("short").ttl(MINUTE);
    let store = home.fleet().store(&SHORT);
    store.set("by spec", &text("x")).await.unwrap();
    store
        .set("by write", &text("x"))
        .ttl(MINUTE * 3)
        .await
        .unwrap();
    home.elapse(MINUTE / 2).await;
    assert!(store.exists("by spec").await.unwrap());
    home.elapse(MINUTE).await;
    assert_eq!(store.get("by spec").await.unwrap(), None);
    assert_eq!(store.remaining("by spec").await.unwrap(), None);
    assert!(store.exists("by write").await.unwrap());
    home.elapse(MINUTE * 2).await;
    assert!(!store.exists("by write").await.unwrap());
}

/// Without a time nothing ends by itself.
pub async fn an_entry_without_a_time_stays(home: Home) {
    const SHORT: StoreSpec<str, String> = StoreSpec::new("short").ttl(MINUTE);
    texts(home.fleet()).set("a", &text("x")).await.unwrap();
    let short = home.fleet().store(&SHORT);
    short.set("a", &text("x")).no_ttl().await.unwrap();
    home.elapse(Duration::from_secs(100_000_000)).await;
    let forever = Some(Remaining::Forever);
    assert_eq!(texts(home.fleet()).remaining("a").await.unwrap(), forever);
    assert_eq!(short.remaining("a").await.unwrap(), forever);
}

/// Every write says what becomes of the end.
pub async fn a_time_is_kept_moved_or_taken_away(home: Home) {
    let store = texts(home.fleet());
    let value = text("x");
    store.set("a", &value).ttl(MINUTE).await.unwrap();
    store.set("a", &value).keep_ttl().await.unwrap();
    assert_between(store.remaining("a").await.unwrap(), MINUTE / 2, MINUTE);
    store.set("a", &value).ttl(MINUTE * 10).await.unwrap();
    assert_between(store.remaining("a").await.unwrap(), MINUTE * 9, MINUTE * 10);
    let replaced = store
        .compare_and_set("a", Some(&value), &text("y"))
        .keep_ttl();
    assert!(replaced.await.unwrap());
    assert_between(store.remaining("a").await.unwrap(), MINUTE * 9, MINUTE * 10);
    // The spec has none: a plain write takes it away.
    store.set("a", &value).await.unwrap();
    assert_eq!(
        store.remaining("a").await.unwrap(),
        Some(Remaining::Forever)
    );
}

fn assert_between(remaining: Option<Remaining>, least: Duration, most: Duration) {
    match remaining {
        Some(Remaining::For(time)) if time > least && time <= most => {}
        other => panic!("{other:?} is not from {least:?} to {most:?}"),
    }
}

/// Whatever its value.
pub async fn expire_and_persist_move_the_end_of_what_is_there(home: Home) {
    let store = texts(home.fleet());
    store.set("a", &text("x")).await.unwrap();
    assert!(store.expire("a", MINUTE).await.unwrap());
    assert_between(store.remaining("a").await.unwrap(), MINUTE / 2, MINUTE);
    assert!(store.persist("a").await.unwrap());
    assert!(
        store.persist("a").await.unwrap(),
        "also where there was no end"
    );
    assert_eq!(
        store.remaining("a").await.unwrap(),
        Some(Remaining::Forever)
    );
    assert!(store.expire("a", SECOND).await.unwrap());
    home.elapse(SECOND * 2).await;
    assert!(!store.persist("a").await.unwrap());
    assert!(!store.exists("a").await.unwrap());
}

/// `true` once.
pub async fn delete_says_whether_there_was_one(home: Home) {
    let store = texts(home.fleet());
    store.set("a", &text("x")).await.unwrap();
    assert!(store.delete("a").await.unwrap());
    assert!(!store.delete("a").await.unwrap());
    assert_eq!(store.get("a").await.unwrap(), None);
}

/// The first one does, and its value stays.
pub async fn set_if_absent_sets_once(home: Home) {
    let other = home.instance("b").await;
    assert!(
        texts(home.fleet())
            .set_if_absent("a", &text("1"))
            .await
            .unwrap()
    );
    let second = texts(&other).set_if_absent("a", &text("2")).ttl(SECOND);
    assert!(!second.await.unwrap());
    assert_eq!(texts(&other).get("a").await.unwrap(), Some(text("1")));
    let remaining = texts(&other).remaining("a").await.unwrap();
    assert_eq!(remaining, Some(Remaining::Forever));
}

/// To every condition.
pub async fn an_entry_that_ended_is_absent(home: Home) {
    let store = texts(home.fleet());
    for key in ["a", "b", "c"] {
        store.set(key, &text("1")).ttl(SECOND).await.unwrap();
    }
    home.elapse(SECOND * 2).await;
    assert!(store.set_if_absent("a", &text("2")).await.unwrap());
    let compared = store.compare_and_set("b", Some(&text("1")), &text("2"));
    assert!(!compared.await.unwrap());
    assert!(store.compare_and_set("b", None, &text("2")).await.unwrap());
    assert!(!store.compare_and_delete("c", &text("1")).await.unwrap());
    assert_eq!(
        store.remaining("a").await.unwrap(),
        Some(Remaining::Forever)
    );
}

/// And nothing else; the end is as the write says.
pub async fn compare_and_set_sets_what_is_as_expected(home: Home) {
    let store = texts(home.fleet());
    store.set("a", &text("1")).await.unwrap();
    let wrong = store.compare_and_set("a", Some(&text("2")), &text("3"));
    assert!(!wrong.await.unwrap());
    assert_eq!(store.get("a").await.unwrap(), Some(text("1")));
    let right = store.compare_and_set("a", Some(&text("1")), &text("2"));
    assert!(right.ttl(MINUTE).await.unwrap());
    assert_eq!(store.get("a").await.unwrap(), Some(text("2")));
    assert_between(store.remaining("a").await.unwrap(), MINUTE / 2, MINUTE);
}

/// `None` is expected where nothing is.
pub async fn compare_and_set_of_nothing_expects_nothing(home: Home) {
    let store = texts(home.fleet());
    assert!(
        !store
            .compare_and_set("a", Some(&text("1")), &text("2"))
            .await
            .unwrap()
    );
    assert!(store.compare_and_set("a", None, &text("1")).await.unwrap());
    assert!(!store.compare_and_set("a", None, &text("2")).await.unwrap());
    assert_eq!(store.get("a").await.unwrap(), Some(text("1")));
}

/// And nothing else.
pub async fn compare_and_delete_removes_what_is_as_expected(home: Home) {
    let store = texts(home.fleet());
    assert!(!store.compare_and_delete("a", &text("1")).await.unwrap());
    store.set("a", &text("1")).await.unwrap();
    assert!(!store.compare_and_delete("a", &text("2")).await.unwrap());
    assert!(store.compare_and_delete("a", &text("1")).await.unwrap());
    assert!(!store.exists("a").await.unwrap());
}

/// Exactly one, over all instances.
pub async fn of_many_who_set_if_absent_one_does(home: Home) {
    let other = home.instance("b").await;
    let fleets = [home.fleet(), &other];
    for round in 0..10 {
        let key = round.to_string();
        let tries = (0..20).map(|number| {
            let store = texts(fleets[number % 2]);
            let key = &key;
            async move { store.set_if_absent(key, &number.to_string()).await.unwrap() }
        });
        let won = join_all(tries).await.into_iter().filter(|won| *won).count();
        assert_eq!(won, 1);
    }
}

/// Read, change, compare-and-set, until it succeeds: every change is there.
pub async fn of_many_who_compare_and_set_none_is_lost(home: Home) {
    let other = home.instance("b").await;
    let fleets = [home.fleet(), &other];
    let add = |number: usize| {
        let store = fleets[number % 2].store(&COUNTS);
        async move {
            loop {
                let seen = store.get("a").await.unwrap();
                let next = seen.unwrap_or(0) + 1;
                if store
                    .compare_and_set("a", seen.as_ref(), &next)
                    .await
                    .unwrap()
                {
                    return;
                }
            }
        }
    };
    join_all((0..10).map(add)).await;
    assert_eq!(other.store(&COUNTS).get("a").await.unwrap(), Some(10));
}

/// What was reached is said, also where it is less than was asked for.
pub async fn durable_writes_say_what_they_reached(home: Home) {
    let store = texts(home.fleet());
    // No home in these tests has a replica.
    let asked = Durability::replicas(1).within(Duration::from_millis(5));
    let set = store.set("a", &text("1")).durable(asked).await.unwrap();
    assert_eq!(set.reached.replicas, 0);
    assert!(!set.is_reached());
    let compared = store
        .compare_and_set("a", Some(&text("1")), &text("2"))
        .idempotent()
        .durable(asked);
    let compared = compared.await.unwrap();
    assert!(compared.value && !compared.is_reached());
    assert_eq!(store.get("a").await.unwrap(), Some(text("2")));
    // Many at once share their waits, and each has its own answer.
    let counts = home.fleet().store(&COUNTS);
    let adds = (0..50).map(|_| counts.increment("n", 1).durable(asked).into_future());
    let mut seen: Vec<_> = join_all(adds)
        .await
        .into_iter()
        .map(|added| added.unwrap().value)
        .collect();
    seen.sort_unstable();
    assert_eq!(seen, (1..=50).collect::<Vec<_>>());
}

/// Before anything is sent.
pub async fn durability_of_nothing_is_refused(home: Home) {
    let store = texts(home.fleet());
    for asked in [
        Durability::replicas(0),
        Durability::replicas(1).within(Duration::ZERO),
        Durability::replicas(1).within(Duration::MAX),
    ] {
        let error = store.set("a", &text("1")).durable(asked).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(
            error.message().unwrap().starts_with("durability must"),
            "{error}"
        );
    }
    assert!(!store.exists("a").await.unwrap());
}
