//! Loading several with one call of the loader.

#![expect(
    clippy::disallowed_methods,
    reason = "a call beside the clause ends with it"
)]

use std::collections::HashMap;
use std::io::Error;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use quorate::cache::{LoadId, Take, Taken, Wish};
use quorate::{CacheSpec, CallOptions, ErrorKind, Loaded};
use tokio::sync::Semaphore;

use super::{HOUR, MINUTE, SECOND, text, texts};
use crate::harness::{Home, eventually, within};

/// A database with the capitals of letters, which remembers what it was asked for.
#[derive(Clone)]
struct Capitals {
    asked: Arc<Mutex<Vec<Vec<String>>>>,
    answers: Arc<Semaphore>,
}

impl Capitals {
    fn new() -> Self {
        Self {
            asked: Arc::default(),
            answers: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
        }
    }

    /// It answers when it is let.
    fn slow() -> Self {
        let answers = Arc::new(Semaphore::new(0));
        Self {
            answers,
            ..Self::new()
        }
    }

    async fn load(&self, keys: Vec<String>) -> Result<HashMap<String, String>, Error> {
        self.asked.lock().unwrap().push(keys.clone());
        self.answers.acquire().await.unwrap().forget();
        let capitals = keys.into_iter().filter(|key| key != "none");
        Ok(capitals
            .map(|key| (key.clone(), key.to_uppercase()))
            .collect())
    }

    fn asked(&self) -> Vec<Vec<String>> {
        let mut asked = self.asked.lock().unwrap().clone();
        asked.iter_mut().for_each(|keys| keys.sort());
        asked
    }

    async fn is_asked(&self, times: usize) {
        eventually("it is asked", async || self.asked().len() == times).await;
    }
}

fn some(values: &[&str]) -> Vec<Option<String>> {
    let value = |value: &&str| (!value.is_empty()).then(|| text(value));
    values.iter().map(value).collect()
}

/// For those that are not there. A key that it does not name has no value.
pub async fn several_are_loaded_with_one_call(home: Home) {
    let (cache, database) = (texts(home.fleet()), Capitals::new());
    cache.put("a", &text("put")).await.unwrap();
    let load = async |keys| database.load(keys).await;
    let keys = ["a", "b", "none", "c"];
    let found = cache.get_or_load_many(keys, load).await.unwrap();
    assert_eq!(found, some(&["put", "B", "", "C"]));
    assert_eq!(database.asked(), [["b", "c", "none"]]);
    let load = async |keys| database.load(keys).await;
    let found = cache.get_or_load_many(keys, load).await.unwrap();
    assert_eq!(found, some(&["put", "B", "", "C"]));
    assert_eq!(database.asked()[1..], [["none"]], "the others are kept");
    let load = async |keys| database.load(keys).await;
    let found = cache.get_or_load_many(["d", "d", "a"], load).await.unwrap();
    assert_eq!(found, some(&["D", "D", "put"]));
    assert_eq!(database.asked()[2..], [["d"]]);
    let load = async |_| Err::<Vec<(String, String)>, _>(Error::other("not asked"));
    assert!(cache.get_or_load_many([], load).await.unwrap().is_empty());
}

/// Each of them.
pub async fn a_loader_of_several_says_how_they_are_kept(home: Home) {
    let cache = texts(home.fleet());
    let load = async |keys: Vec<String>| {
        let loaded = |key: String| match &*key {
            "short" => (key, Loaded::new(text("1")).ttl(MINUTE)),
            "tagged" => (key, Loaded::new(text("2")).tags(["t"])),
            "unkept" => (key, Loaded::new(text("3")).no_store()),
            _ => (key, Loaded::new(text("4"))),
        };
        // Something that nobody asked for is not kept.
        let more = [(text("more"), Loaded::new(text("5")))];
        Ok::<_, Error>(keys.into_iter().map(loaded).chain(more).collect::<Vec<_>>())
    };
    let keys = ["short", "tagged", "unkept", "plain"];
    let found = cache.get_or_load_many(keys, load).await.unwrap();
    assert_eq!(found, some(&["1", "2", "3", "4"]));
    assert_eq!(cache.get("more").await.unwrap(), None);
    assert_eq!(cache.get("unkept").await.unwrap(), None);
    home.fleet().invalidate_tags(["t"]).await.unwrap();
    home.elapse(MINUTE * 2).await;
    let found = cache.get_many(keys).await.unwrap();
    assert_eq!(found, some(&["", "", "", "4"]));
    let bad = async |keys: Vec<String>| {
        let bad = |key| (key, Loaded::new(text("1")).tags([""]));
        Ok::<_, Error>(keys.into_iter().map(bad).collect::<Vec<_>>())
    };
    let error = cache.get_or_load_many(["x"], bad).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(error.operation(), Some("cache.get_or_load_many"));
}

/// On this instance or another one: only the rest is asked for.
pub async fn what_others_load_is_no_part_of_the_batch(home: Home) {
    let other = home.instance("b").await;
    for (round, fleet) in [home.fleet(), &other].into_iter().enumerate() {
        let (slow, database) = (Capitals::slow(), Capitals::new());
        let key = format!("b{round}");
        let loading = tokio::spawn({
            let (cache, slow, key) = (texts(fleet), slow.clone(), key.clone());
            async move {
                let load = async { slow.load(vec![text("x")]).await.map(|_| text("theirs")) };
                cache.get_or_load(&*key, load).await
            }
        });
        slow.is_asked(1).await;
        let asking = tokio::spawn({
            let (cache, database, key) = (texts(home.fleet()), database.clone(), key.clone());
            async move {
                let load = |keys| {
                    let database = database.clone();
                    async move { database.load(keys).await }
                };
                let keys = ["none", &key, "a"];
                cache.get_or_load_many(keys, load).await
            }
        });
        database.is_asked(1).await;
        // What it loaded itself is there before what it waits for.
        let kept = async || texts(home.fleet()).get("a").await.unwrap().is_some();
        eventually("its own are kept", kept).await;
        assert!(!asking.is_finished());
        slow.answers.add_permits(1);
        assert_eq!(loading.await.unwrap().unwrap(), "theirs");
        let found = within("it is handed over", asking).await.unwrap().unwrap();
        assert_eq!(found, some(&["", "theirs", "A"]));
        assert_eq!(database.asked(), [["a", "none"]]);
        texts(home.fleet()).remove("a").await.unwrap();
    }
}

/// However they overlap.
pub async fn batches_load_each_key_once(home: Home) {
    let other = home.instance("b").await;
    let database = Capitals::new();
    let asks = (0..12_usize).map(|number| {
        let fleet = if number.is_multiple_of(2) {
            home.fleet()
        } else {
            &other
        };
        let (cache, database) = (texts(fleet), &database);
        async move {
            let keys: Vec<String> = (0..20).map(|key| format!("k{}", key + number)).collect();
            let expected: Vec<_> = keys.iter().map(|key| Some(key.to_uppercase())).collect();
            let load = async |keys| database.load(keys).await;
            let keys = keys.iter().map(String::as_str);
            let found = cache.get_or_load_many(keys, load).await.unwrap();
            assert_eq!(found, expected);
        }
    });
    within("all are loaded", join_all(asks)).await;
    let mut asked: Vec<_> = database.asked().concat();
    asked.sort();
    let times = asked.len();
    asked.dedup();
    assert_eq!((asked.len(), times), (31, 31));
}

/// With the loader's error, and with old values where they are kept for that.
pub async fn a_batch_that_fails_is_told_or_stood_in_for(home: Home) {
    const SAFE: CacheSpec<str, String> = CacheSpec::new("safe").ttl(MINUTE).fail_safe(HOUR);
    const TELLING: CacheSpec<str, String> = CacheSpec::new("telling").cache_errors(MINUTE);
    let asked = Mutex::new(Vec::new());
    let fail = async |keys: Vec<String>| {
        asked.lock().unwrap().push(keys);
        Err::<Vec<(String, String)>, _>(Error::other("the database is away"))
    };
    let safe = home.fleet().cache(&SAFE);
    for key in ["a", "b"] {
        safe.put(key, &text("old")).await.unwrap();
    }
    home.elapse(MINUTE * 2).await;
    for _ in 0..2 {
        let found = safe.get_or_load_many(["a", "b"], fail).await.unwrap();
        assert_eq!(found, some(&["old", "old"]));
    }
    assert_eq!(
        asked.lock().unwrap().len(),
        1,
        "it is not tried again at once"
    );
    let error = safe.get_or_load_many(["a", "c"], fail).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Load);
    assert_eq!(error.target(), Some("c"));
    let source = std::error::Error::source(&error).unwrap();
    assert_eq!(source.to_string(), "the database is away");
    let telling = home.fleet().cache(&TELLING);
    let times = asked.lock().unwrap().len();
    for _ in 0..2 {
        let failed = within("an answer", telling.get_or_load_many(["a", "b"], fail)).await;
        assert_eq!(failed.unwrap_err().message(), Some("the database is away"));
    }
    assert_eq!(asked.lock().unwrap().len(), times + 1);
    let load = async { Ok::<_, Error>(text("x")) };
    let next = safe.get_or_load("c", load).read();
    assert_eq!(
        within("the lease is given back", next).await.unwrap().value,
        "x"
    );
}

/// Only what was overtaken is not kept.
pub async fn a_batch_is_fenced_key_by_key(home: Home) {
    let other = home.instance("b").await;
    let slow = Capitals::slow();
    let asking = tokio::spawn({
        let (cache, slow) = (texts(&other), slow.clone());
        async move {
            let load = |keys| {
                let slow = slow.clone();
                async move { slow.load(keys).await }
            };
            cache.get_or_load_many(["a", "b", "c"], load).await
        }
    });
    slow.is_asked(1).await;
    let cache = texts(home.fleet());
    cache.put("a", &text("new")).await.unwrap();
    assert!(!cache.remove("b").await.unwrap());
    slow.answers.add_permits(1);
    let found = within("it ends", asking).await.unwrap().unwrap();
    assert_eq!(
        found,
        some(&["A", "B", "C"]),
        "who loaded has what it loaded"
    );
    let kept = cache.get_many(["a", "b", "c"]).await.unwrap();
    assert_eq!(kept, some(&["new", "", "C"]));
}

/// By others, at once.
pub async fn a_dropped_batch_is_taken_over(home: Home) {
    let other = home.instance("b").await;
    let (cache, slow) = (texts(home.fleet()), Capitals::slow());
    let load = async |keys| slow.load(keys).await;
    let mut asking = Box::pin(cache.get_or_load_many(["a", "b"], load));
    while slow.asked().is_empty() {
        assert!((&mut asking).now_or_never().is_none());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    drop(asking);
    let database = Capitals::new();
    for fleet in [&other, home.fleet()] {
        let load = async |keys| database.load(keys).await;
        let cache = texts(fleet);
        let found = within("it is loaded", cache.get_or_load_many(["a", "b"], load)).await;
        assert_eq!(found.unwrap(), some(&["A", "B"]));
    }
}

/// However long it takes; and one that shows no sign of life is replaced.
pub async fn a_slow_batch_keeps_its_leases_and_a_dead_one_does_not(home: Home) {
    const SHORT: CacheSpec<str, String> =
        CacheSpec::new("short").load_lease(Duration::from_millis(300));
    let other = home.instance("b").await;
    let (here, there) = (home.fleet().cache(&SHORT), other.cache(&SHORT));
    let slow = Capitals::slow();
    let asking = tokio::spawn({
        let slow = slow.clone();
        async move {
            let load = |keys| {
                let slow = slow.clone();
                async move { slow.load(keys).await }
            };
            here.get_or_load_many(["a", "b"], load).await
        }
    });
    slow.is_asked(1).await;
    let never = async |_| Err::<Vec<(String, String)>, _>(Error::other("somebody else loads"));
    let mut waiting = Box::pin(there.get_or_load_many(["b", "a"], never));
    let waited = tokio::time::timeout(SECOND, &mut waiting).await;
    assert!(waited.is_err());
    slow.answers.add_permits(1);
    let found = within("it is handed over", waiting).await.unwrap();
    assert_eq!(found, some(&["B", "A"]));
    assert_eq!(asking.await.unwrap().unwrap(), some(&["A", "B"]));

    let take = Take {
        id: LoadId::random(),
        lease: Duration::from_millis(300),
        wish: Wish::Value,
    };
    let options = CallOptions::until(tokio::time::Instant::now() + SECOND * 5);
    let keys = ["c", "d"].map(|key| there.entry_key(key).unwrap());
    let taken = other.cache_port().take(&keys, take, options).await.unwrap();
    assert_eq!(taken, [Taken::Load(None), Taken::Load(None)]);
    let database = Capitals::new();
    let load = async |keys| database.load(keys).await;
    let found = within("the leases end", there.get_or_load_many(["c", "d"], load)).await;
    assert_eq!(found.unwrap(), some(&["C", "D"]));
}

/// Before anything is asked for.
pub async fn a_batch_is_checked_with_the_rule(home: Home) {
    let cache = texts(home.fleet());
    let never = async |_| Err::<Vec<(String, String)>, _>(Error::other("it was asked"));
    let error = cache.get_or_load_many(["a", ""], never).await.unwrap_err();
    assert_eq!(error.message(), Some("key must not be empty"));
    assert_eq!(error.operation(), Some("cache.get_or_load_many"));
    let many: Vec<String> = (0..10_001).map(|key| key.to_string()).collect();
    let many = many.iter().map(String::as_str);
    let error = cache.get_or_load_many(many, never).await.unwrap_err();
    assert_eq!(error.message(), Some("keys must be at most 10000"));
}
