//! Saying goodbye (RFC 6455, 5.5.1 and 7).

use super::raw::{CLOSE, FIN, PING, TEXT, close, frame};
use super::subject::Subject;

#[tokio::test]
async fn a_farewell_is_answered_in_kind() {
    let mut subject = Subject::start().await;
    let longest = "x".repeat(123);
    for (bytes, code) in [
        (frame(FIN | CLOSE, b""), None),
        (close(1000, b""), Some(1000)),
        (close(1000, b"bye"), Some(1000)),
        (close(1001, "κόσμε".as_bytes()), Some(1001)),
        (close(1000, longest.as_bytes()), Some(1000)),
    ] {
        let mut client = subject.open().await;
        client.send(&bytes).await;
        loop {
            let received = client.next().await.expect("the answer");
            if received.first == FIN | CLOSE {
                assert_eq!(received.code(), code, "{bytes:?}");
                break;
            }
        }
        assert_eq!(client.next().await, None, "it is the server that closes");
        subject.served.clients(1).await;
    }
    subject.assert_neighbour_is_served().await;
}

#[tokio::test]
async fn codes_that_may_be_sent_are_sent_back() {
    let subject = Subject::start().await;
    for code in [
        1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999,
    ] {
        let mut client = subject.open().await;
        client.send(&close(code, b"")).await;
        assert_eq!(client.farewell().await, Some(code));
    }
}

#[tokio::test]
async fn codes_that_must_not_be_sent_are_refused() {
    let mut subject = Subject::start().await;
    for code in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999] {
        subject
            .assert_refuses(&close(code, b""), 1002, &code.to_string())
            .await;
    }
}

#[tokio::test]
async fn malformed_farewells_are_refused() {
    let mut subject = Subject::start().await;
    let bytes = frame(FIN | CLOSE, b"\x03");
    subject.assert_refuses(&bytes, 1002, "half a code").await;
    let bytes = close(1000, &[b'x'; 124]);
    subject.assert_refuses(&bytes, 1002, "126 bytes").await;
    let bytes = close(1000, b"\xce\xba\xed\xa0\x80");
    subject
        .assert_refuses(&bytes, 1007, "a reason that is not UTF-8")
        .await;
}

#[tokio::test]
async fn what_was_asked_before_a_farewell_is_answered_before_it() {
    let subject = Subject::start().await;
    let mut client = subject.open().await;
    client.assert_alive().await;
    let asked = |id: u8| {
        let text = format!(r#"{{"id":{id},"unsubscribe":"never"}}"#);
        frame(FIN | TEXT, text.as_bytes())
    };
    // All of it is there when the first is read.
    client
        .send(&[asked(1), asked(2), close(1000, b"")].concat())
        .await;
    for id in 1..=2 {
        let answer = client.next().await.expect("an answer");
        assert_eq!(answer.first, FIN | TEXT);
        let answer: serde_json::Value = serde_json::from_slice(&answer.payload).unwrap();
        assert_eq!(answer["id"], id);
    }
    assert_eq!(client.farewell().await, Some(1000));
}

#[tokio::test]
async fn nothing_is_answered_after_a_farewell() {
    let mut subject = Subject::start().await;
    let mut client = subject.open().await;
    client.assert_alive().await;
    let behind = [
        close(1000, b""),
        frame(FIN | TEXT, br#"{"ping":true}"#),
        frame(FIN | PING, b"x"),
        close(1001, b""),
    ];
    client.send(&behind.concat()).await;
    let received = client.next().await.expect("the answer");
    assert_eq!(
        (received.first, received.payload),
        (FIN | CLOSE, 1000_u16.to_be_bytes().to_vec())
    );
    assert_eq!(client.next().await, None);
    subject.assert_neighbour_is_served().await;
}
