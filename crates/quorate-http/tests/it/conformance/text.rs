//! Text is UTF-8 (RFC 6455, 5.6 and 8.1).

use serde_json::json;

use super::raw::{CONTINUATION, FIN, PING, PONG, TEXT, frame};
use super::subject::Subject;

const VALID: [&str; 5] = [
    "Hello-µ@ßöäüàá-UTF-8!!",
    "κόσμε",
    // The first and the last of each length, and what lies around the surrogates.
    "\u{1}\u{7f}\u{80}\u{7ff}\u{800}\u{ffff}\u{10000}\u{10ffff}",
    "\u{d7ff}\u{e000}\u{fffd}\u{fffe}",
    "\u{1f5ff}\u{200d}\u{fe0f}",
];

const INVALID: [(&[u8], &str); 14] = [
    (b"\x80", "a continuation alone"),
    (b"\xbf\x80", "two continuations alone"),
    (b"\xc3", "a beginning alone"),
    (b"\xe1\xbd", "two of three"),
    (b"\xf0\x9f\x97", "three of four"),
    (b"\xc0\xaf", "overlong, two"),
    (b"\xe0\x80\xaf", "overlong, three"),
    (b"\xf0\x80\x80\xaf", "overlong, four"),
    (b"\xed\xa0\x80", "a surrogate"),
    (b"\xed\xad\xbf\xed\xb0\x80", "two surrogates"),
    (b"\xf4\x90\x80\x80", "beyond U+10FFFF"),
    (b"\xf8\x88\x80\x80\x80", "five bytes"),
    (b"\xfe", "never a byte of UTF-8"),
    (b"\xce\xba\xff\xce\xba", "in the middle"),
];

#[tokio::test]
async fn valid_text_is_taken_however_it_is_cut() {
    let subject = Subject::start().await;
    for id in VALID {
        let mut client = subject.open().await;
        // Nothing that can be asked for: the answer carries the id.
        let text = json!({"id": id}).to_string();
        let text = text.as_bytes();
        client.send(&frame(FIN | TEXT, text)).await;
        assert_eq!(client.answer().await["id"], id);
        // In the middle of code points, too.
        for cut in 0..text.len() {
            client.send(&frame(TEXT, &text[..cut])).await;
            client.send(&frame(FIN | CONTINUATION, &text[cut..])).await;
            assert_eq!(client.answer().await["id"], id, "{cut}");
        }
        client.send(&frame(TEXT, b"")).await;
        for byte in text {
            client.send(&frame(CONTINUATION, &[*byte])).await;
        }
        client.send(&frame(FIN | CONTINUATION, b"")).await;
        assert_eq!(client.answer().await["id"], id);
    }
}

#[tokio::test]
async fn invalid_text_is_refused_with_1007_however_it_is_cut() {
    let mut subject = Subject::start().await;
    for (bytes, what) in INVALID {
        let text = [br#"{"id":""#, bytes, br#""}"#].concat();
        subject
            .assert_refuses(&frame(FIN | TEXT, &text), 1007, what)
            .await;
        let mut pieces = frame(TEXT, &text[..8]);
        pieces.extend(frame(FIN | CONTINUATION, &text[8..]));
        subject.assert_refuses(&pieces, 1007, what).await;
    }
    // A message must not end within a code point.
    subject
        .assert_refuses(&frame(FIN | TEXT, b"\xce"), 1007, "half")
        .await;
}

#[tokio::test]
async fn invalid_text_is_refused_before_the_message_is_complete() {
    let mut subject = Subject::start().await;
    let mut bytes = frame(TEXT, "κόσμε".as_bytes());
    bytes.extend(frame(CONTINUATION, b"\xf4\x90\x80\x80"));
    // Nothing follows.
    subject.assert_refuses(&bytes, 1007, "fails at once").await;
}

#[tokio::test]
async fn what_is_not_text_may_be_any_bytes() {
    let subject = Subject::start().await;
    let mut client = subject.open().await;
    client.send(&frame(FIN | PING, b"\xff\xfe")).await;
    assert_eq!(client.payload_of(PONG).await, b"\xff\xfe");
    client
        .send(&frame(FIN | super::raw::BINARY, b"\xff\xfe"))
        .await;
    // Refused for being binary, which is no matter of the connection.
    assert_eq!(client.answer().await["error"]["code"], "INVALID_ARGUMENT");
    client.assert_alive().await;
}
