//! Server-Sent Events.

use std::time::Duration;

use quorate::{Codec, Keep, TopicSpec};
use serde_json::json;

use crate::support::Served;

#[tokio::test]
async fn messages_of_topics_and_patterns_arrive_once_per_subscription() {
    let served = Served::start(|hub| hub).await;
    let mut stream = served.get("/sse?topic=notes&topic=orders:*").await;
    assert_eq!(stream.status, 200);
    let hello = stream.event().await.unwrap();
    assert!(
        hello.iter().any(|line| line.starts_with("retry: ")),
        "{hello:?}"
    );

    served.publish("orders:42", json!({"n": 1})).await;
    let (event, data) = stream.named().await;
    assert_eq!(event, "message");
    assert_eq!(data["subscription"], "orders:*");
    assert_eq!(data["topic"], "orders:42");
    assert_eq!(data["data"], json!({"n": 1}));
    assert_eq!(data["content_type"], "application/json");
    served.publish("elsewhere", json!(0)).await;
    served.publish("notes", json!("x")).await;
    let (_, data) = stream.named().await;
    assert_eq!(data["subscription"], "notes");
    assert_eq!(data["data"], "x");
    assert!(
        data["id"].is_string() && data["timestamp"].is_string(),
        "{data}"
    );
}

#[tokio::test]
async fn what_cannot_be_read_is_told() {
    let served = Served::start(|hub| hub).await;
    let mut stream = served.get("/sse?topic=notes").await;
    let channel = served.fleet.channel("events:notes").unwrap();
    channel.publish("not an envelope").await.unwrap();
    let (event, data) = stream.named().await;
    assert_eq!(event, "undecodable");
    assert_eq!(data["topic"], "notes");
    assert!(data["error"].is_string(), "{data}");
}

#[tokio::test]
async fn a_client_slower_than_its_messages_is_told_how_many_it_missed() {
    let served = Served::start(|hub| hub.buffer(3)).await;
    let mut stream = served.get("/sse?topic=notes").await;
    for n in 0..10 {
        served.publish("notes", json!(n)).await;
    }
    let (event, data) = stream.named().await;
    assert_eq!(event, "gap");
    assert_eq!(
        data,
        json!({"event": "gap", "topic": "notes", "reason": "buffer_full", "missed": 7})
    );
    for n in 7..10 {
        assert_eq!(stream.named().await.1["data"], n);
    }
}

#[tokio::test]
async fn an_idle_stream_shows_that_it_lives() {
    let served = Served::start(|hub| hub.heartbeat(Duration::from_millis(20))).await;
    let mut stream = served.get("/sse?topic=notes").await;
    stream.event().await.unwrap();
    let beat = stream.event().await.unwrap();
    assert!(beat[0].starts_with(':'), "{beat:?}");
}

#[tokio::test]
async fn a_drain_ends_every_stream_and_spreads_the_return() {
    let served = Served::start(|hub| hub).await;
    let mut delays = Vec::new();
    let mut streams = Vec::new();
    for _ in 0..8 {
        let mut stream = served.get("/sse?topic=notes").await;
        stream.event().await.unwrap();
        streams.push(stream);
    }
    let hub = served.hub.clone();
    let drained = async {
        hub.drain().await;
    };
    let read = async {
        for mut stream in streams {
            let farewell = stream.event().await.unwrap();
            let retry = farewell
                .iter()
                .find_map(|line| line.strip_prefix("retry: "));
            delays.push(retry.expect("when to come back").parse::<u64>().unwrap());
            assert!(stream.event().await.is_none());
        }
    };
    tokio::join!(drained, read);
    delays.dedup();
    assert!(delays.len() > 1, "all at once: {delays:?}");
    assert_eq!(served.hub.clients(), 0);
    let refused = served.get("/sse?topic=notes").await;
    assert_eq!(refused.status, 503);
    assert_eq!(refused.json().await["code"], "UNAVAILABLE");
}

#[tokio::test]
async fn a_closed_fleet_ends_its_streams() {
    let served = Served::start(|hub| hub).await;
    let mut stream = served.get("/sse?topic=notes").await;
    stream.event().await.unwrap();
    served.fleet.close().await;
    let farewell = stream.event().await.unwrap();
    assert!(
        farewell.iter().any(|line| line.starts_with("retry: ")),
        "{farewell:?}"
    );
    assert!(stream.event().await.is_none());
    assert_eq!(served.get("/sse?topic=notes").await.status, 503);
}

#[tokio::test]
async fn wrong_requests_are_refused_with_the_rule() {
    let served = Served::start(|hub| hub.max_subscriptions(2).max_clients(1)).await;
    for (path, status, says) in [
        ("/sse", 400, "from 1 to 2"),
        ("/sse?topic=a&topic=b&topic=c", 400, "from 1 to 2"),
        ("/sse?topic=a%20b", 400, "may contain"),
        ("/sse?topic=", 400, "empty"),
        ("/sse?topic=__x", 400, "reserved"),
        ("/sse?colour=red", 400, "colour"),
        ("/ws", 400, "onnection"),
    ] {
        let answer = served.get(path).await;
        assert_eq!(answer.status, status, "{path}");
        let problem = answer.json().await;
        assert_eq!(problem["code"], "INVALID_ARGUMENT", "{path}");
        assert!(
            problem["detail"].as_str().unwrap().contains(says),
            "{problem}"
        );
    }
    let _one = served.get("/sse?topic=a").await;
    let full = served.get("/sse?topic=a").await;
    assert_eq!(full.status, 503);
    assert_eq!(full.json().await["code"], "RESOURCE_EXHAUSTED");
}

#[tokio::test]
async fn the_id_of_an_event_is_where_a_stream_goes_on() {
    let keep = Keep {
        time: Duration::from_secs(600),
        messages: 100,
        bytes: 1 << 20,
    };
    let served = Served::start(|hub| hub.keep("room", keep).unwrap()).await;
    let spec = TopicSpec::try_with_codec("room", Codec::<u64>::json()).unwrap();
    let room = served.fleet.topic(&spec.try_keep(keep).unwrap());
    let id = |event: &[String]| {
        let id = event.iter().find_map(|line| line.strip_prefix("id: "));
        id.expect("an id").to_owned()
    };
    let data = |event: &[String]| {
        let data = event.iter().find_map(|line| line.strip_prefix("data: "));
        serde_json::from_str::<serde_json::Value>(data.unwrap()).unwrap()
    };
    let path = "/sse?topic=notes&topic=room";
    let mut stream = served.get(path).await;
    let begin = id(&stream.event().await.unwrap());
    assert!(begin.starts_with("-,"), "{begin}");
    drop(stream);
    for n in 1..=3 {
        room.publish(&n).await.unwrap();
    }
    // Nothing was seen but the greeting: all of it comes, and the id of each says what follows.
    let mut stream = served.get_after(path, &begin).await;
    assert_eq!(id(&stream.event().await.unwrap()), begin);
    let first = stream.event().await.unwrap();
    assert_eq!(data(&first)["data"], 1);
    let mut stream = served.get_after(path, &id(&first)).await;
    stream.event().await.unwrap();
    for n in 2..=3 {
        assert_eq!(stream.named().await.1["data"], n);
    }
    served.publish("notes", json!("x")).await;
    let note = stream.event().await.unwrap();
    assert_eq!(data(&note)["data"], "x");
    // One topic: its position alone, also in the query.
    let last = id(&note).split_once(',').unwrap().1.to_owned();
    room.publish(&4).await.unwrap();
    let mut stream = served
        .get(&format!("/sse?topic=room&last_event_id={last}"))
        .await;
    assert_eq!(id(&stream.event().await.unwrap()), last);
    let fourth = stream.event().await.unwrap();
    assert_eq!(
        (data(&fourth)["data"].clone(), id(&fourth)),
        (
            json!(4),
            data(&fourth)["position"].as_str().unwrap().to_owned()
        )
    );
    // A history that is not there.
    let mut stream = served.get_after("/sse?topic=room", "7-3-00000009").await;
    stream.event().await.unwrap();
    let (event, gap) = stream.named().await;
    assert_eq!((event.as_str(), &gap["reason"]), ("gap", &json!("history")));
}
