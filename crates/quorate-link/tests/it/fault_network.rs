//! The network fails: connections break, stall, or are only half there.

use quorate_link::{LinkErrorKind, LinkState, Outcome};
use quorate_testing::proxy::{Direction, Proxy};
use tokio::time::Instant;

use crate::support::{
    PATIENCE, ask, config, connected, millis, open, patiently, persist, redis, wait_state,
    wait_status, within,
};

#[tokio::test]
async fn fault_lost_reply_leaves_the_outcome_unknown() {
    let server = redis().await;
    let proxy = Proxy::start(server.addr()).await.unwrap();
    let link = connected(config(proxy.addr().port())).await;
    proxy.cut_before_reply();
    let error = ask(&link, &["INCR", "n"]).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.outcome()),
        (LinkErrorKind::ConnectionLost, Outcome::Unknown)
    );
    assert!(error.is_retryable());
    assert_eq!(
        persist(&link, &["GET", "n"]).await.as_int(),
        Some(1),
        "it had been applied"
    );
    assert_eq!(link.stats().reconnects(), 1);
}

#[tokio::test]
async fn fault_cut_connections_are_made_again() {
    let server = redis().await;
    let proxy = Proxy::start(server.addr()).await.unwrap();
    let link = connected(config(proxy.addr().port())).await;
    for round in 1..=3 {
        proxy.cut().await;
        wait_status(&link, |s| {
            s.epoch == round + 1 && s.state == LinkState::Ready
        })
        .await;
        ask(&link, &["PING"]).await.unwrap();
    }
}

#[tokio::test]
async fn fault_half_open_socket_is_found_by_the_ping() {
    let server = redis().await;
    let proxy = Proxy::start(server.addr()).await.unwrap();
    let mut config = config(proxy.addr().port());
    config.ping_interval = Some(millis(200));
    config.ping_timeout = millis(200);
    let link = connected(config).await;
    proxy.swallow(Direction::Both);
    let status = wait_state(&link, LinkState::Reconnecting).await;
    assert!(status.reason.contains("silent"), "{}", status.reason);
    let error = link
        .call(&[b"PING"], &within(millis(300)))
        .await
        .unwrap_err();
    assert_eq!(
        error.outcome(),
        Outcome::NotApplied,
        "there was no connection to send it on"
    );
    proxy.heal().await.unwrap();
    wait_state(&link, LinkState::Ready).await;
    ask(&link, &["PING"]).await.unwrap();
}

#[tokio::test]
async fn fault_half_open_socket_is_found_by_a_command_that_times_out() {
    let server = redis().await;
    let proxy = Proxy::start(server.addr()).await.unwrap();
    let mut config = config(proxy.addr().port());
    config.ping_interval = None;
    config.ping_timeout = millis(200);
    config.command_timeout = millis(300);
    let link = connected(config).await;
    proxy.swallow(Direction::ToServer);
    let error = ask(&link, &["INCR", "n"]).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.outcome()),
        (LinkErrorKind::Timeout, Outcome::Unknown)
    );
    wait_state(&link, LinkState::Reconnecting).await;
    proxy.heal().await.unwrap();
    assert_eq!(persist(&link, &["INCR", "n"]).await.as_int(), Some(1));
}

#[tokio::test]
async fn fault_peer_that_reads_nothing_does_not_hold_calls_beyond_their_time() {
    let server = redis().await;
    let proxy = Proxy::start(server.addr()).await.unwrap();
    let mut config = config(proxy.addr().port());
    config.ping_interval = None;
    config.ping_timeout = PATIENCE;
    let link = connected(config).await;
    proxy.hold(Direction::Both);
    // More than the kernel's buffers take: the rest stays with us.
    let value = vec![b'x'; 1 << 20];
    let calls = (0..32).map(|n: u8| {
        let (link, value) = (link.clone(), value.clone());
        async move {
            link.call(&[b"SET", &[n], &value], &within(millis(500)))
                .await
        }
    });
    let began = Instant::now();
    for answer in futures_util::future::join_all(calls).await {
        let error = answer.unwrap_err();
        assert_eq!(
            (error.kind(), error.outcome()),
            (LinkErrorKind::Timeout, Outcome::Unknown)
        );
    }
    // One that comes while the socket takes nothing keeps its time as well.
    let error = link
        .call(&[b"PING"], &within(millis(100)))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), LinkErrorKind::Timeout);
    assert!(began.elapsed() < PATIENCE);
    proxy.heal().await.unwrap();
    assert_eq!(
        ask(&link, &["ECHO", "mine"]).await.unwrap().as_str(),
        Some("mine")
    );
}

#[tokio::test]
async fn fault_slow_network_only_makes_things_slow() {
    let server = redis().await;
    let proxy = Proxy::start(server.addr()).await.unwrap();
    let link = connected(config(proxy.addr().port())).await;
    proxy.delay(millis(50));
    let mut replies = Vec::new();
    for n in 0..200 {
        let permit = link.reserve(32, &patiently()).await.unwrap();
        replies.push((n, permit.enqueue(&[b"ECHO", n.to_string().as_bytes()])));
    }
    for (n, reply) in replies {
        assert_eq!(reply.await.unwrap().as_int(), Some(n));
    }
    assert_eq!(link.stats().reconnects(), 0);
}

#[tokio::test]
async fn fault_no_server_at_start() {
    let server = redis().await;
    server.kill();
    let link = open(config(server.port()));
    let error = link
        .call(&[b"PING"], &within(millis(200)))
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.outcome()),
        (LinkErrorKind::Disconnected, Outcome::NotApplied)
    );
    assert!(error.to_string().contains("cannot connect"), "{error}");
    assert!(std::error::Error::source(&error).is_some());
    let error = link.ready(Instant::now() + millis(50)).await.unwrap_err();
    assert_eq!(error.kind(), LinkErrorKind::Disconnected);
    assert_eq!(link.status().borrow().state, LinkState::Connecting);
    let health = link.health(millis(100)).await;
    assert!(!health.healthy && health.error.is_some() && health.server.is_none());
    server.restart().await.unwrap();
    link.ready(Instant::now() + PATIENCE).await.unwrap();
    ask(&link, &["PING"]).await.unwrap();
}

#[tokio::test]
async fn fault_server_that_accepts_and_says_nothing() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = config(listener.local_addr().unwrap().port());
    config.connect_timeout = millis(200);
    let link = open(config);
    let status = wait_status(&link, |s| s.reason.contains("in time")).await;
    assert_eq!(status.state, LinkState::Connecting);
    let error = link
        .call(&[b"PING"], &within(millis(100)))
        .await
        .unwrap_err();
    assert_eq!(error.outcome(), Outcome::NotApplied);
}

#[tokio::test]
async fn fault_peer_that_does_not_speak_the_protocol() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let peer = async {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 400\r\n\r\n").await;
        }
    };
    let link = open(config(port));
    tokio::select! {
        () = peer => {}
        status = wait_status(&link, |s| s.reason.contains("does not look like Redis")) => {
            assert_eq!(status.state, LinkState::Connecting);
        }
    }
}
