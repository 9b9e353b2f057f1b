//! A loader that is registered: what it loads is loaded by a task of the fleet's own.

#![expect(
    clippy::disallowed_methods,
    reason = "a call beside the clause ends with it"
)]

use std::io::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use quorate::cache::{LoadId, StaleReason, Take, Taken, Wish};
use quorate::{CacheSpec, CallOptions, ErrorKind, Fleet, Loaded, LoadingCache, ReadKind};
use tokio::sync::Semaphore;

use super::{HOUR, MINUTE, SECOND, TEXTS, text, texts};
use crate::harness::{Home, eventually, within};

const SAFE: CacheSpec<str, String> = CacheSpec::new("safe").ttl(MINUTE).fail_safe(HOUR);

/// A database that answers when it is let.
#[derive(Clone)]
struct Slow {
    asked: Arc<AtomicU32>,
    answers: Arc<Semaphore>,
}

impl Slow {
    fn new() -> Self {
        Self {
            asked: Arc::default(),
            answers: Arc::new(Semaphore::new(0)),
        }
    }

    /// A cache that asks it, and is given `n1`, `n2` and so on.
    fn cache(&self, fleet: &Fleet, spec: &CacheSpec<str, String>) -> LoadingCache<str, String> {
        let slow = self.clone();
        fleet.cache(spec).with_loader(move |_| {
            let slow = slow.clone();
            async move {
                let number = slow.asked.fetch_add(1, Ordering::SeqCst) + 1;
                slow.answers.acquire().await.unwrap().forget();
                Ok::<_, Error>(format!("n{number}"))
            }
        })
    }

    fn asked(&self) -> u32 {
        self.asked.load(Ordering::SeqCst)
    }

    fn answer(&self) {
        self.answers.add_permits(1);
    }

    async fn is_asked(&self, times: u32) {
        eventually("it is asked", async || self.asked() == times).await;
    }
}

fn stale(kind: ReadKind) -> StaleReason {
    match kind {
        ReadKind::Stale { why, age, .. } => {
            assert!(age >= MINUTE, "{age:?}");
            why
        }
        other => panic!("{other:?}"),
    }
}

/// Whichever way they ask.
pub async fn a_registered_loader_loads_once(home: Home) {
    let other = home.instance("b").await;
    let slow = Slow::new();
    let (here, there) = (slow.cache(home.fleet(), &TEXTS), slow.cache(&other, &TEXTS));
    let asks = (0..20).map(|number: usize| {
        let cache = if number.is_multiple_of(2) {
            &here
        } else {
            &there
        };
        let plain = texts(home.fleet());
        async move {
            if number % 5 == 4 {
                let never = async { Err::<String, _>(Error::other("somebody else loads")) };
                return plain.get_or_load("a", never).await;
            }
            cache.get("a").await
        }
    });
    let mut asks = join_all(asks);
    while slow.asked() == 0 {
        assert!((&mut asks).now_or_never().is_none());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    slow.answer();
    for value in within("it is loaded", asks).await {
        assert_eq!(value.unwrap(), "n1");
    }
    let read = there.read("a").await.unwrap();
    assert_eq!((&*read.value, read.kind), ("n1", ReadKind::Hit));
    assert_eq!(slow.asked(), 1);
}

/// As it says, or as the spec does.
pub async fn a_registered_loader_says_how_its_value_is_kept(home: Home) {
    let load = async |key: String| {
        let loaded = Loaded::new(key.clone()).ttl(MINUTE).tags([key]);
        Ok::<_, Error>(loaded)
    };
    let cache = home.fleet().cache(&TEXTS).with_loader(load);
    assert_eq!(cache.get("a").await.unwrap(), "a");
    assert_eq!(cache.get("b").await.unwrap(), "b");
    home.fleet().invalidate_tags(["a"]).await.unwrap();
    assert_eq!(cache.read("a").await.unwrap().kind, ReadKind::Loaded);
    assert_eq!(cache.read("b").await.unwrap().kind, ReadKind::Hit);
    home.elapse(MINUTE * 2).await;
    assert_eq!(cache.read("b").await.unwrap().kind, ReadKind::Loaded);
    let error = cache.get("").await.unwrap_err();
    assert_eq!(error.message(), Some("key must not be empty"));
}

/// And is kept for the next one.
pub async fn a_registered_load_outlives_its_caller(home: Home) {
    let slow = Slow::new();
    let cache = slow.cache(home.fleet(), &TEXTS);
    let asking = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get("a").await }
    });
    slow.is_asked(1).await;
    asking.abort();
    assert!(asking.await.unwrap_err().is_cancelled());
    slow.answer();
    let kept = async || texts(home.fleet()).get("a").await.unwrap().is_some();
    eventually("it is kept", kept).await;
    assert_eq!(cache.read("a").await.unwrap().kind, ReadKind::Hit);
}

/// Those that are there are not loaded again.
pub async fn several_are_got_by_a_registered_loader(home: Home) {
    let loads = Arc::new(AtomicU32::new(0));
    let counted = loads.clone();
    let cache = home.fleet().cache(&TEXTS).with_loader(move |key: String| {
        counted.fetch_add(1, Ordering::SeqCst);
        async move { Ok::<_, Error>(key.to_uppercase()) }
    });
    texts(home.fleet()).put("b", &text("put")).await.unwrap();
    let getting = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get_many(["a", "b", "c", "a"]).await }
    });
    assert_eq!(getting.await.unwrap().unwrap(), ["A", "put", "C", "A"]);
    assert_eq!(loads.load(Ordering::SeqCst), 2);
    assert!(cache.get_many([]).await.unwrap().is_empty());
    let error = cache.get_many(["a", ""]).await.unwrap_err();
    assert_eq!(error.message(), Some("key must not be empty"));
}

/// And no reason for others to wait.
pub async fn a_loader_that_panics_is_an_error(home: Home) {
    let cache = home
        .fleet()
        .cache(&TEXTS)
        .with_loader(|key: String| async move {
            assert!(key == "b", "it is not b");
            Ok::<_, Error>(key)
        });
    let failed = within("the load fails", cache.get("a")).await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Load);
    assert_eq!(failed.message(), Some("the loader panicked"));
    assert_eq!(cache.get("b").await.unwrap(), "b");
    let load = async { Ok::<_, Error>(text("x")) };
    let next = texts(home.fleet()).get_or_load("a", load);
    assert_eq!(
        within("the lease is given back", next.read())
            .await
            .unwrap()
            .value,
        "x"
    );
}

/// Others load at once.
pub async fn a_closed_fleet_ends_its_loads(home: Home) {
    let other = home.instance("b").await;
    let slow = Slow::new();
    let cache = slow.cache(&other, &TEXTS);
    let asking = tokio::spawn(async move { cache.get("a").await });
    slow.is_asked(1).await;
    other.close().await;
    let error = within("it is told", asking).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    let load = async { Ok::<_, Error>(text("x")) };
    let read = texts(home.fleet()).get_or_load("a", load).read();
    let read = within("the lease is given back", read).await.unwrap();
    assert_eq!((&*read.value, read.kind), ("x", ReadKind::Loaded));
}

/// The new one is there for the next.
pub async fn an_old_value_is_given_while_a_slow_load_goes_on(home: Home) {
    let slow = Slow::new();
    let cache = slow.cache(home.fleet(), &SAFE);
    home.fleet()
        .cache(&SAFE)
        .put("a", &text("old"))
        .await
        .unwrap();
    home.elapse(MINUTE * 10).await;
    for patience in [
        cache.clone().soft_timeout(Duration::ZERO),
        cache.clone().soft_timeout(Duration::from_millis(20)),
        cache.clone().hard_timeout(Duration::from_millis(20)),
        cache
            .clone()
            .soft_timeout(Duration::from_millis(20))
            .hard_timeout(HOUR),
    ] {
        let read = within("it is given", patience.read("a")).await.unwrap();
        assert_eq!((&*read.value, stale(read.kind)), ("old", StaleReason::Slow));
    }
    // Who has more time waits.
    let patient = cache.clone().soft_timeout(MINUTE);
    let mut patient = Box::pin(patient.read("a"));
    assert!((&mut patient).now_or_never().is_none());
    slow.is_asked(1).await;
    slow.answer();
    let read = within("it is loaded", patient).await.unwrap();
    assert_eq!(read.value, "n1");
    assert_eq!(slow.asked(), 1);
    let read = cache.soft_timeout(Duration::ZERO).read("a").await.unwrap();
    assert_eq!((&*read.value, read.kind), ("n1", ReadKind::Hit));
}

/// And the load goes on.
pub async fn without_an_old_value_only_the_hard_timeout_ends_the_wait(home: Home) {
    let slow = Slow::new();
    let cache = slow.cache(home.fleet(), &SAFE).soft_timeout(Duration::ZERO);
    let hasty = cache.clone().hard_timeout(Duration::from_millis(20));
    let error = within("time is up", hasty.get("a")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(error.operation(), Some("cache.get_or_load"));
    assert_eq!(error.target(), Some("a"));
    assert_eq!(error.message(), Some("the load takes longer than 20ms"));
    slow.is_asked(1).await;
    slow.answer();
    assert_eq!(within("it is loaded", cache.get("a")).await.unwrap(), "n1");
    assert_eq!(slow.asked(), 1);
}

/// Also one of another instance.
pub async fn whoever_waits_for_another_instance_has_its_own_patience(home: Home) {
    let other = home.instance("b").await;
    let slow = Slow::new();
    home.fleet()
        .cache(&SAFE)
        .put("a", &text("old"))
        .await
        .unwrap();
    home.elapse(MINUTE * 10).await;
    let there = slow.cache(&other, &SAFE).soft_timeout(Duration::ZERO);
    there.get("a").await.unwrap();
    slow.is_asked(1).await;
    let here = slow.cache(home.fleet(), &SAFE);
    let hasty = here.clone().soft_timeout(Duration::from_millis(20));
    let read = within("it is given", hasty.read("a")).await.unwrap();
    assert_eq!((&*read.value, stale(read.kind)), ("old", StaleReason::Slow));
    slow.answer();
    assert_eq!(within("it is loaded", here.get("a")).await.unwrap(), "n1");
    assert_eq!(slow.asked(), 1);
}

/// A future that is kept and not polled cannot renew its lease, and holds nobody up for longer.
pub async fn a_load_that_is_not_polled_is_replaced(home: Home) {
    const SHORT: CacheSpec<str, String> =
        CacheSpec::new("short").load_lease(Duration::from_millis(300));
    let cache = home.fleet().cache(&SHORT);
    let began = AtomicU32::new(0);
    let load = async {
        began.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
        Ok::<_, Error>(text("forgotten"))
    };
    let mut forgotten = Box::pin(cache.get_or_load("a", load).read());
    while began.load(Ordering::SeqCst) == 0 {
        assert!((&mut forgotten).now_or_never().is_none());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let loads = AtomicU32::new(0);
    let asks = (0..5).map(|_| {
        let load = async {
            loads.fetch_add(1, Ordering::SeqCst);
            Ok::<_, Error>(text("x"))
        };
        cache.get_or_load("a", load).read()
    });
    for read in within("one of them loads", join_all(asks)).await {
        assert_eq!(read.unwrap().value, "x");
    }
    assert_eq!(loads.load(Ordering::SeqCst), 1);
    // It was overtaken, and its own caller has what it loaded.
    let late = within("it ends", forgotten).await.unwrap();
    assert_eq!(late.value, "forgotten");
    assert_eq!(cache.get("a").await.unwrap(), Some(text("x")));
}

/// At most as long as the lease of who was heard of last.
pub async fn a_registered_load_takes_over_from_the_dead(home: Home) {
    const SHORT: CacheSpec<str, String> =
        CacheSpec::new("short").load_lease(Duration::from_millis(300));
    let dead = home.instance("b").await;
    let key = dead.cache(&SHORT).entry_key("a").unwrap();
    let options = CallOptions::until(tokio::time::Instant::now() + SECOND * 5);
    let (id, lease) = (LoadId::random(), Duration::from_millis(300));
    let take = Take {
        id,
        lease,
        wish: Wish::Value,
    };
    let taken = dead.cache_port().take(&[key], take, options).await;
    assert_eq!(taken.unwrap(), [Taken::Load(None)]);
    let slow = Slow::new();
    slow.answer();
    let cache = slow.cache(home.fleet(), &SHORT);
    let read = within("the lease ends", cache.read("a")).await.unwrap();
    assert_eq!((&*read.value, read.kind), ("n1", ReadKind::Loaded));
}
