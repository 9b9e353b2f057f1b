//! Messages in several frames (RFC 6455, 5.4).

use super::raw::{BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, TEXT, frame};
use super::subject::{LIMIT, Subject};

#[tokio::test]
async fn a_message_may_come_in_any_number_of_frames() {
    let subject = Subject::start().await;
    let mut client = subject.open().await;
    let text = br#"{"ping":true}"#;
    for cut in 0..=text.len() {
        let (start, rest) = text.split_at(cut);
        client.send(&frame(TEXT, start)).await;
        client.send(&frame(FIN | CONTINUATION, rest)).await;
        assert_eq!(client.answer().await["pong"], true, "{cut}");
    }
    client.send(&frame(TEXT, b"")).await;
    for byte in text {
        client.send(&frame(CONTINUATION, &[*byte])).await;
        client.send(&frame(CONTINUATION, b"")).await;
    }
    client.send(&frame(FIN | CONTINUATION, b"")).await;
    assert_eq!(client.answer().await["pong"], true);
}

#[tokio::test]
async fn control_frames_may_come_between() {
    let subject = Subject::start().await;
    let mut client = subject.open().await;
    client.send(&frame(TEXT, br#"{"ping""#)).await;
    client.send(&frame(FIN | PING, b"between")).await;
    // Answered now, not when the message is complete.
    assert_eq!(client.payload_of(PONG).await, b"between");
    client.send(&frame(FIN | PONG, b"nobody asked")).await;
    client.send(&frame(CONTINUATION, b":")).await;
    client.send(&frame(FIN | PING, b"again")).await;
    assert_eq!(client.payload_of(PONG).await, b"again");
    client.send(&frame(FIN | CONTINUATION, b"true}")).await;
    assert_eq!(client.answer().await["pong"], true);
}

#[tokio::test]
async fn a_close_between_ends_it() {
    let mut subject = Subject::start().await;
    let mut client = subject.open().await;
    client.send(&frame(TEXT, br#"{"ping""#)).await;
    client
        .send(&frame(FIN | CLOSE, &1000_u16.to_be_bytes()))
        .await;
    assert_eq!(client.farewell().await, Some(1000));
    subject.assert_neighbour_is_served().await;
}

#[tokio::test]
async fn frames_out_of_order_are_refused() {
    let mut subject = Subject::start().await;
    for (frames, what) in [
        (
            vec![(FIN | CONTINUATION, &b"x"[..])],
            "a continuation of nothing",
        ),
        (
            vec![(CONTINUATION, b"x")],
            "an unfinished continuation of nothing",
        ),
        (vec![(TEXT, b"{"), (FIN | TEXT, b"{}")], "text within text"),
        (
            vec![(TEXT, b"{"), (FIN | BINARY, b"{}")],
            "binary within text",
        ),
        (vec![(TEXT, b"{"), (TEXT, b"")], "a second beginning"),
        (
            vec![
                (FIN | TEXT, br#"{"ping":true}"#),
                (FIN | CONTINUATION, b"x"),
            ],
            "a continuation of what is complete",
        ),
        (vec![(PING, b"x")], "a ping in pieces"),
        (vec![(PONG, b"x")], "a pong in pieces"),
        (vec![(CLOSE, b"")], "a close in pieces"),
        (
            vec![(TEXT, b"{"), (PING, b"x")],
            "a ping in pieces within text",
        ),
    ] {
        let bytes: Vec<_> = frames
            .iter()
            .flat_map(|(first, payload)| frame(*first, payload))
            .collect();
        subject.assert_refuses(&bytes, 1002, what).await;
    }
}

#[tokio::test]
async fn a_message_is_not_larger_for_coming_in_pieces() {
    let mut subject = Subject::start().await;
    let piece = vec![b' '; 1000];
    let mut bytes = frame(TEXT, &piece);
    for _ in 0..LIMIT / piece.len() {
        bytes.extend(frame(CONTINUATION, &piece));
    }
    bytes.extend(frame(FIN | CONTINUATION, b"{}"));
    subject.assert_refuses(&bytes, 1009, "complete").await;

    // Never complete: it must not be collected for ever. Refused on the way, so that its sender may
    // still be writing when the connection is closed under its hands.
    let mut client = subject.open().await;
    client.send(&frame(TEXT, b"")).await;
    while client.try_send(&frame(CONTINUATION, &piece)).await {
        tokio::task::yield_now().await;
    }
    subject.served.clients(1).await;
    subject.assert_neighbour_is_served().await;
}
