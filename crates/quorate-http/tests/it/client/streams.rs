//! Subscriptions, against a server that follows a script.

use std::future::IntoFuture;
use std::sync::{Arc, Mutex};

use std::time::Duration;

use quorate_http::Code;
use quorate_http::client::{ClientEvent, ClientSubscription};
use quorate_testing::harness::{eventually, within};
use serde_json::{Value, json};

use super::script::{Script, at, message, next, subscribe};

#[tokio::test]
async fn a_subscription_made_before_there_is_a_connection() {
    let script = Script::start().await;
    let client = script.client();
    let making = client.subscribe_topic("room:42").into_future();
    let server = async {
        let mut peer = script.accept().await;
        let frame = peer.subscribe("room:42", json!({})).await;
        assert_eq!(frame["subscribe"], "room:42");
        assert!(
            frame.get("after").is_none() && frame.get("members").is_none(),
            "{frame}"
        );
        peer
    };
    let (made, mut peer) = tokio::join!(making, server);
    let mut room = made.unwrap();
    let mut sent = message("room:42", json!({"n": 1}), None);
    for (name, value) in [
        ("type", json!("said")),
        ("id", json!("01a1fd25-94b6-713f-84e6-73a14e85aa7b")),
        ("key", json!("42")),
        ("timestamp", json!("2026-11-21T08:07:40.982Z")),
        ("correlation_id", json!("r-1")),
        ("of_a_later_version", json!([1])),
    ] {
        sent[name] = value;
    }
    peer.send(json!({"event": "of a later version", "topic": 7}))
        .await;
    peer.send(sent).await;
    let message = within("a message", room.next_message()).await.unwrap();
    assert_eq!(message["n"], 1);
    assert_eq!(
        (message.topic(), message.event_type()),
        ("room:42", Some("said"))
    );
    assert_eq!(
        (message.key(), message.source()),
        (Some("42"), Some("test"))
    );
    assert_eq!(message.correlation_id(), Some("r-1"));
    assert!(message.id().is_some() && message.timestamp().is_some());
    assert_eq!(room.position(), None);
    drop(room);
    assert_eq!(peer.next().await["unsubscribe"], "room:42");
    client.close().await;
}

#[tokio::test]
async fn several_here_are_one_at_the_server() {
    let script = Script::start().await;
    let client = script.client();
    let mut peer = script.accept().await;
    let (mut one, _) = subscribe(&client, &mut peer, "a", json!({})).await;
    let mut two = client.subscribe_topic("a").await.unwrap();
    peer.message("a", json!(1), None).await;
    assert_eq!(
        (next(&mut one).await, next(&mut two).await),
        ("1".into(), "1".into())
    );
    drop(one);
    peer.message("a", json!(2), None).await;
    assert_eq!(next(&mut two).await, "2");
    drop(two);
    // Only now, and only once.
    assert_eq!(peer.next().await["unsubscribe"], "a");
    let (mut again, frame) = subscribe(&client, &mut peer, "a", json!({})).await;
    assert_eq!(frame["subscribe"], "a");
    peer.message("a", json!(3), None).await;
    assert_eq!(next(&mut again).await, "3");
}

#[tokio::test]
async fn coming_and_going_while_the_server_thinks() {
    let script = Script::start().await;
    let client = script.client();
    let mut peer = script.accept().await;
    client.ready().await.unwrap();
    let mut first = client.subscribe_topic("a").into_future();
    let asked = tokio::select! {
        made = &mut first => panic!("{made:?}"),
        (id, _) = peer.expect("subscribe") => id,
    };
    drop(first);
    assert_eq!(peer.next().await["unsubscribe"], "a");
    let second = client.subscribe_topic("a").into_future();
    let server = async {
        let (id, _) = peer.expect("subscribe").await;
        // What comes late of the first is not taken for the second's.
        peer.send(json!({"id": asked, "ok": true, "topic": "a"}))
            .await;
        peer.message("a", json!("of the first"), None).await;
        peer.send(json!({"id": id, "ok": true, "topic": "a"})).await;
        peer.message("a", json!("of the second"), None).await;
    };
    let (made, ()) = tokio::join!(second, server);
    assert_eq!(next(&mut made.unwrap()).await, r#""of the second""#);
}

#[tokio::test]
async fn a_subscription_given_up_offline_is_never_asked_for() {
    let script = Script::start().await;
    let client = script.client();
    let mut peer = script.accept().await;
    let (gone, _) = subscribe(&client, &mut peer, "gone", json!({})).await;
    let (_kept, _) = subscribe(&client, &mut peer, "kept", json!({})).await;
    drop(peer);
    let mut states = client.states();
    within("the end", states.wait_for(|it| !it.is_ready()))
        .await
        .unwrap();
    drop(gone);
    // The handle's word may come a moment after the next connection: then it is taken back.
    let mut peer = script.accept().await;
    let mut open = std::collections::BTreeSet::new();
    let _kept_alone = within("only the other", async {
        loop {
            let frame = peer.next().await;
            if let Some(topic) = frame["subscribe"].as_str() {
                open.insert(topic.to_owned());
            } else if let Some(topic) = frame["unsubscribe"].as_str() {
                open.remove(topic);
            }
            if open.len() == 1 && open.contains("kept") {
                return;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_refused_subscription_says_why_and_one_that_is_lost_ends() {
    let script = Script::start().await;
    let client = script.client();
    let mut peer = script.accept().await;
    let denied = json!({"code": "PERMISSION_DENIED", "message": "not yours", "retryable": false});
    let (refused, ()) = tokio::join!(client.subscribe_topic("a").into_future(), async {
        let (id, _) = peer.expect("subscribe").await;
        peer.send(json!({"id": id, "error": denied})).await;
    });
    assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
    let (mut b, _) = subscribe(&client, &mut peer, "b", json!({})).await;
    drop(peer);
    let mut peer = script.accept().await;
    // For the moment: tried again. Then for good.
    let (id, _) = peer.expect("subscribe").await;
    let busy =
        json!({"code": "UNAVAILABLE", "message": "", "retryable": true, "retry_after_ms": 1});
    peer.send(json!({"id": id, "error": busy})).await;
    let (id, _) = peer.expect("subscribe").await;
    peer.send(json!({"id": id, "error": denied})).await;
    assert_eq!(next(&mut b).await, "ended PERMISSION_DENIED: not yours");
    assert_eq!(next(&mut b).await, "over");

    let (mut c, _) = subscribe(&client, &mut peer, "c", json!({})).await;
    peer.send(json!({"event": "unsubscribed", "topic": "c", "reason": "moved"}))
        .await;
    let end = next(&mut c).await;
    assert!(
        end.starts_with("ended CANCELLED") && end.ends_with("moved"),
        "{end}"
    );
}

#[tokio::test]
async fn who_is_there_is_exact_over_connections() {
    let script = Script::start().await;
    let client = script.client();
    let mut peer = script.accept().await;
    let (mut plain, _) = subscribe(&client, &mut peer, "a", json!({"position": at(1)})).await;
    // Whoever wants members too: the subscription is made anew, where it stood.
    let made = client.subscribe_topic("a").members().into_future();
    let (made, ()) = tokio::join!(made, async {
        assert_eq!(peer.next().await["unsubscribe"], "a");
        let frame = peer
            .subscribe("a", json!({"position": at(1), "recovered": true}))
            .await;
        assert_eq!((&frame["members"], &frame["after"]), (&json!(true), &at(1)));
        let members = json!([{"client": "c-1"}, {"client": "c-2"}]);
        peer.send(json!({"event": "presence", "topic": "a", "count": 2, "members": members}))
            .await;
    });
    let mut members = made.unwrap();
    let presence = async |members: &mut ClientSubscription<Value>| match members.next().await {
        Some(ClientEvent::Presence(presence)) => {
            let names = |members: &[quorate_http::client::ClientMember]| {
                members
                    .iter()
                    .map(|it| it.client.clone())
                    .collect::<Vec<_>>()
                    .join(" ")
            };
            (
                presence.count,
                names(&presence.joined),
                names(&presence.left),
            )
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(
        presence(&mut members).await,
        (2, "c-1 c-2".into(), String::new())
    );
    let change = json!({"event": "presence", "topic": "a", "count": 2, "joined": [{"client": "c-3"}], "left": [{"client": "c-1"}]});
    peer.send(change).await;
    assert_eq!(
        presence(&mut members).await,
        (2, "c-3".into(), "c-1".into())
    );
    drop(peer);
    let mut peer = script.accept().await;
    let frame = peer
        .subscribe("a", json!({"position": at(1), "recovered": true}))
        .await;
    assert_eq!(frame["members"], true);
    let whole =
        json!({"event": "presence", "topic": "a", "count": 1, "members": [{"client": "c-4"}]});
    peer.send(whole).await;
    assert_eq!(
        presence(&mut members).await,
        (1, "c-4".into(), "c-2 c-3".into())
    );
    peer.message("a", json!("and messages"), Some(2)).await;
    assert_eq!(next(&mut plain).await, r#""and messages""#);
    assert_eq!(next(&mut members).await, r#""and messages""#);
}

#[tokio::test]
async fn a_frame_that_cannot_be_read_costs_the_connection_and_no_message() {
    let script = Script::start().await;
    let client = script.client();
    let mut peer = script.accept().await;
    let (mut a, _) = subscribe(&client, &mut peer, "a", json!({"position": at(1)})).await;
    for bad in [
        "{",
        "[]",
        r#"{"event":"message","topic":"a","data":1}"#,
        r#"{"event":"gap","topic":"a","position":"nonsense"}"#,
        r#"{"id":1,"error":"text"}"#,
    ] {
        peer.send_text(bad).await;
        peer = script.accept().await;
        let answer = json!({"position": at(1), "recovered": true});
        assert_eq!(peer.subscribe("a", answer).await["after"], at(1));
    }
    peer.message("a", json!(2), Some(2)).await;
    assert_eq!(next(&mut a).await, "2");
    // What can be read, but is not what was subscribed to, is an event like any other.
    let mut binary = message("a", json!(null), Some(3));
    binary["data_base64"] = json!("AAE=");
    binary.as_object_mut().unwrap().remove("data");
    peer.send(binary).await;
    assert_eq!(next(&mut a).await, "undecodable: the payload is not JSON");
    let undecodable =
        json!({"event": "undecodable", "subscription": "a", "topic": "a", "error": "torn"});
    peer.send(undecodable).await;
    assert_eq!(next(&mut a).await, "undecodable: torn");
}

#[tokio::test]
async fn a_subscription_that_is_not_made_in_time_is_taken_back() {
    let script = Script::start().await;
    let client = script.client();
    let mut peer = script.accept().await;
    client.ready().await.unwrap();
    let made = client
        .subscribe_topic("a")
        .deadline(Duration::from_millis(20))
        .into_future();
    let (made, ()) = tokio::join!(made, async {
        peer.expect("subscribe").await;
        assert_eq!(peer.next().await["unsubscribe"], "a");
    });
    assert_eq!(made.unwrap_err().code(), Code::DeadlineExceeded);
    let zero = client.subscribe_topic("a").buffer(0).await.unwrap_err();
    assert_eq!(
        zero.to_string(),
        "INVALID_ARGUMENT: buffer must be at least 1"
    );
    let bad = client.subscribe_topic("a b").await.unwrap_err();
    assert_eq!(bad.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_handler_fails_for_itself() {
    let script = Script::start().await;
    let errors = Arc::new(Mutex::new(Vec::new()));
    let reported = errors.clone();
    let client = script
        .builder()
        .on_error(move |error| reported.lock().unwrap().push(error.to_string()))
        .build()
        .unwrap();
    let mut peer = script.accept().await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (handled, gaps) = (seen.clone(), seen.clone());
    let listening = client
        .on_topic("a", move |message| {
            let handled = handled.clone();
            async move {
                match message.as_u64() {
                    Some(1) => panic!("one"),
                    Some(2) => Err("two"),
                    _ => {
                        handled.lock().unwrap().push(message.to_string());
                        Ok(())
                    }
                }
            }
        })
        .on_gap(move |gap| gaps.lock().unwrap().push(gap.reason.as_str().to_owned()));
    let (listener, _) = tokio::join!(listening.into_future(), peer.subscribe("a", json!({})));
    let listener = listener.unwrap();
    for n in 1..=3 {
        peer.message("a", json!(n), None).await;
    }
    peer.send(json!({"event": "gap", "topic": "a", "reason": "lost", "missed": 1}))
        .await;
    eventually("all is handled", async || seen.lock().unwrap().len() == 2).await;
    assert_eq!(*seen.lock().unwrap(), ["3", "lost"]);
    assert_eq!(
        *errors.lock().unwrap(),
        [
            "INTERNAL: a listener's handler panicked",
            "INTERNAL: a listener's handler failed"
        ]
    );
    listener.stop().await;
    assert_eq!(peer.next().await["unsubscribe"], "a");
    // One that is let go ends with the client.
    let listening = client.on_topic("b", |_| async {}).into_future();
    let (listener, _) = tokio::join!(listening, peer.subscribe("b", json!({})));
    listener.unwrap().detach();
    let (_, ()) = tokio::join!(peer.next_or_close(), client.close());
}

#[tokio::test]
async fn closing_ends_every_subscription() {
    let script = Script::start().await;
    let client = script.client();
    let mut peer = script.accept().await;
    let (mut a, _) = subscribe(&client, &mut peer, "a", json!({})).await;
    peer.message("a", json!(1), None).await;
    eventually("it is there", async || a.backlog() == 1).await;
    let mut making = client.subscribe_topic("b").into_future();
    tokio::select! {
        made = &mut making => panic!("{made:?}"),
        _ = peer.expect("subscribe") => {}
    }
    let (made, (), _) = tokio::join!(making, client.close(), peer.next_or_close());
    assert_eq!(made.unwrap_err().code(), Code::Cancelled);
    assert_eq!(
        (next(&mut a).await, next(&mut a).await),
        ("1".into(), "over".into())
    );
    assert_eq!(
        client.subscribe_topic("c").await.unwrap_err().code(),
        Code::FailedPrecondition
    );
}
