//! What is there of an entry, and what is kept beyond its time.

use std::io::Error;
use std::time::Duration;

use quorate::{CacheSpec, ErrorKind, Loaded, ReadKind};

use super::{HOUR, MINUTE, text, texts};
use crate::harness::Home;

/// By the home's clock, on every instance, with its tags.
pub async fn an_entry_says_when_it_was_stored_and_how_long_it_is_fresh(home: Home) {
    let other = home.instance("b").await;
    let cache = texts(home.fleet());
    assert_eq!(cache.entry("a").await.unwrap(), None);
    cache.put("plain", &text("x")).ttl(HOUR).await.unwrap();
    cache
        .put("tagged", &text("x"))
        .ttl(HOUR)
        .tags(["t", "u"])
        .await
        .unwrap();
    home.elapse(MINUTE * 10).await;
    for (key, tags) in [("plain", &[][..]), ("tagged", &["t", "u"][..])] {
        let entry = texts(&other).entry(key).await.unwrap().unwrap();
        assert_eq!(entry.value, "x");
        assert_eq!(entry.tags, tags);
        assert!(entry.is_fresh());
        let slack = MINUTE;
        assert!(
            entry.age >= MINUTE * 10 && entry.age < MINUTE * 10 + slack,
            "{:?}",
            entry.age
        );
        let left = entry.fresh_for;
        assert!(
            left <= MINUTE * 50 && left > MINUTE * 50 - slack,
            "{left:?}"
        );
        let whole = entry.age + left;
        assert!(
            whole >= HOUR - Duration::from_millis(1) && whole <= HOUR,
            "{whole:?}"
        );
        assert!(entry.stored_at.get() > 0);
    }
    home.fleet().invalidate_tags(["u"]).await.unwrap();
    assert_eq!(cache.entry("tagged").await.unwrap(), None);
}

/// It is there, and says that it is not fresh.
pub async fn an_entry_is_seen_when_it_is_no_longer_fresh(home: Home) {
    let cache = texts(home.fleet());
    cache
        .put("a", &text("x"))
        .ttl(MINUTE)
        .stale_for(HOUR)
        .await
        .unwrap();
    home.elapse(MINUTE * 10).await;
    assert_eq!(cache.get("a").await.unwrap(), None);
    let entry = cache.entry("a").await.unwrap().unwrap();
    assert_eq!(
        (&*entry.value, entry.is_fresh(), entry.fresh_for),
        ("x", false, Duration::ZERO)
    );
    assert!(entry.age >= MINUTE * 10, "{:?}", entry.age);
    home.elapse(HOUR).await;
    assert_eq!(cache.entry("a").await.unwrap(), None);
}

/// Of a counter there is no time.
pub async fn a_counter_is_an_entry_without_a_time(home: Home) {
    const COUNTS: CacheSpec<str, i64> = CacheSpec::new("counts");
    let counts = home.fleet().cache(&COUNTS);
    counts.increment("a", 7).await.unwrap();
    let entry = counts.entry("a").await.unwrap().unwrap();
    assert_eq!((entry.value, entry.age), (7, Duration::ZERO));
    assert!(entry.is_fresh() && entry.stored_at.get() == 0);
}

/// It is no value of this cache: a miss.
pub async fn an_entry_that_does_not_decode_is_not_there(home: Home) {
    const NUMBERS: CacheSpec<str, u64> = CacheSpec::new("texts");
    texts(home.fleet()).put("a", &text("seven")).await.unwrap();
    let numbers = home.fleet().cache(&NUMBERS);
    assert_eq!(numbers.entry("a").await.unwrap(), None);
}

/// A put and a load, each for its own value, whatever the spec says.
pub async fn a_value_says_how_long_it_is_kept_beyond_its_time(home: Home) {
    const SAFE: CacheSpec<str, String> = CacheSpec::new("safe").ttl(MINUTE).fail_safe(HOUR);
    let (plain, safe) = (texts(home.fleet()), home.fleet().cache(&SAFE));
    let fail = || async { Err::<String, _>(Error::other("the database is away")) };
    let load = |time| async move {
        let loaded = Loaded::new(text("loaded")).ttl(MINUTE).stale_for(time);
        Ok::<_, Error>(loaded)
    };
    plain.get_or_load("a", load(MINUTE * 30)).await.unwrap();
    safe.get_or_load("a", load(Duration::ZERO)).await.unwrap();
    safe.put("b", &text("put"))
        .stale_for(MINUTE * 30)
        .await
        .unwrap();
    home.elapse(MINUTE * 10).await;
    let read = plain.get_or_load("a", fail()).read().await.unwrap();
    assert_eq!(read.value, "loaded");
    assert!(
        matches!(read.kind, ReadKind::Stale { .. }),
        "{:?}",
        read.kind
    );
    let error = safe.get_or_load("a", fail()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Load);
    assert!(safe.exists("b").await.unwrap());
    home.elapse(MINUTE * 30).await;
    assert!(!plain.exists("a").await.unwrap());
    assert!(!safe.exists("b").await.unwrap());
    let year = Duration::from_secs(365 * 24 * 3600);
    for (time, says) in [
        (Duration::from_micros(1), "stale_for must be at least 1 ms"),
        (year + MINUTE, "stale_for must be at most a year"),
    ] {
        let put = plain.put("c", &text("x")).stale_for(time).await;
        assert_eq!(put.unwrap_err().message(), Some(says));
        let loaded = plain.get_or_load("c", load(time)).await;
        assert_eq!(loaded.unwrap_err().message(), Some(says));
    }
    assert!(!plain.exists("c").await.unwrap());
}

/// And stays there if that fails.
pub async fn what_is_fresh_is_loaded_anew_for_who_wants_that(home: Home) {
    let cache = texts(home.fleet());
    let load = |value: &str| {
        let value = text(value);
        async move { Ok::<_, Error>(value) }
    };
    cache.get_or_load("a", load("1")).await.unwrap();
    let read = cache.get_or_load("a", load("2")).anew().read();
    let read = read.await.unwrap();
    assert_eq!((&*read.value, read.kind), ("2", ReadKind::Loaded));
    let fail = async { Err::<String, _>(Error::other("the database is away")) };
    let failed = cache.get_or_load("a", fail).anew().await;
    assert_eq!(failed.unwrap_err().kind(), ErrorKind::Load);
    let other = home.instance("b").await;
    assert_eq!(texts(&other).get("a").await.unwrap(), Some(text("2")));
}
