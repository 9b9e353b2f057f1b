//! How the client connects, and what it does when it is not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use quorate::{Backoff, Outcome};
use quorate_http::Code;
use quorate_http::client::{ClientState, HubClient};
use quorate_testing::harness::within;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::script::{AT_ONCE, Script};

#[tokio::test]
async fn connecting_waits_for_the_greeting_and_closing_says_goodbye() {
    let script = Script::start().await;
    let url = format!("ws://{}/live/ws?x=1", script.address());
    let (client, (mut peer, request)) = tokio::join!(HubClient::connect(url), async {
        let (mut peer, request) = script.upgraded().await;
        peer.hello(json!({})).await;
        (peer, request)
    });
    let client = client.unwrap();
    assert_eq!(request.uri(), "/live/ws?x=1");
    assert_eq!(request.headers()["sec-websocket-protocol"], "quorate.v1");
    assert!(client.state().is_ready());
    assert_eq!(client.id().as_deref(), Some("c-1"));
    let (ended, ()) = tokio::join!(peer.next_or_close(), client.close());
    assert!(ended.is_err(), "{ended:?}");
    assert!(matches!(
        client.state(),
        ClientState::Closed { error: None, .. }
    ));
    assert_eq!(client.id(), None);
}

#[tokio::test]
async fn connect_reports_why_it_failed_and_build_keeps_trying() {
    let script = Script::start().await;
    let address = script.address();
    drop(script);
    let url = format!("ws://{address}");
    let error = HubClient::connect(&url).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    assert_eq!(error.outcome(), Outcome::NotApplied);
    assert!(error.to_string().contains("cannot be reached"), "{error}");

    let client = HubClient::builder(&url).backoff(AT_ONCE).build().unwrap();
    let mut states = client.states();
    for _ in 0..3 {
        let waiting = states.wait_for(|it| matches!(it, ClientState::Waiting { .. }));
        within("an attempt that fails", waiting).await.unwrap();
        states.mark_unchanged();
        states.changed().await.unwrap();
    }
    client.close().await;
    assert_eq!(
        client.ready().await.unwrap_err().code(),
        Code::FailedPrecondition
    );
}

#[tokio::test]
async fn what_breaks_a_rule_is_refused_when_the_client_is_made() {
    for (url, says) in [
        ("example.com", "url must look like"),
        ("ftp://example.com", "url must begin with"),
        ("wss://", "url must look like"),
        ("wss://me:secret@example.com", "no user or password"),
    ] {
        let error = HubClient::builder(url).build().unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument);
        assert!(error.to_string().contains(says), "{error}");
        assert!(!format!("{error:?}").contains("secret"), "{error:?}");
    }
    let zero = HubClient::builder("ws://a").deadline(Duration::ZERO);
    assert!(zero.build().unwrap_err().to_string().contains("deadline"));
    let header = HubClient::builder("ws://a").header("authorization", "Bearer s3cret\n");
    assert!(!format!("{header:?}").contains("s3cret"), "{header:?}");
    let error = header.build().unwrap_err();
    assert!(
        error.to_string().contains("header `authorization`"),
        "{error}"
    );
    let pem = HubClient::builder("wss://a").ca_pem("nonsense");
    assert!(pem.build().unwrap_err().to_string().contains("ca_pem"));
}

#[tokio::test]
async fn headers_are_sent_and_stay_out_of_logs() {
    let script = Script::start().await;
    let builder = script.builder().header("authorization", "Bearer s3cret");
    assert!(!format!("{builder:?}").contains("s3cret"));
    let client = builder.build().unwrap();
    let (_peer, request) = script.upgraded().await;
    assert_eq!(request.headers()["authorization"], "Bearer s3cret");
    drop(client);
}

#[tokio::test]
async fn it_comes_back_when_the_server_says_so() {
    let script = Script::start().await;
    // Only what the server says can bring it back before the test ends.
    let never = Backoff {
        initial: Duration::from_secs(3600),
        max: Duration::from_secs(3600),
        ..AT_ONCE
    };
    let client = script.builder().backoff(never).build().unwrap();
    let mut peer = script.accept().await;
    client.ready().await.unwrap();
    peer.send(json!({"event": "closing", "reason": "restarting", "retry_after_ms": 3}))
        .await;
    peer.close(1012).await;
    let mut states = client.states();
    let waiting = states.wait_for(|it| !it.is_ready());
    if let ClientState::Waiting { error, .. } = &*within("the end", waiting).await.unwrap() {
        assert!(error.to_string().contains("1012 restarting"), "{error}");
    }
    let _peer = script.accept().await;
    within("a connection", client.ready()).await.unwrap();
    client.close().await;
}

#[tokio::test]
async fn a_client_whose_access_was_taken_away_does_not_come_back() {
    let script = Script::start().await;
    let client = script.client();
    let peer = script.accept().await;
    client.ready().await.unwrap();
    peer.close(4403).await;
    let mut states = client.states();
    let closed = states.wait_for(ClientState::is_closed);
    let ClientState::Closed {
        error: Some(error), ..
    } = within("the end", closed).await.unwrap().clone()
    else {
        panic!("no reason");
    };
    assert_eq!(error.code(), Code::PermissionDenied);
    assert_eq!(
        client.ready().await.unwrap_err().code(),
        Code::PermissionDenied
    );
    let asked = client.request_type("a", &1).await.unwrap_err();
    assert_eq!(asked.code(), Code::FailedPrecondition);
    client.close().await;
}

#[tokio::test]
async fn a_fresh_token_is_asked_for_each_time_and_failures_are_tried_again() {
    let script = Script::start().await;
    let asked = Arc::new(AtomicU32::new(0));
    let counted = asked.clone();
    let client = script
        .builder()
        .token(move || {
            let n = counted.fetch_add(1, Ordering::SeqCst);
            async move {
                match n {
                    0 => Err("the first time it fails"),
                    1 => panic!("the second time it panics"),
                    n => Ok(format!("token {n}")),
                }
            }
        })
        .build()
        .unwrap();
    // Refused at first.
    let mut peer = script.greet(json!({"authentication": "required"})).await;
    let (id, frame) = peer.expect("authenticate").await;
    assert_eq!(frame["authenticate"], "token 2");
    let error = json!({"code": "UNAUTHENTICATED", "message": "no", "retryable": false});
    peer.send(json!({"id": id, "error": error})).await;
    // Then taken, for a moment.
    let mut peer = script.greet(json!({"authentication": "required"})).await;
    let (id, frame) = peer.expect("authenticate").await;
    assert_eq!(frame["authenticate"], "token 3");
    let answer =
        json!({"id": id, "ok": true, "client": "c-9", "user": "ada", "expires_in_ms": 100});
    peer.send(answer).await;
    within("a connection", client.ready()).await.unwrap();
    assert_eq!(client.id().as_deref(), Some("c-9"));
    // Renewed before it ends, on the same connection.
    let (id, frame) = peer.expect("authenticate").await;
    assert_eq!(frame["authenticate"], "token 4");
    peer.send(json!({"id": id, "ok": true, "client": "c-9", "expires_in_ms": 3_600_000}))
        .await;
    // And asked for again when the server has forgotten.
    peer.close(4401).await;
    let mut peer = script.greet(json!({"authentication": "required"})).await;
    assert_eq!(peer.next().await["authenticate"], "token 5");
    client.close().await;
    assert_eq!(asked.load(Ordering::SeqCst), 6);
}

#[tokio::test]
async fn who_must_say_who_it_is_and_cannot_is_over() {
    let script = Script::start().await;
    let client = script.client();
    let _peer = script.greet(json!({"authentication": "required"})).await;
    let error = within("the end", client.ready()).await.unwrap_err();
    assert_eq!(error.code(), Code::Unauthenticated);
}

#[tokio::test]
async fn a_token_where_nobody_asks_for_one_is_offered_and_may_be_declined() {
    let script = Script::start().await;
    let token = || async { Ok::<_, std::io::Error>("t".to_owned()) };
    let client = script.builder().token(token).build().unwrap();
    let mut peer = script.accept().await;
    let (id, _) = peer.expect("authenticate").await;
    let error = json!({"code": "UNIMPLEMENTED", "message": "no", "retryable": false});
    peer.send(json!({"id": id, "error": error})).await;
    within("a connection", client.ready()).await.unwrap();
}

#[tokio::test]
async fn a_server_that_went_silent_is_left() {
    let script = Script::start().await;
    let client = script
        .builder()
        .heartbeat_timeout(Duration::from_millis(50))
        .build()
        .unwrap();
    let mut silent = script.greet(json!({"heartbeat_ms": 20})).await;
    assert_eq!(silent.next().await, json!({"ping": true}));
    // One that answers stays.
    let mut alive = script.greet(json!({"heartbeat_ms": 20})).await;
    for _ in 0..5 {
        assert_eq!(alive.next().await, json!({"ping": true}));
        alive.send(json!({"pong": true})).await;
    }
    assert!(client.state().is_ready());
    client.close().await;
}

#[tokio::test]
async fn what_is_no_hub_is_tried_again() {
    let script = Script::start().await;
    let client = script
        .builder()
        .connect_timeout(Duration::from_millis(200))
        .build()
        .unwrap();
    // Refused; torn; silent; another protocol; a greeting that cannot be read.
    let mut refusing = script.raw().await;
    let mut request = [0; 1024];
    let _ = refusing.read(&mut request).await.unwrap();
    let refusal = "HTTP/1.1 503 Service Unavailable\r\nretry-after: 0\r\ncontent-length: 0\r\n\r\n";
    refusing.write_all(refusal.as_bytes()).await.unwrap();
    drop(script.raw().await);
    let _silent = script.raw().await;
    let (mut other, _) = script.upgraded().await;
    other.send(json!({"hi": true})).await;
    let (mut torn, _) = script.upgraded().await;
    torn.send_text(r#"{"event":"hello","heartbeat_ms":"often"}"#)
        .await;
    let _peer = script.accept().await;
    within("a connection", client.ready()).await.unwrap();
}

#[tokio::test]
async fn the_connection_ends_with_the_last_handle_and_subscription() {
    let script = Script::start().await;
    let client = script.client();
    let mut peer = script.accept().await;
    let (subscription, _) =
        tokio::join!(client.subscribe_topic("a"), peer.subscribe("a", json!({})));
    drop(client);
    peer.message("a", json!(1), None).await;
    let mut subscription = subscription.unwrap();
    assert_eq!(*subscription.next_message().await.unwrap(), json!(1));
    drop(subscription);
    // Takes back what it subscribed to, or not: it is going anyway.
    while peer.next_or_close().await.is_ok() {}
}
