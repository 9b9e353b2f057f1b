//! Waiting for somebody else's load, and what it is not an answer to.

#![expect(
    clippy::disallowed_methods,
    reason = "a call beside the clause ends with it"
)]

use std::io::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use futures_util::FutureExt;
use quorate::{CacheSpec, ErrorKind, Fleet, LoadingCache, Outcome, ReadKind};
use tokio::sync::Semaphore;

use super::{HOUR, MINUTE, SECOND, text, texts};
use crate::harness::{Home, eventually, within};

const EARLY: CacheSpec<str, String> = CacheSpec::new("early").ttl(HOUR).early_refresh(1000.0);
const SAFE: CacheSpec<str, String> = CacheSpec::new("safe").ttl(MINUTE).fail_safe(HOUR);

/// A load is asked for, and then waits to be let on.
#[derive(Clone)]
struct Gate {
    asked: Arc<AtomicU32>,
    open: Arc<Semaphore>,
}

impl Gate {
    fn new() -> Self {
        Self {
            asked: Arc::default(),
            open: Arc::new(Semaphore::new(0)),
        }
    }

    async fn pass(&self) {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.open.acquire().await.unwrap().forget();
    }

    async fn is_asked(&self) {
        eventually("it is asked", async || {
            self.asked.load(Ordering::SeqCst) > 0
        })
        .await;
    }
}

fn numbered(
    fleet: &Fleet,
    spec: &CacheSpec<str, String>,
    loads: &Arc<AtomicU32>,
) -> LoadingCache<str, String> {
    let loads = loads.clone();
    fleet.cache(spec).with_loader(move |_| {
        let number = loads.fetch_add(1, Ordering::SeqCst) + 1;
        async move {
            if number == 2 {
                // The load ahead of time, which is not tried again for a while.
                return Err(Error::other("the database is away"));
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            Ok::<_, Error>(format!("n{number}"))
        }
    })
}

/// Not what was there before, also if somebody looks for that at the same time.
pub async fn a_refresh_is_never_given_what_was_there(home: Home) {
    let loads = Arc::new(AtomicU32::new(0));
    let cache = numbered(home.fleet(), &EARLY, &loads);
    assert_eq!(cache.get("a").await.unwrap(), "n1");
    home.elapse(HOUR - SECOND * 5).await;
    eventually("it is tried ahead of time", async || {
        cache.get("a").await.unwrap();
        loads.load(Ordering::SeqCst) == 2
    })
    .await;
    // From now on each read finds that it is fresh and not to be tried: and hands that to whoever joins it.
    for round in 0..10 {
        let before = loads.load(Ordering::SeqCst);
        let (read, refreshed) = tokio::join!(cache.read("a"), cache.refresh("a"));
        assert_eq!(read.unwrap().kind, ReadKind::Hit);
        match refreshed {
            Ok(value) => assert!(value > format!("n{before}"), "{value} after n{before}"),
            // It waited for the one that failed.
            Err(error) => assert!(round == 0 && error.kind() == ErrorKind::Load, "{error}"),
        }
        if refreshed_fully(&cache).await {
            return;
        }
    }
}

/// A value whose end is far off is not looked at ahead of time any more.
async fn refreshed_fully(cache: &LoadingCache<str, String>) -> bool {
    let left = cache.cache().remaining("a").await.unwrap();
    left.is_some_and(|left| left > MINUTE * 30)
}

/// It loads by itself, where it waited for a load that failed.
pub async fn a_refresh_that_waited_for_a_failure_tries_itself(home: Home) {
    let other = home.instance("b").await;
    texts_of(&other).put("a", &text("old")).await.unwrap();
    home.elapse(MINUTE * 10).await;
    let gate = Gate::new();
    let failing = other.cache(&SAFE).get_or_load("a", {
        let gate = gate.clone();
        async move {
            gate.pass().await;
            Err::<String, _>(Error::other("the database is away"))
        }
    });
    let failing = tokio::spawn(IntoFuture::into_future(failing));
    gate.is_asked().await;
    let here = home.fleet().cache(&SAFE);
    let here = here.with_loader(|_: String| async { Ok::<_, Error>(text("new")) });
    let refreshing = tokio::spawn(async move { here.refresh("a").await });
    // Long enough for it to ask, mostly; whether it did makes no difference to what is right.
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    gate.open.add_permits(1);
    assert_eq!(failing.await.unwrap().unwrap(), "old");
    let refreshed = within("the refresh", refreshing).await.unwrap();
    assert_eq!(refreshed.unwrap(), "new");
}

fn texts_of(fleet: &Fleet) -> quorate::Cache<str, String> {
    fleet.cache(&SAFE)
}

/// What the application subscribes to is its own affair.
pub async fn who_waits_is_not_ended_by_unsubscribing_everything(home: Home) {
    let other = home.instance("b").await;
    let gate = Gate::new();
    let load = {
        let gate = gate.clone();
        async move {
            gate.pass().await;
            Ok::<_, Error>(text("loaded"))
        }
    };
    let loading = texts(&other).get_or_load("a", load);
    let loading = tokio::spawn(IntoFuture::into_future(loading));
    gate.is_asked().await;
    let never = async { Err::<String, _>(Error::other("somebody else loads")) };
    let waiting = texts(home.fleet()).get_or_load("a", never);
    let waiting = tokio::spawn(IntoFuture::into_future(waiting));
    eventually("it waits", async || {
        !home.fleet().subscriptions().is_empty()
    })
    .await;
    for _ in 0..5 {
        home.fleet().unsubscribe_all();
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }
    gate.open.add_permits(1);
    assert_eq!(loading.await.unwrap().unwrap(), "loaded");
    let waited = within("the value", waiting).await.unwrap();
    assert_eq!(waited.unwrap(), "loaded");
}

/// Also where what was loading is not kept.
pub async fn what_is_not_kept_is_not_handed_to_who_asks_after_a_removal(home: Home) {
    let cache = texts(home.fleet());
    let gate = Gate::new();
    let load = {
        let gate = gate.clone();
        async move {
            gate.pass().await;
            Ok::<_, Error>(quorate::Loaded::new(text("before")).no_store())
        }
    };
    let first = cache.get_or_load("a", load);
    let first = tokio::spawn(IntoFuture::into_future(first));
    gate.is_asked().await;
    cache.remove("a").await.unwrap();
    let loader = cache.with_loader(|_: String| async { Ok::<_, Error>(text("after")) });
    // It looks for nothing first, and so joins at once.
    let mut after = Box::pin(loader.refresh("a"));
    assert!((&mut after).now_or_never().is_none());
    gate.open.add_permits(1);
    assert_eq!(first.await.unwrap().unwrap(), "before");
    assert_eq!(within("the value", after).await.unwrap(), "after");
}

/// In its own process or in another one: then it has loaded nothing, and the load goes on.
pub async fn who_waits_for_another_load_waits_only_as_long_as_it_said(home: Home) {
    let other = home.instance("b").await;
    let gate = Gate::new();
    let slow = texts(home.fleet()).get_or_load("a", {
        let gate = gate.clone();
        async move {
            gate.pass().await;
            Ok::<_, Error>(text("slow"))
        }
    });
    let slow = tokio::spawn(IntoFuture::into_future(slow));
    gate.is_asked().await;
    for fleet in [home.fleet(), &other] {
        for time in [
            std::time::Duration::ZERO,
            std::time::Duration::from_millis(20),
        ] {
            let own = async { Ok::<_, Error>(text("own")) };
            let waited = texts(fleet).get_or_load("a", own).wait_at_most(time).await;
            let error = waited.unwrap_err();
            assert_eq!(
                (error.kind(), error.outcome()),
                (ErrorKind::Timeout, Outcome::NotApplied)
            );
        }
    }
    gate.open.add_permits(1);
    assert_eq!(slow.await.unwrap().unwrap(), "slow");
    // Whose turn it is waits for nobody.
    let own = async { Ok::<_, Error>(text("own")) };
    let cache = texts(&other);
    let loaded = cache.get_or_load("a", own).anew();
    let loaded = loaded.wait_at_most(std::time::Duration::ZERO).await;
    assert_eq!(loaded.unwrap(), "own");
}

/// Of several as well, key by key.
pub async fn what_a_batch_does_not_keep_is_not_handed_to_who_asks_after_a_removal(home: Home) {
    let cache = texts(home.fleet());
    let gate = Gate::new();
    let batch = tokio::spawn({
        let (cache, gate) = (cache.clone(), gate.clone());
        async move {
            let load = |keys: Vec<String>| {
                let gate = gate.clone();
                async move {
                    gate.pass().await;
                    let before = |key| (key, quorate::Loaded::new(text("before")).no_store());
                    Ok::<Vec<_>, Error>(keys.into_iter().map(before).collect())
                }
            };
            cache.get_or_load_many(["a", "b"], load).await
        }
    });
    gate.is_asked().await;
    cache.remove("a").await.unwrap();
    let loader = cache.with_loader(|_: String| async { Ok::<_, Error>(text("after")) });
    let mut after = Box::pin(loader.refresh("a"));
    let mut along = Box::pin(loader.refresh("b"));
    assert!((&mut after).now_or_never().is_none());
    assert!((&mut along).now_or_never().is_none());
    gate.open.add_permits(1);
    let before = Some(text("before"));
    assert_eq!(batch.await.unwrap().unwrap(), [before.clone(), before]);
    assert_eq!(within("the value", after).await.unwrap(), "after");
    assert_eq!(within("the value", along).await.unwrap(), "before");
}
