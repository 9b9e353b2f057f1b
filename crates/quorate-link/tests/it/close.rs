//! Closing.

use std::time::Duration;

use quorate_link::{LinkErrorKind, LinkState, Outcome, ReconnectPolicy};
use tokio::time::Instant;

use crate::support::{
    PATIENCE, ask, config, connected, millis, open, patiently, redis, wait_state, within,
};

#[tokio::test]
async fn closing_lets_commands_in_flight_finish_and_refuses_new_ones() {
    let server = redis().await;
    let link = connected(config(server.port())).await;
    let mut replies = Vec::new();
    for _ in 0..100 {
        replies.push(
            link.reserve(16, &patiently())
                .await
                .unwrap()
                .enqueue(&[b"INCR", b"n"]),
        );
    }
    link.close(PATIENCE).await;
    for (n, reply) in replies.into_iter().enumerate() {
        assert_eq!(reply.await.unwrap().as_int(), Some(n as i64 + 1));
    }
    let error = ask(&link, &["PING"]).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.outcome()),
        (LinkErrorKind::Closed, Outcome::NotApplied)
    );
    assert!(!error.is_retryable());
    assert_eq!(link.status().borrow().state, LinkState::Closed);
    link.close(PATIENCE).await;
    assert_eq!(
        link.ready(Instant::now() + PATIENCE)
            .await
            .unwrap_err()
            .kind(),
        LinkErrorKind::Closed
    );
}

#[tokio::test]
async fn closing_does_not_hang_on_a_dead_server() {
    let server = redis().await;
    let link = connected(config(server.port())).await;
    server.pause().unwrap();
    let reply = link
        .reserve(16, &patiently())
        .await
        .unwrap()
        .enqueue(&[b"INCR", b"n"]);
    tokio::task::yield_now().await;
    let both = futures_util::future::join(link.close(millis(50)), link.close(millis(50)));
    tokio::time::timeout(PATIENCE / 2, both).await.unwrap();
    let error = reply.await.unwrap_err();
    assert_eq!(error.kind(), LinkErrorKind::Closed);
}

#[tokio::test]
async fn closing_wakes_those_who_wait_for_a_connection() {
    let server = redis().await;
    server.kill();
    let link = open(config(server.port()));
    let waiting = link.clone();
    let options = within(PATIENCE * 10);
    let call = waiting.call(&[b"PING"], &options);
    let closing = async {
        while link.stats().command.waiting == 0 {
            tokio::task::yield_now().await;
        }
        link.close(Duration::ZERO).await;
    };
    let (answer, ()) = futures_util::future::join(call, closing).await;
    assert_eq!(answer.unwrap_err().kind(), LinkErrorKind::Closed);
}

#[tokio::test]
async fn a_policy_may_give_up() {
    let server = redis().await;
    let mut never = config(server.port());
    never.reconnect = ReconnectPolicy::Never;
    let link = connected(never).await;
    server.restart().await.unwrap();
    let status = wait_state(&link, LinkState::Closed).await;
    assert!(status.reason.contains("gave up"), "{}", status.reason);
    assert_eq!(
        ask(&link, &["PING"]).await.unwrap_err().kind(),
        LinkErrorKind::Closed
    );

    server.kill();
    let mut thrice = config(server.port());
    thrice.reconnect = ReconnectPolicy::Custom(std::sync::Arc::new(|failed| {
        (failed < 3).then_some(Duration::from_millis(1))
    }));
    wait_state(&open(thrice), LinkState::Closed).await;
}

#[tokio::test]
async fn closing_does_not_wait_for_a_connection_in_the_making() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = config(silent.local_addr().unwrap().port());
    config.connect_timeout = Duration::from_secs(3600);
    let link = open(config);
    let (_peer, _) = silent.accept().await.unwrap();
    // With an hour of grace: there is nothing in flight to wait for.
    let closing = link.close(Duration::from_secs(3600));
    tokio::time::timeout(PATIENCE, closing).await.unwrap();
}
