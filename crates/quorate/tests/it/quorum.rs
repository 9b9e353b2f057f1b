//! Locks of a quorum, on servers that work: in this process, and three real ones.

use std::future::IntoFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use quorate::lock::MOST_SERVERS;
use quorate::{Acquire, ErrorKind, Fleet, FleetBuilder, Lock, LockGuard, QuorumLocks, WithLock};
use quorate_testing::harness::{eventually, namespace, within};
use quorate_testing::servers::{Server, ServerKind, shared};

const LONG: Duration = Duration::from_secs(20);
/// Short enough to wait for.
const SHORT: Duration = Duration::from_millis(300);

/// What fails is not asked again: tests see it.
fn once(url: &str) -> FleetBuilder {
    Fleet::builder().url(url).retries(1_u32)
}

/// Three homes, of which services have instances.
enum Homes {
    Here(Vec<Fleet>),
    There(Vec<Server>),
}

impl Homes {
    async fn here() -> Self {
        let fleets = (0..3).map(|_| once("memory:").build());
        Self::Here(
            join_all(fleets)
                .await
                .into_iter()
                .map(Result::unwrap)
                .collect(),
        )
    }

    async fn there() -> Self {
        let kinds = [ServerKind::Redis, ServerKind::Valkey, ServerKind::Redis];
        let servers = join_all(kinds.map(Server::start)).await;
        Self::There(servers.into_iter().map(Result::unwrap).collect())
    }

    /// A fleet of each.
    async fn fleets(&self, service: &str) -> Vec<Fleet> {
        match self {
            Self::Here(fleets) => {
                let fleets = fleets.iter().map(|fleet| fleet.instance(service));
                join_all(fleets)
                    .await
                    .into_iter()
                    .map(Result::unwrap)
                    .collect()
            }
            Self::There(servers) => {
                let fleets = servers.iter().map(|server| {
                    let builder = once(&server.url()).service(service);
                    builder.build()
                });
                join_all(fleets)
                    .await
                    .into_iter()
                    .map(Result::unwrap)
                    .collect()
            }
        }
    }

    /// The quorum of a service, whose servers are as new as the test.
    async fn quorum(&self, service: &str) -> QuorumLocks {
        let quorum = QuorumLocks::over(self.fleets(service).await).unwrap();
        quorum.trust_new_servers()
    }
}

/// Makes a test of each clause, in this process and on servers.
macro_rules! on_quorums {
    ($($clause:ident),* $(,)?) => {
        mod here {
            $(
                #[tokio::test(start_paused = true)]
                async fn $clause() {
                    super::$clause(super::Homes::here().await).await;
                }
            )*
        }

        mod there {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $clause() {
                    super::$clause(super::Homes::there().await).await;
                }
            )*
        }
    };
}

on_quorums![
    a_lock_of_a_quorum_is_held_given_back_and_held_again,
    contenders_for_a_quorum_exclude_each_other,
    a_guard_of_a_quorum_renews_its_lease,
    a_lease_of_a_quorum_ends_by_itself,
    a_lease_of_a_quorum_can_be_left_to_others,
    a_dropped_guard_of_a_quorum_releases,
    who_holds_a_quorum_can_be_seen,
    what_is_taken_away_from_a_quorum_is_lost,
    servers_of_a_quorum_do_not_vote_when_they_have_just_started,
    a_server_that_is_there_twice_is_refused,
    what_a_quorum_cannot_do_is_refused,
];

async fn acquired(lock: &Lock) -> LockGuard {
    let acquired = lock.try_acquire().lease(LONG).await.unwrap();
    acquired.guard().expect("nobody has it")
}

/// With growing tokens, whoever of them it is.
async fn a_lock_of_a_quorum_is_held_given_back_and_held_again(homes: Homes) {
    let (a, b) = (homes.quorum("a").await, homes.quorum("b").await);
    let mut last = None;
    for lock in [a.lock("report"), b.lock("report"), a.lock("report")] {
        let guard = acquired(&lock).await;
        assert!(Some(guard.token()) > last);
        last = Some(guard.token());
        assert!(guard.remaining() <= LONG && guard.remaining() > LONG / 2);
        for other in [&a, &b] {
            match other.lock("report").try_acquire().await.unwrap() {
                Acquire::Held { remaining, .. } => {
                    assert!(
                        remaining > LONG / 2 && remaining < LONG * 2,
                        "{remaining:?}"
                    );
                }
                acquired => panic!("{acquired:?}"),
            }
        }
        assert!(!guard.is_lost());
        let other = acquired(&b.lock("another")).await;
        assert!(other.release().await.unwrap());
        assert!(guard.release().await.unwrap());
    }
}

/// Each has its turn, though nobody stands in a queue.
async fn contenders_for_a_quorum_exclude_each_other(homes: Homes) {
    let (inside, last) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let contenders = (0..6).map(|nth| {
        let (inside, last, homes) = (inside.clone(), last.clone(), &homes);
        async move {
            let lock = homes.quorum(&format!("service-{nth}")).await.lock("report");
            for _ in 0..3 {
                let guard = lock.acquire().lease(LONG).await.unwrap().guard().unwrap();
                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                assert!(last.swap(guard.token().get(), Ordering::SeqCst) < guard.token().get());
                tokio::time::sleep(Duration::from_millis(2)).await;
                assert_eq!(inside.fetch_sub(1, Ordering::SeqCst), 1);
                assert!(guard.release().await.unwrap());
            }
        }
    });
    within("their turns", join_all(contenders)).await;
}

/// As long as it is held.
async fn a_guard_of_a_quorum_renews_its_lease(homes: Homes) {
    let (a, b) = (homes.quorum("a").await, homes.quorum("b").await);
    let acquired = a.lock("report").acquire().lease(SHORT).await.unwrap();
    let guard = acquired.guard().unwrap();
    let waits = b.lock("report").acquire().wait(SHORT * 5).await.unwrap();
    assert!(!waits.is_acquired());
    assert!(!guard.is_lost());
    assert!(guard.release().await.unwrap());
}

/// By the clocks of the servers for others, and by its own for who has it.
async fn a_lease_of_a_quorum_ends_by_itself(homes: Homes) {
    let (a, b) = (homes.quorum("a").await, homes.quorum("b").await);
    let ask = a.lock("report").try_acquire().lease(SHORT).no_renewal();
    let guard = ask.await.unwrap().guard().unwrap();
    let waits = b.lock("report");
    let waits = within("its end", waits.acquire().into_future());
    let (next, ()) = tokio::join!(waits, async {
        guard.lost().await;
        assert_eq!(guard.remaining(), Duration::ZERO);
    });
    let next = next.unwrap().guard().unwrap();
    assert!(next.token() > guard.token());
    assert!(!guard.release().await.unwrap(), "it is another's");
    assert!(!next.is_lost());
}

/// By its id, from another process.
async fn a_lease_of_a_quorum_can_be_left_to_others(homes: Homes) {
    let (a, b) = (homes.quorum("a").await, homes.quorum("b").await);
    let lease = acquired(&a.lock("report")).await.detach().await.unwrap();
    let lock = b.lock("report");
    assert!(lock.extend(lease.id, LONG).await.unwrap());
    assert!(!lock.extend(quorate::LeaseId::random(), LONG).await.unwrap());
    assert!(!lock.release(quorate::LeaseId::random()).await.unwrap());
    for _ in 0..2 {
        assert!(lock.release(lease.id).await.unwrap());
    }
    assert!(!lock.extend(lease.id, LONG).await.unwrap());
    assert!(acquired(&lock).await.token() > lease.token);
}

/// In the background; and so does work that is done under it.
async fn a_dropped_guard_of_a_quorum_releases(homes: Homes) {
    let lock = homes.quorum("a").await.lock("report");
    drop(acquired(&lock).await);
    eventually("it is free", async || !lock.is_locked().await.unwrap()).await;
    let worked = lock
        .acquire()
        .lease(LONG)
        .with(async |lease| lease.is_lost());
    assert_eq!(worked.await.unwrap(), WithLock::Done(false));
    assert!(!lock.is_locked().await.unwrap());
}

/// By whoever has its servers.
async fn who_holds_a_quorum_can_be_seen(homes: Homes) {
    let (a, b) = (homes.quorum("a").await, homes.quorum("b").await);
    assert!(b.lock("report").holder().await.unwrap().is_none());
    let guard = acquired(&a.lock("report")).await;
    let holder = b.lock("report").holder().await.unwrap().unwrap();
    assert_eq!((holder.token, &*holder.owner), (guard.token(), "a"));
    assert!(holder.remaining > LONG / 2);
    assert!(guard.release().await.unwrap());
    assert_eq!(b.lock("report").remaining().await.unwrap(), None);
}

/// Its guard learns of it when it renews, and does not take it back.
async fn what_is_taken_away_from_a_quorum_is_lost(homes: Homes) {
    let (a, b) = (homes.quorum("a").await, homes.quorum("b").await);
    let acquired = a.lock("report").acquire().lease(SHORT).await.unwrap();
    let guard = acquired.guard().unwrap();
    let lock = b.lock("report");
    let other = quorate::FencingToken::new(guard.token().get() + 1);
    assert!(!lock.force_release_token(other).await.unwrap());
    assert_eq!(lock.force_release().await.unwrap(), [guard.token()]);
    within("the loss", guard.lost()).await;
    let next = lock.try_acquire().lease(LONG).await.unwrap();
    assert!(next.guard().unwrap().token() > guard.token());
}

/// They may have forgotten whom they gave their votes to.
async fn servers_of_a_quorum_do_not_vote_when_they_have_just_started(homes: Homes) {
    let quorum = QuorumLocks::over(homes.fleets("a").await).unwrap();
    let of = |longest| {
        quorum
            .clone()
            .longest_lease(longest)
            .unwrap()
            .lock("report")
    };
    let lock = of(Duration::from_secs(24 * 3600));
    for ask in [lock.try_acquire(), lock.acquire().wait(SHORT)] {
        let error = ask.lease(SHORT).await.unwrap_err();
        assert!(error.is_retryable());
        let says = "servers started too short a time ago to vote";
        assert!(error.to_string().contains(says), "{error}");
    }
    let lock = of(Duration::from_secs(2));
    let acquired = lock.acquire().lease(SHORT);
    let acquired = within("their votes", acquired.into_future()).await;
    assert!(acquired.unwrap().is_acquired());
}

/// Two votes of one server are one.
async fn a_server_that_is_there_twice_is_refused(homes: Homes) {
    let fleets = homes.fleets("a").await;
    let twice = [fleets[0].clone(), fleets[1].clone(), fleets[0].clone()];
    let quorum = QuorumLocks::over(twice).unwrap().trust_new_servers();
    let lock = quorum.lock("report");
    // A majority may answer before the one that is there twice has.
    let error = loop {
        match lock.try_acquire().await {
            Ok(acquired) => drop(acquired),
            Err(error) => break error,
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    };
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(
        error.to_string().contains("two of them are the same"),
        "{error}"
    );
    let quorum = QuorumLocks::over(fleets).unwrap().trust_new_servers();
    let lock = quorum.lock("report");
    eventually("the votes are back", async || {
        let acquired = lock.try_acquire().await.unwrap();
        acquired.is_acquired()
    })
    .await;
}

/// Before anything is asked.
async fn what_a_quorum_cannot_do_is_refused(homes: Homes) {
    let fleets = homes.fleets("a").await;
    let refused = |fleets: Vec<Fleet>| QuorumLocks::over(fleets).unwrap_err().to_string();
    assert!(refused(Vec::new()).contains("servers must be at least 1"));
    let many = vec![fleets[0].clone(); MOST_SERVERS + 1];
    assert!(refused(many).contains("servers must be at most 9"));
    let quorum = QuorumLocks::over(fleets).unwrap().trust_new_servers();
    for longest in [Duration::ZERO, Duration::from_secs(31 * 24 * 3600)] {
        let error = quorum.clone().longest_lease(longest).unwrap_err();
        assert!(
            error.to_string().contains("longest_lease must be"),
            "{error}"
        );
    }
    let lock = quorum.lock("report");
    let long = lock.try_acquire().lease(Duration::from_secs(61)).await;
    let error = long.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(
        error
            .to_string()
            .contains("longest lease of the quorum, 60s"),
        "{error}"
    );
    let guard = acquired(&lock).await;
    let error = guard.extend(Duration::from_secs(61)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(!guard.is_lost());
    let error = lock.reentrant("request 7").try_acquire().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let error = quorum.lock("report").watch().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(quorum.lock("").try_acquire().await.is_err());
}

/// What is known in this process alone is no vote for others.
#[tokio::test]
async fn a_quorum_is_of_servers_or_of_homes_in_this_process() {
    let server = shared(ServerKind::Redis).await.unwrap();
    let builder = Fleet::builder().url(server.url()).namespace(namespace());
    let servers = [builder.build().await.unwrap(), Fleet::embedded()];
    let error = QuorumLocks::over(servers).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("must all be servers"), "{error}");
}
