//! Loading once in the fleet.

#![expect(
    clippy::disallowed_methods,
    reason = "a load beside the clause ends with it"
)]

use std::collections::HashMap;
use std::future::IntoFuture;
use std::io::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use quorate::cache::{LoadId, Oversized, StaleReason, Take, Taken, Wish};
use quorate::{Cache, CacheSpec, ErrorKind, Loaded, Read, ReadKind};
use tokio::sync::Notify;

use super::{HOUR, MINUTE, SECOND, text, texts};
use crate::harness::{Home, eventually, within};

/// Defect 8 of the register: ten who missed loaded ten times.
pub async fn one_of_many_loads(home: Home) {
    let others = [home.instance("b").await, home.instance("c").await];
    let fleets = [home.fleet(), &others[0], &others[1]];
    for round in 0..5 {
        let loads = AtomicU32::new(0);
        let key = round.to_string();
        let asks = (0..60).map(|number: usize| {
            let (cache, loads, key) = (texts(fleets[number % 3]), &loads, &*key);
            async move {
                let load = async {
                    loads.fetch_add(1, Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    Ok::<_, Error>(text("x"))
                };
                cache.get_or_load(key, load).await.unwrap()
            }
        });
        assert_eq!(join_all(asks).await, vec![text("x"); 60]);
        assert_eq!(loads.load(Ordering::SeqCst), 1);
    }
}

/// And is handed the value.
pub async fn whoever_asks_while_another_instance_loads_waits(home: Home) {
    let other = home.instance("b").await;
    let go = Arc::new(Notify::new());
    let started = Arc::new(AtomicU32::new(0));
    let load = {
        let (go, started) = (go.clone(), started.clone());
        async move {
            started.fetch_add(1, Ordering::SeqCst);
            go.notified().await;
            Ok::<_, Error>(text("x"))
        }
    };
    let cache = texts(home.fleet());
    let loading = tokio::spawn(async move { cache.get_or_load("a", load).read().await });
    eventually("the load begins", async || {
        started.load(Ordering::SeqCst) == 1
    })
    .await;
    let never = async { panic!("somebody else loads") };
    let cache = texts(&other);
    let waiting = cache.get_or_load("a", async {
        never.await;
        Ok::<_, Error>(text("y"))
    });
    let mut waiting = Box::pin(waiting.read());
    // It has asked, and waits.
    for _ in 0..50 {
        assert!((&mut waiting).now_or_never().is_none());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    go.notify_one();
    let waited = within("the value is handed over", waiting).await.unwrap();
    assert_eq!((&*waited.value, waited.kind), ("x", ReadKind::Followed));
    let loaded = loading.await.unwrap().unwrap();
    assert_eq!((&*loaded.value, loaded.kind), ("x", ReadKind::Loaded));
}

/// For as long as the call says.
pub async fn a_loaded_value_is_kept(home: Home) {
    let cache = texts(home.fleet());
    let load = || async { Ok::<_, Error>(text("x")) };
    let first = cache
        .get_or_load("a", load())
        .ttl(MINUTE)
        .read()
        .await
        .unwrap();
    assert_eq!(first.kind, ReadKind::Loaded);
    let second = cache.get_or_load("a", load()).read().await.unwrap();
    assert_eq!((&*second.value, second.kind), ("x", ReadKind::Hit));
    home.elapse(MINUTE * 2).await;
    let third = cache.get_or_load("a", load()).read().await.unwrap();
    assert_eq!(third.kind, ReadKind::Loaded);
}

/// `None` is a value.
pub async fn a_loaded_nothing_is_kept(home: Home) {
    const USERS: CacheSpec<u64, Option<String>> = CacheSpec::new("users");
    let users = home.fleet().cache(&USERS);
    for expected in [ReadKind::Loaded, ReadKind::Hit] {
        let load = async { Ok::<_, Error>(None) };
        let read = users.get_or_load(&7, load).read().await.unwrap();
        assert_eq!((read.value, read.kind), (None, expected));
    }
}

/// With the loader's own error.
pub async fn a_failed_load_is_told_to_all_and_not_kept(home: Home) {
    let cache = texts(home.fleet());
    let (loads, go) = (AtomicU32::new(0), Notify::new());
    let asks = (0..10).map(|_| {
        let (loads, go) = (&loads, &go);
        let load = async move {
            loads.fetch_add(1, Ordering::SeqCst);
            go.notified().await;
            Err::<String, _>(Error::other("the database is away"))
        };
        cache.get_or_load("a", load).into_future()
    });
    let mut asks = join_all(asks);
    while loads.load(Ordering::SeqCst) == 0 {
        assert!((&mut asks).now_or_never().is_none());
        // Behind what they ask for, on the same connection: then they know that it is not there.
        cache.get("b").await.unwrap();
    }
    assert!((&mut asks).now_or_never().is_none());
    go.notify_one();
    for result in within("the load fails", asks).await {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Load);
        let source = std::error::Error::source(&error).unwrap();
        assert_eq!(source.to_string(), "the database is away");
    }
    assert_eq!(loads.load(Ordering::SeqCst), 1);
    let load = async { Ok::<_, Error>(text("x")) };
    let next = cache.get_or_load("a", load).into_future();
    assert_eq!(within("the lease is given back", next).await.unwrap(), "x");
}

/// At once, here and on other instances.
pub async fn a_dropped_load_is_taken_over(home: Home) {
    let other = home.instance("b").await;
    for fleet in [home.fleet(), &other] {
        let cache = texts(home.fleet());
        let started = AtomicU32::new(0);
        let load = async {
            started.fetch_add(1, Ordering::SeqCst);
            std::future::pending::<Result<String, Error>>().await
        };
        let mut loading = Box::pin(cache.get_or_load("a", load).into_future());
        while started.load(Ordering::SeqCst) == 0 {
            assert!((&mut loading).now_or_never().is_none());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let load = async { Ok::<_, Error>(text("x")) };
        let waiting = texts(fleet).get_or_load("a", load).into_future();
        let waiting = tokio::spawn(waiting);
        tokio::time::sleep(Duration::from_millis(20)).await;
        drop(loading);
        let value = within("somebody else loads", waiting).await.unwrap();
        assert_eq!(value.unwrap(), "x");
        cache.clear().await.unwrap();
    }
}

/// Not before, and without its help.
pub async fn a_dead_loader_is_replaced_when_its_lease_ends(home: Home) {
    const SHORT: CacheSpec<str, String> =
        CacheSpec::new("short").load_lease(Duration::from_millis(300));
    let dead = home.instance("b").await;
    let port = dead.cache_port();
    // It took the lease, and was never heard of again.
    let began = tokio::time::Instant::now();
    let area = dead.cache(&SHORT).entry_key("a").unwrap();
    let options = quorate::CallOptions::until(began + SECOND * 5);
    let take = Take {
        id: LoadId::random(),
        lease: Duration::from_millis(300),
        wish: Wish::Value,
    };
    let taken = port.take(&[area], take, options).await;
    assert_eq!(taken.unwrap(), [Taken::Load(None)]);
    let load = async { Ok::<_, Error>(text("x")) };
    let loaded = home.fleet().cache(&SHORT).get_or_load("a", load).read();
    let loaded = within("the lease ends", loaded).await.unwrap();
    assert_eq!((&*loaded.value, loaded.kind), ("x", ReadKind::Loaded));
    assert!(began.elapsed() >= Duration::from_millis(250));
}

/// Time, tags, and whether at all.
pub async fn a_loader_says_how_its_value_is_kept(home: Home) {
    let cache = texts(home.fleet());
    let load = |loaded: Loaded<String>| async move { Ok::<_, Error>(loaded) };
    let short = Loaded::new(text("x")).ttl(MINUTE).tags(["t"]);
    cache.get_or_load("a", load(short.clone())).await.unwrap();
    cache
        .get_or_load("b", load(short))
        .tags(["u"])
        .await
        .unwrap();
    cache
        .get_or_load("c", load(Loaded::new(text("x")).no_store()))
        .await
        .unwrap();
    assert!(cache.remaining("a").await.unwrap().unwrap() <= MINUTE);
    assert!(!cache.exists("c").await.unwrap());
    home.fleet().invalidate_tags(["u"]).await.unwrap();
    assert!(!cache.exists("b").await.unwrap());
    assert!(cache.exists("a").await.unwrap());
    home.fleet().invalidate_tags(["t"]).await.unwrap();
    assert!(!cache.exists("a").await.unwrap());
    let bad = Loaded::new(text("x")).ttl(Duration::ZERO);
    let error = cache.get_or_load("d", load(bad)).await.unwrap_err();
    assert_eq!(error.message(), Some("ttl must be at least 1 ms"));
}

/// For as long as the spec says, and with its age.
pub async fn an_old_value_stands_in_for_a_failed_load(home: Home) {
    const SAFE: CacheSpec<str, String> = CacheSpec::new("safe")
        .ttl(MINUTE)
        .fail_safe(HOUR)
        .throttle(Duration::ZERO);
    let cache = home.fleet().cache(&SAFE);
    let fail = || async { Err::<String, _>(Error::other("the database is away")) };
    cache.put("a", &text("old")).await.unwrap();
    home.elapse(MINUTE * 10).await;
    assert_eq!(cache.get("a").await.unwrap(), None, "it is not fresh");
    let read = cache.get_or_load("a", fail()).read().await.unwrap();
    assert_eq!(read.value, "old");
    match read.kind {
        ReadKind::Stale { why, age, .. } => {
            assert_eq!(why, StaleReason::LoadFailed);
            assert!(age >= MINUTE * 10 && age < MINUTE * 12, "{age:?}");
        }
        other => panic!("{other:?}"),
    }
    let load = async { Ok::<_, Error>(text("new")) };
    let read = within(
        "the lease is given back",
        cache.get_or_load("a", load).read(),
    );
    assert_eq!(read.await.unwrap().kind, ReadKind::Loaded);
    home.elapse(HOUR * 2).await;
    let error = cache.get_or_load("a", fail()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Load);
}

/// And what is loaded takes its place.
pub async fn what_does_not_decode_is_loaded_again(home: Home) {
    const NUMBERS: CacheSpec<str, u64> = CacheSpec::new("texts");
    texts(home.fleet()).put("a", &text("seven")).await.unwrap();
    let numbers = home.fleet().cache(&NUMBERS);
    let read = numbers.get_or_load("a", async { Ok::<_, Error>(7) }).read();
    assert_eq!(read.await.unwrap().kind, ReadKind::Loaded);
    assert_eq!(numbers.get("a").await.unwrap(), Some(7));
}

/// Who loaded it has it.
pub async fn an_oversized_value_is_loaded_and_not_kept(home: Home) {
    const SMALL: CacheSpec<str, String> = CacheSpec::new("small").max_bytes(5, Oversized::Skip);
    let small = home.fleet().cache(&SMALL);
    for _ in 0..2 {
        let load = async { Ok::<_, Error>(text("123456")) };
        let read = within(
            "the lease is given back",
            small.get_or_load("a", load).read(),
        );
        let read = read.await.unwrap();
        assert_eq!((&*read.value, read.kind), ("123456", ReadKind::Loaded));
    }
}

/// However long it takes.
pub async fn a_slow_load_keeps_its_lease(home: Home) {
    const SHORT: CacheSpec<str, String> =
        CacheSpec::new("short").load_lease(Duration::from_millis(300));
    let other = home.instance("b").await;
    let cache = home.fleet().cache(&SHORT);
    let load = async {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        Ok::<_, Error>(text("x"))
    };
    let loading = tokio::spawn(cache.get_or_load("a", load).into_future());
    tokio::time::sleep(Duration::from_millis(100)).await;
    let load = async { Ok::<_, Error>(text("y")) };
    let waited = within(
        "the value is there",
        other.cache(&SHORT).get_or_load("a", load).read(),
    );
    let waited = waited.await.unwrap();
    assert_eq!((&*waited.value, waited.kind), ("x", ReadKind::Followed));
    assert_eq!(loading.await.unwrap().unwrap(), "x");
}

/// Asks ten times at once, and lets the one load go on when all of them wait.
async fn ten_ask<V: Send + Sync + 'static>(
    cache: &Cache<str, V>,
    load: impl Fn() -> Loaded<V> + Send + Sync,
) -> Vec<Result<Read<V>, quorate::Error>> {
    let (loads, go) = (AtomicU32::new(0), Notify::new());
    let asks = (0..10).map(|_| {
        let (loads, go, load) = (&loads, &go, &load);
        let load = async move {
            loads.fetch_add(1, Ordering::SeqCst);
            go.notified().await;
            Ok::<_, Error>(load())
        };
        cache.get_or_load("a", load).read()
    });
    let mut asks = join_all(asks);
    while loads.load(Ordering::SeqCst) == 0 {
        assert!((&mut asks).now_or_never().is_none());
        // Behind what they ask for, on the same connection: then they know that it is not there.
        cache.exists("b").await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!((&mut asks).now_or_never().is_none());
    go.notify_one();
    let results = within("the load ends", asks).await;
    assert_eq!(loads.load(Ordering::SeqCst), 1);
    results
}

/// Whoever waited has it, too.
pub async fn what_is_not_kept_is_handed_to_all_who_wait(home: Home) {
    const SMALL: CacheSpec<str, String> = CacheSpec::new("small").max_bytes(5, Oversized::Skip);
    let small = home.fleet().cache(&SMALL);
    for loaded in [
        Loaded::new(text("123456")),
        Loaded::new(text("1")).no_store(),
    ] {
        for read in ten_ask(&small, || loaded.clone()).await {
            let read = read.unwrap();
            assert!(matches!(read.kind, ReadKind::Loaded | ReadKind::Followed));
            assert!(["123456", "1"].contains(&&*read.value));
        }
        assert!(!small.exists("a").await.unwrap());
    }
}

/// Whoever waited would load the same.
pub async fn what_cannot_be_kept_is_told_to_all_who_wait(home: Home) {
    const SMALL: CacheSpec<str, String> = CacheSpec::new("small").max_bytes(5, Oversized::Refuse);
    // No key of JSON.
    const MAPS: CacheSpec<str, HashMap<(u8, u8), u8>> = CacheSpec::new("maps");
    let small = home.fleet().cache(&SMALL);
    for result in ten_ask(&small, || Loaded::new(text("123456"))).await {
        let error = result.unwrap_err();
        assert_eq!(
            error.message(),
            Some("value must be at most 5 bytes, and has 8")
        );
    }
    for result in ten_ask(&small, || Loaded::new(text("1")).tags([""])).await {
        let error = result.unwrap_err();
        assert_eq!(
            error.message(),
            Some("tags must have from 1 to 255 bytes each")
        );
    }
    let maps = home.fleet().cache(&MAPS);
    let map = || Loaded::new(HashMap::from([((1, 2), 3)]));
    for result in ten_ask(&maps, map).await {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Encode);
        assert!(std::error::Error::source(&error).is_some());
    }
}
