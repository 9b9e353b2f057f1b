//! Where streams go on after a break, and from where they begin, against a server that follows a script.

use std::future::IntoFuture;
use std::num::NonZeroU32;

use quorate::GapReason;
use quorate_http::Code;
use quorate_http::client::ClientEvent;
use quorate_testing::harness::{eventually, within};
use serde_json::json;

use super::script::{Script, at, message, next, subscribe};

#[tokio::test]
async fn an_interruption_of_what_is_not_kept_is_a_gap() {
    let script = Script::start().await;
    let client = script.client();
    let mut peer = script.accept().await;
    let (mut a, _) = subscribe(&client, &mut peer, "a", json!({})).await;
    peer.message("a", json!(1), None).await;
    assert_eq!(next(&mut a).await, "1");
    drop(peer);
    let mut peer = script.accept().await;
    let frame = peer.subscribe("a", json!({})).await;
    assert!(frame.get("after").is_none(), "{frame}");
    peer.message("a", json!(2), None).await;
    assert_eq!(next(&mut a).await, "gap reconnected None");
    assert_eq!(next(&mut a).await, "2");
}

#[tokio::test]
async fn a_kept_topic_goes_on_after_the_last_message_without_loss_or_duplicate() {
    let script = Script::start().await;
    let client = script.client();
    let mut peer = script.accept().await;
    let (mut a, _) = subscribe(&client, &mut peer, "a", json!({"position": at(5)})).await;
    assert_eq!(a.position().unwrap().offset(), 5);
    peer.message("a", json!("six"), Some(6)).await;
    assert_eq!(next(&mut a).await, r#""six""#);
    drop(peer);
    let mut peer = script.accept().await;
    let recovered = json!({"position": at(6), "recovered": true});
    assert_eq!(peer.subscribe("a", recovered).await["after"], at(6));
    // A server that says something twice is not believed.
    for (data, offset) in [
        ("six", 6),
        ("seven", 7),
        ("seven", 7),
        ("eight", 8),
        ("five", 5),
        ("nine", 9),
    ] {
        peer.message("a", json!(data), Some(offset)).await;
    }
    for expected in ["seven", "eight", "nine"] {
        assert_eq!(next(&mut a).await, format!("{expected:?}"));
    }
    assert_eq!(a.position().unwrap().offset(), 9);
}

#[tokio::test]
async fn what_is_no_longer_kept_is_a_gap_even_if_the_connection_breaks_before_it() {
    let script = Script::start().await;
    let client = script.client();
    let mut peer = script.accept().await;
    let (mut a, _) = subscribe(&client, &mut peer, "a", json!({"position": at(5)})).await;
    drop(peer);
    let mut peer = script.accept().await;
    peer.subscribe("a", json!({"position": at(50), "recovered": false}))
        .await;
    let gap = json!({"event": "gap", "topic": "a", "reason": "history", "missed": 45, "position": at(50)});
    peer.send(gap).await;
    assert_eq!(next(&mut a).await, "gap history Some(45) at 50");
    peer.message("a", json!(51), Some(51)).await;
    assert_eq!(next(&mut a).await, "51");
    drop(peer);
    // This time the gap does not come.
    let mut peer = script.accept().await;
    let frame = peer
        .subscribe("a", json!({"position": at(90), "recovered": false}))
        .await;
    assert_eq!(frame["after"], at(51));
    drop(peer);
    let mut peer = script.accept().await;
    let frame = peer
        .subscribe("a", json!({"position": at(90), "recovered": true}))
        .await;
    assert_eq!(frame["after"], at(90));
    assert_eq!(next(&mut a).await, "gap history None at 90");
}

#[tokio::test]
async fn who_begins_earlier_is_brought_to_the_stream_with_pages_of_history() {
    let script = Script::start().await;
    let client = script.client();
    let mut peer = script.accept().await;
    let (mut live, _) = subscribe(&client, &mut peer, "a", json!({"position": at(3)})).await;
    let late = client
        .subscribe_topic("a")
        .after("1-0-00000000".parse().unwrap())
        .into_future();
    let server = async {
        let (id, frame) = peer.expect("history").await;
        assert_eq!((&frame["history"], &frame["after"]), (&json!("a"), &at(0)));
        peer.message("a", json!(4), Some(4)).await;
        let page = json!([
            message("a", json!(1), Some(1)),
            message("a", json!(2), Some(2))
        ]);
        peer.send(
            json!({"id": id, "ok": true, "messages": page, "position": at(2), "complete": false}),
        )
        .await;
        let (id, frame) = peer.expect("history").await;
        assert_eq!(frame["after"], at(2));
        peer.message("a", json!(5), Some(5)).await;
        let page: Vec<_> = (3..=6).map(|n| message("a", json!(n), Some(n))).collect();
        peer.send(
            json!({"id": id, "ok": true, "messages": page, "position": at(6), "complete": true}),
        )
        .await;
        // The history was ahead of the stream.
        for n in 6..=7 {
            peer.message("a", json!(n), Some(n)).await;
        }
    };
    let (late, ()) = tokio::join!(late, server);
    let mut late = late.unwrap();
    assert_eq!(late.position().unwrap().offset(), 0);
    for n in 1..=7 {
        assert_eq!(next(&mut late).await, n.to_string());
    }
    for n in 4..=7 {
        assert_eq!(next(&mut live).await, n.to_string());
    }
}

#[tokio::test]
async fn recent_messages_come_first_and_survive_a_break_in_between() {
    let script = Script::start().await;
    let client = script.client();
    let recent = client
        .subscribe_topic("a")
        .recent(NonZeroU32::new(2).unwrap())
        .into_future();
    let server = async {
        let mut peer = script.accept().await;
        peer.subscribe("a", json!({"position": at(9)})).await;
        assert_eq!(peer.expect("history").await.1["limit"], 2);
        drop(peer);
        let mut peer = script.accept().await;
        peer.subscribe("a", json!({"position": at(9), "recovered": true}))
            .await;
        let (id, frame) = peer.expect("history").await;
        assert_eq!((&frame["limit"], frame.get("after")), (&json!(2), None));
        let page = json!([
            message("a", json!(8), Some(8)),
            message("a", json!(9), Some(9))
        ]);
        peer.send(
            json!({"id": id, "ok": true, "messages": page, "position": at(9), "complete": true}),
        )
        .await;
        peer.message("a", json!(10), Some(10)).await;
        peer
    };
    let (made, _peer) = tokio::join!(recent, server);
    let mut a = made.unwrap();
    for n in 8..=10 {
        assert_eq!(next(&mut a).await, n.to_string());
    }
    assert_eq!(a.position().unwrap().offset(), 10);
}

#[tokio::test]
async fn history_that_is_not_to_be_had_fails_the_subscription() {
    let script = Script::start().await;
    let client = script.client();
    let mut peer = script.accept().await;
    let after = client
        .subscribe_topic("a")
        .after("1-1-00000000".parse().unwrap());
    let server = async {
        peer.subscribe("a", json!({})).await;
        let (id, _) = peer.expect("history").await;
        let error =
            json!({"code": "FAILED_PRECONDITION", "message": "keeps nothing", "retryable": false});
        peer.send(json!({"id": id, "error": error})).await;
        assert_eq!(peer.next().await["unsubscribe"], "a");
    };
    let (made, ()) = tokio::join!(after.into_future(), server);
    assert_eq!(made.unwrap_err().code(), Code::FailedPrecondition);
}

#[tokio::test]
async fn a_slow_consumer_of_a_kept_topic_misses_nothing() {
    let script = Script::start().await;
    let client = script.client();
    let mut peer = script.accept().await;
    let slow = client.subscribe_topic("a").buffer(2);
    let (slow, _) = tokio::join!(
        slow.into_future(),
        peer.subscribe("a", json!({"position": at(0)}))
    );
    let mut slow = slow.unwrap();
    for n in 1..=6 {
        peer.message("a", json!(n), Some(n)).await;
    }
    // All of them have arrived when the answer to what was asked afterwards has.
    let (answer, ()) = tokio::join!(client.request_type("x", &0).into_future(), async {
        let (id, _) = peer.expect("type").await;
        peer.send(json!({"id": id, "ok": true})).await;
    });
    answer.unwrap();
    let consumer = async {
        for n in 1..=8 {
            assert_eq!(next(&mut slow).await, n.to_string());
        }
    };
    let server = async {
        let mut top = 6;
        let mut last = 2;
        while last < 8 {
            let (id, frame) = peer.expect("history").await;
            assert_eq!(frame["after"], at(last));
            let limit = frame["limit"].as_u64().unwrap();
            if last == 4 {
                // Meanwhile there is more.
                for n in 7..=8 {
                    peer.message("a", json!(n), Some(n)).await;
                }
                top = 8;
            }
            let until = (last + limit).min(top);
            let page: Vec<_> = (last + 1..=until)
                .map(|n| message("a", json!(n), Some(n)))
                .collect();
            peer.send(json!({"id": id, "ok": true, "messages": page, "position": at(until), "complete": until == top})).await;
            last = until;
        }
    };
    tokio::join!(consumer, server);
}

#[tokio::test]
async fn a_slow_consumer_of_what_is_not_kept_sees_a_gap() {
    let script = Script::start().await;
    let client = script.client();
    let mut peer = script.accept().await;
    let slow = client.subscribe_topic("a").buffer(2);
    let (slow, _) = tokio::join!(slow.into_future(), peer.subscribe("a", json!({})));
    let mut slow = slow.unwrap();
    for n in 1..=6 {
        peer.message("a", json!(n), None).await;
    }
    peer.message("a", json!("last"), None).await;
    eventually("the last one is there", async || slow.backlog() == 2).await;
    let (mut seen, mut missed) = (0, 0);
    while seen + missed < 7 {
        match within("an event", slow.next()).await.unwrap() {
            ClientEvent::Gap(gap) => {
                assert_eq!(gap.reason, GapReason::BufferFull);
                missed += gap.missed.unwrap();
            }
            ClientEvent::Message(_) => seen += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(missed >= 1, "nothing was dropped");
}

#[tokio::test]
async fn what_this_client_does_not_want_back_does_not_come_on_the_next_connection_either() {
    let script = Script::start().await;
    let client = script.client();
    let mut peer = script.accept().await;
    let (mut a, _) = subscribe(&client, &mut peer, "a", json!({"position": at(1)})).await;
    let publish = client.publish_topic("a", &"mine").but_self().into_future();
    let (receipt, ()) = tokio::join!(publish, async {
        let (id, frame) = peer.expect("publish").await;
        assert_eq!(frame["echo"], false);
        peer.send(json!({"id": id, "ok": true, "topic": "a", "position": at(2)}))
            .await;
    });
    assert_eq!(receipt.unwrap().position.unwrap().offset(), 2);
    drop(peer);
    let mut peer = script.accept().await;
    peer.subscribe("a", json!({"position": at(1), "recovered": true}))
        .await;
    peer.message("a", json!("mine"), Some(2)).await;
    peer.message("a", json!("another's"), Some(3)).await;
    assert_eq!(next(&mut a).await, r#""another's""#);
}
