//! Connecting: configurations, sharing, two targets, hooks, health.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use quorate::{ConnectionState, ErrorKind, Fleet, FleetConfig, Outcome, Secret};
use quorate_testing::harness::{PATIENCE, eventually, namespace, within};
use quorate_testing::proxy::Proxy;
use quorate_testing::servers::{Server, ServerKind, TlsFiles, shared};

/// A port nothing listens on: bound and let go of.
fn nowhere() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("redis://{}", listener.local_addr().unwrap())
}

#[tokio::test]
async fn health_says_what_the_server_is() {
    let server = shared(ServerKind::Valkey).await.unwrap();
    let fleet = Fleet::connect(server.url()).await.unwrap();
    let health = fleet.health(Duration::from_secs(5)).await;
    assert!(health.healthy, "{health:?}");
    let summary = health.server.unwrap();
    assert_eq!(
        (&*summary.flavour, &*summary.mode),
        ("valkey", "standalone")
    );
    assert!(summary.connected_clients > 0 && summary.used_memory > 0);
    assert_eq!(fleet.state(), ConnectionState::Ready);
    let looks: Vec<_> = fleet
        .health_checks(Duration::from_millis(10), Duration::from_secs(5))
        .take(3)
        .collect()
        .await;
    assert!(looks.iter().all(|health| health.healthy));
    fleet.close().await;
    assert!(!fleet.health(Duration::from_secs(1)).await.healthy);
}

#[tokio::test]
async fn fault_no_server_at_start_is_an_error_in_time() {
    let url = nowhere();
    let error = Fleet::builder()
        .url(url.as_str())
        .connect_timeout(Duration::from_millis(300))
        .build()
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.outcome()),
        (ErrorKind::Disconnected, Outcome::NotApplied)
    );
    assert!(error.is_retryable(), "{error}");
}

#[tokio::test]
async fn fault_a_lazy_fleet_starts_before_its_server() {
    let server = Server::start(ServerKind::Redis).await.unwrap();
    server.stop().await;
    let fleet = Fleet::builder()
        .url(server.url())
        .lazy(true)
        .command_timeout(Duration::from_millis(200))
        .retries(1_u32)
        .max_reconnect_delay(Duration::from_millis(100))
        .build()
        .await
        .unwrap();
    assert_eq!(fleet.state(), ConnectionState::Idle);
    let error = fleet.lock("l").try_acquire().await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::NotApplied, "{error}");
    server.restart().await.unwrap();
    within("the connection", fleet.ready()).await.unwrap();
    assert!(fleet.lock("l").try_acquire().await.unwrap().is_acquired());
}

#[tokio::test]
async fn fault_a_wrong_password_is_named_and_not_shown() {
    let server = Server::builder(ServerKind::Redis)
        .password("correct")
        .start()
        .await
        .unwrap();
    let error = Fleet::builder()
        .host("127.0.0.1")
        .port(server.port())
        .password("hunter2")
        .connect_timeout(PATIENCE * 3)
        .build();
    // At once: waiting does not make it right.
    let error = within("the refusal", error).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Auth, "{error}");
    assert!(!format!("{error} {error:?}").contains("hunter2"));
    let url = format!("redis://:correct@127.0.0.1:{}", server.port());
    assert!(Fleet::connect(&url).await.is_ok());
}

#[tokio::test]
async fn tls_with_an_authority_of_ones_own() {
    let files = TlsFiles::generate().unwrap().require_client_certificate();
    let (ca, cert, key) = (
        files.authority(),
        files.client_certificate(),
        files.client_key(),
    );
    let server = Server::builder(ServerKind::Redis)
        .tls(files)
        .start()
        .await
        .unwrap();
    let url = format!(
        "rediss://localhost:{}?tls_ca={}&tls_cert={}&tls_key={}",
        server.port(),
        ca.display(),
        cert.display(),
        key.display(),
    );
    let fleet = Fleet::connect(&url).await.unwrap();
    assert!(fleet.lock("l").try_acquire().await.unwrap().is_acquired());
    let untrusting = Fleet::builder()
        .url(format!("rediss://localhost:{}", server.port()))
        .connect_timeout(Duration::from_secs(1));
    let error = untrusting.build().await.unwrap_err();
    assert!(error.to_string().contains("ertificate"), "{error}");
}

#[tokio::test]
async fn shared_fleets_are_one_for_one_whole_configuration() {
    let server = Server::start(ServerKind::Redis).await.unwrap();
    let config = |namespace: &str| FleetConfig {
        url: Some(Secret::new(server.url())),
        namespace: Some(namespace.to_owned()),
        ..FleetConfig::default()
    };
    let connections = async || {
        let list = server.command(&["CLIENT", "LIST"]).await.unwrap();
        list.as_str()
            .unwrap()
            .lines()
            .filter(|line| line.contains("name=quorate"))
            .count()
    };
    let (one, two) = tokio::join!(Fleet::shared(config("a")), Fleet::shared(config("a")));
    let (one, two) = (one.unwrap(), two.unwrap());
    let alone = connections().await;
    let other = Fleet::shared(config("b")).await.unwrap();
    assert_eq!(
        connections().await,
        2 * alone,
        "another namespace is another configuration"
    );
    one.close().await;
    assert_eq!(two.state(), ConnectionState::Closed);
    // A closed fleet is not handed out again.
    let again = Fleet::shared(config("a")).await.unwrap();
    assert_eq!(again.state(), ConnectionState::Ready);
    drop(other);
}

#[tokio::test]
async fn two_targets_keep_state_and_cache_apart() {
    let (state, cache) = tokio::join!(
        Server::start(ServerKind::Redis),
        Server::start(ServerKind::Valkey)
    );
    let (state, cache) = (state.unwrap(), cache.unwrap());
    let fleet = Fleet::builder()
        .url(state.url())
        .cache_url(cache.url())
        .build()
        .await
        .unwrap();
    fleet
        .redis()
        .unwrap()
        .command(&["SET", "where", "state"])
        .await
        .unwrap();
    fleet
        .redis_cache()
        .unwrap()
        .command(&["SET", "where", "cache"])
        .await
        .unwrap();
    assert_eq!(
        state.command(&["GET", "where"]).await.unwrap().as_str(),
        Some("state")
    );
    assert_eq!(
        cache.command(&["GET", "where"]).await.unwrap().as_str(),
        Some("cache")
    );
    let health = fleet.health(Duration::from_secs(5)).await;
    assert!(health.healthy && health.cache.unwrap().healthy);
}

#[tokio::test]
async fn the_client_is_named_on_the_server() {
    let server = Server::start(ServerKind::Redis).await.unwrap();
    let fleet = Fleet::builder()
        .url(server.url())
        .service("orders api")
        .build()
        .await
        .unwrap();
    let list = server.command(&["CLIENT", "LIST"]).await.unwrap();
    assert!(
        list.as_str().unwrap().contains("name=orders-api"),
        "{list:?}"
    );
    drop(fleet);
}

/// Dropping every handle closes the connections.
#[tokio::test]
async fn a_dropped_fleet_disconnects() {
    let server = Server::start(ServerKind::Redis).await.unwrap();
    let proxy = Proxy::start(server.addr()).await.unwrap();
    let fleet = Fleet::connect(&proxy.url()).await.unwrap();
    let topic = fleet.topic(&quorate::TopicSpec::<u64>::new("t"));
    topic.publish(&1).await.unwrap();
    drop(fleet);
    // A handle made from the fleet keeps it alive.
    topic.publish(&2).await.unwrap();
    drop(topic);
    let open = async || {
        let list = server.command(&["CLIENT", "LIST"]).await.unwrap();
        list.as_str()
            .unwrap()
            .lines()
            .filter(|line| line.contains("name=quorate"))
            .count()
    };
    eventually("no connection", async || open().await == 0).await;
}

#[tokio::test]
async fn hooks_hear_of_connections_and_errors_and_may_panic() {
    let server = Server::start(ServerKind::Redis).await.unwrap();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let note = |what: &'static str| {
        let heard = heard.clone();
        move || heard.lock().unwrap().push(what)
    };
    let (connected, disconnected, failed) = (note("connect"), note("disconnect"), note("error"));
    let fleet = Fleet::builder()
        .url(server.url())
        .namespace(namespace())
        .max_reconnect_delay(Duration::from_millis(50))
        .on_connect(move |_| {
            connected();
            panic!("a hook that panics is isolated");
        })
        .on_disconnect(move |_| disconnected())
        .on_error(move |_, _| failed())
        .build()
        .await
        .unwrap();
    let has = |what: &'static str| heard.lock().unwrap().contains(&what);
    eventually("connect", async || has("connect")).await;
    server.kill();
    eventually("disconnect and error", async || {
        has("disconnect") && has("error")
    })
    .await;
    heard.lock().unwrap().clear();
    server.restart().await.unwrap();
    eventually("connect again", async || has("connect")).await;
    fleet.close().await;
}

#[tokio::test]
async fn states_are_reported_as_they_change() {
    let server = Server::start(ServerKind::Redis).await.unwrap();
    let fleet = Fleet::builder()
        .url(server.url())
        .max_reconnect_delay(Duration::from_millis(50))
        .build()
        .await
        .unwrap();
    eventually("ready", async || fleet.state() == ConnectionState::Ready).await;
    let mut changes = fleet.changes();
    server.kill();
    let lost = within("the loss", changes.next()).await.unwrap();
    assert_eq!(
        (lost.previous, lost.new),
        (ConnectionState::Ready, ConnectionState::Reconnecting)
    );
    server.restart().await.unwrap();
    loop {
        let change = within("the recovery", changes.next()).await.unwrap();
        assert_ne!(change.previous, change.new);
        if change.new == ConnectionState::Ready {
            assert!(change.epoch > lost.epoch);
            break;
        }
    }
    fleet.close().await;
    let closed = within("the end", async {
        loop {
            let change = changes.next().await.expect("a change");
            if change.new == ConnectionState::Closed {
                return change;
            }
        }
    });
    assert_eq!(closed.await.new, ConnectionState::Closed);
}
