//! A load that was overtaken does not bring an old value back.

#![expect(
    clippy::disallowed_methods,
    reason = "a load beside the clause ends with it"
)]

use std::future::{Future, IntoFuture};
use std::io::Error;
use std::time::Duration;

use quorate::CacheSpec;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::{text, texts};
use crate::harness::Home;

/// Begins to load `a` on another instance, lets `meanwhile` happen, and gives what is there after the load.
async fn overtaken_by<F, Fut>(home: &Home, tags: &[&str], meanwhile: F) -> Option<String>
where
    F: FnOnce() -> Fut,
    Fut: Future<Output = ()>,
{
    let other = home.instance("b").await;
    let (began, begins) = oneshot::channel();
    let (go, gone) = oneshot::channel();
    let load = async move {
        // What the database said before.
        began.send(()).unwrap();
        gone.await.unwrap();
        Ok::<_, Error>(text("old"))
    };
    let loading = texts(&other)
        .get_or_load("a", load)
        .tags(tags.iter().copied());
    let loading = tokio::spawn(loading.into_future());
    begins.await.unwrap();
    meanwhile().await;
    go.send(()).unwrap();
    // Who loaded has what it loaded.
    assert_eq!(loading.await.unwrap().unwrap(), "old");
    texts(home.fleet()).get("a").await.unwrap()
}

/// The newer value stays.
pub async fn a_load_overtaken_by_a_put_is_not_kept(home: Home) {
    let put = || async {
        texts(home.fleet()).put("a", &text("new")).await.unwrap();
    };
    assert_eq!(overtaken_by(&home, &[], put).await, Some(text("new")));
}

/// Though there was nothing to remove.
pub async fn a_load_overtaken_by_a_removal_is_not_kept(home: Home) {
    let remove = || async {
        assert!(!texts(home.fleet()).remove("a").await.unwrap());
    };
    assert_eq!(overtaken_by(&home, &[], remove).await, None);
}

/// Of a tag that the entry would have had.
pub async fn a_load_overtaken_by_an_invalidation_is_not_kept(home: Home) {
    home.fleet().invalidate_tags(["t"]).await.unwrap();
    let invalidate = || async {
        home.fleet().invalidate_tags(["t"]).await.unwrap();
    };
    assert_eq!(overtaken_by(&home, &["s", "t"], invalidate).await, None);
}

/// The first that ever was.
pub async fn a_load_overtaken_by_a_first_invalidation_is_not_kept(home: Home) {
    let invalidate = || async {
        home.fleet().invalidate_tags(["t"]).await.unwrap();
    };
    assert_eq!(overtaken_by(&home, &["t"], invalidate).await, None);
}

/// Though there was nothing to clear.
pub async fn a_load_overtaken_by_a_clear_is_not_kept(home: Home) {
    let clear = || async {
        assert_eq!(texts(home.fleet()).clear().await.unwrap(), 0);
    };
    assert_eq!(overtaken_by(&home, &[], clear).await, None);
}

/// Also one that lands while the cache is being cleared, however far that is by then.
pub async fn no_load_lands_behind_a_clear(home: Home) {
    const LOADS: usize = 100;
    // So many keys that clearing takes as long as all those loads.
    let (cache, value) = (texts(home.fleet()), text("x"));
    let keys: Vec<String> = (0..3_000).map(|key| key.to_string()).collect();
    let entries = keys.iter().map(|key| (&**key, &value));
    cache.put_many(entries).await.unwrap();
    let other = home.instance("b").await;
    let (begin, mut begins) = mpsc::channel(LOADS);
    let (go, _) = watch::channel(0);
    let mut loads = JoinSet::new();
    for number in 1..=LOADS {
        let (cache, begin, mut turn) = (texts(&other), begin.clone(), go.subscribe());
        loads.spawn(async move {
            let load = async move {
                begin.send(()).await.unwrap();
                turn.wait_for(|turn| *turn >= number).await.unwrap();
                Ok::<_, Error>(text("old"))
            };
            cache.get_or_load(&*format!("load-{number}"), load).await
        });
    }
    for _ in 0..LOADS {
        begins.recv().await.unwrap();
    }
    let landing = async {
        for number in 1..=LOADS {
            go.send(number).unwrap();
            loads.join_next().await.unwrap().unwrap().unwrap();
        }
    };
    let (cleared, ()) = tokio::join!(cache.clear(), landing);
    cleared.unwrap();
    for number in 1..=LOADS {
        let key = format!("load-{number}");
        assert_eq!(cache.get(&key).await.unwrap(), None, "{key}");
    }
}

/// All that are under way, of whatever instance; what is there stays.
pub async fn a_load_that_was_ended_is_not_kept(home: Home) {
    let cache = texts(home.fleet());
    cache.put("there", &text("x")).await.unwrap();
    let end = || async {
        assert_eq!(texts(home.fleet()).end_loads().await.unwrap(), 1);
    };
    assert_eq!(overtaken_by(&home, &[], end).await, None);
    assert_eq!(cache.get("there").await.unwrap(), Some(text("x")));
    assert_eq!(cache.end_loads().await.unwrap(), 0);
}

/// Also where it was to take the place of something, which stays.
pub async fn an_ended_load_leaves_what_is_there(home: Home) {
    let (cache, other) = (texts(home.fleet()), home.instance("b").await);
    cache.put("a", &text("there")).await.unwrap();
    let load = async {
        assert_eq!(texts(&other).end_loads().await.unwrap(), 1);
        Ok::<_, Error>(text("overtaken"))
    };
    let loaded = cache.get_or_load("a", load).anew().await;
    assert_eq!(loaded.unwrap(), "overtaken");
    assert_eq!(cache.get("a").await.unwrap(), Some(text("there")));
    let load = async { Ok::<_, Error>(text("new")) };
    cache.get_or_load("a", load).anew().await.unwrap();
    assert_eq!(cache.get("a").await.unwrap(), Some(text("new")));
}

/// The counter stays.
pub async fn a_load_overtaken_by_a_count_is_not_kept(home: Home) {
    const COUNTS: CacheSpec<str, i64> = CacheSpec::new("texts");
    let counts = home.fleet().cache(&COUNTS);
    let count = || async {
        counts.increment("a", 7).await.unwrap();
    };
    overtaken_by(&home, &[], count).await;
    assert_eq!(counts.get("a").await.unwrap(), Some(7));
}

/// Only by its own.
pub async fn a_load_is_not_overtaken_by_other_tags(home: Home) {
    let invalidate = || async {
        home.fleet().invalidate_tags(["u", "v"]).await.unwrap();
        texts(home.fleet())
            .put("b", &text("x"))
            .tags(["t"])
            .await
            .unwrap();
    };
    let kept = overtaken_by(&home, &["t"], invalidate).await;
    assert_eq!(kept, Some(text("old")));
}

/// A renewal brings no lease back that was ended.
pub async fn a_load_overtaken_while_its_lease_is_renewed_is_not_kept(home: Home) {
    const SHORT: CacheSpec<str, String> =
        CacheSpec::new("texts").load_lease(Duration::from_millis(30));
    let (began, begins) = oneshot::channel();
    let load = async move {
        began.send(()).unwrap();
        // Some renewals long.
        tokio::time::sleep(Duration::from_millis(150)).await;
        Ok::<_, Error>(text("old"))
    };
    let loading = home.fleet().cache(&SHORT).get_or_load("a", load);
    let loading = tokio::spawn(loading.into_future());
    begins.await.unwrap();
    texts(home.fleet()).remove("a").await.unwrap();
    assert_eq!(loading.await.unwrap().unwrap(), "old");
    assert_eq!(texts(home.fleet()).get("a").await.unwrap(), None);
}

/// Though it waited for it: it asks again.
pub async fn who_asks_after_an_invalidation_is_not_given_what_was_loading(home: Home) {
    let (began, begins) = oneshot::channel();
    let (go, gone) = oneshot::channel();
    let load = async move {
        began.send(()).unwrap();
        gone.await.unwrap();
        Ok::<_, Error>(text("old"))
    };
    let loading = texts(home.fleet()).get_or_load("a", load).tags(["t"]);
    let loading = tokio::spawn(loading.into_future());
    begins.await.unwrap();
    home.fleet().invalidate_tags(["t"]).await.unwrap();
    let load = async { Ok::<_, Error>(text("new")) };
    let asking = texts(home.fleet()).get_or_load("a", load).tags(["t"]);
    let asking = tokio::spawn(asking.into_future());
    // It finds nothing, and waits for who loads.
    texts(home.fleet()).get("b").await.unwrap();
    go.send(()).unwrap();
    assert_eq!(loading.await.unwrap().unwrap(), "old");
    assert_eq!(asking.await.unwrap().unwrap(), "new");
    let kept = texts(home.fleet()).get("a").await.unwrap();
    assert_eq!(kept, Some(text("new")));
}
