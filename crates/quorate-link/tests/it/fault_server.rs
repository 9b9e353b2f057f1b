//! The server goes away, stands still, or throws us out.

use std::time::Duration;

use bytes::Bytes;
use quorate_link::{Lane, Link, LinkErrorKind, LinkState, Outcome, SubscriptionKind};
use quorate_testing::servers::{Server, ServerKind};
use tokio::time::Instant;

use crate::support::{
    Recorder, ask, config, connected, millis, patiently, persist, redis, wait_state, within,
};

#[tokio::test]
async fn fault_restart() {
    let server = redis().await;
    let sink = Recorder::new();
    let link = Link::open(config(server.port()), Some(sink.clone())).unwrap();
    link.subscribe(SubscriptionKind::Channel, Bytes::from("c"))
        .await
        .unwrap();
    let before = link.status().borrow().epoch;
    server.restart().await.unwrap();
    // A call that finds no connection waits for the next.
    assert_eq!(persist(&link, &["INCR", "n"]).await.as_int(), Some(1));
    sink.wait_restored().await;
    assert_eq!(
        persist(&link, &["PUBLISH", "c", "again"]).await.as_int(),
        Some(1)
    );
    sink.wait_payload(b"again").await;
    assert!(wait_state(&link, LinkState::Ready).await.epoch > before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_sigkill_under_load_is_honest_about_every_command() {
    let server = redis().await;
    let link = connected(config(server.port())).await;
    let load = tokio::task::JoinSet::from_iter((0..16).map(|task| {
        let link = link.clone();
        async move {
            let key = format!("n{task}");
            let (mut sure, mut unsure) = (0, 0);
            loop {
                let options = within(millis(300));
                match link.call(&[b"INCR", key.as_bytes()], &options).await {
                    Ok(_) => sure += 1,
                    Err(error) if error.outcome() == Outcome::Unknown => unsure += 1,
                    // Queued, and of the lost connection, but not written yet.
                    Err(error) if error.kind() == LinkErrorKind::ConnectionLost => {}
                    Err(error) => {
                        assert_eq!(error.kind(), LinkErrorKind::Disconnected, "{error}");
                        return (sure, unsure);
                    }
                }
            }
        }
    }));
    while link
        .call(&[b"GET", b"n0"], &patiently())
        .await
        .unwrap()
        .as_int()
        < Some(100)
    {
        tokio::task::yield_now().await;
    }
    server.kill();
    for (sure, unsure) in load.join_all().await {
        assert!(sure > 0);
        assert!(
            unsure <= 1,
            "one in flight per task, and only one connection was lost"
        );
    }
    assert_eq!(link.stats().in_flight(), 0);
    server.restart().await.unwrap();
    assert_eq!(persist(&link, &["INCR", "n0"]).await.as_int(), Some(1));
}

#[tokio::test]
async fn fault_sigstop_for_ten_seconds() {
    let server = redis().await;
    let mut config = config(server.port());
    config.ping_timeout = Duration::from_secs(1);
    config.command_timeout = Duration::from_secs(1);
    let link = connected(config).await;
    server.pause().unwrap();
    let stopped = Instant::now();
    let sent = ask(&link, &["INCR", "n"]).await.unwrap_err();
    assert_eq!(
        (sent.kind(), sent.outcome()),
        (LinkErrorKind::Timeout, Outcome::Unknown)
    );
    // Every call ends within its deadline, also once the connection has been given up.
    while stopped.elapsed() < Duration::from_secs(10) {
        let began = Instant::now();
        let error = link
            .call(&[b"GET", b"n"], &within(millis(400)))
            .await
            .unwrap_err();
        assert!(error.is_retryable(), "{error}");
        assert!(
            began.elapsed() < Duration::from_secs(5),
            "{:?}",
            began.elapsed()
        );
    }
    assert_eq!(link.status().borrow().state, LinkState::Reconnecting);
    server.resume().unwrap();
    wait_state(&link, LinkState::Ready).await;
    let applied = persist(&link, &["GET", "n"]).await.as_int();
    assert_eq!(applied, Some(1), "what was unknown had been applied once");
}

#[tokio::test]
async fn fault_client_kill() {
    let server = redis().await;
    let link = connected(config(server.port())).await;
    let blocked = link.reserve(32, &patiently()).await.unwrap();
    let blocked = blocked.enqueue(&[b"BLPOP", b"nothing", b"0"]);
    while !server
        .command(&["INFO", "clients"])
        .await
        .unwrap()
        .to_string()
        .contains("blocked_clients:1")
    {}
    server
        .command(&["CLIENT", "KILL", "TYPE", "normal"])
        .await
        .unwrap();
    let error = blocked.await.unwrap_err();
    assert_eq!(
        (error.kind(), error.outcome()),
        (LinkErrorKind::ConnectionLost, Outcome::Unknown)
    );
    ask(&link, &["PING"]).await.unwrap();
    assert_eq!(link.stats().reconnects(), 1);
}

#[tokio::test]
async fn fault_client_pause() {
    let server = redis().await;
    let link = connected(config(server.port())).await;
    server
        .command(&["CLIENT", "PAUSE", "1500", "ALL"])
        .await
        .unwrap();
    let error = link
        .call(&[b"INCR", b"n"], &within(millis(200)))
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.outcome()),
        (LinkErrorKind::Timeout, Outcome::Unknown)
    );
    assert_eq!(
        ask(&link, &["INCR", "n"]).await.unwrap().as_int(),
        Some(2),
        "late, and in order"
    );
    assert_eq!(link.stats().reconnects(), 0);
}

#[tokio::test]
async fn fault_maxclients() {
    let server = redis().await;
    let first = connected(config(server.port())).await;
    ask(&first, &["CONFIG", "SET", "maxclients", "1"])
        .await
        .unwrap();
    let second = crate::support::open(config(server.port()));
    crate::support::wait_status(&second, |s| s.reason.contains("max number of clients")).await;
    let error = second
        .call(&[b"PING"], &within(millis(100)))
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.outcome()),
        (LinkErrorKind::Disconnected, Outcome::NotApplied)
    );
    assert!(
        error.to_string().contains("max number of clients"),
        "{error}"
    );
    ask(&first, &["CONFIG", "SET", "maxclients", "100"])
        .await
        .unwrap();
    wait_state(&second, LinkState::Ready).await;
    ask(&second, &["PING"]).await.unwrap();
}

#[tokio::test]
async fn fault_wrong_password() {
    let server = redis().await;
    server
        .command(&["ACL", "SETUSER", "app", "on", ">right", "~*", "+@all"])
        .await
        .unwrap();
    let mut config = config(server.port());
    config.username = Some("app".to_owned());
    config.password = Some("wr0ng".into());
    for protocol in [quorate_link::Protocol::Resp3, quorate_link::Protocol::Resp2] {
        config.protocol = protocol;
        let link = crate::support::open(config.clone());
        let status = crate::support::wait_status(&link, |s| s.reason.contains("WRONGPASS")).await;
        assert_eq!(status.state, LinkState::Connecting);
        let error = link
            .call(&[b"PING"], &within(millis(200)))
            .await
            .unwrap_err();
        assert_eq!(
            (error.kind(), error.outcome()),
            (LinkErrorKind::Auth, Outcome::NotApplied)
        );
        assert!(!format!("{error} {error:?} {}", status.reason).contains("wr0ng"));
        assert!(!error.is_retryable());
        // It keeps trying: the password may be set right on the server.
        server
            .command(&["ACL", "SETUSER", "app", ">wr0ng"])
            .await
            .unwrap();
        wait_state(&link, LinkState::Ready).await;
        ask(&link, &["PING"]).await.unwrap();
        server
            .command(&["ACL", "SETUSER", "app", "<wr0ng"])
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn fault_missing_password() {
    let server = redis().await;
    server
        .command(&["CONFIG", "SET", "requirepass", "needed"])
        .await
        .unwrap();
    for protocol in [quorate_link::Protocol::Resp3, quorate_link::Protocol::Resp2] {
        let mut config = config(server.port());
        config.protocol = protocol;
        let link = crate::support::open(config);
        crate::support::wait_status(&link, |s| s.reason.contains("NOAUTH")).await;
        let error = link
            .call(&[b"PING"], &within(millis(200)))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), LinkErrorKind::Auth, "{error}");
    }
}

#[tokio::test]
async fn fault_wrong_password_is_told_on_every_lane() {
    let server = Server::builder(ServerKind::Redis)
        .password("needed")
        .start()
        .await
        .unwrap();
    let sink = Recorder::new();
    let link = Link::open(config(server.port()), Some(sink)).unwrap();
    crate::support::wait_status(&link, |s| s.reason.contains("NOAUTH")).await;
    for lane in [Lane::Command, Lane::Bulk, Lane::Durable] {
        let options = within(millis(100)).lane(lane);
        let error = link.call(&[b"PING"], &options).await.unwrap_err();
        assert_eq!(error.kind(), LinkErrorKind::Auth, "{lane:?}: {error}");
    }
    let error = link
        .subscribe_until(
            SubscriptionKind::Channel,
            Bytes::from("c"),
            Instant::now() + millis(100),
        )
        .await
        .unwrap_err();
    assert_eq!(error.kind(), LinkErrorKind::Auth, "{error}");
    let clients = server
        .command(&["CLIENT", "LIST"])
        .await
        .unwrap()
        .to_string();
    assert!(
        !clients.contains("cmd=subscribe"),
        "nothing was tried past the refusal: {clients}"
    );
}
