//! Stores under fire: lost replies, replicas that come and go.

#![expect(
    clippy::disallowed_methods,
    reason = "a call beside the test ends with it"
)]

use std::future::IntoFuture;
use std::time::Duration;

use quorate::{Durability, ErrorKind, Fleet, FleetBuilder, Outcome, Store, StoreSpec};
use quorate_testing::harness::{eventually, within};
use quorate_testing::proxy::Proxy;
use quorate_testing::servers::{Server, ServerKind};

const COUNTS: StoreSpec<str, i64> = StoreSpec::new("counts");

fn brisk(url: String) -> FleetBuilder {
    Fleet::builder()
        .url(url)
        .command_timeout(Duration::from_secs(2))
        .retry_delay(Duration::from_millis(50))
        .max_reconnect_delay(Duration::from_millis(100))
}

/// A server, a proxy before it, and a store through that.
async fn behind_a_proxy() -> (Server, Proxy, Fleet, Store<str, i64>) {
    let server = Server::start(ServerKind::Redis).await.unwrap();
    let proxy = Proxy::start(server.addr()).await.unwrap();
    let fleet = brisk(proxy.url()).build().await.unwrap();
    let counts = fleet.store(&COUNTS);
    // Known to the server, so that the reply that is lost is that of the write.
    counts.increment("warm", 1).idempotent().await.unwrap();
    counts.compare_and_delete("warm", &1).await.unwrap();
    (server, proxy, fleet, counts)
}

/// Without an idempotency key nobody can tell, and nothing is done twice.
#[tokio::test(flavor = "multi_thread")]
async fn fault_a_write_with_a_lost_reply_is_unknown_and_happens_once() {
    let (_server, proxy, _fleet, counts) = behind_a_proxy().await;
    counts.set("c", &1).await.unwrap();
    counts.set("d", &1).await.unwrap();
    // Connected again after the one before: otherwise it is the greeting whose reply is lost.
    let cut = || async {
        counts.get("a").await.unwrap();
        proxy.cut_before_reply();
    };
    cut().await;
    let mut errors = vec![counts.increment("a", 5).await.unwrap_err()];
    cut().await;
    errors.push(counts.set_if_absent("b", &1).await.unwrap_err());
    cut().await;
    errors.push(counts.compare_and_set("c", Some(&1), &2).await.unwrap_err());
    cut().await;
    errors.push(counts.compare_and_delete("d", &1).await.unwrap_err());
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::ConnectionLost);
        assert_eq!(error.outcome(), Outcome::Unknown);
    }
    let found = counts.get_many(["a", "b", "c", "d"]).await.unwrap();
    assert_eq!(found, [Some(5), Some(1), Some(2), None]);
}

/// With one, it is repeated, happens once, and is answered as the first time.
#[tokio::test(flavor = "multi_thread")]
async fn fault_an_idempotent_write_with_a_lost_reply_happens_once_and_says_what_it_did() {
    let (_server, proxy, _fleet, counts) = behind_a_proxy().await;
    proxy.cut_before_reply();
    assert_eq!(counts.increment("a", 5).idempotent().await.unwrap(), 5);
    proxy.cut_before_reply();
    assert!(counts.set_if_absent("b", &1).idempotent().await.unwrap());
    proxy.cut_before_reply();
    let compared = counts.compare_and_set("b", Some(&1), &2).idempotent();
    assert!(compared.await.unwrap());
    proxy.cut_before_reply();
    assert!(
        counts
            .compare_and_delete("b", &2)
            .idempotent()
            .await
            .unwrap()
    );
    proxy.cut_before_reply();
    let durable = Durability::replicas(1).within(Duration::from_millis(5));
    let counted = counts.increment("a", 2).idempotent().durable(durable);
    assert_eq!(counted.await.unwrap().value, 7);
    assert_eq!(counts.get_many(["a", "b"]).await.unwrap(), [Some(7), None]);
}

/// What is the same done twice is done again.
#[tokio::test(flavor = "multi_thread")]
async fn fault_a_set_with_a_lost_reply_is_repeated() {
    let (_server, proxy, _fleet, counts) = behind_a_proxy().await;
    proxy.cut_before_reply();
    counts.set("a", &1).await.unwrap();
    proxy.cut_before_reply();
    counts.set_many([("b", &2), ("c", &3)]).await.unwrap();
    proxy.cut_before_reply();
    assert!(counts.expire("a", Duration::from_secs(60)).await.unwrap());
    proxy.cut_before_reply();
    counts.delete("b").await.unwrap();
    proxy.cut_before_reply();
    let found = counts.get_many(["a", "b", "c"]).await.unwrap();
    assert_eq!(found, [Some(1), None, Some(3)]);
}

/// Replicas that have it are counted, one that stands still is not, and nobody else waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn fault_durability_is_what_the_replicas_say() {
    let primary = Server::builder(ServerKind::Redis)
        .arg("--repl-diskless-sync-delay", "0")
        .start()
        .await
        .unwrap();
    let replica = Server::builder(ServerKind::Redis)
        .arg("--replicaof", format!("127.0.0.1 {}", primary.port()))
        .start()
        .await
        .unwrap();
    let fleet = brisk(primary.url()).build().await.unwrap();
    let counts = fleet.store(&COUNTS);
    let soon = Durability::replicas(1).within(Duration::from_millis(50));
    eventually("the replica follows", async || {
        let counted = counts.increment("probe", 1).durable(soon).await;
        counted.unwrap().is_reached()
    })
    .await;
    let asked = Durability::replicas(1).within(Duration::from_secs(10));
    let counted = counts.increment("a", 1).durable(asked).await.unwrap();
    assert_eq!((counted.value, counted.reached.replicas), (1, 1));

    replica.pause().unwrap();
    let waits = counts.increment("a", 1).durable(asked).into_future();
    let waits = tokio::spawn(waits);
    // On connections of their own, others go on; so do they after a durable write that has to wait.
    for _ in 0..100 {
        counts.set("b", &1).await.unwrap();
    }
    assert!(!waits.is_finished(), "the replica stands still");
    replica.resume().unwrap();
    let counted = within("the replica goes on", waits).await.unwrap().unwrap();
    assert_eq!((counted.value, counted.reached.replicas), (2, 1));

    replica.pause().unwrap();
    let counted = counts.increment("a", 1).durable(soon).await.unwrap();
    assert_eq!((counted.value, counted.is_reached()), (3, false));
    replica.resume().unwrap();
}

/// Where the server can, and not where it cannot.
#[tokio::test(flavor = "multi_thread")]
async fn fault_durability_on_disk_is_what_the_server_says() {
    let server = Server::builder(ServerKind::Valkey)
        .arg("--appendonly", "yes")
        .start()
        .await
        .unwrap();
    let fleet = brisk(server.url()).build().await.unwrap();
    let counts = fleet.store(&COUNTS);
    let asked = Durability::on_disk().within(Duration::from_secs(10));
    let counted = counts.increment("a", 1).durable(asked).await.unwrap();
    assert!(counted.reached.fsync && counted.is_reached());
    server.kill();
    server.restart().await.unwrap();
    within("the connection", fleet.ready()).await.unwrap();
    assert_eq!(counts.get("a").await.unwrap(), Some(1));

    let forgetful = Server::builder(ServerKind::Valkey)
        .arg("--appendonly", "no")
        .start()
        .await
        .unwrap();
    let counts = brisk(forgetful.url()).build().await.unwrap().store(&COUNTS);
    let counted = counts.increment("a", 1).durable(asked).await.unwrap();
    assert_eq!((counted.value, counted.is_reached()), (1, false));

    let server = Server::start(ServerKind::Redis).await.unwrap();
    let fleet = brisk(server.url()).build().await.unwrap();
    if fleet.server().unwrap().supports("WAITAOF") {
        return;
    }
    let counts = fleet.store(&COUNTS);
    let error = counts.increment("a", 1).durable(asked).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_eq!(error.outcome(), Outcome::NotApplied);
    assert_eq!(counts.get("a").await.unwrap(), None);
}
