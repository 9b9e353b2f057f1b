//! Several entries at once, and all of them.

use std::collections::BTreeSet;

use futures_util::TryStreamExt;
use quorate::store::ScanCursor;
use quorate::{ErrorKind, Fleet, StoreSpec};

use super::{MINUTE, text, texts};
use crate::harness::Home;

/// In the order of the keys, and `None` where there is nothing.
pub async fn many_are_set_and_read_in_order(home: Home) {
    const NUMBERS: StoreSpec<u32, u32> = StoreSpec::new("numbers");
    let numbers = home.fleet().store(&NUMBERS);
    let keys: Vec<u32> = (0..200).collect();
    numbers
        .set_many(keys.iter().map(|key| (key, key)))
        .await
        .unwrap();
    let asked = [7, 1000, 7, 199];
    let found = numbers.get_many(&asked).await.unwrap();
    assert_eq!(found, [Some(7), None, Some(7), Some(199)]);
    let none = numbers.get_many([]).await.unwrap();
    assert!(none.is_empty());
    numbers.set_many([]).await.unwrap();
    let many: Vec<u32> = (0..10_001).collect();
    let error = numbers.get_many(&many).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let set = numbers.set_many(many.iter().map(|key| (key, key)));
    assert_eq!(
        set.await.unwrap_err().message(),
        Some("keys must be at most 10000")
    );
}

/// As the spec says, or the write.
pub async fn many_live_as_long_as_is_said(home: Home) {
    const SHORT: StoreSpec<str, String> = StoreSpec::new("short").ttl(MINUTE);
    let (store, value) = (home.fleet().store(&SHORT), text("x"));
    store
        .set_many([("a", &value), ("b", &value)])
        .await
        .unwrap();
    store
        .set_many([("c", &value)])
        .ttl(MINUTE * 3)
        .await
        .unwrap();
    store.set_many([("d", &value)]).no_ttl().await.unwrap();
    home.elapse(MINUTE * 2).await;
    let found = store.get_many(["a", "b", "c", "d"]).await.unwrap();
    assert_eq!(found, [None, None, Some(value.clone()), Some(value)]);
}

async fn scanned(fleet: &Fleet, prefix: &str) -> Vec<String> {
    texts(fleet).scan(prefix).try_collect().await.unwrap()
}

/// Exactly once each, whatever a server does meanwhile, and not what has ended.
pub async fn scan_gives_every_key_once(home: Home) {
    let store = texts(home.fleet());
    let keys: BTreeSet<String> = (0..3000).map(|number| format!("k{number}")).collect();
    let value = text("x");
    store
        .set_many(keys.iter().map(|key| (&**key, &value)))
        .await
        .unwrap();
    store.set("ended", &value).ttl(MINUTE).await.unwrap();
    home.elapse(MINUTE * 2).await;
    let found = scanned(home.fleet(), "").await;
    assert_eq!(found.len(), keys.len());
    assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), keys);
}

/// Not other stores, other namespaces, other prefixes, nor what belongs to an entry.
pub async fn scan_gives_only_what_begins_with_the_prefix(home: Home) {
    const OTHER: StoreSpec<str, String> = StoreSpec::new("text");
    let (fleet, value) = (home.fleet(), text("x"));
    let inner = fleet.namespaced("texts").unwrap();
    for key in ["user:1", "user:2", "users", "guest:1"] {
        texts(fleet)
            .set_if_absent(key, &value)
            .idempotent()
            .await
            .unwrap();
        fleet.store(&OTHER).set(key, &value).await.unwrap();
        texts(&inner).set(key, &value).await.unwrap();
    }
    let mut found = scanned(fleet, "user:").await;
    found.sort();
    assert_eq!(found, ["user:1", "user:2"]);
    assert_eq!(scanned(fleet, "").await.len(), 4);
}

/// A prefix is text, in any namespace.
pub async fn scan_takes_globs_for_text(home: Home) {
    let value = text("x");
    for key in ["a*b", "axb", "[a]", "a?", "a\\b", "{x}1", "%7Bx%7D2"] {
        texts(home.fleet()).set(key, &value).await.unwrap();
    }
    for (prefix, keys) in [
        ("a*", &["a*b"][..]),
        ("[a]", &["[a]"]),
        ("a?", &["a?"]),
        ("a\\", &["a\\b"]),
        ("{x}", &["{x}1"]),
    ] {
        assert_eq!(scanned(home.fleet(), prefix).await, keys, "{prefix}");
    }
}

/// At once.
pub async fn scan_of_nothing_ends(home: Home) {
    assert!(scanned(home.fleet(), "").await.is_empty());
}

/// With what its last page said, on any instance.
pub async fn a_scan_goes_on_where_another_stopped(home: Home) {
    let keys: BTreeSet<String> = (0..700).map(|number| number.to_string()).collect();
    let value = text("x");
    let entries = keys.iter().map(|key| (&**key, &value));
    texts(home.fleet()).set_many(entries).await.unwrap();
    let other = home.instance("b").await;
    let (mut found, mut from) = (BTreeSet::new(), None::<ScanCursor>);
    for fleet in [home.fleet(), &other].into_iter().cycle() {
        let mut scan = texts(fleet).scan("");
        if let Some(from) = from {
            scan = scan.after(from);
        }
        let page = scan.next_page().await.unwrap().unwrap();
        found.extend(page.names);
        from = page.next;
        if from.is_none() {
            assert_eq!(scan.next_page().await.unwrap(), None);
            break;
        }
    }
    assert_eq!(found, keys);
}
