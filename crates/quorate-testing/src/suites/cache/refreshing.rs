//! Loading again what is still fresh.

#![expect(
    clippy::disallowed_methods,
    reason = "a call beside the clause ends with it"
)]

use std::io::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use quorate::cache::{Fence, LoadId, Put, Stored, Take, Taken, Wish};
use quorate::{CacheSpec, CallOptions, ErrorKind, Fleet, LoadingCache, ReadKind};

use super::{HOUR, MINUTE, SECOND, TEXTS, text, texts};
use crate::harness::{Home, eventually, within};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// So much weight that a load of some milliseconds is repeated in the last minutes.
const EARLY: CacheSpec<str, String> = CacheSpec::new("early").ttl(DAY).early_refresh(1000.0);

const EARLY_AND_NEAR: CacheSpec<str, String> = CacheSpec::new("near")
    .ttl(DAY)
    .early_refresh(1000.0)
    .near(1024 * 1024);

/// A database whose first answers are `n1`, `n2` and so on, and which then is away.
fn counting(
    fleet: &Fleet,
    spec: &CacheSpec<str, String>,
    loads: &Arc<AtomicU32>,
    answers: u32,
) -> LoadingCache<str, String> {
    let loads = loads.clone();
    fleet.cache(spec).with_loader(move |_| {
        let loads = loads.clone();
        async move {
            let number = loads.fetch_add(1, Ordering::SeqCst) + 1;
            tokio::time::sleep(Duration::from_millis(100)).await;
            if number > answers {
                return Err(Error::other("the database is away"));
            }
            Ok(format!("n{number}"))
        }
    })
}

/// By its readers, who have what is there meanwhile; also those who have it in the process.
pub async fn a_value_near_its_end_is_loaded_again(home: Home) {
    for spec in [EARLY, EARLY_AND_NEAR] {
        let loads = Arc::new(AtomicU32::new(0));
        let cache = counting(home.fleet(), &spec, &loads, 9);
        assert_eq!(cache.read("a").await.unwrap().kind, ReadKind::Loaded);
        for _ in 0..50 {
            assert!(is_hit(cache.read("a").await.unwrap().kind));
        }
        assert_eq!(loads.load(Ordering::SeqCst), 1, "a day before its end");
        home.elapse(DAY - SECOND * 30).await;
        eventually("it is loaded again", async || {
            let read = cache.read("a").await.unwrap();
            assert!(is_hit(read.kind));
            read.value == "n2"
        })
        .await;
        assert_eq!(loads.load(Ordering::SeqCst), 2);
        let left = cache.cache().remaining("a").await.unwrap();
        assert!(left.unwrap() > DAY - MINUTE * 2);
    }
}

fn is_hit(kind: ReadKind) -> bool {
    matches!(kind, ReadKind::Hit | ReadKind::NearHit)
}

/// And as long as it is there nobody is told.
pub async fn a_load_ahead_of_time_that_fails_is_not_tried_again_at_once(home: Home) {
    let loads = Arc::new(AtomicU32::new(0));
    let cache = counting(home.fleet(), &EARLY, &loads, 1);
    assert_eq!(cache.get("a").await.unwrap(), "n1");
    home.elapse(DAY - SECOND * 25).await;
    eventually("it is tried", async || {
        assert_eq!(cache.read("a").await.unwrap().kind, ReadKind::Hit);
        loads.load(Ordering::SeqCst) == 2
    })
    .await;
    // Whoever asks while it goes on waits for it, and hears that it failed.
    let refreshed = within("it fails", cache.refresh("a")).await;
    assert_eq!(refreshed.unwrap_err().kind(), ErrorKind::Load);
    let tried = loads.load(Ordering::SeqCst);
    for _ in 0..50 {
        assert_eq!(cache.read("a").await.unwrap().kind, ReadKind::Hit);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(loads.load(Ordering::SeqCst), tried);
}

/// Whoever else wants to has what is there.
pub async fn one_at_a_time_loads_ahead_of_time(home: Home) {
    let (port, cache) = (home.fleet().cache_port(), texts(home.fleet()));
    let options = CallOptions::until(tokio::time::Instant::now() + SECOND * 20);
    let keys = [cache.entry_key("a").unwrap()];
    cache.put("a", &text("old")).await.unwrap();
    let ids = [LoadId::random(), LoadId::random()];
    let take = |id, wish| {
        let (port, keys) = (port.clone(), keys.clone());
        let take = Take {
            id,
            lease: MINUTE,
            wish,
        };
        async move { port.take(&keys, take, options).await.unwrap().remove(0) }
    };
    let seen = port.get(&keys[0], options).await.unwrap().unwrap().stored;
    let first = take(ids[0], Wish::Early(seen)).await;
    assert!(matches!(first, Taken::Load(Some(_))), "{first:?}");
    for wish in [Wish::Early(seen), Wish::Value] {
        let second = take(ids[1], wish).await;
        assert!(matches!(second, Taken::Fresh(_)), "{second:?}");
    }
    let second = take(ids[1], Wish::Anew).await;
    assert!(matches!(second, Taken::Wait(Some(_), _)), "{second:?}");
    let put = Put {
        value: "\"new\"".into(),
        fresh: HOUR,
        keep: HOUR,
        cost: SECOND,
        tags: Vec::new(),
        is_timed: false,
    };
    let fences = [Fence::Load(ids[1]), Fence::Load(ids[0])];
    for (fence, kept) in fences.into_iter().zip([false, true]) {
        let put = port.put(&keys[0], &put, fence, options).await;
        assert_eq!(put.unwrap(), kept);
    }
    assert_eq!(cache.get("a").await.unwrap(), Some(text("new")));
}

/// Who saw that it is time may have been overtaken by another instance.
pub async fn what_was_loaded_meanwhile_is_not_loaded_again(home: Home) {
    let (port, cache) = (home.fleet().cache_port(), texts(home.fleet()));
    let options = CallOptions::until(tokio::time::Instant::now() + SECOND * 20);
    let keys = [cache.entry_key("a").unwrap()];
    cache.put("a", &text("old")).await.unwrap();
    let old = port.get(&keys[0], options).await.unwrap().unwrap();
    home.elapse(SECOND).await;
    cache.put("a", &text("new")).await.unwrap();
    let new = port.get(&keys[0], options).await.unwrap().unwrap();
    let take = |seen: &Stored| Take {
        id: LoadId::random(),
        lease: MINUTE,
        wish: Wish::Early(seen.stored),
    };
    let [first, second] = [&old, &new].map(take);
    let taken = port.take(&keys, first, options).await.unwrap();
    assert!(matches!(&taken[..], [Taken::Fresh(_)]), "{taken:?}");
    let taken = port.take(&keys, second, options).await.unwrap();
    assert!(matches!(&taken[..], [Taken::Load(Some(_))]), "{taken:?}");
}

/// Others read what is there until then.
pub async fn a_refresh_loads_what_is_fresh(home: Home) {
    let other = home.instance("b").await;
    let loads = Arc::new(AtomicU32::new(0));
    let here = counting(home.fleet(), &TEXTS, &loads, 9);
    let there = counting(&other, &TEXTS, &loads, 9);
    assert_eq!(here.refresh("a").await.unwrap(), "n1");
    let refreshing = tokio::spawn({
        let here = here.clone();
        async move { here.refresh("a").await }
    });
    let under_way = async || loads.load(Ordering::SeqCst) == 2;
    eventually("it is loaded", under_way).await;
    let read = there.read("a").await.unwrap();
    assert!(read.kind == ReadKind::Hit && ["n1", "n2"].contains(&&*read.value));
    // Another refresh waits for the one that is under way.
    let (again, same) = tokio::join!(there.refresh("a"), here.refresh("a"));
    assert!(again.unwrap() >= text("n2") && same.unwrap() >= text("n2"));
    assert!(refreshing.await.unwrap().unwrap() >= text("n2"));
    assert!(loads.load(Ordering::SeqCst) <= 4);
    assert!(there.get("a").await.unwrap() >= text("n2"));
}

/// And is tried again by whoever asks for it.
pub async fn a_refresh_that_fails_leaves_what_is_there(home: Home) {
    let other = home.instance("b").await;
    let loads = Arc::new(AtomicU32::new(0));
    let here = counting(home.fleet(), &TEXTS, &loads, 1);
    let there = counting(&other, &TEXTS, &loads, 1);
    assert_eq!(here.get("a").await.unwrap(), "n1");
    for (number, cache) in [&here, &there, &here].into_iter().enumerate() {
        let error = within("it fails", cache.refresh("a")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Load);
        assert_eq!(error.message(), Some("the database is away"));
        let tried = u32::try_from(number).unwrap() + 2;
        assert_eq!(loads.load(Ordering::SeqCst), tried);
        let read = there.read("a").await.unwrap();
        assert_eq!((&*read.value, read.kind), ("n1", ReadKind::Hit));
    }
    // Whoever waited for one that failed tries for itself.
    let (one, two) = tokio::join!(here.refresh("a"), there.refresh("a"));
    assert_eq!(one.unwrap_err().kind(), ErrorKind::Load);
    assert_eq!(two.unwrap_err().kind(), ErrorKind::Load);
    assert_eq!(loads.load(Ordering::SeqCst), 6);
    let hasty = here.hard_timeout(Duration::from_millis(10));
    let error = within("time is up", hasty.refresh("a")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
}
