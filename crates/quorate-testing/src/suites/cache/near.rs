//! What is kept in the process besides: read without asking, and never after it is known to have changed.

use std::io::Error;

use quorate::{Cache, CacheSpec, Fleet, ReadKind};

use super::{HOUR, MINUTE, text, texts};
use crate::harness::{Home, within};

const NEAR: CacheSpec<str, String> = CacheSpec::new("texts").near(1024 * 1024);

fn near(fleet: &Fleet) -> Cache<str, String> {
    fleet.cache(&NEAR)
}

async fn kind(cache: &Cache<str, String>, key: &str) -> ReadKind {
    cache.read(key).await.unwrap().kind
}

/// Reads until the value is another one.
async fn changed(cache: &Cache<str, String>, key: &str, from: Option<&str>) {
    let other = async {
        while cache.get(key).await.unwrap().as_deref() == from {
            tokio::task::yield_now().await;
        }
    };
    within("the news of a change", other).await;
}

/// The second read asks nobody; other instances, and handles without it, do as before.
pub async fn what_was_read_is_near(home: Home) {
    let cache = near(home.fleet());
    assert_eq!(kind(&cache, "a").await, ReadKind::Miss);
    cache.put("a", &text("1")).await.unwrap();
    assert_eq!(kind(&cache, "a").await, ReadKind::Hit);
    for _ in 0..3 {
        assert_eq!(kind(&cache, "a").await, ReadKind::NearHit);
        // Another handle of the same cache.
        assert_eq!(kind(&near(home.fleet()), "a").await, ReadKind::NearHit);
    }
    let load = async { Ok::<_, Error>(text("2")) };
    let read = cache.get_or_load("a", load).read().await.unwrap();
    assert_eq!((&*read.value, read.kind), ("1", ReadKind::NearHit));
    assert_eq!(
        cache.get_many(["a", "b"]).await.unwrap(),
        [Some(text("1")), None]
    );
    assert_eq!(kind(&texts(home.fleet()), "a").await, ReadKind::Hit);
    let other = near(&home.instance("b").await);
    assert_eq!(kind(&other, "a").await, ReadKind::Hit);
    assert_eq!(kind(&other, "a").await, ReadKind::NearHit);
}

/// From the moment on when the call returns that changed it, whichever it was.
pub async fn what_the_process_changed_is_not_near(home: Home) {
    let cache = near(home.fleet());
    let warm = async || {
        cache.put("a", &text("1")).tags(["t"]).await.unwrap();
        cache.get("a").await.unwrap();
        assert_eq!(kind(&cache, "a").await, ReadKind::NearHit);
    };
    warm().await;
    // By a handle that keeps nothing in the process.
    texts(home.fleet())
        .put("a", &text("2"))
        .tags(["t"])
        .await
        .unwrap();
    assert_eq!(cache.get("a").await.unwrap(), Some(text("2")));
    warm().await;
    cache.remove("a").await.unwrap();
    assert_eq!(cache.get("a").await.unwrap(), None);
    warm().await;
    home.fleet().invalidate_tags(["t"]).await.unwrap();
    assert_eq!(cache.get("a").await.unwrap(), None);
    warm().await;
    cache.clear().await.unwrap();
    assert_eq!(cache.get("a").await.unwrap(), None);
    warm().await;
    let (key, value) = ("a", text("2"));
    cache.put_many([(key, &value)]).await.unwrap();
    assert_eq!(cache.get("a").await.unwrap(), Some(value));
    warm().await;
    cache.expire("a", HOUR * 2).await.unwrap();
    assert_eq!(kind(&cache, "a").await, ReadKind::Hit);
}

/// As soon as the backend has told it.
pub async fn what_others_change_is_not_near_for_long(home: Home) {
    let (cache, other) = (near(home.fleet()), home.instance("b").await);
    let others = texts(&other);
    others.put("a", &text("0")).tags(["t"]).await.unwrap();
    for round in 1..20 {
        let before = cache.get("a").await.unwrap();
        assert_eq!(cache.get("a").await.unwrap(), before);
        others
            .put("a", &round.to_string())
            .tags(["t"])
            .await
            .unwrap();
        changed(&cache, "a", before.as_deref()).await;
    }
    cache.get("a").await.unwrap();
    other.invalidate_tags(["t"]).await.unwrap();
    changed(&cache, "a", Some("19")).await;
    others.put("a", &text("20")).await.unwrap();
    changed(&cache, "a", None).await;
    cache.get("a").await.unwrap();
    others.remove("a").await.unwrap();
    changed(&cache, "a", Some("20")).await;
}

/// An invalidation makes what has tags be asked for again, and what has none not.
pub async fn what_has_no_tags_stays_near_when_one_is_invalidated(home: Home) {
    let cache = near(home.fleet());
    cache.put("plain", &text("1")).await.unwrap();
    cache.put("tagged", &text("1")).tags(["t"]).await.unwrap();
    for key in ["plain", "tagged"] {
        cache.get(key).await.unwrap();
        assert_eq!(kind(&cache, key).await, ReadKind::NearHit);
    }
    home.fleet().invalidate_tags(["other"]).await.unwrap();
    assert_eq!(kind(&cache, "plain").await, ReadKind::NearHit);
    assert_eq!(kind(&cache, "tagged").await, ReadKind::Hit);
    assert_eq!(kind(&cache, "tagged").await, ReadKind::NearHit);
}

/// However long it is read from the process.
pub async fn what_is_near_ends_at_its_time(home: Home) {
    let cache = near(home.fleet());
    cache.put("a", &text("1")).ttl(MINUTE).await.unwrap();
    cache
        .put("b", &text("1"))
        .ttl(MINUTE)
        .stale_for(HOUR)
        .await
        .unwrap();
    for key in ["a", "b"] {
        cache.get(key).await.unwrap();
        assert_eq!(kind(&cache, key).await, ReadKind::NearHit);
    }
    home.elapse(MINUTE).await;
    for key in ["a", "b"] {
        assert_eq!(cache.get(key).await.unwrap(), None);
    }
}

/// Others count as well, and nobody says when.
pub async fn a_counter_is_not_near(home: Home) {
    const COUNTS: CacheSpec<str, i64> = CacheSpec::new("counts").near(1024 * 1024);
    let counts = home.fleet().cache(&COUNTS);
    counts.increment("a", 7).await.unwrap();
    for _ in 0..2 {
        assert_eq!(counts.read("a").await.unwrap().kind, ReadKind::Hit);
    }
}

/// The least that was read longest ago goes.
pub async fn what_is_near_has_a_bound(home: Home) {
    const SMALL: CacheSpec<u64, String> = CacheSpec::new("small").near(64 * 1024);
    let cache = home.fleet().cache(&SMALL);
    let value = "x".repeat(1000);
    for key in 0..256 {
        cache.put(&key, &value).await.unwrap();
        cache.get(&key).await.unwrap();
    }
    let mut hits = 0;
    for key in 0..256 {
        hits += usize::from(cache.read(&key).await.unwrap().kind == ReadKind::NearHit);
    }
    assert!(hits <= 64, "{hits} values of 1 KB in 64 KB");
}

/// One sweep over everything is not worth putting out what is read often.
pub async fn many_at_once_are_not_near(home: Home) {
    let cache = near(home.fleet());
    let keys: Vec<String> = (0..100).map(|key: u32| key.to_string()).collect();
    for key in &keys {
        cache.put(key, key).await.unwrap();
    }
    let read = cache
        .get_many(keys.iter().map(String::as_str))
        .await
        .unwrap();
    assert!(
        read.iter()
            .zip(&keys)
            .all(|(value, key)| value.as_ref() == Some(key))
    );
    assert_eq!(kind(&cache, "0").await, ReadKind::Hit);
    let few = keys.iter().take(10).map(String::as_str);
    cache.get_many(few).await.unwrap();
    assert_eq!(kind(&cache, "9").await, ReadKind::NearHit);
}

/// While many write and read, no instance gives what is older than what it wrote itself or has given before of its own writes.
pub async fn what_is_near_is_never_older_than_the_own_write(home: Home) {
    let (first, second) = (home.fleet().clone(), home.instance("b").await);
    let writer = async |fleet: &Fleet, key: &'static str| {
        let cache = fleet.cache(&NEAR);
        for round in 0..60_u32 {
            cache.put(key, &round.to_string()).await.unwrap();
            for _ in 0..3 {
                assert_eq!(cache.get(key).await.unwrap(), Some(round.to_string()));
            }
        }
    };
    let reader = async |fleet: &Fleet, key: &'static str| {
        let cache = fleet.cache(&NEAR);
        let mut last = 0;
        while last < 59 {
            let read = cache.get(key).await.unwrap();
            let now: u32 = read.map_or(0, |text| text.parse().unwrap());
            assert!(now >= last, "{now} after {last}");
            last = now;
            tokio::task::yield_now().await;
        }
    };
    within("writers and readers", async {
        tokio::join!(
            writer(&first, "a"),
            reader(&first, "a"),
            reader(&second, "a"),
            writer(&second, "b"),
            reader(&first, "b"),
        )
    })
    .await;
}

/// A closed fleet gives nothing any more.
pub async fn nothing_is_near_after_the_end(home: Home) {
    let other = home.instance("b").await;
    let cache = near(&other);
    cache.put("a", &text("1")).await.unwrap();
    cache.get("a").await.unwrap();
    other.close().await;
    let refused = async {
        while cache.get("a").await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    within("the end", refused).await;
}
