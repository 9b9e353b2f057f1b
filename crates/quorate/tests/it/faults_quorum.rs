//! A quorum under fire: servers that are killed, stopped or cut off, that start again with nothing, and lost replies.

use std::future::IntoFuture;
use std::time::Duration;

use futures_util::future::join_all;
use quorate::lock::{LockKey, LockKind};
use quorate::{Acquire, CallOptions, Fleet, FleetBuilder, Key, Lock, LockGuard, QuorumLocks};
use quorate_testing::harness::{eventually, within};
use quorate_testing::proxy::{Direction, Proxy};
use quorate_testing::servers::{Server, ServerKind};

/// Long enough not to end by itself while a test runs.
const LONG: Duration = Duration::from_secs(50);
const SHORT: Duration = Duration::from_secs(1);

/// Three servers, each behind a proxy.
struct Servers {
    servers: Vec<Server>,
    proxies: Vec<Proxy>,
}

impl Servers {
    async fn start() -> Self {
        let kinds = [ServerKind::Redis, ServerKind::Valkey, ServerKind::Redis];
        let servers = join_all(kinds.map(Server::start)).await;
        let servers: Vec<_> = servers.into_iter().map(Result::unwrap).collect();
        let proxies = join_all(servers.iter().map(|server| Proxy::start(server.addr()))).await;
        Self {
            servers,
            proxies: proxies.into_iter().map(Result::unwrap).collect(),
        }
    }

    async fn fleets(&self) -> Vec<Fleet> {
        let fleets = join_all(self.proxies.iter().map(|proxy| brisk(proxy.url()).build())).await;
        fleets.into_iter().map(Result::unwrap).collect()
    }

    /// A quorum whose servers are as new as the test.
    async fn quorum(&self) -> QuorumLocks {
        let quorum = QuorumLocks::over(self.fleets().await).unwrap();
        quorum.trust_new_servers()
    }

    /// Whether each server has given its vote for the lock to anybody.
    async fn votes(&self) -> Vec<bool> {
        let votes = self.servers.iter().map(|server| async {
            let fleet = brisk(server.url()).build().await.unwrap();
            let key = LockKey::new(
                LockKind::Mutex,
                Key::new(fleet.namespace(), "report").unwrap(),
            );
            let options = CallOptions::until(tokio::time::Instant::now() + LONG);
            let seat = fleet.vote_port().look(&key, options).await.unwrap();
            seat.is_some()
        });
        join_all(votes).await
    }

    /// As if it were not there.
    async fn cut_off(&self, server: usize) {
        self.proxies[server].refuse().await;
        self.proxies[server].cut().await;
    }

    async fn start_again(&self, server: usize) {
        self.servers[server].kill();
        self.servers[server].restart().await.unwrap();
    }
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

async fn acquired(lock: &Lock, lease: Duration) -> LockGuard {
    let asked = lock.try_acquire().lease(lease).await.unwrap();
    asked.guard().expect("nobody has it")
}

/// Takes the lock, renews it, and gives it back. It may have to wait: a server that could not be told before has the vote of the
/// turn before that, until it is told again.
async fn works(lock: &Lock) {
    let acquired = within("its turn", lock.acquire().lease(LONG).into_future()).await;
    let guard = acquired.unwrap().guard().expect("it waits");
    assert!(guard.extend(LONG).await.unwrap());
    assert!(lock.is_locked().await.unwrap());
    assert!(guard.release().await.unwrap());
}

/// Whatever has happened to it.
#[tokio::test(flavor = "multi_thread")]
async fn fault_a_quorum_does_without_a_minority() {
    let servers = Servers::start().await;
    let lock = servers.quorum().await.lock("report");
    works(&lock).await;
    servers.proxies[1].swallow(Direction::Both);
    works(&lock).await;
    servers.proxies[1].heal().await.unwrap();
    servers.cut_off(1).await;
    works(&lock).await;
    servers.proxies[1].heal().await.unwrap();
    servers.servers[0].pause().unwrap();
    works(&lock).await;
    servers.servers[0].resume().unwrap();
    servers.servers[2].kill();
    works(&lock).await;
}

/// Nor does anybody go on believing to have it.
#[tokio::test(flavor = "multi_thread")]
async fn fault_without_a_majority_nobody_has_the_lock_of_a_quorum() {
    let servers = Servers::start().await;
    let lock = servers.quorum().await.lock("report");
    let guard = acquired(&lock, SHORT).await;
    servers.servers[0].pause().unwrap();
    servers.servers[1].kill();
    within("the loss", guard.lost()).await;
    drop(guard);
    for asked in [lock.try_acquire(), lock.acquire().wait(SHORT)] {
        let error = within("an answer", asked.into_future()).await.unwrap_err();
        assert!(error.is_retryable());
        let says = "1 of 3 servers answered, and 2 have to";
        assert!(error.to_string().contains(says), "{error}");
    }
    let error = lock.is_locked().await.unwrap_err();
    assert!(
        error.to_string().contains("1 of 3 servers answered"),
        "{error}"
    );
    servers.servers[0].resume().unwrap();
    let next = within("a majority", async {
        loop {
            if let Ok(Acquire::Acquired(guard)) = lock.acquire().await {
                return guard;
            }
        }
    });
    assert!(next.await.release().await.unwrap());
}

/// The rule is what keeps the second one out: without it, there are two.
#[tokio::test(flavor = "multi_thread")]
async fn fault_a_server_that_forgot_lets_no_second_holder_into_a_quorum() {
    let servers = Servers::start().await;
    let longest = Duration::from_secs(6);
    let quorum = async || servers.quorum().await.longest_lease(longest).unwrap();
    let first = quorum().await.lock("report");
    let asked = first.try_acquire().lease(longest).no_renewal();
    let guard = asked.await.unwrap().guard().unwrap();
    let began = tokio::time::Instant::now();
    eventually("all have voted", async || {
        servers.votes().await == [true; 3]
    })
    .await;
    // As if the third had not been asked in time: a majority is enough.
    servers.servers[2].command(&["FLUSHALL"]).await.unwrap();
    servers.start_again(0).await;
    assert_eq!(servers.votes().await, [false, true, false]);

    let careful = QuorumLocks::over(servers.fleets().await).unwrap();
    let careful = careful.longest_lease(longest).unwrap().lock("report");
    while !guard.is_lost() {
        // One has it, one does not vote, and one is not enough.
        let asked = careful.try_acquire().lease(SHORT).await;
        assert!(!asked.is_ok_and(|asked| asked.is_acquired() && !guard.is_lost()));
        if began.elapsed() < longest / 3 {
            continue;
        }
        let reckless = quorum().await.lock("report");
        let second = reckless.try_acquire().lease(SHORT).await.unwrap();
        if !guard.is_lost() {
            let second = second
                .guard()
                .expect("two votes, one of which was given before");
            assert!(
                second.token() > guard.token(),
                "and only fencing tells them apart"
            );
            assert!(second.release().await.unwrap());
        }
        guard.lost().await;
    }
    let next = within("their votes", careful.acquire().lease(SHORT).into_future()).await;
    assert!(next.unwrap().guard().unwrap().token() > guard.token());
}

/// Who got votes without hearing of it gives them back all the same.
#[tokio::test(flavor = "multi_thread")]
async fn fault_votes_whose_replies_are_lost_are_given_back() {
    let servers = Servers::start().await;
    let lock = servers.quorum().await.lock("report");
    // Scripts that a server does not know yet are answered by an error first.
    works(&lock).await;
    for lost in [vec![0], vec![0, 1], vec![0, 1, 2]] {
        for server in &lost {
            servers.proxies[*server].drop_next_replies(1);
        }
        let guard = within("its turn", async {
            loop {
                match lock.acquire().lease(SHORT).await {
                    Ok(acquired) => return acquired.guard().unwrap(),
                    Err(error) => assert!(error.is_retryable(), "{error}"),
                }
            }
        });
        assert!(guard.await.release().await.unwrap());
        for proxy in &servers.proxies {
            proxy.heal().await.unwrap();
        }
        eventually("every vote is back", async || {
            servers.votes().await == [false; 3]
        })
        .await;
    }
}

/// As soon as it answers again, and long before the lease would have ended there.
#[tokio::test(flavor = "multi_thread")]
async fn fault_a_quorum_is_given_back_to_servers_that_did_not_answer() {
    let servers = Servers::start().await;
    let lock = servers.quorum().await.lock("report");
    let guard = acquired(&lock, LONG).await;
    eventually("all have voted", async || {
        servers.votes().await == [true; 3]
    })
    .await;
    servers.cut_off(0).await;
    assert!(guard.release().await.unwrap());
    assert_eq!(servers.votes().await, [true, false, false]);
    servers.proxies[0].heal().await.unwrap();
    eventually("it is back", async || servers.votes().await == [false; 3]).await;
}

/// With one server gone, two contenders that have a vote each both give it back, and wait for as long as chance says.
#[tokio::test(flavor = "multi_thread")]
async fn fault_a_split_vote_is_no_standstill() {
    let servers = Servers::start().await;
    servers.servers[2].pause().unwrap();
    let contenders = (0..3).map(|_| async {
        let fleets = servers
            .proxies
            .iter()
            .map(|proxy| brisk(proxy.url()).lazy(true).build());
        let fleets = join_all(fleets).await.into_iter().map(Result::unwrap);
        let quorum = QuorumLocks::over(fleets).unwrap().trust_new_servers();
        let lock = quorum.lock("report");
        let mut turns = 0;
        while turns < 2 {
            match lock.acquire().lease(LONG).await {
                Ok(acquired) => {
                    let guard = acquired.guard().unwrap();
                    assert!(guard.release().await.unwrap());
                    turns += 1;
                }
                Err(error) => assert!(error.is_retryable(), "{error}"),
            }
        }
    });
    within("their turns", join_all(contenders)).await;
}

/// Each is given the vote again that it lost, as soon as it votes.
#[tokio::test(flavor = "multi_thread")]
async fn fault_a_lock_outlives_the_servers_of_its_quorum_one_by_one() {
    let servers = Servers::start().await;
    // So long that a machine which stands still for a moment does not end it.
    let longest = Duration::from_secs(3);
    let quorum = QuorumLocks::over(servers.fleets().await).unwrap();
    let lock = quorum.longest_lease(longest).unwrap().lock("report");
    let guard = within("their votes", lock.acquire().lease(longest).into_future()).await;
    let guard = guard.unwrap().guard().unwrap();
    let other = QuorumLocks::over(servers.fleets().await).unwrap();
    let other = other.longest_lease(longest).unwrap().lock("report");
    for server in 0..3 {
        servers.start_again(server).await;
        eventually("it votes for the holder again", async || {
            servers.votes().await == [true; 3]
        })
        .await;
        assert!(!guard.is_lost());
        let held = other.try_acquire().lease(longest).await.unwrap();
        assert!(!held.is_acquired());
    }
    let holder = other.holder().await.unwrap().unwrap();
    assert_eq!(holder.token, guard.token(), "it was brought along");
    let token = guard.token();
    assert!(guard.release().await.unwrap());
    let next = other.try_acquire().lease(longest).await.unwrap();
    assert!(next.guard().unwrap().token() > token);
}
