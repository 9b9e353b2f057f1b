//! Idempotency keys.

use futures_util::future::join_all;
use quorate::{Durability, ErrorKind, Outcome, StoreSpec};

use super::{COUNTS, MINUTE, RAW, SECOND, text, texts};
use crate::harness::Home;

/// By whichever instance; it happens once.
pub async fn a_repeated_write_is_answered_as_the_first_time(home: Home) {
    let other = home.instance("b").await;
    for fleet in [home.fleet(), &other, home.fleet()] {
        let (texts, counts) = (texts(fleet), fleet.store(&COUNTS));
        let absent = texts.set_if_absent("a", &text("1")).idempotency_key("k1");
        assert!(absent.await.unwrap());
        let compared = texts
            .compare_and_set("a", Some(&text("1")), &text("2"))
            .idempotency_key("k2");
        assert!(compared.await.unwrap());
        let counted = counts.increment("n", 5).idempotency_key("k").await.unwrap();
        assert_eq!(counted, 5);
        let deleted = texts
            .compare_and_delete("b", &text("1"))
            .idempotency_key("k");
        assert!(!deleted.await.unwrap());
        let wait = Durability::replicas(1).within(std::time::Duration::from_millis(5));
        let durable = counts.increment("m", 7).idempotency_key("k").durable(wait);
        assert_eq!(durable.await.unwrap().value, 7);
    }
    assert_eq!(texts(&other).get("a").await.unwrap(), Some(text("2")));
    assert_eq!(other.store(&COUNTS).get("n").await.unwrap(), Some(5));
}

/// What is remembered outlives the entry.
pub async fn what_is_repeated_need_not_be_there_any_more(home: Home) {
    let store = texts(home.fleet());
    let claim = || {
        store
            .set_if_absent("a", &text("1"))
            .ttl(SECOND)
            .idempotency_key("k")
    };
    assert!(claim().await.unwrap());
    assert!(store.delete("a").await.unwrap());
    assert!(claim().await.unwrap());
    assert!(!store.exists("a").await.unwrap());
    home.elapse(MINUTE).await;
    assert!(claim().await.unwrap());
    assert!(!store.exists("a").await.unwrap());
}

/// Another write with it is a mistake, and is refused as one.
pub async fn an_idempotency_key_belongs_to_one_write(home: Home) {
    let counts = home.fleet().store(&COUNTS);
    assert_eq!(
        counts.increment("a", 5).idempotency_key("k").await.unwrap(),
        5
    );
    for error in [
        counts
            .increment("a", 6)
            .idempotency_key("k")
            .await
            .unwrap_err(),
        counts
            .increment("a", 5)
            .ttl(MINUTE)
            .idempotency_key("k")
            .await
            .unwrap_err(),
        counts
            .set_if_absent("a", &5)
            .idempotency_key("k")
            .await
            .unwrap_err(),
        counts
            .compare_and_delete("a", &5)
            .idempotency_key("k")
            .await
            .unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(error.outcome(), Outcome::NotApplied);
        assert_eq!(
            error.message(),
            Some("idempotency_key must not be that of another write, which is still remembered")
        );
    }
    assert_eq!(counts.get("a").await.unwrap(), Some(5));
}

/// The same key for another entry is another.
pub async fn an_idempotency_key_belongs_to_one_entry(home: Home) {
    let counts = home.fleet().store(&COUNTS);
    for key in ["a", "b"] {
        let counted = counts.increment(key, 1).idempotency_key("k");
        assert_eq!(counted.await.unwrap(), 1);
    }
}

/// After the time that the spec says, or the write.
pub async fn an_idempotency_key_is_forgotten_in_time(home: Home) {
    const SHORT: StoreSpec<str, i64> = StoreSpec::new("short").remember(MINUTE);
    let counts = home.fleet().store(&SHORT);
    let add = || counts.increment("a", 1).idempotency_key("k");
    assert_eq!(add().await.unwrap(), 1);
    home.elapse(MINUTE / 2).await;
    assert_eq!(add().await.unwrap(), 1);
    home.elapse(MINUTE).await;
    assert_eq!(add().remember(MINUTE * 5).await.unwrap(), 2);
    home.elapse(MINUTE * 2).await;
    assert_eq!(add().await.unwrap(), 2);
}

/// What was refused stays refused, though it would be granted now.
pub async fn a_refusal_is_remembered_too(home: Home) {
    let store = texts(home.fleet());
    store.set("a", &text("1")).await.unwrap();
    let claim = || store.set_if_absent("a", &text("2")).idempotency_key("k");
    assert!(!claim().await.unwrap());
    store.delete("a").await.unwrap();
    assert!(!claim().await.unwrap());
    assert!(!store.exists("a").await.unwrap());
    // What failed for what stood there is not: it can be put right.
    let counts = home.fleet().store(&COUNTS);
    counts.set("n", &i64::MAX).await.unwrap();
    counts
        .increment("n", 1)
        .idempotency_key("k")
        .await
        .unwrap_err();
    counts.set("n", &1).await.unwrap();
    let counted = counts.increment("n", 1).idempotency_key("k");
    assert_eq!(counted.await.unwrap(), 2);
}

/// At the same time, over all instances.
pub async fn of_many_with_one_idempotency_key_one_counts(home: Home) {
    let other = home.instance("b").await;
    let fleets = [home.fleet(), &other];
    let adds = (0..20).map(|number: usize| {
        let counts = fleets[number % 2].store(&COUNTS);
        async move { counts.increment("a", 1).idempotency_key("k").await.unwrap() }
    });
    assert_eq!(join_all(adds).await, [1; 20]);
    assert_eq!(other.store(&COUNTS).get("a").await.unwrap(), Some(1));
}

/// With field and rule.
pub async fn idempotency_keys_are_checked(home: Home) {
    let counts = home.fleet().store(&COUNTS);
    let add = || counts.increment("a", 1);
    let long = "x".repeat(513);
    for (error, says) in [
        (
            add().idempotency_key("").await.unwrap_err(),
            "idempotency_key must not be empty",
        ),
        (
            add().idempotency_key(&long).await.unwrap_err(),
            "idempotency_key must be at most 512 bytes",
        ),
        (
            add()
                .idempotent()
                .remember(std::time::Duration::ZERO)
                .await
                .unwrap_err(),
            "remember must be at least 1 ms",
        ),
    ] {
        assert_eq!(error.message(), Some(says));
    }
    assert!(!counts.exists("a").await.unwrap());
}

/// In the slot of the entry, and out of the way of its name.
pub async fn raw_entries_have_idempotency_keys_too(home: Home) {
    let raw = home.fleet().store(&RAW);
    for _ in 0..2 {
        let claim = raw.set_if_absent("a:b", &text("1")).idempotency_key("k");
        assert!(claim.await.unwrap());
    }
    let found: Vec<String> = futures_util::TryStreamExt::try_collect(raw.scan(""))
        .await
        .unwrap();
    assert_eq!(found, ["a:b"]);
}
