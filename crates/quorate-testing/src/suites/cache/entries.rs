//! Entries: put, read, removed, counted, cleared.

use std::time::Duration;

use quorate::cache::Oversized;
use quorate::{CacheSpec, Codec, ErrorKind, Outcome, ReadKind};

use super::{HOUR, MINUTE, TEXTS, text, texts};
use crate::harness::Home;

/// A put that was answered is seen by every read that begins after it.
pub async fn what_was_put_is_read_by_every_instance(home: Home) {
    let other = home.instance("b").await;
    let read = texts(&other).read("a").await.unwrap();
    assert_eq!((read.value, read.kind), (None, ReadKind::Miss));
    for round in 0..20 {
        let value = format!("value {round}");
        assert!(texts(home.fleet()).put("a", &value).await.unwrap());
        let read = texts(&other).read("a").await.unwrap();
        assert_eq!((read.value, read.kind), (Some(value), ReadKind::Hit));
    }
}

/// `None` is a value.
pub async fn nothing_cached_is_not_what_is_not_cached(home: Home) {
    const USERS: CacheSpec<u64, Option<String>> = CacheSpec::new("users");
    let users = home.fleet().cache(&USERS);
    assert_eq!(users.get(&7).await.unwrap(), None);
    users.put(&7, &None).await.unwrap();
    assert_eq!(users.get(&7).await.unwrap(), Some(None));
    assert_eq!(users.get_many(&[7, 8]).await.unwrap(), [Some(None), None]);
}

/// By the home's clock.
pub async fn an_entry_is_gone_after_its_time(home: Home) {
    let cache = texts(home.fleet());
    cache.put("a", &text("x")).ttl(MINUTE).await.unwrap();
    cache
        .put("tagged", &text("x"))
        .ttl(MINUTE)
        .tags(["t"])
        .await
        .unwrap();
    home.elapse(MINUTE / 2).await;
    for key in ["a", "tagged"] {
        assert!(cache.get(key).await.unwrap().is_some());
        assert!(cache.remaining(key).await.unwrap().unwrap() <= MINUTE / 2);
    }
    home.elapse(MINUTE).await;
    for key in ["a", "tagged"] {
        assert_eq!(cache.get(key).await.unwrap(), None);
        assert!(!cache.exists(key).await.unwrap());
        assert_eq!(cache.remaining(key).await.unwrap(), None);
    }
}

/// An hour unless the spec says something else.
pub async fn the_time_is_the_specs_unless_a_put_says_otherwise(home: Home) {
    const SHORT: CacheSpec<str, String> = CacheSpec::new("short").ttl(MINUTE);
    let (cache, short) = (texts(home.fleet()), home.fleet().cache(&SHORT));
    cache.put("a", &text("x")).await.unwrap();
    short.put("a", &text("x")).await.unwrap();
    short.put("b", &text("x")).ttl(MINUTE * 10).await.unwrap();
    let left = cache.remaining("a").await.unwrap().unwrap();
    assert!(left <= HOUR && left > HOUR - MINUTE, "{left:?}");
    home.elapse(MINUTE * 2).await;
    assert!(!short.exists("a").await.unwrap());
    assert!(short.exists("b").await.unwrap());
}

/// And says so.
pub async fn put_if_absent_keeps_what_is_there(home: Home) {
    let cache = texts(home.fleet());
    assert!(
        cache
            .put("a", &text("1"))
            .if_absent()
            .ttl(MINUTE)
            .await
            .unwrap()
    );
    assert!(!cache.put("a", &text("2")).if_absent().await.unwrap());
    assert_eq!(cache.get("a").await.unwrap(), Some(text("1")));
    home.elapse(MINUTE * 2).await;
    assert!(cache.put("a", &text("3")).if_absent().await.unwrap());
    assert_eq!(cache.get("a").await.unwrap(), Some(text("3")));
}

/// `true` once.
pub async fn a_removed_entry_is_gone(home: Home) {
    let cache = texts(home.fleet());
    cache.put("a", &text("1")).await.unwrap();
    assert!(cache.remove("a").await.unwrap());
    assert!(!cache.remove("a").await.unwrap());
    assert_eq!(cache.get("a").await.unwrap(), None);
}

/// In the order of the keys.
pub async fn several_are_put_read_and_removed(home: Home) {
    const NUMBERS: CacheSpec<u32, u32> = CacheSpec::new("numbers");
    let numbers = home.fleet().cache(&NUMBERS);
    let keys: Vec<u32> = (0..200).collect();
    let put = numbers.put_many(keys.iter().map(|key| (key, key)));
    assert_eq!(put.await.unwrap(), 200);
    let found = numbers.get_many(&[7, 1000, 7]).await.unwrap();
    assert_eq!(found, [Some(7), None, Some(7)]);
    let again = numbers.put_many([(&7, &0), (&1000, &0)]).if_absent();
    assert_eq!(again.await.unwrap(), 1);
    assert_eq!(numbers.remove_many(&[7, 8, 2000]).await.unwrap(), 2);
    assert_eq!(numbers.get_many(&[7, 1000]).await.unwrap(), [None, Some(0)]);
    assert!(numbers.get_many([]).await.unwrap().is_empty());
    assert_eq!(numbers.put_many([]).await.unwrap(), 0);
    assert_eq!(numbers.remove_many([]).await.unwrap(), 0);
}

/// Also of what is tagged.
pub async fn expire_moves_the_end_of_what_is_there(home: Home) {
    let cache = texts(home.fleet());
    assert!(!cache.expire("a", MINUTE).await.unwrap());
    cache.put("a", &text("x")).ttl(MINUTE).await.unwrap();
    cache
        .put("tagged", &text("x"))
        .ttl(MINUTE)
        .tags(["t"])
        .await
        .unwrap();
    for key in ["a", "tagged"] {
        assert!(cache.expire(key, HOUR).await.unwrap());
    }
    home.elapse(MINUTE * 30).await;
    for key in ["a", "tagged"] {
        assert_eq!(cache.get(key).await.unwrap(), Some(text("x")), "{key}");
        assert!(cache.expire(key, MINUTE).await.unwrap());
    }
    home.elapse(MINUTE * 2).await;
    for key in ["a", "tagged"] {
        assert_eq!(cache.get(key).await.unwrap(), None, "{key}");
    }
}

/// That `get` reads.
pub async fn cached_counters_are_plain_numbers(home: Home) {
    const COUNTS: CacheSpec<str, i64> = CacheSpec::new("counts").ttl(MINUTE);
    let counts = home.fleet().cache(&COUNTS);
    assert_eq!(counts.increment("a", 5).await.unwrap(), 5);
    home.elapse(MINUTE * 2 / 3).await;
    assert_eq!(counts.decrement("a", 7).await.unwrap(), -2);
    assert_eq!(counts.get("a").await.unwrap(), Some(-2));
    assert_eq!(counts.get_many(["a"]).await.unwrap(), [Some(-2)]);
    // The end is that of the first.
    home.elapse(MINUTE * 2 / 3).await;
    assert_eq!(counts.get("a").await.unwrap(), None);
    counts.increment("a", i64::MAX).await.unwrap();
    let error = counts.increment("a", 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(counts.get("a").await.unwrap(), Some(i64::MAX));
    assert!(counts.expire("a", HOUR).await.unwrap());
    assert!(counts.remove("a").await.unwrap());
}

/// An error, and the value stays.
pub async fn what_was_put_is_not_counted(home: Home) {
    const COUNTS: CacheSpec<str, i64> = CacheSpec::new("counts");
    let counts = home.fleet().cache(&COUNTS);
    counts.put("a", &7).await.unwrap();
    let error = counts.increment("a", 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode);
    assert_eq!(error.outcome(), Outcome::NotApplied);
    assert_eq!(counts.get("a").await.unwrap(), Some(7));
}

/// Never an error.
pub async fn what_does_not_decode_is_a_miss(home: Home) {
    const NUMBERS: CacheSpec<str, u64> = CacheSpec::new("texts");
    texts(home.fleet()).put("a", &text("seven")).await.unwrap();
    let numbers = home.fleet().cache(&NUMBERS);
    assert_eq!(numbers.get("a").await.unwrap(), None);
    assert_eq!(numbers.get_many(["a"]).await.unwrap(), [None]);
    assert!(numbers.exists("a").await.unwrap());
}

/// As the spec says.
pub async fn an_oversized_value_is_skipped_or_refused(home: Home) {
    const SKIPS: CacheSpec<str, String> =
        CacheSpec::with_codec("skips", Codec::text()).max_bytes(5, Oversized::Skip);
    const REFUSES: CacheSpec<str, String> =
        CacheSpec::with_codec("refuses", Codec::text()).max_bytes(5, Oversized::Refuse);
    let (skips, refuses) = (home.fleet().cache(&SKIPS), home.fleet().cache(&REFUSES));
    for cache in [&skips, &refuses] {
        assert!(cache.put("a", &text("12345")).await.unwrap());
    }
    assert!(!skips.put("a", &text("123456")).await.unwrap());
    let many = skips.put_many([("b", &text("123456")), ("c", &text("1"))]);
    assert_eq!(many.await.unwrap(), 1);
    let error = refuses.put("a", &text("123456")).await.unwrap_err();
    assert_eq!(
        error.message(),
        Some("value must be at most 5 bytes, and has 6")
    );
    assert_eq!(refuses.get("a").await.unwrap(), Some(text("12345")));
}

/// And never longer.
pub async fn jitter_makes_times_shorter(home: Home) {
    const SPREAD: CacheSpec<u32, u32> = CacheSpec::new("spread").ttl(HOUR).jitter(0.5);
    let spread = home.fleet().cache(&SPREAD);
    let mut seen = Vec::new();
    for key in 0..50 {
        spread.put(&key, &key).await.unwrap();
        seen.push(spread.remaining(&key).await.unwrap().unwrap());
    }
    let (least, most) = (seen.iter().min().unwrap(), seen.iter().max().unwrap());
    assert!(*most <= HOUR && *least > HOUR / 2 - MINUTE, "{seen:?}");
    // One in 2⁵⁰ times they are all in one half.
    assert!(*least < HOUR * 3 / 4 && *most > HOUR * 3 / 4, "{seen:?}");
}

/// Same key, other place: another entry.
pub async fn caches_keys_and_namespaces_are_apart(home: Home) {
    const OTHER: CacheSpec<str, String> = CacheSpec::new("text");
    let fleet = home.fleet();
    let inner = fleet.namespaced("inner").unwrap();
    let places = [
        (texts(fleet), "a"),
        (texts(fleet), "a:"),
        (texts(fleet), "{a}"),
        (texts(fleet), "*"),
        (fleet.cache(&OTHER), "a"),
        (fleet.cache(&OTHER), "s:a"),
        (texts(&inner), "a"),
    ];
    for (number, (cache, key)) in places.iter().enumerate() {
        cache.put(key, &number.to_string()).await.unwrap();
    }
    for (number, (cache, key)) in places.iter().enumerate() {
        assert_eq!(cache.get(key).await.unwrap(), Some(number.to_string()));
    }
}

/// And nothing of others.
pub async fn clear_removes_everything_and_says_how_much(home: Home) {
    const OTHER: CacheSpec<str, String> = CacheSpec::new("text");
    let (fleet, value) = (home.fleet(), text("x"));
    let inner = fleet.namespaced("inner").unwrap();
    let keys: Vec<String> = (0..700).map(|key| key.to_string()).collect();
    let entries = keys.iter().map(|key| (&**key, &value));
    texts(fleet).put_many(entries).await.unwrap();
    texts(fleet).put("ended", &value).tags(["t"]).await.unwrap();
    fleet.invalidate_tags(["t"]).await.unwrap();
    for cache in [fleet.cache(&OTHER), texts(&inner)] {
        cache.put("s:1", &value).await.unwrap();
    }
    assert_eq!(texts(fleet).clear().await.unwrap(), 700);
    assert_eq!(texts(fleet).clear().await.unwrap(), 0);
    assert!(!texts(fleet).exists("7").await.unwrap());
    for cache in [fleet.cache(&OTHER), texts(&inner)] {
        assert!(cache.exists("s:1").await.unwrap());
    }
}

/// Over the keys of the cache alone.
pub async fn clear_matching_takes_a_glob(home: Home) {
    let cache = texts(home.fleet());
    for key in ["user:1", "user:2", "users", "x:user:1", "a*b", "axb"] {
        cache.put(key, &text("x")).await.unwrap();
    }
    assert_eq!(cache.clear_matching("user:?").await.unwrap(), 2);
    assert_eq!(cache.clear_matching("a\\*b").await.unwrap(), 1);
    cache.put("a*b", &text("x")).await.unwrap();
    assert_eq!(cache.clear_prefix("a*").await.unwrap(), 1);
    assert_eq!(cache.clear_matching("nothing*").await.unwrap(), 0);
    for key in ["users", "x:user:1", "axb"] {
        assert!(cache.exists(key).await.unwrap(), "{key}");
    }
    let error = cache.clear_matching("").await.unwrap_err();
    assert_eq!(error.message(), Some("pattern must not be empty"));
}

/// Defect 15 of the register: with a prefix of keys, nothing was removed.
pub async fn defect_15_clear_works_in_any_namespace(home: Home) {
    let mut fleet = home.fleet().clone();
    for _ in 0..3 {
        let cache = texts(&fleet);
        for key in 0..4 {
            cache.put(&key.to_string(), &text("x")).await.unwrap();
        }
        assert_eq!(cache.clear_matching("*").await.unwrap(), 4);
        fleet = fleet.namespaced("deeper").unwrap();
    }
}

/// With field and rule, before anything is touched.
pub async fn cache_input_is_checked_with_the_rule(home: Home) {
    let (cache, value) = (texts(home.fleet()), text("x"));
    let many: Vec<String> = (0..33).map(|tag| tag.to_string()).collect();
    let load = || async { Ok::<_, std::io::Error>(text("x")) };
    let (least, most) = ("ttl must be at least 1 ms", "ttl must be at most a year");
    let long = "x".repeat(256);
    for (error, says) in [
        (cache.get("").await.unwrap_err(), "key must not be empty"),
        (
            cache.put("", &value).await.unwrap_err(),
            "key must not be empty",
        ),
        (
            cache.get_or_load("", load()).await.unwrap_err(),
            "key must not be empty",
        ),
        (
            cache
                .put("a", &value)
                .ttl(Duration::ZERO)
                .await
                .unwrap_err(),
            least,
        ),
        (
            cache.put("a", &value).ttl(Duration::MAX).await.unwrap_err(),
            most,
        ),
        (
            cache
                .put_many([("a", &value)])
                .ttl(Duration::ZERO)
                .await
                .unwrap_err(),
            least,
        ),
        (
            cache
                .get_or_load("a", load())
                .ttl(Duration::ZERO)
                .await
                .unwrap_err(),
            least,
        ),
        (cache.expire("a", Duration::ZERO).await.unwrap_err(), least),
        (
            cache.put("a", &value).tags(&many).await.unwrap_err(),
            "tags must be at most 32",
        ),
        (
            cache.put("a", &value).tags([""]).await.unwrap_err(),
            "tags must have from 1 to 255 bytes each",
        ),
        (
            home.fleet().invalidate_tags([&*long]).await.unwrap_err(),
            "tags must have from 1 to 255 bytes each",
        ),
        (
            home.fleet().invalidate_tags(["a\n"]).await.unwrap_err(),
            "tags must not contain control characters",
        ),
    ] {
        assert_eq!(error.message(), Some(says));
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(
            error
                .operation()
                .is_some_and(|name| name.starts_with("cache."))
        );
    }
    assert!(!home.fleet().cache(&TEXTS).exists("a").await.unwrap());
}

/// It could not read what was counted.
pub async fn a_cached_counter_needs_a_codec_with_digits(home: Home) {
    const PACKED: CacheSpec<str, i64> = CacheSpec::new("packed").codec(Codec::message_pack());
    let error = home
        .fleet()
        .cache(&PACKED)
        .increment("a", 1)
        .await
        .unwrap_err();
    let rule = "codec must write numbers in digits where they are counted";
    assert_eq!(error.message(), Some(rule));
}
