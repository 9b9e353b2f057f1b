//! Requests over real sockets, between two instances.

use std::sync::Arc;
use std::time::Duration;

use quorate::Fleet;
use quorate_http::{Code, Cx, EventSpec, HandlerError, MessageRouter, MessageSpec};
use quorate_testing::harness::eventually;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::declared::Instance;

#[derive(Serialize, Deserialize)]
struct SendMessage {
    room: String,
    text: String,
}

#[derive(Serialize, Deserialize)]
struct Sent {
    length: usize,
}

const ROOM: EventSpec<String, String> = EventSpec::new("room");
const SEND: MessageSpec<SendMessage, Sent> =
    MessageSpec::new("message.send").validate(|message: &SendMessage| {
        if message.text.is_empty() {
            Err("text must not be empty".to_owned())
        } else {
            Ok(())
        }
    });
const ENTER: MessageSpec<String, ()> = MessageSpec::new("room.enter");
const LEAVE: MessageSpec<String, bool> = MessageSpec::new("room.leave");
const FAIL: MessageSpec<String, ()> = MessageSpec::new("fail");
const WAIT: MessageSpec<Value, Value> = MessageSpec::new("wait");
const BRIEF: MessageSpec<(), ()> = MessageSpec::new("brief").deadline(Duration::from_millis(50));
const COUNT: MessageSpec<u32, u32> = MessageSpec::new("count");

async fn send(cx: Cx, message: SendMessage) -> Result<Sent, HandlerError> {
    cx.publish(&ROOM, &message.room, &message.text)
        .but_self()
        .await?;
    let length = message.text.len();
    Ok(Sent { length })
}

fn chat() -> MessageRouter {
    MessageRouter::new()
        .on(&SEND, send)
        .on(&ENTER, async |cx: Cx, room: String| {
            cx.subscribe(&ROOM, &room).await
        })
        .on(&LEAVE, async |cx: Cx, room: String| {
            cx.unsubscribe(&ROOM, &room)
        })
        .on(&FAIL, async |_, how: String| match how.as_str() {
            "panic" => panic!("insides"),
            "error" => Err(std::io::Error::other("insides"))?,
            "busy" => Err(HandlerError::new(Code::Unavailable, "busy")
                .with_retry_after(Duration::from_millis(1_500))),
            _ => {
                Err(HandlerError::new(Code::AlreadyExists, "taken")
                    .with_details(json!({"by": "eve"})))
            }
        })
        .on(&BRIEF, async |_, ()| std::future::pending().await)
        .on(&COUNT, async |cx: Cx, to: u32| {
            for at in 1..=to {
                cx.progress(&json!({"at": at}))?;
            }
            Ok(to)
        })
}

#[tokio::test]
async fn a_message_reaches_everybody_but_its_sender_on_every_instance() {
    let (a, b) = Instance::pair(|hub| hub.event(&ROOM).requests(chat())).await;
    let (mut ada, mut eve, mut bob) = (a.connect().await, a.connect().await, b.connect().await);
    for client in [&mut ada, &mut eve, &mut bob] {
        assert_eq!(client.join("room", json!("4:2")).await, "room:4:2");
    }
    let answer = ada
        .ask(json!({"type": "message.send", "data": {"room": "4:2", "text": "hello"}}))
        .await;
    assert_eq!(answer, json!({"ok": true, "data": {"length": 5}}));
    for client in [&mut eve, &mut bob] {
        let frame = client.event().await;
        assert_eq!(frame["data"], "hello");
        assert_eq!(frame["topic"], "room:4:2");
        // Who has no user is named by the connection.
        assert!(
            frame["source"].as_str().unwrap().starts_with("c-"),
            "{frame}"
        );
    }
    a.hub
        .emit(&ROOM, &"4:2".to_owned(), &"next".to_owned())
        .await
        .unwrap();
    assert_eq!(ada.event().await["data"], "next", "its own was left out");
}

#[tokio::test]
async fn what_is_wrong_is_an_answer_and_the_connection_stays() {
    let (a, _b) = Instance::pair(|hub| hub.event(&ROOM).requests(chat())).await;
    let mut client = a.connect().await;
    for (frame, code, says) in [
        (
            json!({"type": "no.such", "data": 1}),
            "UNIMPLEMENTED",
            "no.such",
        ),
        (
            json!({"type": "__ack"}),
            "INVALID_ARGUMENT",
            "type must not begin",
        ),
        (json!({"type": "message.send"}), "INVALID_ARGUMENT", "data"),
        (
            json!({"type": "message.send", "data": {"room": 7, "text": "x"}}),
            "INVALID_ARGUMENT",
            "data.room: ",
        ),
        (
            json!({"type": "message.send", "data": {"room": "x", "text": ""}}),
            "INVALID_ARGUMENT",
            "text must not be empty",
        ),
        (
            json!({"type": "message.send", "data": {"room": "x".repeat(300), "text": "x"}}),
            "INVALID_ARGUMENT",
            "256 bytes",
        ),
        (
            json!({"type": "fail", "data": "panic"}),
            "INTERNAL",
            "failed",
        ),
        (
            json!({"type": "fail", "data": "error"}),
            "INTERNAL",
            "failed",
        ),
        (json!({"type": "brief"}), "DEADLINE_EXCEEDED", "50ms"),
    ] {
        let answer = client.ask(frame).await;
        let error = &answer["error"];
        assert_eq!(error["code"], code, "{answer}");
        let message = error["message"].as_str().unwrap();
        assert!(
            message.contains(says) && !message.contains("insides"),
            "{answer}"
        );
    }
    let busy = client.ask(json!({"type": "fail", "data": "busy"})).await;
    assert_eq!(
        busy["error"],
        json!({"code": "UNAVAILABLE", "message": "busy", "retryable": true, "retry_after_ms": 1500})
    );
    let taken = client.ask(json!({"type": "fail", "data": "taken"})).await;
    assert_eq!(
        taken["error"],
        json!({"code": "ALREADY_EXISTS", "message": "taken", "retryable": false,
               "details": {"by": "eve"}})
    );
    client.is_open().await;
}

#[tokio::test]
async fn progress_comes_in_order_before_the_answer() {
    let (a, _b) = Instance::pair(|hub| hub.requests(chat())).await;
    let mut client = a.connect().await;
    client
        .send(json!({"id": 4, "type": "count", "data": 3}))
        .await;
    for at in 1..=3 {
        assert_eq!(
            client.event().await,
            json!({"id": 4, "progress": {"at": at}})
        );
    }
    assert_eq!(
        client.event().await,
        json!({"id": 4, "ok": true, "data": 3})
    );
    // Nowhere to report to, and nobody to answer but the client itself.
    client.send(json!({"type": "count", "data": 1})).await;
    assert_eq!(client.event().await, json!({"ok": true, "data": 1}));
}

#[tokio::test]
async fn a_handler_subscribes_and_unsubscribes_its_client() {
    let (a, b) = Instance::pair(|hub| hub.event(&ROOM).requests(chat())).await;
    let mut client = a.connect().await;
    client
        .send(json!({"id": 1, "type": "room.enter", "data": "x"}))
        .await;
    assert_eq!(
        client.event().await,
        json!({"event": "subscribed", "topic": "room:x"})
    );
    assert_eq!(
        client.event().await,
        json!({"id": 1, "ok": true, "data": null})
    );
    b.hub
        .emit(&ROOM, &"x".to_owned(), &"hello".to_owned())
        .await
        .unwrap();
    assert_eq!(client.event().await["data"], "hello");
    client
        .send(json!({"id": 2, "type": "room.leave", "data": "x"}))
        .await;
    let told = client.event().await;
    assert_eq!(told["event"], "unsubscribed");
    assert_eq!(told["topic"], "room:x");
    assert_eq!(
        client.event().await,
        json!({"id": 2, "ok": true, "data": true})
    );
    let again = client.ask(json!({"type": "room.leave", "data": "x"})).await;
    assert_eq!(again["data"], false);
}

#[tokio::test]
async fn an_event_that_is_not_declared_cannot_be_subscribed_by_a_handler_either() {
    let (a, _b) = Instance::pair(|hub| hub.requests(chat())).await;
    let mut client = a.connect().await;
    let enter = json!({"type": "room.enter", "data": "x"});
    assert_eq!(client.refused(enter).await, "NOT_FOUND");
}

/// Requests that wait until they are let go, and tell when they are dropped.
pub(crate) struct Waiting {
    started: Arc<Semaphore>,
    pub(crate) release: Arc<Notify>,
    pub(crate) dropped: CancellationToken,
}

impl Waiting {
    pub(crate) fn new() -> Self {
        Self {
            started: Arc::new(Semaphore::new(0)),
            release: Arc::default(),
            dropped: CancellationToken::new(),
        }
    }

    pub(crate) fn router(&self) -> MessageRouter {
        let (started, release) = (self.started.clone(), self.release.clone());
        let dropped = self.dropped.clone();
        MessageRouter::new().on(&WAIT, move |_cx, data: Value| {
            let (started, release) = (started.clone(), release.clone());
            let dropped = dropped.clone().drop_guard();
            async move {
                started.add_permits(1);
                if data != json!("at once") {
                    release.notified().await;
                }
                dropped.disarm();
                Ok(data)
            }
        })
    }

    pub(crate) async fn started(&self, requests: u32) {
        let started = self.started.acquire_many(requests).await.unwrap();
        started.forget();
    }
}

#[tokio::test]
async fn a_request_that_is_cancelled_is_dropped_and_others_go_on() {
    let waiting = Waiting::new();
    let a = Instance::start(Fleet::embedded(), |hub| hub.requests(waiting.router())).await;
    let mut client = a.connect().await;
    client
        .send(json!({"id": 1, "type": "wait", "data": "one"}))
        .await;
    client
        .send(json!({"id": "two", "type": "wait", "data": "two"}))
        .await;
    waiting.started(2).await;
    client.send(json!({"cancel": 7})).await; // there is none: nothing happens
    client.send(json!({"cancel": 1})).await;
    let answer = client.event().await;
    assert_eq!(answer["id"], 1);
    assert_eq!(answer["error"]["code"], "CANCELLED");
    waiting.dropped.cancelled().await;
    // A faster one overtakes.
    client
        .send(json!({"id": 3, "type": "wait", "data": "at once"}))
        .await;
    assert_eq!(client.event().await["id"], 3);
    waiting.release.notify_one();
    assert_eq!(
        client.event().await,
        json!({"id": "two", "ok": true, "data": "two"})
    );
    client.send(json!({"cancel": "two"})).await; // it is over: nothing happens
    client.is_open().await;
}

#[tokio::test]
async fn who_leaves_takes_the_requests_along() {
    let waiting = Waiting::new();
    let a = Instance::start(Fleet::embedded(), |hub| hub.requests(waiting.router())).await;
    let mut client = a.connect().await;
    client.send(json!({"id": 1, "type": "wait"})).await;
    waiting.started(1).await;
    drop(client);
    tokio::time::timeout(crate::support::PATIENCE, waiting.dropped.cancelled())
        .await
        .expect("dropped with the connection");
    eventually("the client is gone", async || a.hub.clients() == 0).await;
}

#[tokio::test]
async fn a_client_has_so_many_requests_at_once_and_an_id_for_each() {
    let waiting = Waiting::new();
    let configure = |hub: quorate_http::HubBuilder| hub.requests(waiting.router()).max_requests(2);
    let a = Instance::start(Fleet::embedded(), configure).await;
    let (mut client, mut other) = (a.connect().await, a.connect().await);
    client
        .send(json!({"id": 1, "type": "wait", "data": 1}))
        .await;
    waiting.started(1).await;
    client.send(json!({"id": 1, "type": "wait"})).await;
    assert_eq!(client.event().await["error"]["code"], "ALREADY_EXISTS");
    client
        .send(json!({"id": 2, "type": "wait", "data": 2}))
        .await;
    waiting.started(1).await;
    client.send(json!({"id": 3, "type": "wait"})).await;
    let answer = client.event().await;
    assert_eq!(answer["id"], 3);
    assert_eq!(answer["error"]["code"], "RESOURCE_EXHAUSTED");
    // One client's requests delay nobody else.
    let answer = other.ask(json!({"type": "wait", "data": "at once"})).await;
    assert_eq!(answer["data"], "at once");
    waiting.release.notify_waiters();
    let answers = [client.event().await, client.event().await];
    assert!(
        answers.iter().all(|answer| answer["ok"] == true),
        "{answers:?}"
    );
    // There is room again.
    let answer = client.ask(json!({"type": "wait", "data": "at once"})).await;
    assert_eq!(answer["data"], "at once");
}
