//! WebSocket.

use std::time::Duration;

use futures_util::SinkExt;
use quorate::{Codec, TopicSpec};
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::support::Served;

#[tokio::test]
async fn a_client_subscribes_receives_and_unsubscribes() {
    let served = Served::start(|hub| hub).await;
    let mut client = served.connect().await;
    let hello = client.next().await;
    assert_eq!(
        (&hello["event"], &hello["protocol"]),
        (&json!("hello"), &json!(1))
    );
    let state = client.next().await;
    assert_eq!(
        (&state["event"], &state["state"]),
        (&json!("state"), &json!("ready"))
    );

    client.send(json!({"id": 1, "subscribe": "orders:*"})).await;
    assert_eq!(
        client.next().await,
        json!({"id": 1, "ok": true, "topic": "orders:*"})
    );
    served.publish("orders:42", json!({"n": 1})).await;
    let message = client.next().await;
    assert_eq!(message["event"], "message");
    assert_eq!(message["subscription"], "orders:*");
    assert_eq!(message["topic"], "orders:42");
    assert_eq!(message["data"], json!({"n": 1}));

    client.subscribe("other").await;
    client
        .send(json!({"id": 2, "unsubscribe": "orders:*"}))
        .await;
    assert_eq!(
        client.next().await,
        json!({"id": 2, "ok": true, "topic": "orders:*"})
    );
    served.publish("orders:42", json!({"n": 2})).await;
    served.publish("other", json!(3)).await;
    assert_eq!(client.next().await["data"], 3);
}

#[tokio::test]
async fn parameters_are_matched_exactly_at_every_depth() {
    let served = Served::start(|hub| hub).await;
    let mut client = served.connect().await;
    let subscribe = json!({"id": 1, "subscribe": "job", "params": {"job": {"b": 1, "a": 2}}});
    client.send(subscribe).await;
    let name = r#"job:{"job":{"a":2,"b":1}}"#;
    assert_eq!(
        client.event().await,
        json!({"id": 1, "ok": true, "topic": name})
    );
    for (params, n) in [
        (json!({"job": {"a": 1}}), 1),
        (json!({"job": {"a": 2, "b": 1}}), 2),
    ] {
        let path = quorate_http::TopicPath::with_params("job", &params).unwrap();
        let topic = path.topic(&served.fleet, Codec::bytes()).unwrap();
        let payload = n.to_string().into();
        topic
            .publish(&payload)
            .content_type("application/json")
            .await
            .unwrap();
    }
    assert_eq!(client.event().await["data"], 2);
    client
        .send(json!({"id": 2, "unsubscribe": "job", "params": {"job": {"a": 2, "b": 1}}}))
        .await;
    assert_eq!(client.event().await["ok"], true);
}

#[tokio::test]
async fn errors_name_what_is_wrong_and_leave_the_connection_open() {
    let served = Served::start(|hub| hub.max_subscriptions(1)).await;
    let mut client = served.connect().await;
    for (frame, code) in [
        (json!({"id": 1, "subscribe": "a b"}), "INVALID_ARGUMENT"),
        (json!({"id": 2, "subscribe": "__x"}), "INVALID_ARGUMENT"),
        (json!({"id": 3, "unsubscribe": "never"}), "NOT_FOUND"),
        (json!({"id": 4, "publish": "x"}), "INVALID_ARGUMENT"),
        (json!({"id": 5}), "INVALID_ARGUMENT"),
    ] {
        client.send(frame.clone()).await;
        let answer = client.event().await;
        assert_eq!(answer["id"], frame["id"]);
        assert_eq!(answer["error"]["code"], code, "{answer}");
        assert_eq!(answer["error"]["retryable"], false);
    }
    client.send(json!([1, "orders", null, null, null])).await;
    let answer = client.event().await;
    assert_eq!(answer["error"]["message"], "frame must be a JSON object");
    client.send_text("{").await;
    assert_eq!(client.event().await["error"]["code"], "INVALID_ARGUMENT");
    client.socket.send(Message::binary(vec![1])).await.unwrap();
    assert_eq!(client.event().await["error"]["code"], "INVALID_ARGUMENT");

    client.subscribe("one").await;
    client.subscribe("one").await;
    client.send(json!({"id": 6, "subscribe": "two"})).await;
    assert_eq!(client.event().await["error"]["code"], "RESOURCE_EXHAUSTED");
    client.send(json!({"ping": true})).await;
    assert_eq!(client.event().await, json!({"pong": true}));
}

#[tokio::test]
async fn a_slow_client_is_told_what_it_missed_and_delays_nobody() {
    const MESSAGES: u64 = 120;
    let patience = Duration::from_secs(60);
    let served = Served::start(|hub| hub.buffer(4).send_timeout(patience)).await;
    let mut slow = served.connect().await;
    slow.subscribe("big").await;
    let mut fast = served.connect().await;
    fast.subscribe("big").await;
    let filling = "x".repeat(128 * 1024);
    for n in 0..MESSAGES {
        // Far more than the sockets between us and the slow one hold. It does not read meanwhile.
        served
            .publish("big", json!({"n": n, "filling": filling}))
            .await;
        let message = fast.event().await;
        assert_eq!(
            (&message["event"], &message["data"]["n"]),
            (&json!("message"), &json!(n))
        );
    }
    let (mut received, mut missed, mut last) = (0, 0, None);
    while last != Some(MESSAGES - 1) {
        let frame = slow.event().await;
        match frame["event"].as_str() {
            Some("gap") => {
                assert_eq!(frame["reason"], "buffer_full");
                missed += frame["missed"].as_u64().unwrap();
            }
            _ => {
                received += 1;
                last = frame["data"]["n"].as_u64();
            }
        }
    }
    assert!(missed > 0, "it was not slow");
    assert_eq!(received + missed, MESSAGES);
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_disconnected() {
    let served = Served::start(|hub| hub.send_timeout(Duration::from_millis(50))).await;
    let mut silent = served.connect().await;
    silent.subscribe("big").await;
    let filling = json!("x".repeat(512 * 1024));
    // Ends only when it was: nothing else makes the number of clients fall.
    while served.hub.clients() > 0 {
        served.publish("big", filling.clone()).await;
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_client_without_a_sign_of_life_is_disconnected() {
    let served = Served::start(|hub| {
        hub.heartbeat(Duration::from_millis(10))
            .idle_timeout(Duration::from_millis(200))
    })
    .await;
    // Reads, and so answers pings, only when asked to.
    let dead = served.connect().await;
    served.clients(1).await;
    served.clients(0).await;
    // As bytes: the library would answer the pings first, to a connection that is closed by then.
    let mut farewell = Vec::new();
    let mut stream = dead.socket.into_inner();
    stream.read_to_end(&mut farewell).await.unwrap();
    let code = 1008_u16.to_be_bytes();
    assert!(
        farewell.windows(2).any(|bytes| bytes == code),
        "no reason given"
    );

    // One that answers stays, though it says nothing by itself.
    let mut alive = served.connect().await;
    let mut pings = 0;
    while pings < 40 {
        let frame = futures_util::StreamExt::next(&mut alive.socket)
            .await
            .unwrap();
        pings += u32::from(matches!(frame.unwrap(), Message::Ping(_)));
    }
    assert_eq!(served.hub.clients(), 1);
}

#[tokio::test]
async fn a_drain_sends_clients_away_and_says_when_to_come_back() {
    let served = Served::start(|hub| hub).await;
    let mut client = served.connect().await;
    client.subscribe("a").await;
    let hub = served.hub.clone();
    let (farewell, ()) = tokio::join!(
        async {
            let closing = client.event().await;
            let close = client.next_or_close().await.unwrap_err();
            (closing, close)
        },
        hub.drain()
    );
    let (closing, close) = farewell;
    assert_eq!(closing["event"], "closing");
    assert!(
        closing["retry_after_ms"].as_u64().unwrap() >= 200,
        "{closing}"
    );
    assert_eq!(u16::from(close.unwrap().code), 1012);
    served.clients(0).await;
    match served.connect_with(&[]).await.map(|_| ()) {
        Err(Error::Http(response)) => assert_eq!(response.status(), 503),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_closed_fleet_ends_its_clients() {
    let served = Served::start(|hub| hub).await;
    let mut client = served.connect().await;
    client.subscribe("a").await;
    served.fleet.close().await;
    let close = loop {
        if let Err(close) = client.next_or_close().await {
            break close;
        }
    };
    assert_eq!(u16::from(close.unwrap().code), 1012);
}

#[tokio::test]
async fn oversized_frames_close_the_connection() {
    let served = Served::start(|hub| hub.max_frame_bytes(256)).await;
    for length in [257, 1024 * 1024] {
        let mut client = served.connect().await;
        // The server may close before all of it is written.
        let _ = client.socket.send(Message::text("x".repeat(length))).await;
        let close = loop {
            if let Err(close) = client.next_or_close().await {
                break close;
            }
        };
        // A connection broken off while we were writing may swallow the farewell.
        match close {
            Some(close) => assert_eq!(u16::from(close.code), 1009),
            None => assert_ne!(length, 257),
        }
    }
    served.clients(0).await;
}

#[tokio::test]
async fn pages_of_other_origins_may_not_connect() {
    let served = Served::start(|hub| hub).await;
    let own = format!("http://{}", served.address);
    served.connect_with(&[("origin", &own)]).await.unwrap();
    match served
        .connect_with(&[("origin", "http://evil.example")])
        .await
        .map(|_| ())
    {
        Err(Error::Http(response)) => assert_eq!(response.status(), 403),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_subprotocol_is_agreed_on() {
    let served = Served::start(|hub| hub).await;
    let asked = [("sec-websocket-protocol", "quorate.v1")];
    let (_client, response) = served.connect_with(&asked).await.unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], "quorate.v1");
}

/// `room:*` is a pattern, and also the topic `room` with the key `*`.
#[tokio::test]
async fn a_pattern_and_a_topic_of_the_same_text_are_two_things() {
    let served = Served::start(|hub| hub).await;
    let mut both = served.connect().await;
    let mut topic = served.connect().await;
    let pattern = json!({"id": 1, "subscribe": "room:*"});
    let of_key = json!({"id": 2, "subscribe": "room", "params": "*"});
    for (client, frames) in [
        (&mut both, &[&pattern, &of_key][..]),
        (&mut topic, &[&of_key]),
    ] {
        for frame in frames {
            client.send((*frame).clone()).await;
            let answer = client.event().await;
            let expected = json!({"id": frame["id"], "ok": true, "topic": "room:*"});
            assert_eq!(answer, expected);
        }
    }
    let spec = TopicSpec::try_with_codec("room", Codec::<u64>::json()).unwrap();
    let room = served.fleet.topic(&spec);
    room.key("1").unwrap().publish(&1).await.unwrap();
    room.key("*").unwrap().publish(&2).await.unwrap();
    assert_eq!(topic.event().await["data"], 2);
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(both.event().await["data"].as_u64().unwrap());
    }
    seen.sort_unstable();
    assert_eq!(seen, [1, 2, 2]);
    both.send(json!({"id": 3, "unsubscribe": "room:*"})).await;
    assert_eq!(both.event().await["ok"], true);
    room.key("1").unwrap().publish(&3).await.unwrap();
    room.key("*").unwrap().publish(&4).await.unwrap();
    assert_eq!(both.event().await["data"], 4);
}
