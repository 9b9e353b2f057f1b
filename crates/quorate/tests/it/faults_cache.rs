//! Caches under fire: what was invalidated is not read again, and a load goes on without its backend.

#![expect(
    clippy::disallowed_methods,
    reason = "a call beside the test ends with it"
)]

use std::future::IntoFuture;
use std::io::Error;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use quorate::cache::{LoadId, Take, Taken, Wish};
use quorate::{CacheSpec, CallOptions, ErrorKind, ErrorSource, Fleet, FleetBuilder, ReadKind};
use quorate_testing::harness::{PATIENCE, eventually, within};
use quorate_testing::proxy::{Direction, Proxy};
use quorate_testing::servers::{Server, ServerKind};
use tokio::sync::Semaphore;

const ROWS: CacheSpec<u64, u64> = CacheSpec::new("rows").load_lease(Duration::from_millis(300));

fn brisk(url: String) -> FleetBuilder {
    Fleet::builder()
        .url(url)
        .command_timeout(Duration::from_millis(500))
        .retry_delay(Duration::from_millis(20))
        .max_reconnect_delay(Duration::from_millis(50))
        .ping_interval(Duration::from_millis(300))
}

/// Rows of a database: each has a version, which a writer raises before it invalidates.
#[derive(Default)]
struct Database {
    versions: [AtomicU64; 4],
}

/// Done-when 2: under cuts, delays and restarts, no read that began after an invalidation was answered gives what was
/// there before.
#[tokio::test(flavor = "multi_thread")]
async fn fault_nothing_invalidated_is_read_again() {
    let server = Server::start(ServerKind::Redis).await.unwrap();
    let proxy = Proxy::start(server.addr()).await.unwrap();
    let fleets = [
        brisk(proxy.url()).build().await.unwrap(),
        brisk(proxy.url()).build().await.unwrap(),
        brisk(server.url()).build().await.unwrap(),
    ];
    let (database, done) = (Database::default(), AtomicBool::new(false));
    // The versions whose invalidation was answered.
    let settled = Database::default();
    let writer = async {
        for round in 0..160_u64 {
            let row = usize::try_from(round % 4).unwrap();
            let version = database.versions[row].fetch_add(1, Ordering::SeqCst) + 1;
            let tag = format!("row:{row}");
            // A failed one may or may not have been made: until one is answered nothing is promised.
            let fleet = &fleets[usize::try_from(round % 3).unwrap()];
            while fleet.invalidate_tags([&*tag]).await.is_err() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            settled.versions[row].store(version, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        done.store(true, Ordering::SeqCst);
    };
    let reads = AtomicU64::new(0);
    let reader = |number: usize| {
        let (database, done, settled, reads) = (&database, &done, &settled, &reads);
        let cache = fleets[number % 3].cache(&ROWS);
        async move {
            let mut row = number % 4;
            while !done.load(Ordering::SeqCst) {
                row = (row + 1) % 4;
                let least = settled.versions[row].load(Ordering::SeqCst);
                let load = async {
                    let version = database.versions[row].load(Ordering::SeqCst);
                    // Slow enough to be overtaken.
                    tokio::time::sleep(Duration::from_millis(rand_millis(number, version))).await;
                    Ok::<_, Error>(version)
                };
                let key = u64::try_from(row).unwrap();
                let loaded = cache.get_or_load(&key, load).tags([format!("row:{row}")]);
                // What its own loader gives is the loader's affair; what the cache gives is not.
                if let Ok(read) = loaded.read().await
                    && read.kind == ReadKind::Hit
                {
                    assert!(
                        read.value >= least,
                        "row {row}: {} after {least}",
                        read.value
                    );
                    reads.fetch_add(1, Ordering::SeqCst);
                }
                tokio::task::yield_now().await;
            }
        }
    };
    let faults = async {
        while !done.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(150)).await;
            proxy.delay(Duration::from_millis(20));
            tokio::time::sleep(Duration::from_millis(150)).await;
            proxy.cut_before_reply();
            tokio::time::sleep(Duration::from_millis(150)).await;
            proxy.hold(Direction::Both);
            tokio::time::sleep(Duration::from_millis(200)).await;
            proxy.heal().await.unwrap();
            proxy.cut().await;
            proxy.heal().await.unwrap();
            server.kill();
            server.restart().await.unwrap();
        }
    };
    let readers = futures_util::future::join_all((0..12).map(reader));
    within("all of it", async { tokio::join!(writer, readers, faults) }).await;
    assert!(reads.load(Ordering::SeqCst) > 100, "{reads:?}");
}

/// From 0 to 20 ms, the same each time.
fn rand_millis(one: usize, two: u64) -> u64 {
    (u64::try_from(one).unwrap() * 7 + two * 13) % 21
}

/// Who loads is not stopped by a cache that cannot be asked.
#[tokio::test(flavor = "multi_thread")]
async fn fault_a_load_goes_on_without_its_backend() {
    let server = Server::start(ServerKind::Redis).await.unwrap();
    let fleet = brisk(server.url())
        .deadline(Duration::from_millis(600))
        .build()
        .await
        .unwrap();
    let cache = fleet.cache(&ROWS);
    server.kill();
    let load = async { Ok::<_, Error>(7) };
    let read = within("the load", cache.get_or_load(&1, load).read())
        .await
        .unwrap();
    assert_eq!((read.value, read.kind), (7, ReadKind::Loaded));
    server.restart().await.unwrap();
    within("the connection", fleet.ready()).await.unwrap();
    assert_eq!(cache.get(&1).await.unwrap(), None, "nobody could keep it");
}

/// A loader whose process is gone, or cut off, is replaced when its lease ends, and does not bring an old value back.
#[tokio::test(flavor = "multi_thread")]
async fn fault_a_loader_that_is_cut_off_is_replaced_and_fenced() {
    let server = Server::start(ServerKind::Redis).await.unwrap();
    let proxy = Proxy::start(server.addr()).await.unwrap();
    let cut_off = brisk(proxy.url()).build().await.unwrap();
    let other = brisk(server.url()).build().await.unwrap();
    let (began, begins) = tokio::sync::oneshot::channel();
    let (go, gone) = tokio::sync::oneshot::channel();
    let load = async move {
        began.send(()).unwrap();
        gone.await.unwrap();
        Ok::<_, Error>(1)
    };
    let loading = tokio::spawn(cut_off.cache(&ROWS).get_or_load(&1, load).into_future());
    begins.await.unwrap();
    proxy.swallow(Direction::Both);
    let load = async { Ok::<_, Error>(2) };
    let loaded = other.cache(&ROWS).get_or_load(&1, load).read();
    let loaded = within("the lease ends", loaded).await.unwrap();
    assert_eq!((loaded.value, loaded.kind), (2, ReadKind::Loaded));
    proxy.cut().await;
    proxy.heal().await.unwrap();
    within("the connection", cut_off.ready()).await.unwrap();
    go.send(()).unwrap();
    assert_eq!(
        loading.await.unwrap().unwrap(),
        1,
        "who loaded has what it loaded"
    );
    assert_eq!(other.cache(&ROWS).get(&1).await.unwrap(), Some(2));
}

/// A registered loader whose process is gone, or cut off: its lease ends, and the next one loads.
#[tokio::test(flavor = "multi_thread")]
async fn fault_a_load_in_the_background_that_is_cut_off_is_replaced_and_fenced() {
    let server = Server::start(ServerKind::Redis).await.unwrap();
    let proxy = Proxy::start(server.addr()).await.unwrap();
    let cut_off = brisk(proxy.url()).build().await.unwrap();
    let other = brisk(server.url()).build().await.unwrap();
    let (began, go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (begins, goes) = (began.clone(), go.clone());
    let loader = cut_off.cache(&ROWS).with_loader(move |_| {
        let (begins, goes) = (begins.clone(), goes.clone());
        async move {
            begins.add_permits(1);
            goes.acquire().await.unwrap().forget();
            Ok::<_, Error>(1)
        }
    });
    let hasty = loader.clone().hard_timeout(Duration::from_millis(50));
    let error = hasty.get(&1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    began.acquire().await.unwrap().forget();
    proxy.swallow(Direction::Both);
    let there = other.cache(&ROWS).with_loader(async |_| Ok::<_, Error>(2));
    let loaded = within("the lease ends", there.read(&1)).await.unwrap();
    assert_eq!((loaded.value, loaded.kind), (2, ReadKind::Loaded));
    proxy.cut().await;
    proxy.heal().await.unwrap();
    within("the connection", cut_off.ready()).await.unwrap();
    let waiting = tokio::spawn(async move { loader.get(&1).await });
    go.add_permits(9);
    let value = within("it ends", waiting).await.unwrap().unwrap();
    assert!([1, 2].contains(&value), "its own load, or what is there");
    assert_eq!(other.cache(&ROWS).get(&1).await.unwrap(), Some(2));
}

/// Whoever cannot hear of the end of a load loads when the lease ends.
#[tokio::test(flavor = "multi_thread")]
async fn fault_who_cannot_subscribe_waits_no_longer_than_the_lease() {
    let server = Server::start(ServerKind::Redis).await.unwrap();
    let proxy = Proxy::start(server.addr()).await.unwrap();
    // It is not the time of a call that ends the wait.
    let fleet = brisk(proxy.url()).command_timeout(PATIENCE * 3);
    let fleet = fleet.deadline(PATIENCE * 3).build().await.unwrap();
    let cache = fleet.cache(&ROWS);
    assert_eq!(cache.get(&1).await.unwrap(), None);
    // What is connected stays so; the connection for subscriptions is made when it is needed.
    proxy.refuse().await;
    let lease = Duration::from_millis(300);
    let (key, id) = (cache.entry_key(&1).unwrap(), LoadId::random());
    let options = CallOptions::until(tokio::time::Instant::now() + Duration::from_secs(5));
    let take = Take {
        id,
        lease,
        wish: Wish::Value,
    };
    let taken = fleet.cache_port().take(&[key], take, options).await;
    assert_eq!(taken.unwrap(), [Taken::Load(None)]);
    let read = cache.get_or_load(&1, async { Ok::<_, Error>(7) }).read();
    let read = within("the lease ends", read).await.unwrap();
    assert_eq!((read.value, read.kind), (7, ReadKind::Loaded));
    assert_eq!(
        cache.get(&1).await.unwrap(),
        Some(7),
        "with the fleet's consent"
    );
}

/// Also while it is not known yet whether there is anything.
#[tokio::test(flavor = "multi_thread")]
async fn fault_a_hard_timeout_bounds_the_look_for_what_is_there() {
    let server = Server::start(ServerKind::Redis).await.unwrap();
    let proxy = Proxy::start(server.addr()).await.unwrap();
    // It is not the time of a call that ends the wait.
    let fleet = Fleet::builder()
        .url(proxy.url())
        .command_timeout(PATIENCE * 3)
        .deadline(PATIENCE * 3)
        .ping_interval(PATIENCE * 3);
    let fleet = fleet.build().await.unwrap();
    let loader = fleet
        .cache(&ROWS)
        .with_loader(async |key| Ok::<_, Error>(key));
    let hasty = loader.clone().hard_timeout(Duration::from_millis(50));
    within("it is connected", loader.get(&1)).await.unwrap();
    proxy.hold(Direction::Both);
    let alone = within("time is up", hasty.get(&1)).await.unwrap_err();
    let many = within("time is up", hasty.get_many([&1, &2])).await;
    for error in [alone, many.unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
        let said = error.message().unwrap();
        assert_eq!(said, "the load takes longer than 50ms");
    }
    proxy.heal().await.unwrap();
    assert_eq!(within("it is there", loader.get(&1)).await.unwrap(), 1);
}

async fn a_failure_that_nobody_waits_for_is_reported(url: &str) {
    let errors = Arc::new(Mutex::new(Vec::new()));
    let log = errors.clone();
    let fleet = Fleet::builder()
        .url(url)
        .on_error(move |source, error| log.lock().unwrap().push((source, error.to_string())))
        .build();
    let fleet = fleet.await.unwrap();
    let go = Arc::new(Semaphore::new(0));
    let goes = go.clone();
    let loader = fleet.cache(&ROWS).with_loader(move |_| {
        let goes = goes.clone();
        async move {
            goes.acquire().await.unwrap().forget();
            Err::<u64, _>(Error::other("the database is away"))
        }
    });
    let hasty = loader.hard_timeout(Duration::from_millis(10));
    let error = hasty.get(&1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(errors.lock().unwrap().is_empty());
    go.add_permits(1);
    eventually("it is told", async || !errors.lock().unwrap().is_empty()).await;
    let said = "cache.get_or_load `1`: load failed: the database is away";
    let told = errors.lock().unwrap().clone();
    assert_eq!(told, [(ErrorSource::Cache, said.to_owned())]);
}

#[tokio::test]
async fn a_failure_that_nobody_waits_for_is_reported_in_process() {
    a_failure_that_nobody_waits_for_is_reported("memory:").await;
}

#[tokio::test]
async fn a_failure_that_nobody_waits_for_is_reported_on_redis() {
    let server = Server::start(ServerKind::Redis).await.unwrap();
    a_failure_that_nobody_waits_for_is_reported(&server.url()).await;
}
