//! A home to test on, whichever it is, and time that tests can move.

use std::future::Future;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use quorate::{Fleet, FleetBuilder, TestClock};
use tempfile::TempDir;

use crate::servers::{ServerKind, shared};

/// How soon publishers confirm what they last sent, in homes made for tests.
pub const BEACON_INTERVAL: Duration = Duration::from_millis(100);

/// How long the members of an instance outlive it, in homes made for tests.
///
/// Long enough for a test's instance to renew it on a busy machine, short enough to wait for its end.
pub const PRESENCE_LEASE: Duration = Duration::from_secs(3);

/// The longest any condition may take to come true.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Makes homes of one kind for the suites.
///
/// Implement it to run the suites on a backend of your own:
/// `events_suite!(mine, MyHarness)`.
#[async_trait]
pub trait Harness: Send + Sync + 'static {
    /// A fresh and empty home; the suites make its instances.
    async fn home(&self) -> Home;

    /// The runtime to run a clause on. In-process homes want paused time.
    fn runtime(&self) -> tokio::runtime::Runtime;
}

/// A home that exists for one test.
#[derive(Debug)]
pub struct Home {
    first: Fleet,
    clock: Time,
    /// Where its file is, if it has one; gone with it.
    _directory: Option<TempDir>,
}

/// How time is moved.
#[derive(Clone, Debug)]
enum Time {
    /// The home follows tokio's clock, which is paused.
    Tokio,
    /// The home has a clock of its own, which the scripts ask.
    Scripts(TestClock),
}

impl Home {
    /// A home whose time is tokio's.
    #[must_use]
    pub fn on_tokio_time(first: Fleet) -> Self {
        Self {
            first,
            clock: Time::Tokio,
            _directory: None,
        }
    }

    /// Keeps the directory with the home's file for as long as the home.
    #[must_use]
    pub fn in_directory(mut self, directory: TempDir) -> Self {
        self._directory = Some(directory);
        self
    }

    /// A home whose scripts see `clock`.
    #[must_use]
    pub fn on_server_time(first: Fleet, clock: TestClock) -> Self {
        Self {
            first,
            clock: Time::Scripts(clock),
            _directory: None,
        }
    }

    /// The first instance.
    #[must_use]
    pub fn fleet(&self) -> &Fleet {
        &self.first
    }

    /// A further instance.
    ///
    /// # Panics
    /// If it cannot be made.
    pub async fn instance(&self, name: &str) -> Fleet {
        self.first
            .instance(name)
            .await
            .expect("a further instance of a working home")
    }

    /// Lets `duration` pass for what the home decides. Timers of this process run on their own time.
    pub async fn elapse(&self, duration: Duration) {
        match &self.clock {
            Time::Tokio => tokio::time::advance(duration).await,
            Time::Scripts(clock) => elapse_on_server(&self.first, clock, duration).await,
        }
    }
}

/// Lets `duration` pass on a server for a namespace of its own: for what scripts decide by `clock`, and for what
/// the server itself ends.
///
/// # Panics
/// If the server does not answer.
pub async fn elapse_on_server(fleet: &Fleet, clock: &TestClock, duration: Duration) {
    clock.advance(duration);
    let redis = fleet.redis().expect("a home on a server");
    let millis = duration.as_millis().to_string();
    let mut cursor = "0".to_owned();
    loop {
        let pattern = format!("{}:*", fleet.namespace());
        let scan = ["SCAN", &cursor, "MATCH", &pattern, "COUNT", "1000"];
        let page = redis.command(&scan).await.expect("a page of keys");
        let page = page.into_array().expect("a cursor and keys");
        for key in page[1].as_array().expect("keys") {
            let key = key.as_str().expect("our own keys are text");
            // What was written meanwhile may lose time it should have: tests move time when all is quiet.
            let moved = redis.script(SHORTEN, &[key], &[&*millis]).await;
            moved.expect("a script that runs everywhere");
        }
        page[0].as_str().expect("a cursor").clone_into(&mut cursor);
        if cursor == "0" {
            return;
        }
    }
}

/// Takes time from what the server itself ends: only entries that it alone ends, so that the rest, which has its
/// ends inside, outlives them as it does in earnest.
const SHORTEN: &str = "#!lua
if redis.call('TYPE', KEYS[1]).ok ~= 'string' then
  return 0
end
local left = redis.call('PTTL', KEYS[1])
if left >= 0 and left <= tonumber(ARGV[1]) then
  return redis.call('DEL', KEYS[1])
elseif left > 0 then
  return redis.call('PEXPIRE', KEYS[1], left - ARGV[1])
end
return 0";

/// The in-process home.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "it has no options")]
pub struct Embedded;

#[async_trait]
impl Harness for Embedded {
    async fn home(&self) -> Home {
        let fleet = builder()
            .url("memory:")
            .build()
            .await
            .expect("nothing can fail in memory");
        Home::on_tokio_time(fleet)
    }

    fn runtime(&self) -> tokio::runtime::Runtime {
        paused()
    }
}

/// The in-process home in a file, each in a directory of its own.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "it has no options")]
pub struct EmbeddedFile;

#[async_trait]
impl Harness for EmbeddedFile {
    async fn home(&self) -> Home {
        let directory = tempfile::tempdir().expect("a directory for temporary files");
        let fleet = builder()
            .url(file_url(&directory.path().join("home.redb")))
            .build()
            .await
            .unwrap_or_else(|error| panic!("{error}"));
        Home::on_tokio_time(fleet).in_directory(directory)
    }

    /// Time that is paused does not run ahead of what blocks, and the file is written where that is allowed.
    fn runtime(&self) -> tokio::runtime::Runtime {
        paused()
    }
}

/// The URL of a home in a file.
///
/// # Panics
/// If the path is not UTF-8.
#[must_use]
pub fn file_url(path: &Path) -> String {
    let path = path.to_str().expect("a path that is text");
    let path = path.replace('%', "%25").replace('?', "%3F");
    format!("file:{}", path.replace('#', "%23"))
}

fn paused() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime")
}

/// A real server, started if none is running for the tests; one namespace per home.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "the kind says everything")]
pub struct OnServer(pub ServerKind);

#[async_trait]
impl Harness for OnServer {
    async fn home(&self) -> Home {
        let server = shared(self.0)
            .await
            .unwrap_or_else(|error| panic!("{error}"));
        let clock = TestClock::new();
        let fleet = builder()
            .url(server.url())
            .namespace(namespace())
            .test_clock(clock.clone())
            .build()
            .await
            .unwrap_or_else(|error| panic!("{error}"));
        Home::on_server_time(fleet, clock)
    }

    fn runtime(&self) -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime")
    }
}

fn builder() -> FleetBuilder {
    Fleet::builder()
        .service("a")
        .beacon_interval(BEACON_INTERVAL)
        .presence_lease(PRESENCE_LEASE)
}

/// A namespace nobody else uses: tests share servers.
#[must_use]
pub fn namespace() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    let (process, next) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    format!("test-{process}-{}-{next}", since.as_nanos())
}

/// Runs one clause on a home of `harness`. The suites' macros call it.
pub fn run<F, Fut>(harness: &impl Harness, clause: F)
where
    F: FnOnce(Home) -> Fut,
    Fut: Future<Output = ()>,
{
    harness.runtime().block_on(async {
        let home = harness.home().await;
        let fleet = home.fleet().clone();
        clause(home).await;
        fleet.close().await;
    });
}

/// Waits until `condition` holds.
///
/// # Panics
/// If it does not within [`PATIENCE`].
pub async fn eventually(what: &str, condition: impl AsyncFn() -> bool) {
    let waiting = async {
        while !condition().await {
            // Between two looks, not instead of one: the condition decides.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
        panic!("it never came true: {what}");
    }
}

/// Waits for something that must happen.
///
/// # Panics
/// If it does not within [`PATIENCE`].
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("it never happened: {what}"),
    }
}
