//! Looking for entries by name.

#![expect(
    clippy::disallowed_methods,
    reason = "a load beside the clause ends with it"
)]

use std::collections::BTreeSet;
use std::future::IntoFuture;
use std::io::Error;

use futures_util::{StreamExt, TryStreamExt};
use quorate::cache::ScanCursor;
use quorate::{Cache, CacheSpec, ErrorKind};
use tokio::sync::oneshot;

use super::{MINUTE, text, texts};
use crate::harness::Home;

async fn names(cache: &Cache<str, String>, glob: &str) -> Vec<String> {
    let mut names: Vec<String> = cache.scan(glob).try_collect().await.unwrap();
    names.sort();
    names
}

/// Exactly once each, whatever a server does meanwhile, and not what has ended.
pub async fn a_scan_of_a_cache_gives_every_key_once(home: Home) {
    let cache = texts(home.fleet());
    let keys: BTreeSet<String> = (0..1500).map(|number| format!("k{number}")).collect();
    let value = text("x");
    let entries = keys.iter().map(|key| (&**key, &value));
    cache.put_many(entries).await.unwrap();
    cache.put("ended", &value).ttl(MINUTE).await.unwrap();
    cache.put("dead", &value).tags(["t"]).await.unwrap();
    cache.put("tagged", &value).tags(["u"]).await.unwrap();
    home.fleet().invalidate_tags(["t"]).await.unwrap();
    home.elapse(MINUTE * 2).await;
    let found = names(&cache, "*").await;
    assert_eq!(found.len(), keys.len() + 1);
    let found: BTreeSet<_> = found.into_iter().collect();
    assert!(found.is_superset(&keys) && found.contains("tagged"));
    assert!(names(&cache, "no*").await.is_empty());
}

/// Over the keys of the cache alone, in any namespace.
pub async fn a_scan_of_a_cache_takes_a_glob(home: Home) {
    const OTHER: CacheSpec<str, String> = CacheSpec::new("text");
    let (fleet, value) = (home.fleet(), text("x"));
    let inner = fleet.namespaced("texts").unwrap();
    for key in ["user:1", "user:2", "users", "x:user:1", "a*b", "axb"] {
        for cache in [texts(fleet), texts(&inner), fleet.cache(&OTHER)] {
            cache.put(key, &value).await.unwrap();
        }
    }
    for cache in [texts(fleet), texts(&inner)] {
        for (glob, expected) in [
            ("user:?", &["user:1", "user:2"][..]),
            ("a\\*b", &["a*b"]),
            ("*b", &["a*b", "axb"]),
            ("users", &["users"]),
        ] {
            assert_eq!(names(&cache, glob).await, expected, "{glob}");
        }
    }
}

/// It is no entry, though it will be one.
pub async fn a_scan_of_a_cache_leaves_out_what_is_loading(home: Home) {
    let cache = texts(home.fleet());
    let (began, begins) = oneshot::channel();
    let (go, gone) = oneshot::channel();
    let load = async move {
        began.send(()).unwrap();
        gone.await.unwrap();
        Ok::<_, Error>(text("x"))
    };
    let loading = tokio::spawn(cache.get_or_load("a", load).into_future());
    begins.await.unwrap();
    assert!(names(&cache, "*").await.is_empty());
    go.send(()).unwrap();
    loading.await.unwrap().unwrap();
    assert_eq!(names(&cache, "*").await, ["a"]);
}

/// It is no entry either; a clear forgets it, and does not count it.
pub async fn a_scan_of_a_cache_leaves_out_what_failed(home: Home) {
    const TOLD: CacheSpec<str, String> = CacheSpec::new("told").cache_errors(MINUTE);
    let cache = home.fleet().cache(&TOLD);
    let failing = async { Err::<String, _>(Error::other("the database is away")) };
    cache.get_or_load("a", failing).await.unwrap_err();
    assert!(names(&cache, "*").await.is_empty());
    cache.put("b", &text("x")).await.unwrap();
    assert_eq!(names(&cache, "*").await, ["b"]);
    let load = || async { Ok::<_, Error>(text("x")) };
    let told = cache.get_or_load("a", load()).await.unwrap_err();
    assert_eq!(told.kind(), ErrorKind::Load, "which is remembered");
    assert_eq!(cache.clear().await.unwrap(), 1);
    assert_eq!(cache.get_or_load("a", load()).await.unwrap(), "x");
}

/// With what its last page said, on any instance.
pub async fn a_scan_of_a_cache_goes_on_where_another_stopped(home: Home) {
    let keys: BTreeSet<String> = (0..700).map(|number| number.to_string()).collect();
    let value = text("x");
    let entries = keys.iter().map(|key| (&**key, &value));
    texts(home.fleet()).put_many(entries).await.unwrap();
    let other = home.instance("b").await;
    let (mut found, mut from) = (BTreeSet::new(), None::<ScanCursor>);
    for fleet in [home.fleet(), &other].into_iter().cycle() {
        let mut scan = texts(fleet).scan("*");
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

/// Said once; then the stream ends.
pub async fn a_glob_that_cannot_be_is_refused(home: Home) {
    let long = "x".repeat(513);
    for (glob, rule) in [
        ("", "pattern must not be empty"),
        (&*long, "pattern must be at most 512 bytes"),
    ] {
        let mut scan = texts(home.fleet()).scan(glob);
        let error = scan.next().await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.message().unwrap().starts_with(rule), "{error}");
        assert_eq!(error.operation(), Some("cache.scan"));
        assert!(scan.next().await.is_none());
    }
}
