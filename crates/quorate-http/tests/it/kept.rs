//! Kept topics: who comes back is caught up, completely or told of the gap.

use std::time::Duration;

use quorate::events::Channel;
use quorate::history::Append;
use quorate::{CallOptions, Codec, Fleet, Keep, Key, Position, TopicSpec};
use quorate_http::HubBuilder;
use serde_json::{Value, json};

use crate::support::{Client, Served};

/// Kept generously: nothing ends while a test runs.
const KEEP: Keep = Keep {
    time: Duration::from_secs(600),
    messages: 10_000,
    bytes: 64 * 1024 * 1024,
};

/// A hub on which `room` is kept.
async fn served(configure: impl FnOnce(HubBuilder) -> HubBuilder) -> Served {
    Served::start(|hub| configure(hub.keep("room", KEEP).unwrap())).await
}

/// Another instance of the same service.
async fn beside(served: &Served, configure: impl FnOnce(HubBuilder) -> HubBuilder) -> Served {
    let fleet = served.fleet.instance("other").await.unwrap();
    Served::on(fleet, |hub| configure(hub.keep("room", KEEP).unwrap())).await
}

async fn publish(fleet: &Fleet, keep: Keep, number: u64) -> Position {
    let spec = TopicSpec::try_with_codec("room", Codec::<u64>::json()).unwrap();
    let topic = fleet
        .topic(&spec.try_keep(keep).unwrap())
        .key("42")
        .unwrap();
    topic.publish(&number).await.unwrap().position.unwrap()
}

async fn publish_all(fleet: &Fleet, numbers: std::ops::RangeInclusive<u64>) -> Vec<Position> {
    let mut positions = Vec::new();
    for number in numbers {
        positions.push(publish(fleet, KEEP, number).await);
    }
    positions
}

async fn subscribe(client: &mut Client, options: Value) -> Value {
    let mut frame = json!({"id": 1, "subscribe": "room", "params": 42});
    for (name, value) in options.as_object().unwrap() {
        frame[name] = value.clone();
    }
    client.send(frame).await;
    client.event().await
}

/// The next messages, which must be these.
async fn expect(client: &mut Client, numbers: impl IntoIterator<Item = u64>) -> Value {
    let mut last = Value::Null;
    for number in numbers {
        let frame = client.event().await;
        assert_eq!(frame["event"], "message", "{frame}");
        assert_eq!(frame["data"], number, "{frame}");
        last = frame["position"].clone();
    }
    last
}

#[tokio::test]
async fn positions_tell_where_a_subscription_stands() {
    let served = served(|hub| hub).await;
    let positions = publish_all(&served.fleet, 1..=2).await;
    let mut client = served.connect().await;
    let answer = subscribe(&mut client, json!({})).await;
    assert_eq!(
        answer,
        json!({"id": 1, "ok": true, "topic": "room:42", "position": positions[1]})
    );
    let third = publish(&served.fleet, KEEP, 3).await;
    assert_eq!(expect(&mut client, [3]).await, json!(third));
    // Again to the same: nothing changes.
    let answer = subscribe(&mut client, json!({})).await;
    assert_eq!(answer["position"], json!(third));
    publish(&served.fleet, KEEP, 4).await;
    expect(&mut client, [4]).await;
}

/// Two parts of a client may share a subscription: neither misses something for what the other asks.
#[tokio::test]
async fn who_subscribes_again_goes_back_and_never_forward() {
    let served = served(|hub| hub.recover_from_memory(4, 1 << 20)).await;
    let positions = publish_all(&served.fleet, 1..=20).await;
    let mut client = served.connect().await;
    subscribe(&mut client, json!({})).await;
    // From memory and from the history.
    for seen in [18, 2] {
        let answer = subscribe(&mut client, json!({"after": positions[seen]})).await;
        assert_eq!(answer["recovered"], true, "{answer}");
        assert_eq!(answer["position"], json!(positions[seen]));
        let next = u64::try_from(seen).unwrap() + 2;
        expect(&mut client, next..=20).await;
    }
    let answer = subscribe(&mut client, json!({"recent": 3})).await;
    assert_eq!(answer.get("recovered"), None);
    expect(&mut client, 18..=20).await;
    // It is where it was asked to go, or that cannot be had: it goes on where it is.
    let answer = subscribe(&mut client, json!({"after": positions[19]})).await;
    assert_eq!(
        (&answer["recovered"], &answer["position"]),
        (&json!(true), &json!(positions[19]))
    );
    let answer = subscribe(&mut client, json!({"after": Position::new(7, 3, 9)})).await;
    assert_eq!(
        (&answer["recovered"], &answer["position"]),
        (&json!(false), &json!(positions[19]))
    );
    let gap = client.event().await;
    assert_eq!(
        (&gap["event"], &gap["position"]),
        (&json!("gap"), &json!(positions[19]))
    );
    publish(&served.fleet, KEEP, 21).await;
    expect(&mut client, [21]).await;
    client.send(json!({"ping": true})).await;
    assert_eq!(client.event().await, json!({"pong": true}));
}

#[tokio::test]
async fn who_comes_back_gets_what_it_missed_from_any_instance() {
    let first = served(|hub| hub).await;
    let second = beside(&first, |hub| hub).await;
    let positions = publish_all(&first.fleet, 1..=700).await;
    // More than a page of history, and more than waits for a client at once.
    for served in [&first, &second] {
        for seen in [0, 1, 350, 699] {
            let mut client = served.connect().await;
            let after = positions.get(seen).unwrap();
            let answer = subscribe(&mut client, json!({"after": after})).await;
            assert_eq!(answer["recovered"], true, "{answer}");
            assert_eq!(answer["position"], json!(after));
            let next = u64::try_from(seen).unwrap() + 2;
            expect(&mut client, next..=700).await;
            client.send(json!({"ping": true})).await;
            assert_eq!(client.event().await, json!({"pong": true}));
        }
    }
    let mut live = second.connect().await;
    subscribe(&mut live, json!({"after": positions[698]})).await;
    publish(&first.fleet, KEEP, 701).await;
    expect(&mut live, [700, 701]).await;
}

/// It has a place like any other message, in a room that is open already too.
#[tokio::test]
async fn what_cannot_be_read_does_not_hide_what_follows() {
    let served = served(|hub| hub).await;
    let first = publish(&served.fleet, KEEP, 1).await;
    let key = Key::new(served.fleet.namespace(), "room:42").unwrap();
    let channel = Channel {
        name: "nobody-listens".into(),
        sharded: false,
    };
    let foreign = Append::new(channel, vec![b'?'; 40].into(), [2; 16], KEEP);
    let options = CallOptions::until(tokio::time::Instant::now() + Duration::from_secs(10));
    let port = served.fleet.history_port();
    port.append(&key, foreign, options).await.unwrap();
    publish(&served.fleet, KEEP, 3).await;
    let mut live = served.connect().await;
    subscribe(&mut live, json!({})).await;
    for _ in 0..2 {
        let mut client = served.connect().await;
        subscribe(&mut client, json!({"after": first})).await;
        assert_eq!(client.event().await["event"], "undecodable");
        expect(&mut client, [3]).await;
    }
}

#[tokio::test]
async fn what_is_published_meanwhile_is_neither_skipped_nor_doubled() {
    const MESSAGES: u64 = 400;
    let first = served(|hub| hub.buffer(16)).await;
    let second = beside(&first, |hub| hub.buffer(16).recover_from_memory(8, 1 << 20)).await;
    let beginning = publish(&first.fleet, KEEP, 0).await;
    let publishing = async {
        for number in 1..=MESSAGES {
            publish(&first.fleet, KEEP, number).await;
            tokio::task::yield_now().await;
        }
    };
    let returning = async |served: &Served, patience: u64| {
        let mut after = json!(beginning);
        let mut next = 1;
        while next <= MESSAGES {
            let mut client = served.connect().await;
            let answer = subscribe(&mut client, json!({"after": after})).await;
            assert_eq!(answer["recovered"], true, "{answer}");
            // Leaves without a word after a few messages, which is as if its connection were cut.
            let until = (next + patience).min(MESSAGES);
            after = expect(&mut client, next..=until).await;
            next = until + 1;
        }
    };
    tokio::join!(
        publishing,
        returning(&first, 7),
        returning(&second, 7),
        returning(&second, 50),
        returning(&first, MESSAGES),
    );
}

#[tokio::test]
async fn what_is_no_longer_kept_is_a_gap_and_nothing_partial() {
    let keep = Keep {
        messages: 5,
        ..KEEP
    };
    let served = served(|hub| hub.recover_from_memory(2, 1 << 20)).await;
    let first = publish(&served.fleet, keep, 1).await;
    let mut last = first;
    for number in 2..=20 {
        last = publish(&served.fleet, keep, number).await;
    }
    let mut client = served.connect().await;
    let answer = subscribe(&mut client, json!({"after": first})).await;
    assert_eq!(answer["recovered"], false, "{answer}");
    assert_eq!(answer["position"], json!(last));
    let gap = client.event().await;
    assert_eq!(
        gap,
        json!({"event": "gap", "topic": "room:42", "reason": "history", "missed": 19, "position": last})
    );
    publish(&served.fleet, keep, 21).await;
    expect(&mut client, [21]).await;

    // A position of a history that never was, and one that names another message.
    for after in [
        Position::new(7, 3, 9),
        Position::new(last.epoch(), last.offset(), last.mark() ^ 1),
        Position::new(last.epoch(), last.offset() + 100, 5),
    ] {
        let mut client = served.connect().await;
        let answer = subscribe(&mut client, json!({"after": after})).await;
        assert_eq!(answer["recovered"], false, "{after}: {answer}");
        assert_eq!(client.event().await["reason"], "history");
        client.send(json!({"ping": true})).await;
        assert_eq!(client.event().await, json!({"pong": true}));
    }
}

#[tokio::test]
async fn a_slow_client_misses_nothing_of_a_kept_topic() {
    const MESSAGES: u64 = 300;
    let served = served(|hub| {
        hub.buffer(4)
            .recover_from_memory(16, 1 << 20)
            .send_timeout(Duration::from_secs(60))
    })
    .await;
    let spec = TopicSpec::try_with_codec("room", Codec::<Value>::json()).unwrap();
    let topic = served
        .fleet
        .topic(&spec.try_keep(KEEP).unwrap())
        .key("42")
        .unwrap();
    let mut slow = served.connect().await;
    subscribe(&mut slow, json!({})).await;
    slow.subscribe("other").await;
    let filling = "x".repeat(64 * 1024);
    for n in 0..MESSAGES {
        // More than the sockets between us hold. Nobody reads meanwhile.
        topic
            .publish(&json!({"n": n, "filling": filling}))
            .await
            .unwrap();
    }
    for n in 0..MESSAGES {
        let frame = slow.event().await;
        assert_eq!(
            (&frame["event"], &frame["data"]["n"]),
            (&json!("message"), &json!(n))
        );
    }
    served.publish("other", json!("still there")).await;
    assert_eq!(slow.event().await["data"], "still there");
}

/// The bound in bytes is reached long before the one in messages.
#[tokio::test]
async fn large_messages_are_caught_up_with_too() {
    let served = served(|hub| hub).await;
    let spec = TopicSpec::try_with_codec("room", Codec::<Value>::json()).unwrap();
    let topic = served.fleet.topic(&spec.try_keep(KEEP).unwrap());
    let topic = topic.key("42").unwrap();
    let filling = "x".repeat(15_000);
    for n in 0..200 {
        let data = json!({"n": n, "filling": filling});
        topic.publish(&data).await.unwrap();
    }
    let mut client = served.connect().await;
    subscribe(&mut client, json!({"recent": 200})).await;
    for n in 0..200 {
        assert_eq!(client.event().await["data"]["n"], n);
    }
}

/// A name may have colons: however a topic is spelled, it is the kept one.
#[tokio::test]
async fn a_kept_topic_has_one_history_however_it_is_spelled() {
    let served = Served::start(|hub| hub.keep("chat:room", KEEP).unwrap()).await;
    for frame in [
        json!({"id": 1, "subscribe": "chat:room:42"}),
        json!({"id": 1, "subscribe": "chat:room", "params": 42}),
    ] {
        let mut client = served.connect().await;
        client.send(frame).await;
        let answer = client.event().await;
        assert_eq!(answer["topic"], "chat:room:42");
        assert!(answer["position"].is_string(), "{answer}");
    }
}

#[tokio::test]
async fn the_latest_come_first_if_asked_for() {
    let served = served(|hub| hub.buffer(16)).await;
    publish_all(&served.fleet, 1..=100).await;
    for (recent, first) in [(1, 100), (40, 61), (1000, 1)] {
        let mut client = served.connect().await;
        let answer = subscribe(&mut client, json!({"recent": recent})).await;
        assert_eq!(answer.get("recovered"), None);
        expect(&mut client, first..=100).await;
        client.send(json!({"ping": true})).await;
        assert_eq!(client.event().await, json!({"pong": true}));
    }
}

#[tokio::test]
async fn the_history_is_read_page_by_page() {
    let served = served(|hub| hub).await;
    let positions = publish_all(&served.fleet, 1..=10).await;
    let mut client = served.connect().await;
    client
        .send(json!({"id": 1, "history": "room", "params": 42, "limit": 3}))
        .await;
    let latest = client.event().await;
    let data = |answer: &Value| -> Vec<u64> {
        let messages = answer["messages"].as_array().unwrap().iter();
        messages
            .map(|message| message["data"].as_u64().unwrap())
            .collect()
    };
    assert_eq!(data(&latest), [8, 9, 10]);
    assert_eq!(latest["topic"], "room:42");
    assert_eq!(
        (&latest["complete"], &latest["position"]),
        (&json!(true), &json!(positions[9]))
    );
    assert_eq!(latest["messages"][0]["position"], json!(positions[7]));

    let mut after = json!(positions[0]);
    let mut seen = Vec::new();
    loop {
        client
            .send(json!({"id": 2, "history": "room", "params": 42, "after": after, "limit": 4}))
            .await;
        let answer = client.event().await;
        seen.extend(data(&answer));
        after = answer["position"].clone();
        if answer["complete"] == true {
            break;
        }
    }
    assert_eq!(seen, (2..=10).collect::<Vec<_>>());
    client
        .send(json!({"id": 3, "history": "room", "params": 42, "after": Position::new(7, 3, 9)}))
        .await;
    let answer = client.event().await;
    assert_eq!(answer["messages"], json!([]));
    assert_eq!(
        answer["gap"],
        json!({"missed": null, "position": positions[9]})
    );
}

#[tokio::test]
async fn wrong_positions_and_topics_are_refused() {
    let served = served(|hub| hub).await;
    let mut client = served.connect().await;
    for (frame, code, says) in [
        (
            json!({"subscribe": "room", "after": "x"}),
            "INVALID_ARGUMENT",
            "after must be",
        ),
        (
            json!({"subscribe": "room", "recent": 1001}),
            "INVALID_ARGUMENT",
            "recent must be",
        ),
        (
            json!({"history": "room", "limit": 1001}),
            "INVALID_ARGUMENT",
            "limit must be",
        ),
        (json!({"history": "other"}), "UNIMPLEMENTED", "kept"),
        (json!({"history": "room:*"}), "UNIMPLEMENTED", "kept"),
    ] {
        client.send(frame.clone()).await;
        let answer = client.event().await;
        assert_eq!(answer["error"]["code"], code, "{frame}: {answer}");
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains(says), "{message}");
    }
    // A topic that is not kept: told so, and subscribed.
    client
        .send(json!({"subscribe": "other", "after": Position::new(7, 3, 9)}))
        .await;
    let answer = client.event().await;
    assert_eq!(
        answer,
        json!({"ok": true, "topic": "other", "recovered": false})
    );
    let gap = client.event().await;
    assert_eq!(
        gap,
        json!({"event": "gap", "topic": "other", "reason": "history", "missed": null})
    );
    served.publish("other", json!(1)).await;
    assert_eq!(client.event().await["data"], 1);
}
