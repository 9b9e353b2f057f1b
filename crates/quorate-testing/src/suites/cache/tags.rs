//! Tags.

use quorate::CacheSpec;

use super::{HOUR, MINUTE, text, texts};
use crate::harness::Home;

/// On every instance, at once.
pub async fn an_invalidated_tag_ends_its_entries(home: Home) {
    let other = home.instance("b").await;
    let (here, there) = (texts(home.fleet()), texts(&other));
    for round in 0..10 {
        for key in 0..20_u32 {
            let tag = format!("t{}", key % 2);
            let put = here.put(&key.to_string(), &format!("{round}"));
            put.tags([tag]).await.unwrap();
        }
        other.invalidate_tags(["t0"]).await.unwrap();
        for key in 0..20_u32 {
            let expected = (key % 2 == 1).then(|| round.to_string());
            assert_eq!(here.get(&key.to_string()).await.unwrap(), expected);
            assert_eq!(there.get(&key.to_string()).await.unwrap(), expected);
        }
    }
}

/// And not those of another namespace.
pub async fn a_tag_spans_caches_of_a_namespace(home: Home) {
    const NUMBERS: CacheSpec<u64, u64> = CacheSpec::new("numbers");
    let inner = home.fleet().namespaced("inner").unwrap();
    let numbers = home.fleet().cache(&NUMBERS);
    for cache in [texts(home.fleet()), texts(&inner)] {
        cache.put("a", &text("x")).tags(["user:7"]).await.unwrap();
    }
    numbers.put(&7, &7).tags(["user:7"]).await.unwrap();
    home.fleet().invalidate_tags(["user:7"]).await.unwrap();
    assert_eq!(texts(home.fleet()).get("a").await.unwrap(), None);
    assert_eq!(numbers.get(&7).await.unwrap(), None);
    assert_eq!(texts(&inner).get("a").await.unwrap(), Some(text("x")));
}

/// Until the next one.
pub async fn what_is_put_after_an_invalidation_stays(home: Home) {
    let cache = texts(home.fleet());
    for round in 0..10 {
        cache
            .put("a", &round.to_string())
            .tags(["t"])
            .await
            .unwrap();
        assert_eq!(cache.get("a").await.unwrap(), Some(round.to_string()));
        home.fleet().invalidate_tags(["t"]).await.unwrap();
        assert_eq!(cache.get("a").await.unwrap(), None);
    }
    home.elapse(MINUTE).await;
    cache.put("a", &text("x")).tags(["t"]).await.unwrap();
    assert_eq!(cache.get("a").await.unwrap(), Some(text("x")));
}

/// Defect 16 of the register: what once had the tag was deleted, though it had none any more.
pub async fn defect_16_an_entry_that_lost_its_tag_is_not_touched(home: Home) {
    let cache = texts(home.fleet());
    cache.put("a", &text("1")).tags(["t"]).await.unwrap();
    cache.remove("a").await.unwrap();
    cache.put("a", &text("2")).await.unwrap();
    cache.put("b", &text("1")).tags(["t"]).await.unwrap();
    cache.put("b", &text("2")).tags(["u"]).await.unwrap();
    home.fleet().invalidate_tags(["t"]).await.unwrap();
    assert_eq!(cache.get("a").await.unwrap(), Some(text("2")));
    assert_eq!(cache.get("b").await.unwrap(), Some(text("2")));
}

/// An entry ends with any of its tags.
pub async fn several_tags_are_invalidated_at_once(home: Home) {
    let cache = texts(home.fleet());
    let all = [("a", &["t", "u"][..]), ("b", &["u", "v"]), ("c", &["w"])];
    for (key, tags) in all {
        cache
            .put(key, &text("x"))
            .tags(tags.iter().copied())
            .await
            .unwrap();
    }
    home.fleet().invalidate_tags(["t", "v"]).await.unwrap();
    home.fleet().invalidate_tags([] as [&str; 0]).await.unwrap();
    assert_eq!(cache.get("a").await.unwrap(), None);
    assert_eq!(cache.get("b").await.unwrap(), None);
    assert_eq!(cache.get("c").await.unwrap(), Some(text("x")));
}

/// What a tag ended is not there, whoever looks.
pub async fn tags_are_honoured_by_all_that_reads(home: Home) {
    const COUNTS: CacheSpec<str, i64> = CacheSpec::new("counts");
    let (cache, counts) = (texts(home.fleet()), home.fleet().cache(&COUNTS));
    for key in ["a", "b", "c", "d", "e", "f"] {
        cache.put(key, &text("x")).tags(["t"]).await.unwrap();
    }
    counts.put("n", &7).tags(["t"]).await.unwrap();
    home.fleet().invalidate_tags(["t"]).await.unwrap();
    assert!(!cache.exists("a").await.unwrap());
    assert_eq!(cache.remaining("a").await.unwrap(), None);
    assert!(!cache.expire("b", HOUR).await.unwrap());
    assert!(!cache.remove("c").await.unwrap());
    assert!(cache.put("d", &text("y")).if_absent().await.unwrap());
    assert_eq!(cache.get_many(["e", "f"]).await.unwrap(), [None, None]);
    let loaded = cache.get_or_load("f", async { Ok::<_, std::io::Error>(text("z")) });
    assert_eq!(loaded.await.unwrap(), "z");
    assert_eq!(counts.increment("n", 1).await.unwrap(), 1);
    assert_eq!(counts.get("n").await.unwrap(), Some(1));
}

/// Defect of a forerunner: they were ignored.
pub async fn tags_of_many_entries_are_honoured(home: Home) {
    let (cache, value) = (texts(home.fleet()), text("x"));
    let put = cache.put_many([("a", &value), ("b", &value)]).tags(["t"]);
    assert_eq!(put.await.unwrap(), 2);
    assert_eq!(
        cache.get_many(["a", "b"]).await.unwrap(),
        [Some(text("x")), Some(text("x"))]
    );
    home.fleet().invalidate_tags(["t"]).await.unwrap();
    assert_eq!(cache.get_many(["a", "b"]).await.unwrap(), [None, None]);
}

/// Nothing happens, and nothing is in the way of what comes.
pub async fn tags_work_without_anything_cached(home: Home) {
    home.fleet().invalidate_tags(["t", "u"]).await.unwrap();
    let cache = texts(home.fleet());
    cache.put("a", &text("x")).tags(["t"]).await.unwrap();
    assert_eq!(cache.get("a").await.unwrap(), Some(text("x")));
    home.fleet().invalidate_tags(["v"]).await.unwrap();
    assert_eq!(cache.get("a").await.unwrap(), Some(text("x")));
}
