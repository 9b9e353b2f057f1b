//! Loads that fail, and for how long the fleet remembers that.

use std::io::Error;
use std::sync::atomic::{AtomicU32, Ordering};

use quorate::cache::StaleReason;
use quorate::{Cache, CacheSpec, ErrorKind, Read, ReadKind};

use super::{HOUR, MINUTE, SECOND, text};
use crate::harness::{Home, within};

const SAFE: CacheSpec<str, String> = CacheSpec::new("safe").ttl(MINUTE).fail_safe(HOUR);
const TELLING: CacheSpec<str, String> = CacheSpec::new("telling").cache_errors(MINUTE);

/// A database that is away, and counts who asks.
#[derive(Default)]
struct Away(AtomicU32);

impl Away {
    async fn load(&self) -> Result<String, Error> {
        self.0.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
        Err(Error::other("the database is away"))
    }

    fn asked(&self) -> u32 {
        self.0.load(Ordering::SeqCst)
    }

    async fn read(&self, cache: &Cache<str, String>) -> Result<Read<String>, quorate::Error> {
        within("an answer", cache.get_or_load("a", self.load()).read()).await
    }
}

fn is_old(read: &Read<String>) -> bool {
    let ReadKind::Stale { why, .. } = read.kind else {
        return false;
    };
    (&*read.value, why) == ("old", StaleReason::LoadFailed)
}

/// By no instance: the old value is given instead, for 30 s.
pub async fn a_load_that_failed_is_not_tried_again_at_once(home: Home) {
    let other = home.instance("b").await;
    let caches = [home.fleet().cache(&SAFE), other.cache(&SAFE)];
    caches[0].put("a", &text("old")).await.unwrap();
    home.elapse(MINUTE * 10).await;
    let away = Away::default();
    for cache in caches.iter().cycle().take(6) {
        assert!(is_old(&away.read(cache).await.unwrap()));
    }
    assert_eq!(away.asked(), 1);
    home.elapse(SECOND * 31).await;
    for cache in caches.iter().cycle().take(6) {
        assert!(is_old(&away.read(cache).await.unwrap()));
    }
    assert_eq!(away.asked(), 2);
    home.elapse(SECOND * 31).await;
    let load = async { Ok::<_, Error>(text("new")) };
    let read = caches[0].get_or_load("a", load).read().await.unwrap();
    assert_eq!((&*read.value, read.kind), ("new", ReadKind::Loaded));
}

/// When it is removed, or invalidated, there is nothing to stand in.
pub async fn a_load_that_failed_is_tried_again_when_its_old_value_is_gone(home: Home) {
    let cache = home.fleet().cache(&SAFE);
    for round in 0..3 {
        cache.put("a", &text("old")).tags(["t"]).await.unwrap();
        home.elapse(MINUTE * 10).await;
        let away = Away::default();
        assert!(is_old(&away.read(&cache).await.unwrap()));
        assert!(is_old(&away.read(&cache).await.unwrap()));
        match round {
            0 => assert!(cache.remove("a").await.unwrap()),
            1 => assert_eq!(cache.clear().await.unwrap(), 1),
            _ => home.fleet().invalidate_tags(["t"]).await.unwrap(),
        }
        let error = away.read(&cache).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Load);
        assert_eq!(away.asked(), 2);
    }
}

/// On whichever instance; a value it is not.
pub async fn a_cached_error_is_told_to_whoever_asks(home: Home) {
    let other = home.instance("b").await;
    let caches = [home.fleet().cache(&TELLING), other.cache(&TELLING)];
    let away = Away::default();
    for cache in caches.iter().cycle().take(6) {
        let error = away.read(cache).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Load);
        assert_eq!(error.message(), Some("the database is away"));
        assert_eq!(error.target(), Some("a"));
        assert_eq!(cache.get("a").await.unwrap(), None);
        assert!(!cache.exists("a").await.unwrap());
    }
    assert_eq!(away.asked(), 1);
    home.elapse(MINUTE * 2).await;
    let load = async { Ok::<_, Error>(text("new")) };
    let read = caches[1].get_or_load("a", load).read().await.unwrap();
    assert_eq!((&*read.value, read.kind), ("new", ReadKind::Loaded));
}

/// A put, a removal, a clear, and an invalidation of a tag that the call named.
pub async fn a_cached_error_ends_with_what_is_newer(home: Home) {
    let cache = home.fleet().cache(&TELLING);
    for round in 0..4 {
        let away = Away::default();
        for _ in 0..2 {
            let load = cache.get_or_load("a", away.load()).tags(["s", "t"]);
            let error = within("an answer", load.read()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Load);
        }
        assert_eq!(away.asked(), 1);
        home.fleet().invalidate_tags(["u"]).await.unwrap();
        away.read(&cache).await.unwrap_err();
        assert_eq!(away.asked(), 1, "by another tag it is not ended");
        match round {
            0 => {
                cache.put("a", &text("put")).await.unwrap();
                let read = away.read(&cache).await.unwrap();
                assert_eq!((&*read.value, read.kind), ("put", ReadKind::Hit));
            }
            1 => assert!(!cache.remove("a").await.unwrap()),
            2 => assert_eq!(cache.clear().await.unwrap(), 0),
            _ => home.fleet().invalidate_tags(["t"]).await.unwrap(),
        }
        if round > 0 {
            away.read(&cache).await.unwrap_err();
            assert_eq!(away.asked(), 2);
        }
        cache.remove("a").await.unwrap();
    }
}

/// An old value stands in as long as there is one.
pub async fn a_cached_error_is_not_told_where_an_old_value_is_there(home: Home) {
    const BOTH: CacheSpec<str, String> = CacheSpec::new("both")
        .ttl(MINUTE)
        .fail_safe(HOUR)
        .cache_errors(HOUR);
    let cache = home.fleet().cache(&BOTH);
    cache.put("a", &text("old")).await.unwrap();
    home.elapse(MINUTE * 10).await;
    let away = Away::default();
    assert!(is_old(&away.read(&cache).await.unwrap()));
    assert!(is_old(&away.read(&cache).await.unwrap()));
    assert_eq!(away.asked(), 1);
    home.elapse(MINUTE).await;
    assert!(is_old(&away.read(&cache).await.unwrap()));
    assert_eq!(
        away.asked(),
        2,
        "the throttle is over, and what is told is for who has nothing"
    );
}

/// Of a message, so much is kept.
pub async fn a_cached_error_is_kept_up_to_a_kibibyte(home: Home) {
    let other = home.instance("b").await;
    let load = async { Err::<String, _>(Error::other("ä".repeat(1000))) };
    let first = home.fleet().cache(&TELLING).get_or_load("a", load);
    let error = first.read().await.unwrap_err();
    assert_eq!(error.message(), Some(&*"ä".repeat(1000)));
    let error = Away::default().read(&other.cache(&TELLING)).await;
    assert_eq!(error.unwrap_err().message(), Some(&*"ä".repeat(512)));
}
