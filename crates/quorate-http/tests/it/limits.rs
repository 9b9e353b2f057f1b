//! What a client may do, what it costs, and what can be seen of it.

use std::time::Duration;

use quorate::Keep;
use quorate_http::{HubBuilder, Overflow};
use serde_json::json;
use tokio::time::timeout;

use crate::support::{PATIENCE, Served};

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let reached = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, reached).await.expect(what);
}

/// Subscriptions of the fleet to `news`, and how many share each.
fn subscriptions(served: &Served) -> Vec<usize> {
    let all = served.fleet.subscriptions().into_iter();
    let news = all.filter(|(target, _)| target.name().ends_with(":news"));
    news.map(|(_, sharing)| sharing).collect()
}

#[tokio::test]
async fn one_subscription_of_the_instance_serves_all_clients_and_ends_with_the_last() {
    let served = Served::start(|hub| hub).await;
    let mut clients = Vec::new();
    for _ in 0..600 {
        // More than are served in one go.
        clients.push(served.connect().await);
    }
    let subscribing = clients.iter_mut().map(|client| client.subscribe("news"));
    futures_util::future::join_all(subscribing).await;
    assert_eq!(subscriptions(&served), [1]);
    served.publish("news", json!(1)).await;
    for client in &mut clients {
        assert_eq!(client.event().await["data"], 1);
    }
    let stats = served.hub.stats();
    assert_eq!((stats.clients, stats.subscriptions), (600, 600));
    assert_eq!(
        (stats.topics[0].clients, stats.topics[0].messages),
        (600, 1)
    );
    assert!(stats.topics[0].rate > 0.0);
    clients.truncate(1);
    served.clients(1).await;
    served.publish("news", json!(2)).await;
    assert_eq!(clients[0].event().await["data"], 2);
    clients.clear();
    until("the subscription ended", || {
        subscriptions(&served).is_empty()
    })
    .await;
    assert!(served.hub.stats().topics.is_empty());
}

#[tokio::test]
async fn coming_and_going_never_loses_a_subscription() {
    // Defect 4 of the register: unsubscribe, subscribe again, and nothing ever came.
    let served = Served::start(|hub| hub.message_rate(10_000, 10_000)).await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(served.connect().await);
    }
    let churn = clients.iter_mut().enumerate().map(async |(own, client)| {
        for round in 0..50 {
            client.subscribe("news").await;
            // Whoever was told that it is subscribed gets what is published after that.
            let mark = json!([own, round]);
            served.publish("news", mark.clone()).await;
            while client.event().await["data"] != mark {}
            client
                .send(json!({"id": "out", "unsubscribe": "news"}))
                .await;
            while client.event().await["id"] != "out" {}
        }
    });
    timeout(PATIENCE, futures_util::future::join_all(churn))
        .await
        .expect("every message came");
    until("the subscription ended", || {
        subscriptions(&served).is_empty()
    })
    .await;
}

#[tokio::test]
async fn a_client_that_says_too_much_is_refused_and_then_sent_away() {
    let served = Served::start(|hub| hub.message_rate(1, 3)).await;
    let mut client = served.connect().await;
    for n in 0..4 {
        client.send(json!({"id": n, "unsubscribe": "never"})).await;
    }
    for _ in 0..3 {
        assert_eq!(client.event().await["error"]["code"], "NOT_FOUND");
    }
    let refused = client.event().await;
    assert_eq!(refused["id"], 3);
    let error = &refused["error"];
    assert_eq!(
        (&error["code"], &error["retryable"]),
        (&json!("RESOURCE_EXHAUSTED"), &json!(true))
    );
    let wait = error["retry_after_ms"].as_u64().unwrap();
    assert!((1..=1000).contains(&wait), "{error}");
    let close = loop {
        client.send(json!({"ping": true})).await;
        match client.next_or_close().await {
            Ok(frame) if frame["event"] == "closing" => assert_eq!(frame["reason"], "rate"),
            Ok(_) => {}
            Err(close) => break close,
        }
    };
    assert_eq!(u16::from(close.unwrap().code), 1008);
}

#[tokio::test]
async fn a_slow_client_is_sent_away_if_that_is_the_policy() {
    let served = Served::start(|hub| hub.buffer(4).overflow(Overflow::Disconnect)).await;
    let mut slow = served.connect().await;
    slow.subscribe("big").await;
    let filling = json!("x".repeat(512 * 1024));
    // Ends only when it was: nothing else makes the number of clients fall.
    while served.hub.clients() > 0 {
        served.publish("big", filling.clone()).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let close = loop {
        if let Err(close) = slow.next_or_close().await {
            break close;
        }
    };
    // What was on its way comes first. It took nothing while the farewell was said, which may be lost.
    if let Some(close) = close {
        assert_eq!(u16::from(close.code), 1013);
    }
}

#[tokio::test]
async fn times_that_are_too_long_to_reckon_with_are_taken_as_long_ones() {
    let forever = Duration::MAX;
    let configure = |hub: HubBuilder| {
        let hub = hub.heartbeat(forever).idle_timeout(forever);
        let hub = hub.send_timeout(forever).drain_timeout(forever);
        hub.authenticate_within(forever).reconnect_spread(forever)
    };
    let served = Served::start(configure).await;
    let mut client = served.connect().await;
    client.subscribe("news").await;
    served.publish("news", json!(1)).await;
    assert_eq!(client.event().await["data"], 1);
    let farewell = async {
        assert_eq!(client.event().await["reason"], "restarting");
        assert!(client.next_or_close().await.is_err());
    };
    let drained = futures_util::future::join(served.hub.drain(), farewell);
    timeout(PATIENCE, drained).await.expect("drained");
}

#[tokio::test]
async fn a_client_can_be_looked_at() {
    let keep = Keep {
        time: Duration::from_secs(60),
        messages: 10,
        bytes: 1 << 20,
    };
    let served = Served::start(|hub| hub.keep("room", keep).unwrap()).await;
    let mut client = served.connect().await;
    let id = client.next().await["client"].as_str().unwrap().to_owned();
    client.subscribe("news").await;
    client.send(json!({"id": 1, "subscribe": "room"})).await;
    let position = client.event().await["position"].clone();
    let seen = served.hub.client(&id).unwrap();
    assert_eq!((seen.transport, seen.backlog, seen.dropped), ("ws", 0, 0));
    let seen = serde_json::to_value(&seen.subscriptions).unwrap();
    assert_eq!(
        seen,
        json!([
            {"topic": "news", "position": null, "backlog": 0, "catching_up": false},
            {"topic": "room", "position": position, "backlog": 0, "catching_up": false},
        ])
    );
    assert_eq!(served.hub.client_list(10).len(), 1);
    assert!(served.hub.client("c-nobody").is_none());
    drop(client);
    served.clients(0).await;
    until("it is forgotten", || served.hub.client(&id).is_none()).await;
}
