//! Declared events over real sockets, between two instances.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use quorate::{Codec, Fleet, TopicSpec};
use quorate_http::{ClientInfo, Denied, EventSpec, HubBuilder};
use serde::de::Deserializer;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::declared::Instance;

#[derive(Serialize, Deserialize)]
struct JobParams {
    job: Job,
    scale: f64,
}

#[derive(Serialize, Deserialize)]
struct Job {
    id: u64,
    zone: String,
}

fn job(id: u64) -> JobParams {
    let zone = "eu".to_owned();
    JobParams {
        job: Job { id, zone },
        scale: 1.0,
    }
}

#[derive(Serialize, Deserialize)]
struct Progress {
    percent: u8,
}

const PROGRESS: EventSpec<JobParams, Progress> =
    EventSpec::new("progress").validate(|progress: &Progress| {
        if progress.percent <= 100 {
            Ok(())
        } else {
            Err("percent must be at most 100".to_owned())
        }
    });
const NEWS: EventSpec<(), String> = EventSpec::new("news").codec(Codec::text());
const ROOM: EventSpec<String, String> = EventSpec::new("room").validate(|text: &String| {
    if text.is_empty() {
        Err("text must not be empty".to_owned())
    } else {
        Ok(())
    }
});

fn declare(hub: HubBuilder) -> HubBuilder {
    let lobby_only = async |_: ClientInfo, room: String| match room.as_str() {
        "lobby" => Ok(()),
        "bomb" => panic!("insides"),
        _ => Err(Denied::permission("only in the lobby")),
    };
    hub.event(&PROGRESS)
        .event(&NEWS)
        .event(ROOM.declare().allow_publish(lobby_only))
}

/// Defect 11 of the register: nested parameters were one for all.
#[tokio::test]
async fn defect_11_parameters_match_at_every_depth_however_they_are_spelled() {
    let (a, b) = Instance::pair(declare).await;
    let mut client = a.connect().await;
    client
        .send_text(
            r#"{"id":"q","subscribe":"progress",
                "params":{"scale":1,"job":{"zone":"eu","id":7}}}"#,
        )
        .await;
    let topic = r#"progress:{"job":{"id":7,"zone":"eu"},"scale":1}"#;
    assert_eq!(
        client.event().await,
        json!({"id": "q", "ok": true, "topic": topic})
    );
    for (id, percent) in [(8, 1), (7, 2), (9, 3), (7, 4)] {
        let progress = Progress { percent };
        b.hub.emit(&PROGRESS, &job(id), &progress).await.unwrap();
    }
    assert_eq!(client.event().await["data"]["percent"], 2);
    let frame = client.event().await;
    assert_eq!(frame["data"]["percent"], 4);
    assert_eq!(
        (&frame["subscription"], &frame["topic"]),
        (&json!(topic), &json!(topic))
    );
    // Spelled as it comes, it is the same subscription.
    let spelled = json!({"job": {"id": 7, "zone": "eu"}, "scale": 1.0});
    let left = client
        .ask(json!({"unsubscribe": "progress", "params": spelled}))
        .await;
    assert_eq!(left["topic"], topic);
    client.is_open().await;
}

#[tokio::test]
async fn what_is_not_declared_or_has_other_parameters_is_refused() {
    let (a, _b) = Instance::pair(declare).await;
    let mut client = a.connect().await;
    for (frame, code, says) in [
        (json!({"subscribe": "nothing"}), "NOT_FOUND", "nothing"),
        (json!({"subscribe": "progress*"}), "NOT_FOUND", "progress*"),
        (
            json!({"subscribe": "progress"}),
            "INVALID_ARGUMENT",
            "params",
        ),
        (
            json!({"subscribe": "news", "params": 1}),
            "INVALID_ARGUMENT",
            "params",
        ),
        (
            json!({"subscribe": "progress", "params": {"job": {"id": "7"}, "scale": 1}}),
            "INVALID_ARGUMENT",
            "params.job.id: ",
        ),
        (
            json!({"subscribe": "progress",
                   "params": {"job": {"id": 7.5, "zone": "eu"}, "scale": 1}}),
            "INVALID_ARGUMENT",
            "params.job.id: ",
        ),
        (
            json!({"subscribe": "room", "params": "x".repeat(257)}),
            "INVALID_ARGUMENT",
            "256 bytes",
        ),
    ] {
        let answer = client.ask(frame).await;
        assert_eq!(answer["error"]["code"], code, "{answer}");
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains(says), "{answer}");
    }
    client.is_open().await;
}

#[tokio::test]
async fn an_invalid_emit_publishes_nothing_and_a_malformed_message_is_not_sent_on() {
    let (a, b) = Instance::pair(declare).await;
    let mut client = a.connect().await;
    let params = serde_json::to_value(job(7)).unwrap();
    let topic = client.join("progress", params).await;
    let refused = b
        .hub
        .emit(&PROGRESS, &job(7), &Progress { percent: 101 })
        .await;
    assert!(refused.unwrap_err().to_string().contains("percent must be"));
    let stranger = b.hub.fleet().topic(&TopicSpec::<Value>::new("progress"));
    let stranger = stranger
        .key(topic.strip_prefix("progress:").unwrap())
        .unwrap();
    for data in [json!("?"), json!({"percent": 101}), json!({"percent": -1})] {
        stranger.publish(&data).await.unwrap();
    }
    b.hub
        .emit(&PROGRESS, &job(7), &Progress { percent: 5 })
        .await
        .unwrap();
    assert_eq!(client.event().await["data"], json!({"percent": 5}));
}

#[tokio::test]
async fn a_client_publishes_only_where_a_hook_allows_it_and_only_what_is_valid() {
    let (a, b) = Instance::pair(declare).await;
    let (mut ada, mut eve) = (a.connect().await, b.connect().await);
    for client in [&mut ada, &mut eve] {
        client.join("room", json!("lobby")).await;
    }
    for (frame, code) in [
        (json!({"publish": "news", "data": "x"}), "PERMISSION_DENIED"),
        (json!({"publish": "nothing", "data": "x"}), "NOT_FOUND"),
        (
            json!({"publish": "room", "params": "attic", "data": "x"}),
            "PERMISSION_DENIED",
        ),
        (
            json!({"publish": "room", "params": 7, "data": "x"}),
            "INVALID_ARGUMENT",
        ),
        (
            json!({"publish": "room", "params": "bomb", "data": "x"}),
            "INTERNAL",
        ),
        (
            json!({"publish": "room", "params": "lobby", "data": 7}),
            "INVALID_ARGUMENT",
        ),
        (
            json!({"publish": "room", "params": "lobby", "data": ""}),
            "INVALID_ARGUMENT",
        ),
        (
            json!({"publish": "room", "params": "lobby", "data": "x", "event_type": "__x"}),
            "INVALID_ARGUMENT",
        ),
    ] {
        assert_eq!(ada.refused(frame.clone()).await, code, "{frame}");
    }
    let said = json!({"publish": "room", "params": "lobby", "data": "one", "event_type": "said"});
    ada.send(said).await;
    // The message and the answer race, and both come.
    let frames = [ada.event().await, ada.event().await];
    let is_answer = |frame: &&Value| frame["ok"] == true;
    assert_eq!(
        frames.iter().find(is_answer).unwrap()["topic"],
        "room:lobby"
    );
    let message = frames.iter().find(|frame| !is_answer(frame)).unwrap();
    assert_eq!(
        (&message["data"], &message["type"]),
        (&json!("one"), &json!("said"))
    );
    let quiet = json!({"publish": "room", "params": "lobby", "data": "two", "echo": false});
    let answer = ada.ask(quiet).await;
    assert_eq!(answer, json!({"ok": true, "topic": "room:lobby"}));
    let first = eve.event().await;
    assert_eq!(first["data"], "one");
    assert!(
        first["source"].as_str().unwrap().starts_with("c-"),
        "{first}"
    );
    assert_eq!(eve.event().await["data"], "two");
    b.hub
        .emit(&ROOM, &"lobby".to_owned(), &"three".to_owned())
        .await
        .unwrap();
    assert_eq!(ada.event().await["data"], "three", "not its own");
}

static DECODED: AtomicUsize = AtomicUsize::new(0);

struct Counted(u32);

impl Serialize for Counted {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(self.0)
    }
}

impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        DECODED.fetch_add(1, Ordering::SeqCst);
        u32::deserialize(deserializer).map(Self)
    }
}

#[tokio::test]
async fn a_message_is_decoded_once_and_only_where_clients_want_it() {
    const COUNTED: EventSpec<(), Counted> = EventSpec::new("counted");
    let (a, b) = Instance::pair(|hub| hub.event(&COUNTED).event(&NEWS)).await;
    let mut clients = [a.connect().await, a.connect().await, a.connect().await];
    for client in &mut clients {
        client.join("counted", Value::Null).await;
    }
    // The other instance has a client too, with other interests.
    let mut elsewhere = b.connect().await;
    elsewhere.join("news", Value::Null).await;
    for number in 0..10 {
        b.hub.emit(&COUNTED, &(), &Counted(number)).await.unwrap();
    }
    for client in &mut clients {
        for number in 0..10 {
            assert_eq!(client.event().await["data"], number);
        }
    }
    assert_eq!(DECODED.load(Ordering::SeqCst), 10);
    elsewhere.is_open().await;
}

#[tokio::test]
async fn declared_events_are_streamed_too() {
    let (a, b) = Instance::pair(declare).await;
    let mut stream = crate::support::get(&a.hub, "/sse?topic=news&topic=room:4:2", "").await;
    assert_eq!(stream.status, 200);
    NEWS.emit(b.hub.fleet(), &(), &"extra".to_owned())
        .await
        .unwrap();
    let (name, frame) = stream.named().await;
    assert_eq!(
        (name.as_str(), &frame["data"]),
        ("message", &json!("extra"))
    );
    b.hub
        .emit(&ROOM, &"4:2".to_owned(), &"hello".to_owned())
        .await
        .unwrap();
    assert_eq!(stream.named().await.1["topic"], "room:4:2");
    let keyed = r#"/sse?topic=progress:{"scale":1.0,"job":{"zone":"eu","id":7}}"#;
    let keyed = keyed
        .replace('"', "%22")
        .replace('{', "%7B")
        .replace('}', "%7D");
    let mut stream = crate::support::get(&a.hub, &keyed, "").await;
    assert_eq!(stream.status, 200);
    b.hub
        .emit(&PROGRESS, &job(7), &Progress { percent: 1 })
        .await
        .unwrap();
    assert_eq!(stream.named().await.1["data"]["percent"], 1);
    for (path, status) in [("/sse?topic=nothing", 404), ("/sse?topic=progress:x", 400)] {
        assert_eq!(
            crate::support::get(&a.hub, path, "").await.status,
            status,
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_kept_event_is_caught_up_completely() {
    const LOG: EventSpec<u8, String> = EventSpec::new("log")
        .keep(Duration::from_secs(60), 100, 1 << 20)
        .codec(Codec::text());
    let (a, b) = Instance::pair(|hub| hub.event(&LOG)).await;
    let mut client = a.connect().await;
    let first = client.ask(json!({"subscribe": "log", "params": 1})).await;
    let start = first["position"].clone();
    assert!(start.is_string(), "{first}");
    drop(client);
    for number in 0..5 {
        a.hub.emit(&LOG, &1, &number.to_string()).await.unwrap();
    }
    // At another instance, which has heard of none of them.
    let mut client = b.connect().await;
    let back = client
        .ask(json!({"subscribe": "log", "params": 1, "after": start}))
        .await;
    assert_eq!(back["recovered"], true, "{back}");
    a.hub.emit(&LOG, &1, &"5".to_owned()).await.unwrap();
    for number in 0..=5 {
        assert_eq!(client.event().await["data"], number.to_string());
    }
    let page = client
        .ask(json!({"history": "log", "params": 1, "limit": 2}))
        .await;
    let kept = page["messages"].as_array().unwrap();
    assert_eq!(
        (&kept[0]["data"], &kept[1]["data"]),
        (&json!("4"), &json!("5"))
    );
    let none = client
        .refused(json!({"history": "log", "params": "x"}))
        .await;
    assert_eq!(none, "INVALID_ARGUMENT");
}

#[test]
fn two_events_that_share_topics_are_not_taken() {
    const TYPING: EventSpec<u8, u8> = EventSpec::new("room:typing");
    for twice in [
        quorate_http::Hub::builder(Fleet::embedded())
            .event(&ROOM)
            .event(&TYPING),
        quorate_http::Hub::builder(Fleet::embedded())
            .event(&ROOM)
            .event(&ROOM),
    ] {
        let error = twice.build().unwrap_err().to_string();
        assert!(error.contains("event `room"), "{error}");
    }
}
