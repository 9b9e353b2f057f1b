//! What is kept in the process, under fire: how old it may be, and that it is not older.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use quorate::{Cache, CacheSpec, Fleet, FleetBuilder, Protocol, ReadKind, TestClock};
use quorate_testing::harness::within;
use quorate_testing::proxy::{Direction, Proxy};
use quorate_testing::servers::{Server, ServerKind};

const ROWS: CacheSpec<u64, u64> = CacheSpec::new("rows").near(1024 * 1024);

fn brisk(url: String) -> FleetBuilder {
    Fleet::builder()
        .url(url)
        .command_timeout(Duration::from_millis(500))
        .retry_delay(Duration::from_millis(20))
        .max_reconnect_delay(Duration::from_millis(50))
}

async fn near(cache: &Cache<u64, u64>, key: u64) -> bool {
    let read = cache.read(&key).await;
    read.is_ok_and(|read| read.kind == ReadKind::NearHit)
}

/// A backend that cannot be heard of: what is in the process is given for as long as the spec says, and no longer.
#[tokio::test]
async fn fault_nothing_near_is_given_without_a_sign_of_the_backend() {
    let rows = ROWS.near_staleness(Duration::from_secs(60));
    let server = Server::start(ServerKind::Redis).await.unwrap();
    let proxy = Proxy::start(server.addr()).await.unwrap();
    let clock = TestClock::new();
    // The connection does not find out by itself.
    let held = brisk(proxy.url()).ping_interval(Duration::from_secs(300));
    let held = held.test_clock(clock.clone()).build().await.unwrap();
    let other = brisk(server.url()).build().await.unwrap();
    let cache = held.cache(&rows).deadline(Duration::from_millis(200));
    cache.put(&1, &1).await.unwrap();
    cache.get(&1).await.unwrap();
    assert!(near(&cache, 1).await);
    proxy.hold(Direction::Both);
    other.cache(&rows).put(&1, &2).await.unwrap();
    assert!(near(&cache, 1).await, "nobody could tell");
    clock.advance(Duration::from_secs(61));
    cache.get(&1).await.unwrap_err();
    proxy.heal().await.unwrap();
    let healed = async { while cache.get(&1).await.is_err() {} };
    within("the connection", healed).await;
    assert_eq!(cache.get(&1).await.unwrap(), Some(2));
}

/// A connection that ends takes with it what was read over it.
#[tokio::test]
async fn fault_nothing_near_outlives_its_connection() {
    let server = Server::start(ServerKind::Redis).await.unwrap();
    let proxy = Proxy::start(server.addr()).await.unwrap();
    let fleet = brisk(proxy.url()).build().await.unwrap();
    let other = brisk(server.url()).build().await.unwrap();
    let cache = fleet.cache(&ROWS).deadline(Duration::from_millis(200));
    for round in 1..10_u64 {
        other.cache(&ROWS).put(&1, &round).await.unwrap();
        let warm = async { while !near(&cache, 1).await {} };
        within("the value", warm).await;
        proxy.refuse().await;
        proxy.cut().await;
        let noticed = async {
            while near(&cache, 1).await {
                tokio::task::yield_now().await;
            }
        };
        within("the end of the connection", noticed).await;
        other.cache(&ROWS).put(&1, &(round + 100)).await.unwrap();
        proxy.heal().await.unwrap();
        let read = async {
            loop {
                if let Ok(read) = cache.get(&1).await {
                    return read;
                }
            }
        };
        assert_eq!(within("the connection", read).await, Some(round + 100));
    }
}

/// With everything flushed, with its memory of what was read too small, and with a flush in between, a server says so.
#[tokio::test]
async fn fault_a_flush_empties_what_is_near() {
    let server = Server::start(ServerKind::Valkey).await.unwrap();
    let fleet = brisk(server.url()).build().await.unwrap();
    let other = brisk(server.url()).build().await.unwrap();
    let cache = fleet.cache(&ROWS);
    cache.put(&1, &1).await.unwrap();
    cache.get(&1).await.unwrap();
    assert!(near(&cache, 1).await);
    other.redis().unwrap().command(&["FLUSHALL"]).await.unwrap();
    let gone = async {
        while cache.get(&1).await.unwrap().is_some() {
            tokio::task::yield_now().await;
        }
    };
    within("the news", gone).await;
    let redis = other.redis().unwrap();
    redis
        .command(&["CONFIG", "SET", "tracking-table-max-keys", "1"])
        .await
        .unwrap();
    for key in 0..50 {
        cache.put(&key, &key).await.unwrap();
        cache.get(&key).await.unwrap();
    }
    // What the server remembers no longer, it has said so of.
    for key in 0..50 {
        other.cache(&ROWS).put(&key, &(key + 100)).await.unwrap();
    }
    let told = async {
        for key in 0..50 {
            while cache.get(&key).await.unwrap() != Some(key + 100) {
                tokio::task::yield_now().await;
            }
        }
    };
    within("the news", told).await;
}

/// Where the server cannot tell, or must not, each read asks it.
#[tokio::test]
async fn fault_nothing_is_near_where_nobody_tells() {
    let server = Server::start(ServerKind::Redis).await.unwrap();
    let admin = brisk(server.url()).build().await.unwrap();
    let user = [
        "ACL",
        "SETUSER",
        "limited",
        "on",
        ">secret",
        "~*",
        "&*",
        "+@all",
        "-client|tracking",
    ];
    admin.redis().unwrap().command(&user).await.unwrap();
    let limited = server.url().replace("://", "://limited:secret@");
    let old = brisk(server.url()).protocol(Protocol::Resp2);
    for fleet in [
        old.build().await.unwrap(),
        brisk(limited).build().await.unwrap(),
    ] {
        let cache = fleet.cache(&ROWS);
        for value in 1..5 {
            admin.cache(&ROWS).put(&1, &value).await.unwrap();
            let read = cache.read(&1).await.unwrap();
            assert_eq!((read.value, read.kind), (Some(value), ReadKind::Hit));
        }
    }
}

/// Under cuts, delays and restarts, and with values in the process, whoever has invalidated reads nothing older; and what
/// comes from the backend is not older than what anybody has invalidated.
#[tokio::test(flavor = "multi_thread")]
async fn fault_nothing_near_is_older_than_the_own_invalidation() {
    let server = Server::start(ServerKind::Redis).await.unwrap();
    let proxy = Proxy::start(server.addr()).await.unwrap();
    let build = || {
        brisk(proxy.url())
            .ping_interval(Duration::from_millis(300))
            .build()
    };
    let fleets = [build().await.unwrap(), build().await.unwrap()];
    let done = AtomicBool::new(false);
    let (version, settled) = (AtomicU64::new(0), AtomicU64::new(0));
    let own = [AtomicU64::new(0), AtomicU64::new(0)];
    let (version, settled, own, done) = (&version, &settled, &own, &done);
    let writer = async {
        for round in 0..120_usize {
            let newest = version.fetch_add(1, Ordering::SeqCst) + 1;
            while fleets[round % 2].invalidate_tags(["row"]).await.is_err() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            own[round % 2].store(newest, Ordering::SeqCst);
            settled.store(newest, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        done.store(true, Ordering::SeqCst);
    };
    let hits = AtomicU64::new(0);
    let reader = |number: usize| {
        let (cache, hits) = (fleets[number % 2].cache(&ROWS), &hits);
        async move {
            while !done.load(Ordering::SeqCst) {
                let least = own[number % 2].load(Ordering::SeqCst);
                let least_of_all = settled.load(Ordering::SeqCst);
                let load = async { Ok::<_, std::io::Error>(version.load(Ordering::SeqCst)) };
                let loaded = cache.get_or_load(&1, load).tags(["row"]);
                match loaded.read().await {
                    Ok(read) if read.kind == ReadKind::NearHit => {
                        assert!(read.value >= least, "{} after {least}", read.value);
                        hits.fetch_add(1, Ordering::SeqCst);
                    }
                    Ok(read) if read.kind == ReadKind::Hit => {
                        let value = read.value;
                        assert!(value >= least_of_all, "{value} after {least_of_all}");
                    }
                    _ => {}
                }
                tokio::task::yield_now().await;
            }
        }
    };
    let faults = async {
        while !done.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(200)).await;
            proxy.delay(Duration::from_millis(20));
            tokio::time::sleep(Duration::from_millis(150)).await;
            proxy.hold(Direction::Both);
            tokio::time::sleep(Duration::from_millis(100)).await;
            proxy.heal().await.unwrap();
            proxy.cut().await;
            proxy.heal().await.unwrap();
            server.kill();
            server.restart().await.unwrap();
        }
    };
    let readers = futures_util::future::join_all((0..6).map(reader));
    within("all of it", async { tokio::join!(writer, readers, faults) }).await;
    assert!(hits.load(Ordering::SeqCst) > 100, "{hits:?}");
}
