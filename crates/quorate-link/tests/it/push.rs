//! Subscriptions.

use bytes::Bytes;
use quorate_link::{
    Link, LinkErrorKind, LinkState, Outcome, Protocol, PushSink, SubscriptionKind, WhenUnavailable,
};
use quorate_testing::proxy::{Direction, Proxy};
use tokio::time::Instant;

use crate::support::{
    Recorder, Seen, ask, config, millis, persist, redis, wait_state, wait_status,
};

fn name(name: &str) -> Bytes {
    Bytes::copy_from_slice(name.as_bytes())
}

#[tokio::test]
async fn every_kind_of_subscription_delivers_in_both_protocols() {
    let server = redis().await;
    for protocol in [Protocol::Resp3, Protocol::Resp2] {
        let sink = Recorder::new();
        let mut config = config(server.port());
        config.protocol = protocol;
        let link = Link::open(config, Some(sink.clone())).unwrap();
        link.subscribe(SubscriptionKind::Channel, name("news"))
            .await
            .unwrap();
        link.subscribe(SubscriptionKind::Pattern, name("ne*"))
            .await
            .unwrap();
        link.subscribe(SubscriptionKind::Sharded, name("shard"))
            .await
            .unwrap();
        assert_eq!(
            ask(&link, &["PUBLISH", "news", "one"])
                .await
                .unwrap()
                .as_int(),
            Some(2)
        );
        assert_eq!(
            ask(&link, &["SPUBLISH", "shard", "two"])
                .await
                .unwrap()
                .as_int(),
            Some(1)
        );
        let seen = sink.wait(|seen| seen.len() >= 3).await;
        let mut seen: Vec<_> = seen
            .into_iter()
            .map(|s| match s {
                Seen::Message(m) => (m.payload, m.kind, m.pattern, m.channel, m.epoch),
                other => panic!("{other:?}"),
            })
            .collect();
        let epoch = seen[0].4;
        seen.sort_by_key(|s| (s.0.clone(), s.2.clone()));
        assert_eq!(
            seen,
            [
                (
                    name("one"),
                    SubscriptionKind::Channel,
                    None,
                    name("news"),
                    epoch
                ),
                (
                    name("one"),
                    SubscriptionKind::Pattern,
                    Some(name("ne*")),
                    name("news"),
                    epoch
                ),
                (
                    name("two"),
                    SubscriptionKind::Sharded,
                    None,
                    name("shard"),
                    epoch
                ),
            ]
        );
        assert_eq!(link.stats().subscriptions, 3);
        assert!(link.stats().push_connected);
    }
}

#[tokio::test]
async fn defect_04_resubscribe_after_unsubscribe_delivers() {
    let server = redis().await;
    let sink = Recorder::new();
    let link = Link::open(config(server.port()), Some(sink.clone())).unwrap();
    for round in ["1", "2", "3"] {
        link.subscribe(SubscriptionKind::Channel, name("c"))
            .await
            .unwrap();
        assert_eq!(
            ask(&link, &["PUBLISH", "c", round]).await.unwrap().as_int(),
            Some(1)
        );
        link.unsubscribe(SubscriptionKind::Channel, name("c"))
            .await
            .unwrap();
        assert_eq!(
            ask(&link, &["PUBLISH", "c", "unheard"])
                .await
                .unwrap()
                .as_int(),
            Some(0)
        );
    }
    // Without waiting in between, the last word counts.
    for _ in 0..100 {
        let subscribe = link.subscribe(SubscriptionKind::Channel, name("c"));
        let forget = link.unsubscribe(SubscriptionKind::Channel, name("c"));
        let again = link.subscribe(SubscriptionKind::Channel, name("c"));
        let (_, forgotten, subscribed) = futures_util::join!(subscribe, forget, again);
        forgotten.unwrap();
        subscribed.unwrap();
    }
    assert_eq!(
        ask(&link, &["PUBLISH", "c", "4"]).await.unwrap().as_int(),
        Some(1)
    );
    sink.wait_payload(b"4").await;
    assert_eq!(sink.payloads(), ["1", "2", "3", "4"]);
}

#[tokio::test]
async fn defect_05_subscribe_without_a_server_fails_in_time_and_is_forgotten() {
    let server = redis().await;
    server.kill();
    let sink = Recorder::new();
    let link = Link::open(config(server.port()), Some(sink.clone())).unwrap();
    let error = link
        .subscribe_until(
            SubscriptionKind::Channel,
            name("c"),
            Instant::now() + millis(200),
        )
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.outcome()),
        (LinkErrorKind::Disconnected, Outcome::NotApplied)
    );
    assert_eq!(link.stats().subscriptions, 0);
    // Being disconnected is no reason not to unsubscribe.
    link.unsubscribe(SubscriptionKind::Channel, name("c"))
        .await
        .unwrap();
    server.restart().await.unwrap();
    assert_eq!(
        persist(&link, &["PUBLISH", "c", "x"]).await.as_int(),
        Some(0)
    );
    link.subscribe(SubscriptionKind::Channel, name("c"))
        .await
        .unwrap();
    assert_eq!(
        persist(&link, &["PUBLISH", "c", "y"]).await.as_int(),
        Some(1)
    );
    sink.wait_payload(b"y").await;
}

#[tokio::test]
async fn subscribing_twice_is_subscribing_once() {
    let server = redis().await;
    let sink = Recorder::new();
    let link = Link::open(config(server.port()), Some(sink.clone())).unwrap();
    let calls = (0..10).map(|_| link.subscribe(SubscriptionKind::Channel, name("c")));
    for answer in futures_util::future::join_all(calls).await {
        answer.unwrap();
    }
    ask(&link, &["PUBLISH", "c", "once"]).await.unwrap();
    ask(&link, &["PUBLISH", "c", "end"]).await.unwrap();
    sink.wait_payload(b"end").await;
    assert_eq!(sink.payloads(), ["once", "end"]);
}

#[tokio::test]
async fn a_dropped_subscribe_is_forgotten_unless_shared() {
    let server = redis().await;
    let proxy = Proxy::start(server.addr()).await.unwrap();
    let sink = Recorder::new();
    let link = Link::open(config(proxy.addr().port()), Some(sink.clone())).unwrap();
    link.subscribe(SubscriptionKind::Channel, name("warm"))
        .await
        .unwrap();
    proxy.hold(Direction::Both);
    {
        let mut dropped = Box::pin(link.subscribe(SubscriptionKind::Channel, name("a")));
        let mut shared = Box::pin(link.subscribe(SubscriptionKind::Channel, name("b")));
        assert!(futures_util::poll!(&mut dropped).is_pending());
        assert!(futures_util::poll!(&mut shared).is_pending());
        let mut kept = Box::pin(link.subscribe(SubscriptionKind::Channel, name("b")));
        assert!(futures_util::poll!(&mut kept).is_pending());
        drop((dropped, shared));
        assert_eq!(link.stats().subscriptions, 2);
        proxy.heal().await.unwrap();
        kept.await.unwrap();
    }
    assert_eq!(
        ask(&link, &["PUBLISH", "a", "x"]).await.unwrap().as_int(),
        Some(0)
    );
    assert_eq!(
        ask(&link, &["PUBLISH", "b", "x"]).await.unwrap().as_int(),
        Some(1)
    );
}

#[tokio::test]
async fn subscribing_needs_a_sink() {
    let server = redis().await;
    let link = crate::support::connected(config(server.port())).await;
    let error = link
        .subscribe(SubscriptionKind::Channel, name("c"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), LinkErrorKind::Config);
}

#[tokio::test]
async fn fault_lost_push_connection_is_told_and_everything_subscribed_again() {
    let server = redis().await;
    let sink = Recorder::new();
    let link = Link::open(config(server.port()), Some(sink.clone())).unwrap();
    for n in 0..100 {
        link.subscribe(SubscriptionKind::Channel, name(&format!("c{n}")))
            .await
            .unwrap();
    }
    link.subscribe(SubscriptionKind::Pattern, name("p*"))
        .await
        .unwrap();
    ask(&link, &["PUBLISH", "c7", "before"]).await.unwrap();
    let seen = sink.wait(|seen| !seen.is_empty()).await;
    let [Seen::Message(first)] = seen.as_slice() else {
        panic!("{seen:?}")
    };
    let before = first.epoch;
    server
        .command(&["CLIENT", "KILL", "TYPE", "pubsub"])
        .await
        .unwrap();
    let after = sink.wait_restored().await;
    assert!(after > before);
    // When it says so, it is so: at once and for each of them.
    for channel in ["c0", "c99", "p1"] {
        let receivers = ask(&link, &["PUBLISH", channel, "after"]).await.unwrap();
        assert_eq!(receivers.as_int(), Some(1), "{channel}");
    }
    let seen = sink
        .wait(|s| {
            s.iter()
                .filter(|s| matches!(s, Seen::Message(m) if m.payload == "after"))
                .count()
                == 3
        })
        .await;
    let order: Vec<_> = seen
        .iter()
        .map(|s| match s {
            Seen::Message(m) => ("message", m.epoch),
            Seen::Interrupted(epoch) => ("interrupted", *epoch),
            Seen::Restored(epoch) => ("restored", *epoch),
        })
        .collect();
    assert_eq!(
        order,
        [
            ("message", before),
            ("interrupted", before),
            ("restored", after),
            ("message", after),
            ("message", after),
            ("message", after)
        ]
    );
}

#[tokio::test]
async fn fault_refused_subscription_is_tried_again_once_it_was_promised() {
    let server = redis().await;
    server
        .command(&["ACL", "SETUSER", "app", "on", ">pw", "~*", "&*", "+@all"])
        .await
        .unwrap();
    let sink = Recorder::new();
    let mut config = config(server.port());
    config.username = Some("app".to_owned());
    config.password = Some("pw".into());
    let link = Link::open(config, Some(sink.clone())).unwrap();
    link.subscribe(SubscriptionKind::Channel, name("good"))
        .await
        .unwrap();
    link.subscribe(SubscriptionKind::Channel, name("bad"))
        .await
        .unwrap();
    // The server drops the connection of a user whose channels are taken away.
    server
        .command(&["ACL", "SETUSER", "app", "resetchannels", "&good"])
        .await
        .unwrap();
    let status = wait_status(&link, |s| s.reason.contains("NOPERM")).await;
    assert_eq!(status.state, LinkState::Degraded);
    assert_eq!(
        persist(&link, &["PUBLISH", "good", "x"]).await.as_int(),
        Some(1)
    );
    sink.wait_payload(b"x").await;
    assert!(!sink.seen().iter().any(|s| matches!(s, Seen::Restored(_))));
    // One that was never promised is simply refused.
    let error = link
        .subscribe(SubscriptionKind::Channel, name("worse"))
        .await
        .unwrap_err();
    assert_eq!(error.server_code(), Some("NOPERM"));
    server
        .command(&["ACL", "SETUSER", "app", "allchannels"])
        .await
        .unwrap();
    sink.wait_restored().await;
    wait_state(&link, LinkState::Ready).await;
    assert_eq!(
        server
            .command(&["PUBLISH", "bad", "y"])
            .await
            .unwrap()
            .to_string(),
        "1"
    );
    sink.wait_payload(b"y").await;
}

#[tokio::test]
async fn fault_server_down_while_subscribed_does_not_stop_unsubscribing() {
    let server = redis().await;
    let sink = Recorder::new();
    let mut config = config(server.port());
    config.when_unavailable = WhenUnavailable::FailNow;
    let link = Link::open(config, Some(sink.clone())).unwrap();
    link.subscribe(SubscriptionKind::Channel, name("kept"))
        .await
        .unwrap();
    link.subscribe(SubscriptionKind::Channel, name("dropped"))
        .await
        .unwrap();
    server.kill();
    wait_state(&link, LinkState::Reconnecting).await;
    link.unsubscribe(SubscriptionKind::Channel, name("dropped"))
        .await
        .unwrap();
    server.restart().await.unwrap();
    sink.wait_restored().await;
    wait_state(&link, LinkState::Ready).await;
    assert_eq!(
        ask(&link, &["PUBLISH", "dropped", "x"])
            .await
            .unwrap()
            .as_int(),
        Some(0)
    );
    assert_eq!(
        ask(&link, &["PUBLISH", "kept", "x"])
            .await
            .unwrap()
            .as_int(),
        Some(1)
    );
}

#[tokio::test]
async fn fault_half_open_push_connection_is_noticed() {
    let server = redis().await;
    let proxy = Proxy::start(server.addr()).await.unwrap();
    let sink = Recorder::new();
    let mut config = config(proxy.addr().port());
    config.ping_interval = Some(millis(200));
    config.ping_timeout = millis(200);
    let link = Link::open(config, Some(sink.clone())).unwrap();
    link.subscribe(SubscriptionKind::Channel, name("c"))
        .await
        .unwrap();
    proxy.swallow(Direction::Both);
    sink.wait(|seen| seen.iter().any(|s| matches!(s, Seen::Interrupted(_))))
        .await;
    proxy.heal().await.unwrap();
    sink.wait_restored().await;
    assert_eq!(
        persist(&link, &["PUBLISH", "c", "x"]).await.as_int(),
        Some(1)
    );
    sink.wait_payload(b"x").await;
}

#[tokio::test]
async fn a_sink_that_panics_costs_only_its_own_message() {
    struct Fragile(std::sync::Arc<Recorder>);
    impl PushSink for Fragile {
        fn message(&self, message: quorate_link::PushMessage) {
            assert_ne!(message.payload, "poison");
            self.0.message(message);
        }
        fn interrupted(&self, epoch: u64, reason: &str) {
            self.0.interrupted(epoch, reason);
        }
        fn restored(&self, epoch: u64) {
            self.0.restored(epoch);
        }
    }
    let server = redis().await;
    let sink = Recorder::new();
    let fragile = std::sync::Arc::new(Fragile(sink.clone()));
    let link = Link::open(config(server.port()), Some(fragile)).unwrap();
    link.subscribe(SubscriptionKind::Channel, name("c"))
        .await
        .unwrap();
    for payload in ["before", "poison", "after"] {
        ask(&link, &["PUBLISH", "c", payload]).await.unwrap();
    }
    sink.wait_payload(b"after").await;
    assert_eq!(sink.payloads(), ["before", "after"]);
    assert_eq!(link.stats().reconnects(), 0);
}
