//! What instances tell each other of their caches.

use std::time::Duration;

use quorate::{CacheFigures, CacheSpec, Fleet, FleetBuilder, Tell};
use quorate_testing::harness::{namespace, within};
use quorate_testing::servers::{ServerKind, shared};

const NAMES: CacheSpec<u64, String> = CacheSpec::new("names");
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn telling(what: Tell) -> FleetBuilder {
    Fleet::builder()
        .url("memory:")
        .tell_caches(what)
        .tell_caches_every(SECOND)
}

/// The figures, once they are such.
async fn figures(fleet: &Fleet, wanted: impl Fn(&CacheFigures) -> bool) -> CacheFigures {
    loop {
        let figures = fleet.cache_figures().await.unwrap();
        if let Some(found) = figures.into_iter().find(&wanted) {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Uses a cache on two instances, and looks at it from the second.
async fn used_by_two(one: &Fleet, two: &Fleet) {
    let load = async { Ok::<_, std::io::Error>("Ann".to_owned()) };
    let (a, b) = (one.cache(&NAMES), two.cache(&NAMES));
    a.get_or_load(&7, load).await.unwrap();
    for _ in 0..5 {
        b.get(&7).await.unwrap();
    }
    assert_eq!(a.get_many([&7, &8, &9]).await.unwrap().len(), 3);
    b.put(&10, &"Bob".to_owned()).await.unwrap();
    let seen = figures(two, |it| it.instances == 2 && it.reads.total() == 9).await;
    assert_eq!(seen.cache, "names");
    let reads = seen.reads;
    assert_eq!((reads.hit, reads.loaded, reads.miss), (6, 1, 2));
    assert_eq!((seen.values, seen.bytes), (2, 10));
    let minute = seen.minutes.last().unwrap();
    assert_eq!((minute.reads, minute.hits), (9, 6));
    let keys = seen.hottest.unwrap();
    let keys: Vec<_> = keys
        .iter()
        .map(|it| (&*it.key, it.reads, it.error))
        .collect();
    assert_eq!(keys, [("7", 7.0, 0.0), ("8", 1.0, 0.0), ("9", 1.0, 0.0)]);
}

#[tokio::test(start_paused = true)]
async fn what_instances_tell_of_their_caches_adds_up() {
    let one = telling(Tell::Keys).build().await.unwrap();
    let two = one.instance("b").await.unwrap();
    used_by_two(&one, &two).await;
}

#[tokio::test]
async fn what_instances_tell_of_their_caches_adds_up_on_a_server() {
    let server = shared(ServerKind::Redis).await.unwrap();
    let one = telling(Tell::Keys)
        .url(server.url())
        .namespace(namespace())
        .tell_caches_every(SECOND / 10)
        .build()
        .await
        .unwrap();
    let two = one.instance("b").await.unwrap();
    within("both tell", used_by_two(&one, &two)).await;
    // What is over is not told any more.
    one.close().await;
    within("one is gone", figures(&two, |it| it.instances == 1)).await;
    two.close().await;
}

/// Not the counts, and not the keys unless they are asked for.
#[tokio::test(start_paused = true)]
async fn nothing_is_told_of_caches_unless_it_is_switched_on() {
    for (what, told) in [(Tell::Nothing, false), (Tell::Counts, true)] {
        let fleet = telling(what).build().await.unwrap();
        fleet.cache(&NAMES).get(&7).await.unwrap();
        tokio::time::sleep(MINUTE).await;
        let figures = fleet.cache_figures().await.unwrap();
        assert_eq!(!figures.is_empty(), told);
        assert!(figures.iter().all(|it| it.hottest.is_none()), "{figures:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_hour_of_a_cache_is_told_minute_by_minute() {
    let fleet = telling(Tell::Counts).build().await.unwrap();
    let names = fleet.cache(&NAMES);
    names
        .put(&7, &"Ann".to_owned())
        .ttl(MINUTE * 1000)
        .await
        .unwrap();
    for minute in 0..70 {
        for _ in 0..minute {
            names.get(&7).await.unwrap();
        }
        names.get(&8).await.unwrap();
        tokio::time::sleep(MINUTE).await;
    }
    let figures = fleet.cache_figures().await.unwrap();
    let minutes = &figures[0].minutes;
    assert_eq!(minutes.len(), 60);
    // The newest has just begun.
    for (at, minute) in minutes[..58].iter().enumerate() {
        assert_eq!(minute.reads, minute.hits + 1, "{at}: {minutes:?}");
        assert_eq!(minutes[at + 1].hits, minute.hits + 1, "{at}: {minutes:?}");
    }
    let total = &figures[0].reads;
    assert_eq!((total.hit, total.miss), (70 * 69 / 2, 70));
    assert!(total.hit_ratio().unwrap() > 0.97);
}

/// Namespaces are apart here, too.
#[tokio::test(start_paused = true)]
async fn figures_are_those_of_the_namespace() {
    let fleet = telling(Tell::Counts).build().await.unwrap();
    let inner = fleet.namespaced("inner").unwrap();
    inner.cache(&NAMES).get(&7).await.unwrap();
    tokio::time::sleep(SECOND * 2).await;
    assert!(fleet.cache_figures().await.unwrap().is_empty());
    assert_eq!(inner.cache_figures().await.unwrap()[0].reads.miss, 1);
}

/// What is given by the process itself is counted, and asked for, too.
#[tokio::test(start_paused = true)]
async fn near_hits_are_in_the_figures() {
    const NEAR: CacheSpec<u64, String> = CacheSpec::new("near").near(1 << 20);
    let fleet = telling(Tell::Keys).build().await.unwrap();
    let near = fleet.cache(&NEAR);
    near.put(&7, &"Ann".to_owned()).await.unwrap();
    for _ in 0..5 {
        assert!(near.get(&7).await.unwrap().is_some());
    }
    let seen = figures(&fleet, |it| it.reads.total() == 5).await;
    assert_eq!((seen.reads.near_hit, seen.reads.hits()), (4, 5));
    let keys = seen.hottest.unwrap();
    assert_eq!((&*keys[0].key, keys[0].reads), ("7", 5.0));
}
