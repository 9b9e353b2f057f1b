//! Pings and pongs (RFC 6455, 5.5).

use super::raw::{FIN, PING, PONG, frame};
use super::subject::Subject;

#[tokio::test]
async fn a_ping_is_answered_with_its_payload() {
    let subject = Subject::start().await;
    let mut client = subject.open().await;
    let full: Vec<u8> = (0..125).collect();
    for payload in [
        &b""[..],
        b"Hello",
        b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff",
        &full,
    ] {
        client.send(&frame(FIN | PING, payload)).await;
        assert_eq!(client.payload_of(PONG).await, payload);
    }
    client.assert_alive().await;
}

#[tokio::test]
async fn a_pong_that_nobody_asked_for_is_ignored() {
    let subject = Subject::start().await;
    let mut client = subject.open().await;
    for payload in [&b""[..], b"unsolicited"] {
        client.send(&frame(FIN | PONG, payload)).await;
    }
    client.send(&frame(FIN | PING, b"asked")).await;
    assert_eq!(client.payload_of(PONG).await, b"asked");
    client.assert_alive().await;
}

#[tokio::test]
async fn control_frames_above_125_bytes_are_refused() {
    let mut subject = Subject::start().await;
    for opcode in [PING, PONG] {
        for length in [126, 127, 4000] {
            let bytes = frame(FIN | opcode, &vec![0; length]);
            subject
                .assert_refuses(&bytes, 1002, &format!("{opcode:x} {length}"))
                .await;
        }
    }
}

#[tokio::test]
async fn a_flood_of_pings_delays_nobody_and_is_not_collected() {
    const PINGS: u32 = 10_000;
    let mut subject = Subject::start().await;
    let mut client = subject.open().await;
    for n in 0..PINGS {
        // It reads no answer meanwhile.
        client.send(&frame(FIN | PING, &n.to_be_bytes())).await;
        if n % 1_000 == 0 {
            subject.assert_neighbour_is_served().await;
        }
    }
    // Not every ping needs an answer of its own, but the last one (5.5.3).
    while client.payload_of(PONG).await != (PINGS - 1).to_be_bytes() {}
    client.assert_alive().await;
}
