//! Limits, and what must never happen at them.

use std::sync::Arc;

use quorate_link::{LinkErrorKind, Outcome, WhenUnavailable};
use tokio::time::Instant;

use crate::support::{PATIENCE, ask, config, connected, millis, patiently, persist, redis, within};

#[tokio::test]
async fn fault_overload_waits_or_fails_as_configured() {
    let server = redis().await;
    let mut config = config(server.port());
    config.limits.max_in_flight = 4;
    let link = connected(config.clone()).await;
    config.when_unavailable = WhenUnavailable::FailNow;
    let hasty = connected(config).await;

    let held: Vec<_> = {
        let mut held = Vec::new();
        for _ in 0..4 {
            held.push(link.reserve(8, &patiently()).await.unwrap());
            held.push(hasty.reserve(8, &patiently()).await.unwrap());
        }
        held
    };
    let error = link
        .call(&[b"PING"], &within(millis(50)))
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.outcome()),
        (LinkErrorKind::Overloaded, Outcome::NotApplied)
    );
    assert!(error.is_retryable());
    let error = hasty.call(&[b"PING"], &patiently()).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.outcome()),
        (LinkErrorKind::Overloaded, Outcome::NotApplied)
    );

    // Those who wait get room in the order they came.
    let waiting = link.clone();
    let late = tokio::task::JoinSet::from_iter((0..8).map(|_| {
        let link = waiting.clone();
        async move { ask(&link, &["INCR", "n"]).await.unwrap().as_int().unwrap() }
    }));
    while link.stats().command.waiting < 8 {
        tokio::task::yield_now().await;
    }
    drop(held);
    let mut numbers = late.join_all().await;
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=8).collect::<Vec<_>>());
    assert_eq!(link.stats().in_flight(), 0);
}

#[tokio::test]
async fn bytes_in_flight_are_bounded_too() {
    let server = redis().await;
    let mut config = config(server.port());
    config.limits.max_in_flight_bytes = 1000;
    let link = connected(config).await;
    let value = "x".repeat(600);
    let held = link.reserve(700, &patiently()).await.unwrap();
    let error = link
        .call(&[b"SET", b"k", value.as_bytes()], &within(millis(50)))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), LinkErrorKind::Overloaded);
    ask(&link, &["PING"]).await.unwrap();
    drop(held);
    ask(&link, &["SET", "k", &value]).await.unwrap();
    let error = ask(&link, &["SET", "k", &"x".repeat(2000)])
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.outcome()),
        (LinkErrorKind::Config, Outcome::NotApplied)
    );
}

#[tokio::test]
async fn an_abandoned_wait_takes_no_room() {
    let server = redis().await;
    let mut config = config(server.port());
    config.limits.max_in_flight = 1;
    let link = connected(config).await;
    let held = link.reserve(8, &patiently()).await.unwrap();
    for _ in 0..10 {
        let options = patiently();
        let mut waiting = Box::pin(link.reserve(8, &options));
        assert!(futures_util::poll!(&mut waiting).is_pending());
    }
    drop(held);
    ask(&link, &["PING"]).await.unwrap();
    assert_eq!(
        (link.stats().in_flight(), link.stats().command.waiting),
        (0, 0)
    );
}

#[tokio::test]
async fn an_oversized_reply_fails_its_own_call_and_nobody_gets_a_wrong_one() {
    let server = redis().await;
    let mut config = config(server.port());
    config.limits.max_bulk = 10_000;
    let link = connected(config).await;
    for n in 0..50 {
        ask(&link, &["SET", &format!("k{n}"), &n.to_string()])
            .await
            .unwrap();
    }
    ask(&link, &["SETRANGE", "big", "20000", "x"])
        .await
        .unwrap();
    let mut replies = Vec::new();
    for n in 0..50 {
        let key = if n == 25 {
            "big".to_owned()
        } else {
            format!("k{n}")
        };
        let permit = link.reserve(64, &patiently()).await.unwrap();
        replies.push((n, permit.enqueue(&[b"GET", key.as_bytes()])));
    }
    let mut lost = 0;
    for (n, reply) in replies {
        match reply.await {
            Ok(frame) => assert_eq!(frame.as_int(), Some(n)),
            Err(error) if n == 25 => {
                assert_eq!(error.kind(), LinkErrorKind::Protocol);
                assert!(error.to_string().contains("max_bulk"), "{error}");
            }
            Err(error) => {
                assert!(n > 25, "{n}: {error}");
                assert_eq!(error.kind(), LinkErrorKind::ConnectionLost, "{error}");
                lost += 1;
            }
        }
    }
    assert!(lost > 0, "what was behind it cannot have been answered");
    assert_eq!(persist(&link, &["GET", "k7"]).await.as_int(), Some(7));
    assert_eq!(link.stats().in_flight(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_futures_under_load_never_pass_their_replies_on() {
    let server = redis().await;
    let link = connected(config(server.port())).await;
    let tasks = (0..64_i64).map(|task| {
        let link = link.clone();
        async move {
            let key = format!("key:{task}");
            ask(&link, &["SET", &key, &task.to_string()]).await.unwrap();
            for round in 0..500_u32 {
                let parts: [&[u8]; 2] = [b"GET", key.as_bytes()];
                let options = patiently();
                let mut call = Box::pin(link.call(&parts, &options));
                // Given up after none, one, two or three looks, or not at all.
                for _ in 0..(round + task as u32) % 5 {
                    if let std::task::Poll::Ready(reply) = futures_util::poll!(&mut call) {
                        assert_eq!(reply.unwrap().as_int(), Some(task));
                        call = Box::pin(link.call(&parts, &options));
                        break;
                    }
                    tokio::task::yield_now().await;
                }
                if round % 7 == 0 {
                    assert_eq!(call.await.unwrap().as_int(), Some(task));
                }
            }
        }
    });
    tokio::task::JoinSet::from_iter(tasks).join_all().await;
    ask(&link, &["PING"]).await.unwrap();
    let stats = link.stats();
    assert_eq!(
        (stats.in_flight(), stats.in_flight_bytes()),
        (0, 0),
        "all room came back"
    );
    assert_eq!(stats.reconnects(), 0);
}

#[tokio::test]
async fn timeouts_do_not_shift_replies() {
    let server = redis().await;
    let link = Arc::new(connected(config(server.port())).await);
    ask(&link, &["SET", "slow", "slow"]).await.unwrap();
    ask(&link, &["SET", "fast", "fast"]).await.unwrap();
    server.pause().unwrap();
    let error = link
        .call(&[b"GET", b"slow"], &within(millis(50)))
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.outcome()),
        (LinkErrorKind::Timeout, Outcome::Unknown)
    );
    assert!(error.is_retryable());
    let began = Instant::now();
    let pending = link.reserve(16, &within(PATIENCE)).await.unwrap();
    let pending = pending.enqueue(&[b"GET", b"fast"]);
    server.resume().unwrap();
    assert_eq!(pending.await.unwrap().as_str(), Some("fast"));
    assert!(began.elapsed() < PATIENCE);
}

#[tokio::test]
async fn values_of_every_size_come_back_whole() {
    let server = redis().await;
    let link = connected(config(server.port())).await;
    for size in [0, 1, 1000, 65_535, 65_536, 65_537, 1 << 20, 9 << 20] {
        let value: Vec<u8> = (0..size).map(|n: u32| (n % 251) as u8).collect();
        link.call(&[b"SET", b"k", &value], &patiently())
            .await
            .unwrap();
        let back = link.call(&[b"GET", b"k"], &patiently()).await.unwrap();
        assert!(back.as_bytes() == Some(&value), "{size} bytes");
    }
}

#[tokio::test]
async fn what_is_late_already_is_not_sent() {
    let server = redis().await;
    let link = connected(config(server.port())).await;
    let late = within(std::time::Duration::ZERO);
    // Also for who says what the time is.
    let later = within(std::time::Duration::from_secs(60));
    let said = later.as_of(later.deadline.unwrap());
    for options in [late, said] {
        let error = link.call(&[b"INCR", b"n"], &options).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.outcome()),
            (LinkErrorKind::Timeout, Outcome::NotApplied)
        );
    }
    assert!(ask(&link, &["GET", "n"]).await.unwrap().is_null());
}
