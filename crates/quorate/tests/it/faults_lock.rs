//! Locks under fire: holders and waiters that are stopped, cut off or killed, servers that start again. What the lock
//! protects refuses old tokens, and from what it took it can be seen who believed to hold the lock.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::future::IntoFuture;
use std::process::{Child, Command};
use std::time::Duration;

use quorate::{Fleet, FleetBuilder, TestClock};
use quorate_testing::harness::{eventually, within};
use quorate_testing::proxy::{Direction, Proxy};
use quorate_testing::servers::{Server, ServerKind};

const NAME: &str = "faults_lock::fault_a_fenced_resource_never_takes_from_two_holders";
/// In a process that works under the lock: where that is, where the resource is, and who it is.
const LOCKS: &str = "QUORATE_TEST_LOCKS_AT";
const RESOURCE: &str = "QUORATE_TEST_RESOURCE_AT";
const WORKER: &str = "QUORATE_TEST_WORKER";
const WORKERS: usize = 3;

const HISTORY: &str = "resource:history";
const GUARDED: &str = "resource:guarded";

/// The resource: takes nothing with a smaller token than the greatest it has seen, and remembers what it took.
const WRITE: &str = "#!lua
local greatest = tonumber(redis.call('HGET', KEYS[1], 'greatest') or '0')
if tonumber(ARGV[1]) < greatest then
  return redis.call('HINCRBY', KEYS[1], 'refused', 1)
end
redis.call('HSET', KEYS[1], 'greatest', ARGV[1])
return redis.call('RPUSH', KEYS[2], ARGV[1] .. ' ' .. ARGV[2])";

async fn server() -> Server {
    Server::start(ServerKind::Redis).await.unwrap()
}

/// Quick to notice and quick to come back, so that tests take no longer than they must.
fn brisk(url: String) -> FleetBuilder {
    Fleet::builder()
        .url(url)
        .command_timeout(Duration::from_millis(500))
        .retry_delay(Duration::from_millis(50))
        .max_reconnect_delay(Duration::from_millis(100))
        .ping_interval(Duration::from_millis(500))
}

/// Works under the lock until it is killed, and looks at nothing but its token.
async fn work_for_ever(locks: String, resource: String, worker: &str) {
    let locks = brisk(locks).build().await.unwrap();
    let resource = brisk(resource).build().await.unwrap();
    let (lock, resource) = (locks.lock("report"), resource.redis().unwrap());
    loop {
        let asked = lock.acquire().lease(Duration::from_millis(600)).await;
        let Some(guard) = asked.ok().and_then(quorate::Acquire::guard) else {
            // There may be no server: it is asked again as soon as there is.
            let _ = locks.ready().await;
            continue;
        };
        let token = guard.token().to_string();
        for _ in 0..5 {
            let arguments = [&*token, worker];
            let written = resource.script(WRITE, &[GUARDED, HISTORY], &arguments);
            // Who was stopped meanwhile is out of time; what was taken stands in the history.
            let _ = written.await;
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
        // An error means that its lease has to end.
        let _ = guard.release().await;
    }
}

struct Worker(Child);

impl Worker {
    fn begin(locks: &str, resource: &str, number: usize) -> Self {
        let child = Command::new(env::current_exe().unwrap())
            .args(["--exact", NAME])
            .env(LOCKS, locks)
            .env(RESOURCE, resource)
            .env(WORKER, number.to_string())
            .spawn();
        Self(child.unwrap())
    }

    fn signal(&self, signal: &str) {
        let process = self.0.id().to_string();
        let sent = Command::new("kill").args([signal, &process]).status();
        assert!(sent.unwrap().success());
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Fails only if it has ended, which it never does by itself. It works on a stopped process too.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the resource took: the token, and whose it was.
async fn history(resource: &Fleet) -> Vec<(u64, usize)> {
    let command = ["LRANGE", HISTORY, "0", "-1"];
    let entries = resource.redis().unwrap().command(&command).await.unwrap();
    let entries = entries.into_array().unwrap();
    let entries = entries.iter().map(|entry| {
        let (token, worker) = entry.as_str().unwrap().split_once(' ').unwrap();
        (token.parse().unwrap(), worker.parse().unwrap())
    });
    entries.collect()
}

async fn refused(resource: &Fleet) -> u64 {
    let command = ["HGET", GUARDED, "refused"];
    let refused = resource.redis().unwrap().command(&command).await.unwrap();
    refused.as_str().map_or(0, |text| text.parse().unwrap())
}

/// Waits until so many more have held the lock.
async fn progress(resource: &Fleet, holders: usize) {
    let tokens = async || {
        let history = history(resource).await;
        let tokens: BTreeSet<_> = history.iter().map(|(token, _)| *token).collect();
        tokens.len()
    };
    let before = tokens().await;
    eventually("others hold the lock", async || {
        tokens().await >= before + holders
    })
    .await;
}

/// Tokens only grow, and nobody has another's.
fn check(history: &[(u64, usize)]) {
    let mut owners = BTreeMap::new();
    for (token, worker) in history {
        let owner = owners.entry(token).or_insert(worker);
        assert_eq!(owner, &worker, "two held {token}");
    }
    assert!(history.is_sorted_by_key(|(token, _)| *token), "{history:?}");
}

#[test]
fn fault_a_fenced_resource_never_takes_from_two_holders() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if let (Ok(locks), Ok(resource)) = (env::var(LOCKS), env::var(RESOURCE)) {
        let worker = env::var(WORKER).unwrap();
        runtime.block_on(work_for_ever(locks, resource, &worker));
    }
    runtime.block_on(async {
        let (locks, resource) = (server().await, server().await);
        let mut proxies = Vec::new();
        for _ in 0..WORKERS {
            proxies.push(Proxy::start(locks.addr()).await.unwrap());
        }
        let numbered = proxies.iter().enumerate();
        let workers =
            numbered.map(|(number, proxy)| Worker::begin(&proxy.url(), &resource.url(), number));
        let workers: Vec<_> = workers.collect();
        let seen = brisk(resource.url()).build().await.unwrap();
        progress(&seen, 10).await;
        // Stopped in the middle of its work, whoever holds it; until one woke up with an old token.
        let mut rounds = 0;
        while rounds < WORKERS || refused(&seen).await == 0 {
            let (_, holder) = *history(&seen).await.last().unwrap();
            workers[holder].signal("-STOP");
            progress(&seen, 4).await;
            workers[holder].signal("-CONT");
            progress(&seen, 4).await;
            rounds += 1;
        }
        for proxy in &proxies {
            proxy.swallow(Direction::Both);
            progress(&seen, 4).await;
            proxy.heal().await.unwrap();
            proxy.cut().await;
            proxy.heal().await.unwrap();
            progress(&seen, 4).await;
        }
        // All that the server knew is gone with it: only its clock lets the tokens grow.
        for _ in 0..2 {
            locks.kill();
            locks.restart().await.unwrap();
            progress(&seen, 10).await;
        }
        drop(workers);
        let history = history(&seen).await;
        check(&history);
        let who: BTreeSet<_> = history.iter().map(|(_, worker)| *worker).collect();
        assert_eq!(who.len(), WORKERS, "everybody had a turn");
    });
}

/// A waiter that is stopped while the lock is granted to it wakes up with old news, and does not believe them.
#[tokio::test(flavor = "multi_thread")]
async fn fault_a_waiter_that_was_stopped_does_not_believe_old_news() {
    let server = server().await;
    let fleet = brisk(server.url()).build().await.unwrap();
    let lock = fleet.lock("report");
    let first = lock.try_acquire().await.unwrap().guard().unwrap();
    let (listens, listening) = tokio::sync::oneshot::channel::<()>();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let (go_on, paused) = std::sync::mpsc::channel::<()>();
    let url = server.url();
    let waiter = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let fleet = brisk(url).build().await.unwrap();
            let stops = async {
                eventually("it listens", async || !fleet.subscriptions().is_empty()).await;
                listens.send(()).unwrap();
                stopped.await.unwrap();
                // Nothing of this runtime runs meanwhile: it asks for nothing, and hears nothing.
                paused.recv().unwrap();
            };
            let lock = fleet.lock("report");
            let acquire = lock.acquire().lease(Duration::from_secs(60)).into_future();
            let (acquired, ()) = tokio::join!(acquire, stops);
            let guard = acquired.unwrap().guard().unwrap();
            let token = guard.token();
            assert!(guard.release().await.unwrap());
            fleet.close().await;
            token
        })
    });
    let waiting = async |number: u64| {
        eventually("they wait", async || {
            let status = lock.status().await.unwrap();
            status.waiting == number && status.waiters.len() as u64 == number
        })
        .await;
    };
    waiting(1).await;
    within("it listens", listening).await.unwrap();
    stop.send(()).unwrap();
    let old = first.token();
    assert!(first.release().await.unwrap());
    let granted = lock.holder().await.unwrap().expect("it was handed over");
    assert!(granted.token > old);
    let next = lock.acquire().lease(Duration::from_secs(60));
    let next = within("the end of the grant", next.into_future()).await;
    let next = next.unwrap().guard().unwrap();
    assert!(next.token() > granted.token);
    go_on.send(()).unwrap();
    waiting(1).await;
    assert!(!waiter.is_finished() && !next.is_lost());
    let token = next.token();
    assert!(next.release().await.unwrap());
    let last = within("its turn", tokio::task::spawn_blocking(|| waiter.join())).await;
    assert!(last.unwrap().unwrap() > token);
}

/// Whatever is said while it cannot hear, a waiter has its turn soon after.
#[tokio::test(flavor = "multi_thread")]
async fn fault_a_waiter_that_is_cut_off_has_its_turn_afterwards() {
    let server = server().await;
    let proxy = Proxy::start(server.addr()).await.unwrap();
    let cut_off = brisk(proxy.url()).build().await.unwrap();
    let fleet = brisk(server.url()).build().await.unwrap();
    let lock = fleet.lock("report");
    for _ in 0..2 {
        let guard = lock.try_acquire().await.unwrap().guard().unwrap();
        let waiter = cut_off.lock("report");
        let cutting = async {
            eventually("it waits", async || {
                lock.status().await.unwrap().waiting == 1
            })
            .await;
            // Connections go; what is announced meanwhile is heard by nobody.
            proxy.refuse().await;
            proxy.cut().await;
            assert!(guard.release().await.unwrap());
            proxy.heal().await.unwrap();
        };
        let acquired = within("its turn", waiter.acquire().retries_until());
        let (acquired, ()) = tokio::join!(acquired, cutting);
        assert!(acquired.release().await.unwrap());
    }
}

/// Nobody who waits is forgotten by a server that forgot everything.
#[tokio::test(flavor = "multi_thread")]
async fn fault_waiters_outlive_a_server() {
    let server = server().await;
    let fleets = [
        brisk(server.url()).build().await.unwrap(),
        brisk(server.url()).build().await.unwrap(),
    ];
    let holder = brisk(server.url()).build().await.unwrap();
    let lock = holder.lock("report");
    let long = Duration::from_secs(3600);
    let guard = lock.try_acquire().lease(long).await.unwrap();
    let guard = guard.guard().unwrap();
    let turns = fleets.iter().map(|fleet| async {
        let guard = fleet.lock("report").acquire().retries_until().await;
        let token = guard.token();
        assert!(guard.release().await.unwrap());
        token
    });
    let restarting = async {
        eventually("both wait", async || {
            lock.status().await.unwrap().waiting == 2
        })
        .await;
        server.kill();
        server.restart().await.unwrap();
    };
    let turns = within("every turn", futures_util::future::join_all(turns));
    let (tokens, ()) = tokio::join!(turns, restarting);
    assert!(tokens.iter().all(|token| *token > guard.token()));
    // Its lease would have gone on for an hour.
    within("the loss", guard.lost()).await;
}

/// By a day, while somebody who is gone holds it: for no longer than its lease.
#[tokio::test]
async fn fault_a_clock_that_is_set_back_keeps_nobody_out() {
    let (minute, day) = (Duration::from_secs(60), Duration::from_secs(24 * 3600));
    let server = server().await;
    let clock = TestClock::new();
    let builder = brisk(server.url()).test_clock(clock.clone());
    let fleet = builder.build().await.unwrap();
    let lock = fleet.lock("report");
    clock.advance(day);
    let gone = lock.try_acquire().lease(minute).no_renewal().await.unwrap();
    let gone = gone.guard().unwrap().detach().await.unwrap();
    clock.set_back(day);
    assert!(lock.remaining().await.unwrap().unwrap() <= minute);
    match lock.try_acquire().await.unwrap() {
        quorate::Acquire::Held { remaining, .. } => assert!(remaining <= minute),
        other => panic!("{other:?}"),
    }
    clock.advance(minute);
    let next = lock.try_acquire().await.unwrap().guard().unwrap();
    assert!(next.token() > gone.token);
    assert!(!lock.release(gone.id).await.unwrap());
}

/// Asks again when there was no server to ask.
trait Persistent {
    async fn retries_until(self) -> quorate::LockGuard;
}

impl Persistent for quorate::lock::AcquireLock {
    async fn retries_until(self) -> quorate::LockGuard {
        loop {
            match self.clone().await {
                Ok(acquired) => return acquired.guard().expect("it is waited for"),
                Err(error) => assert!(error.is_retryable(), "{error}"),
            }
        }
    }
}
