//! What the file does when the disk is full, slow, or damaged.

use std::future::IntoFuture;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{TryStreamExt, poll};
use parking_lot::{Condvar, Mutex};
use redb::StorageBackend;
use tempfile::TempDir;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::Opening;
use super::lock::LockedFile;
use crate::embedded::EmbeddedHome;
use crate::{
    ConnectionState, Durability, ErrorKind, ErrorSource, Fleet, FleetBuilder, Outcome, StoreSpec,
};

pub(super) const COUNTS: StoreSpec<str, i64> = StoreSpec::new("counts");
const SECOND: Duration = Duration::from_secs(1);

/// A disk that does as it is told.
#[derive(Debug)]
struct Disk {
    inner: Arc<dyn StorageBackend>,
    orders: Arc<Orders>,
}

#[derive(Debug, Default)]
pub(super) struct Orders {
    is_full: AtomicBool,
    holds: Mutex<bool>,
    goes_on: Condvar,
    /// Something is being held.
    held: Notify,
    syncs: AtomicUsize,
    /// Bytes that were written.
    pub(super) bytes: AtomicUsize,
}

impl Orders {
    fn be_full(&self, full: bool) {
        self.is_full.store(full, Ordering::SeqCst);
    }

    fn hold(&self, hold: bool) {
        *self.holds.lock() = hold;
        self.goes_on.notify_all();
    }

    fn write(&self) -> io::Result<()> {
        if self.is_full.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.inner.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.orders.write()?;
        self.inner.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut holds = self.orders.holds.lock();
        while *holds {
            self.orders.held.notify_one();
            self.orders.goes_on.wait(&mut holds);
        }
        self.orders.syncs.fetch_add(1, Ordering::SeqCst);
        self.inner.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.orders.write()?;
        self.orders.bytes.fetch_add(data.len(), Ordering::SeqCst);
        self.inner.write(offset, data)
    }
}

/// A home in a file of this directory, on a disk that takes orders.
async fn home(directory: &Path) -> (EmbeddedHome, Arc<Orders>) {
    let path = directory.join("home.redb");
    let orders = Arc::new(Orders::default());
    let (taken, runtime) = (orders.clone(), Handle::current());
    let opening = runtime.clone().spawn_blocking(move || {
        let locked = LockedFile::open(&path)?.with_storage(|inner| {
            Arc::new(Disk {
                inner,
                orders: taken,
            })
        });
        EmbeddedHome::read(Opening::of(path, locked)?, None, runtime)
    });
    (opening.await.unwrap().unwrap(), orders)
}

fn builder() -> FleetBuilder {
    Fleet::builder()
        .url("memory:")
        .retries(1_u32)
        .command_timeout(SECOND)
}

pub(super) async fn fleet(directory: &TempDir) -> (Fleet, Arc<Orders>) {
    let (home, orders) = home(directory.path()).await;
    (builder().join(home).unwrap(), orders)
}

#[tokio::test(start_paused = true)]
async fn what_a_full_disk_refused_is_unknown_and_written_when_there_is_room() {
    let directory = tempfile::tempdir().unwrap();
    let (home, orders) = home(directory.path()).await;
    let told = Arc::new(AtomicUsize::new(0));
    let telling = told.clone();
    let fleet = builder()
        .on_error(move |source, error| {
            assert_eq!(source, ErrorSource::File);
            assert!(error.to_string().contains("cannot be written"), "{error}");
            telling.fetch_add(1, Ordering::SeqCst);
        })
        .join(home)
        .unwrap();
    let counts = fleet.store(&COUNTS);
    counts.set("a", &1).await.unwrap();
    counts.set("b", &1).await.unwrap();
    orders.be_full(true);
    let error = counts.increment("a", 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(error.outcome(), Outcome::Unknown);
    assert!(std::error::Error::source(&error).is_some(), "{error:#?}");
    assert!(told.load(Ordering::SeqCst) > 0);
    // What is not on disk is not shown, and the rest is.
    let error = counts.get("a").await.unwrap_err();
    assert_eq!(
        (error.kind(), error.outcome()),
        (ErrorKind::Timeout, Outcome::NotApplied)
    );
    assert_eq!(counts.get("b").await.unwrap(), Some(1));
    assert_eq!(fleet.state(), ConnectionState::Degraded);
    assert!(!fleet.health(SECOND).await.healthy);
    // Now that it is known, nothing is changed that would only wait.
    for error in [
        counts.set("c", &1).await.unwrap_err(),
        counts.set_many([("c", &1)]).await.unwrap_err(),
        fleet.lock("report").try_acquire().await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Backend);
        assert_eq!(error.outcome(), Outcome::NotApplied);
        assert!(error.is_retryable());
        assert!(error.to_string().contains("cannot be written"), "{error}");
    }
    orders.be_full(false);
    let mut ready = fleet.status();
    let ready = ready.wait_for(|status| status.state == ConnectionState::Ready);
    ready.await.unwrap();
    assert_eq!(counts.get("a").await.unwrap(), Some(2));
    assert!(fleet.health(SECOND).await.healthy);
    fleet.close().await;
    let (fleet, _) = self::fleet(&directory).await;
    assert_eq!(fleet.store(&COUNTS).get("a").await.unwrap(), Some(2));
    assert_eq!(fleet.store(&COUNTS).get("c").await.unwrap(), None);
}

/// It says how safe a write is when the time is up, and undoes nothing.
#[tokio::test]
async fn a_slow_disk_is_told_to_who_asks_how_safe_a_write_is() {
    let directory = tempfile::tempdir().unwrap();
    let (fleet, orders) = fleet(&directory).await;
    let counts = fleet.store(&COUNTS);
    orders.hold(true);
    let asked = Durability::on_disk().within(Duration::from_millis(20));
    let durable = counts.increment("a", 1).durable(asked).await.unwrap();
    assert_eq!(durable.value, 1);
    assert!(!durable.is_reached());
    orders.hold(false);
    assert_eq!(counts.get("a").await.unwrap(), Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_does_not_keep_a_home_from_closing() {
    let directory = tempfile::tempdir().unwrap();
    let (fleet, orders) = fleet(&directory).await;
    fleet.store(&COUNTS).set("a", &1).await.unwrap();
    orders.be_full(true);
    fleet.store(&COUNTS).set("a", &2).await.unwrap_err();
    fleet.close().await;
    let (fleet, _) = self::fleet(&directory).await;
    assert_eq!(fleet.store(&COUNTS).get("a").await.unwrap(), Some(1));
}

#[tokio::test]
async fn nothing_is_seen_before_it_is_on_disk() {
    let directory = tempfile::tempdir().unwrap();
    let (fleet, orders) = fleet(&directory).await;
    let counts = fleet.store(&COUNTS);
    counts.set("a", &1).await.unwrap();
    orders.hold(true);
    let mut set = counts.set("a", &2).into_future();
    let mut acquire = fleet.lock("report").try_acquire().into_future();
    assert!(poll!(&mut set).is_pending());
    assert!(poll!(&mut acquire).is_pending());
    orders.held.notified().await;
    let mut get = Box::pin(counts.get("a"));
    let mut many = Box::pin(counts.get_many(["b", "a"]));
    let mut remaining = Box::pin(counts.remaining("a"));
    let mut refused = counts.set_if_absent("a", &3).into_future();
    let mut scan = Box::pin(counts.scan("").try_collect::<Vec<_>>());
    assert!(poll!(&mut get).is_pending());
    assert!(poll!(&mut many).is_pending());
    assert!(poll!(&mut remaining).is_pending());
    assert!(poll!(&mut refused).is_pending());
    assert!(poll!(&mut scan).is_pending());
    assert_eq!(counts.get("b").await.unwrap(), None, "nobody changed it");
    orders.hold(false);
    set.await.unwrap();
    assert!(acquire.await.unwrap().is_acquired());
    assert_eq!(get.await.unwrap(), Some(2));
    assert_eq!(many.await.unwrap(), [None, Some(2)]);
    assert!(remaining.await.unwrap().is_some());
    assert!(!refused.await.unwrap());
    assert_eq!(scan.await.unwrap(), ["a"]);
}

#[tokio::test]
async fn what_is_written_at_the_same_time_shares_a_round() {
    let directory = tempfile::tempdir().unwrap();
    let (fleet, orders) = fleet(&directory).await;
    let counts = fleet.store(&COUNTS);
    let before = orders.syncs.load(Ordering::SeqCst);
    counts.set("a", &1).await.unwrap();
    let one = orders.syncs.load(Ordering::SeqCst) - before;
    orders.hold(true);
    let mut first = counts.increment("a", 1).into_future();
    assert!(poll!(&mut first).is_pending());
    orders.held.notified().await;
    let more = (0..100).map(|_| counts.increment("a", 1).into_future());
    let mut more = join_all(more);
    assert!(poll!(&mut more).is_pending());
    orders.hold(false);
    first.await.unwrap();
    more.await;
    assert_eq!(counts.get("a").await.unwrap(), Some(102));
    let all = orders.syncs.load(Ordering::SeqCst) - before;
    assert!(all <= 3 * one, "{all} syncs, where one write has {one}");
}

#[tokio::test]
async fn what_is_dropped_while_it_waits_is_written_all_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let (fleet, orders) = fleet(&directory).await;
    orders.hold(true);
    let mut set = fleet.store(&COUNTS).set("a", &1).into_future();
    assert!(poll!(&mut set).is_pending());
    drop(set);
    orders.hold(false);
    // Without closing it either.
    drop(fleet);
    let fleet = reopened(&directory).await;
    assert_eq!(fleet.store(&COUNTS).get("a").await.unwrap(), Some(1));
}

/// As soon as who had it before has let go.
async fn reopened(directory: &TempDir) -> Fleet {
    let url = format!("file:{}", directory.path().join("home.redb").display());
    loop {
        match Fleet::connect(&url).await {
            Ok(fleet) => return fleet,
            Err(error) => assert!(error.to_string().contains("is open in"), "{error}"),
        }
        tokio::task::yield_now().await;
    }
}

/// A task may be in the middle of a write when its runtime lets go of everything else.
#[test]
fn a_round_whose_runtime_ended_before_it_began_is_written_all_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let ending = tokio::runtime::Runtime::new().unwrap();
    let (fleet, _) = ending.block_on(fleet(&directory));
    let counts = fleet.store(&COUNTS);
    let (begins, begun) = mpsc::channel();
    let (go_on, goes_on) = mpsc::channel::<()>();
    let (waits, waiting) = mpsc::channel();
    ending.spawn(async move {
        begins.send(()).unwrap();
        goes_on.recv().unwrap();
        let mut set = counts.set("a", &1).into_future();
        waits.send(poll!(&mut set).is_pending()).unwrap();
    });
    begun.recv().unwrap();
    ending.shutdown_background();
    go_on.send(()).unwrap();
    assert!(waiting.recv().unwrap(), "it is not on disk");
    // Outside of any runtime.
    drop(fleet);
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let fleet = reopened(&directory).await;
        assert_eq!(fleet.store(&COUNTS).get("a").await.unwrap(), Some(1));
    });
}

#[tokio::test]
async fn reading_writes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (fleet, orders) = fleet(&directory).await;
    let counts = fleet.store(&COUNTS);
    counts.set("a", &1).await.unwrap();
    let before = orders.syncs.load(Ordering::SeqCst);
    for _ in 0..10 {
        counts.get("a").await.unwrap();
        counts.get("b").await.unwrap();
        assert!(!counts.set_if_absent("a", &2).await.unwrap());
        assert!(!counts.delete("b").await.unwrap());
    }
    assert_eq!(orders.syncs.load(Ordering::SeqCst), before);
}

/// A database of somebody else's, and a home of a version to come.
#[test]
fn files_of_others_are_refused() {
    const OTHER: redb::TableDefinition<'static, &str, u64> = redb::TableDefinition::new("other");
    const ABOUT: redb::TableDefinition<'static, &str, u64> = redb::TableDefinition::new("quorate");
    let directory = tempfile::tempdir().unwrap();
    for (table, says) in [
        (OTHER, "something else than a home"),
        (ABOUT, "a newer version"),
    ] {
        let path = directory.path().join(says);
        let database = redb::Database::create(&path).unwrap();
        let write = database.begin_write().unwrap();
        write
            .open_table(table)
            .unwrap()
            .insert("layout", 2)
            .unwrap();
        write.commit().unwrap();
        drop(database);
        let error = Opening::begin(path).unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
    }
}

/// Wherever a byte has changed: what was written is there, or the file is refused; nothing panics.
#[tokio::test]
async fn a_damaged_file_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let (fleet, _) = fleet(&directory).await;
    let counts = fleet.store(&COUNTS);
    for number in 0..100 {
        counts.set(&format!("key-{number}"), &number).await.unwrap();
    }
    fleet.close().await;
    let path = directory.path().join("home.redb");
    let whole = std::fs::read(&path).unwrap();
    let mut refused = 0;
    for at in (0..whole.len()).step_by(whole.len() / 60) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        std::fs::write(&path, bytes).unwrap();
        match Fleet::connect(&format!("file:{}", path.display())).await {
            Ok(fleet) => {
                let counts = fleet.store(&COUNTS);
                for number in 0..100 {
                    let count = counts.get(&format!("key-{number}")).await.unwrap();
                    assert_eq!(count, Some(number), "byte {at}");
                }
                fleet.close().await;
            }
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 0);
}
