//! Frames: lengths, masks, reserved bits and opcodes (RFC 6455, 5.2 and 5.3).

use super::raw::{BINARY, FIN, MASKED, PING, RawClient, TEXT, frame, header, unmasked};
use super::subject::{LIMIT, Subject};

const ALIVE: &[u8] = br#"{"ping":true}"#;

/// A request of this length.
fn padded(length: usize) -> Vec<u8> {
    let mut text = ALIVE.to_vec();
    text.resize(length, b' ');
    text
}

#[tokio::test]
async fn payloads_of_every_length_are_read() {
    let subject = Subject::start().await;
    let mut client = subject.open().await;
    for length in [
        13,
        124,
        125,
        126,
        127,
        128,
        4095,
        4096,
        4097,
        LIMIT - 1,
        LIMIT,
    ] {
        client.send(&frame(FIN | TEXT, &padded(length))).await;
        assert_eq!(client.answer().await["pong"], true, "{length}");
    }
    client.send(&frame(FIN | TEXT, b"")).await;
    assert_eq!(client.answer().await["error"]["code"], "INVALID_ARGUMENT");
    client.send(&frame(FIN | BINARY, b"")).await;
    assert_eq!(client.answer().await["error"]["code"], "INVALID_ARGUMENT");
    client.assert_alive().await;
}

#[tokio::test]
async fn lengths_above_the_limit_are_refused_with_1009() {
    let mut subject = Subject::start().await;
    subject
        .assert_refuses(&frame(FIN | TEXT, &padded(LIMIT + 1)), 1009, "one more")
        .await;
    // Nothing of it follows: what a header claims must not be waited for, nor be made room for.
    for length in [1 << 20, 0xffff_ffff, 1 << 40, i64::MAX.unsigned_abs()] {
        for opcode in [TEXT, BINARY] {
            let mut claim = header(FIN | opcode, MASKED, length);
            claim.extend([0; 4]);
            let what = format!("{opcode:x} {length}");
            subject.assert_refuses(&claim, 1009, &what).await;
        }
    }
}

/// The highest bit of a 64-bit length must be 0.
#[tokio::test]
async fn a_length_beyond_63_bits_is_refused() {
    let mut subject = Subject::start().await;
    let mut claim = header(FIN | TEXT, MASKED, u64::MAX);
    claim.extend([0; 4]);
    subject.assert_refuses(&claim, 1009, "all bits").await;
}

#[tokio::test]
async fn a_frame_without_a_mask_is_refused() {
    let mut subject = Subject::start().await;
    for (first, payload) in [(TEXT, ALIVE), (BINARY, b"x"), (PING, b""), (TEXT, b"")] {
        let bytes = unmasked(FIN | first, payload);
        subject
            .assert_refuses(&bytes, 1002, &format!("{bytes:?}"))
            .await;
    }
}

#[tokio::test]
async fn reserved_bits_are_refused() {
    let mut subject = Subject::start().await;
    for bits in 1..8_u8 {
        for (opcode, payload) in [(TEXT, ALIVE), (PING, b"")] {
            let bytes = frame(FIN | (bits << 4) | opcode, payload);
            subject
                .assert_refuses(&bytes, 1002, &format!("{bytes:?}"))
                .await;
        }
    }
}

#[tokio::test]
async fn reserved_opcodes_are_refused() {
    let mut subject = Subject::start().await;
    for opcode in (0x3..=0x7).chain(0xb..=0xf) {
        for payload in [&b""[..], b"x"] {
            let bytes = frame(FIN | opcode, payload);
            subject
                .assert_refuses(&bytes, 1002, &format!("{bytes:?}"))
                .await;
        }
    }
}

#[tokio::test]
async fn what_comes_byte_by_byte_is_read_like_what_comes_at_once() {
    let mut subject = Subject::start().await;
    let mut client = RawClient::dial(subject.served.address).await;
    client
        .dribble(super::raw::upgrade(subject.served.address).as_bytes())
        .await;
    assert!(client.head().await.starts_with("HTTP/1.1 101 "));
    for length in [13, 125, 126, 300] {
        client.dribble(&frame(FIN | TEXT, &padded(length))).await;
        assert_eq!(client.answer().await["pong"], true, "{length}");
    }
    client.dribble(&frame(FIN | PING, b"byte by byte")).await;
    assert_eq!(client.payload_of(super::raw::PONG).await, b"byte by byte");
    client.dribble(&frame(FIN | 0x3, b"")).await;
    assert_eq!(client.farewell().await, Some(1002));
    subject.assert_neighbour_is_served().await;
}

#[tokio::test]
async fn many_frames_in_one_write_are_all_answered() {
    let subject = Subject::start().await;
    let mut client = subject.open().await;
    let mut bytes = Vec::new();
    for n in 0..50 {
        bytes.extend(frame(FIN | TEXT, format!(r#"{{"id":{n}}}"#).as_bytes()));
    }
    client.send(&bytes).await;
    for n in 0..50 {
        assert_eq!(client.answer().await["id"], n);
    }
}
