//! Requests and other calls, against a server that follows a script.

use std::future::IntoFuture;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use quorate::Outcome;
use quorate_http::Code;
use quorate_testing::harness::within;
use serde_json::{Value, json};

use super::script::{Script, at};

#[tokio::test]
async fn a_request_is_answered_after_its_progress() {
    let script = Script::start().await;
    let client = script.client();
    let mut peer = script.accept().await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let reports = seen.clone();
    let request = client
        .request_type("message.send", &json!({"text": "hi"}))
        .on_progress(move |report| reports.lock().unwrap().push(report));
    let server = async {
        let (id, frame) = peer.expect("type").await;
        assert_eq!(
            (&frame["type"], &frame["data"]),
            (&json!("message.send"), &json!({"text": "hi"}))
        );
        // An answer that nobody asked for is no harm.
        peer.send(json!({"id": 999_999, "ok": true, "data": 1}))
            .await;
        peer.send(json!({"id": id, "progress": 0.5})).await;
        peer.send(json!({"id": id, "progress": null})).await;
        peer.send(json!({"id": id, "ok": true, "data": {"n": 1}}))
            .await;
    };
    let (answer, ()) = tokio::join!(request.into_future(), server);
    assert_eq!(answer.unwrap(), json!({"n": 1}));
    assert_eq!(*seen.lock().unwrap(), [json!(0.5), Value::Null]);
    client.close().await;
}

#[tokio::test]
async fn a_refusal_says_what_the_server_said() {
    let script = Script::start().await;
    let client = script.client();
    let mut peer = script.accept().await;
    let server = async {
        let (id, _) = peer.expect("type").await;
        let error = json!({"code": "RESOURCE_EXHAUSTED", "message": "slow down", "retryable": true,
            "retry_after_ms": 250, "details": {"limit": 3}});
        peer.send(json!({"id": id, "error": error})).await;
    };
    let (answer, ()) = tokio::join!(client.request_type("a", &()).into_future(), server);
    let error = answer.unwrap_err();
    assert_eq!(error.code(), Code::ResourceExhausted);
    assert_eq!(error.retry_after(), Some(Duration::from_millis(250)));
    assert_eq!(error.details().unwrap()["limit"], 3);
    assert_eq!(error.outcome(), Outcome::NotApplied);
}

#[tokio::test]
async fn a_dropped_request_is_cancelled_and_one_not_sent_is_never_sent() {
    let script = Script::start().await;
    let client = script.client();
    // Not sent: there is no connection yet. Polled once, so that it waits for one.
    let mut waiting = client.request_type("never", &1).into_future();
    assert!(futures_util::poll!(&mut waiting).is_pending());
    drop(waiting);
    let mut peer = script.accept().await;
    client.ready().await.unwrap();
    let mut request = client.request_type("long", &2).into_future();
    let id = tokio::select! {
        answer = &mut request => panic!("{answer:?}"),
        (id, frame) = peer.expect("type") => {
            assert_eq!(frame["type"], "long");
            id
        }
    };
    drop(request);
    assert_eq!(peer.next().await, json!({"cancel": id}));
    // Its answer, which comes all the same, is nobody's.
    peer.send(json!({"id": id, "ok": true, "data": 1})).await;
    client.close().await;
}

#[tokio::test]
async fn what_was_under_way_when_the_connection_broke_is_unknown_and_not_repeated() {
    let script = Script::start().await;
    let client = script.client();
    let mut peer = script.accept().await;
    let mut request = client.request_type("pay", &1).into_future();
    tokio::select! {
        answer = &mut request => panic!("{answer:?}"),
        _ = peer.expect("type") => {}
    }
    drop(peer);
    let error = within("an end", request).await.unwrap_err();
    assert_eq!(
        (error.code(), error.outcome()),
        (Code::Unavailable, Outcome::Unknown)
    );
    // Nothing of it comes on the next connection.
    let mut peer = script.accept().await;
    let (answer, ()) = tokio::join!(client.request_type("other", &2).into_future(), async {
        let (id, frame) = peer.expect("type").await;
        assert_eq!(frame["type"], "other");
        peer.send(json!({"id": id, "ok": true})).await;
    });
    assert_eq!(answer.unwrap(), Value::Null);
}

#[tokio::test]
async fn questions_without_an_effect_are_asked_again() {
    let script = Script::start().await;
    let client = script.client();
    let mut peer = script.accept().await;
    let mut asking = client.presence_topic("room:1").into_future();
    tokio::select! {
        answer = &mut asking => panic!("{answer:?}"),
        _ = peer.expect("presence") => {}
    }
    drop(peer);
    let mut peer = script.accept().await;
    let server = async {
        let (id, frame) = peer.expect("presence").await;
        assert_eq!(frame["presence"], "room:1");
        let members = json!([{"client": "c-1", "user": "ada", "info": {"name": "Ada"}}]);
        peer.send(json!({"id": id, "ok": true, "topic": "room:1", "count": 1, "members": members}))
            .await;
    };
    let (roster, ()) = tokio::join!(asking, server);
    let members = roster.unwrap().members.unwrap();
    assert_eq!(
        (members[0].user.as_deref(), &members[0].info["name"]),
        (Some("ada"), &json!("Ada"))
    );

    let history = client
        .history_topic("room:1")
        .after("1-2-00000000".parse().unwrap())
        .limit(7);
    let server = async {
        let (id, frame) = peer.expect("history").await;
        assert_eq!((&frame["after"], &frame["limit"]), (&at(2), &json!(7)));
        let messages = json!([super::script::message("room:1", json!("x"), Some(3))]);
        peer.send(json!({"id": id, "ok": true, "messages": messages, "position": at(3), "complete": true})).await;
    };
    let (history, ()) = tokio::join!(history.into_future(), server);
    let history = history.unwrap();
    assert!(history.complete && history.gap.is_none() && history.events.len() == 1);
    assert_eq!(history.position.unwrap().offset(), 3);
}

#[tokio::test]
async fn calls_wait_for_a_connection_up_to_a_bound() {
    let script = Script::start().await;
    let client = script.builder().offline_queue(2).build().unwrap();
    let calls = join_all((0..3).map(|n| client.publish_topic("a", &n).into_future()));
    let server = async {
        let mut peer = script.accept().await;
        for n in 0..2 {
            let (id, frame) = peer.expect("publish").await;
            assert_eq!(frame["data"], n);
            assert!(frame.get("echo").is_none());
            peer.send(json!({"id": id, "ok": true, "topic": "a", "position": at(n + 1)}))
                .await;
        }
        peer
    };
    let (receipts, _peer) = tokio::join!(calls, server);
    assert_eq!(receipts[1].as_ref().unwrap().position.unwrap().offset(), 2);
    let error = receipts[2].as_ref().unwrap_err();
    assert_eq!(
        (error.code(), error.outcome()),
        (Code::ResourceExhausted, Outcome::NotApplied)
    );
}

#[tokio::test(start_paused = true)]
async fn a_deadline_says_whether_the_request_was_sent() {
    let script = Script::start().await;
    let client = script.client();
    let mut request = client
        .request_type("a", &1)
        .deadline(Duration::from_millis(50))
        .into_future();
    let error = (&mut request).await.unwrap_err();
    assert_eq!(
        (error.code(), error.outcome()),
        (Code::DeadlineExceeded, Outcome::NotApplied)
    );
    tokio::time::resume();
    let mut peer = script.accept().await;
    client.ready().await.unwrap();
    let request = client
        .request_type("b", &1)
        .deadline(Duration::from_millis(50))
        .into_future();
    let (answer, ()) = tokio::join!(request, async {
        let (id, frame) = peer.expect("type").await;
        assert_eq!(frame["type"], "b", "the first was not sent any more");
        assert_eq!(peer.next().await, json!({"cancel": id}));
    });
    let error = answer.unwrap_err();
    assert_eq!(
        (error.code(), error.outcome()),
        (Code::DeadlineExceeded, Outcome::Unknown)
    );
}

#[tokio::test]
async fn no_more_requests_than_the_server_takes_and_no_larger_frames() {
    let script = Script::start().await;
    let client = script.client();
    let limits = json!({"max_requests": 2, "max_frame_bytes": 200});
    let mut peer = script.greet(limits).await;
    client.ready().await.unwrap();
    let large = client
        .request_type("large", &"x".repeat(200))
        .await
        .unwrap_err();
    assert_eq!(large.code(), Code::InvalidArgument);
    assert!(large.message().contains("at most 200 bytes"), "{large}");
    let calls = join_all((0..5).map(|n| client.request_type("n", &n).into_future()));
    let server = async {
        let mut open = Vec::new();
        let mut answered = 0;
        while answered < 5 {
            // Asks for something else in between: had it sent a third request, that would come first.
            while open.len() < 2 && open.len() + answered < 5 {
                open.push(peer.expect("type").await);
            }
            assert!(open.len() <= 2);
            let (id, frame) = open.remove(0);
            peer.send(json!({"id": id, "ok": true, "data": frame["data"]}))
                .await;
            answered += 1;
        }
    };
    let (answers, ()) = tokio::join!(calls, server);
    let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers, [0, 1, 2, 3, 4]);
}

#[tokio::test]
async fn closing_fails_what_waits_and_what_is_under_way() {
    let script = Script::start().await;
    let client = script.client();
    let mut peer = script.greet(json!({"max_requests": 1})).await;
    client.ready().await.unwrap();
    let mut sent = client.request_type("sent", &1).into_future();
    tokio::select! {
        answer = &mut sent => panic!("{answer:?}"),
        _ = peer.expect("type") => {}
    }
    let mut waiting = client.request_type("waiting", &1).into_future();
    assert!(futures_util::poll!(&mut waiting).is_pending());
    let (sent, waiting, (), ended) =
        tokio::join!(sent, waiting, client.close(), peer.next_or_close());
    assert!(ended.is_err(), "{ended:?}");
    let (sent, waiting) = (sent.unwrap_err(), waiting.unwrap_err());
    assert_eq!(
        (sent.code(), sent.outcome()),
        (Code::Cancelled, Outcome::Unknown)
    );
    assert_eq!(
        (waiting.code(), waiting.outcome()),
        (Code::Cancelled, Outcome::NotApplied)
    );
}
