//! Becoming a WebSocket (RFC 6455, 4.2).

use super::raw::{FIN, RawClient, TEXT, frame, request, upgrade};
use super::subject::Subject;

/// The response to a request.
async fn asked(subject: &Subject, request: &str) -> String {
    let mut client = RawClient::dial(subject.served.address).await;
    client.send(request.as_bytes()).await;
    client.head().await
}

#[tokio::test]
async fn the_key_is_answered_as_in_the_rfc() {
    let subject = Subject::start().await;
    let head = asked(&subject, &upgrade(subject.served.address)).await;
    let lower = head.to_ascii_lowercase();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(lower.contains("\r\nupgrade: websocket\r\n"), "{head}");
    assert!(lower.contains("\r\nconnection: upgrade\r\n"), "{head}");
    assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
    // Not asked for.
    assert!(!lower.contains("sec-websocket-protocol"), "{head}");
    assert!(!lower.contains("sec-websocket-extensions"), "{head}");
}

#[tokio::test]
async fn names_and_lists_are_read_as_http_has_them() {
    let subject = Subject::start().await;
    let address = subject.served.address;
    let head = asked(
        &subject,
        &format!(
            "GET /ws HTTP/1.1\r\nhost: {address}\r\nCONNECTION: keep-alive, UpGrade\r\nupgrade: WebSocket\r\n\
             sec-websocket-version: 13\r\nSEC-WEBSOCKET-KEY: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             sec-websocket-protocol: other, quorate.v1\r\n\
             sec-websocket-extensions: permessage-deflate; client_max_window_bits\r\n\r\n"
        ),
    )
    .await
    .to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    assert!(
        head.contains("\r\nsec-websocket-protocol: quorate.v1\r\n"),
        "{head}"
    );
    // Offered, and not taken.
    assert!(!head.contains("sec-websocket-extensions"), "{head}");
}

#[tokio::test]
async fn requests_that_are_no_handshake_are_refused() {
    const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    const VERSION: &str = "Sec-WebSocket-Version: 13\r\n";
    let mut subject = Subject::start().await;
    let address = subject.served.address;
    let complete = upgrade(address);
    for (request, what) in [
        (request(address, VERSION), "no key"),
        (request(address, KEY), "no version"),
        (
            request(address, &format!("{KEY}Sec-WebSocket-Version: 8\r\n")),
            "an old version",
        ),
        (
            complete.replace("Upgrade: websocket", "Upgrade: h2c"),
            "another protocol",
        ),
        (
            complete.replace("Upgrade: websocket\r\n", ""),
            "no protocol",
        ),
        (
            complete.replace("Connection: Upgrade", "Connection: close"),
            "no upgrade",
        ),
        (complete.replace("GET ", "POST "), "another method"),
        (complete.replace("HTTP/1.1", "HTTP/1.0"), "HTTP/1.0"),
        (
            complete.replace("GET /ws HTTP", "GET /ws\0 HTTP"),
            "a malformed request",
        ),
    ] {
        let head = asked(&subject, &request).await;
        let status: u16 = head[9..12].parse().unwrap();
        assert!((400..500).contains(&status), "{what}: {head}");
    }
    subject.served.clients(1).await;
    subject.assert_neighbour_is_served().await;
}

#[tokio::test]
async fn frames_may_follow_the_request_at_once() {
    let subject = Subject::start().await;
    let mut client = RawClient::dial(subject.served.address).await;
    let mut bytes = upgrade(subject.served.address).into_bytes();
    bytes.extend(frame(FIN | TEXT, br#"{"ping":true}"#));
    client.send(&bytes).await;
    assert!(client.head().await.starts_with("HTTP/1.1 101 "));
    assert_eq!(client.answer().await["pong"], true);
}

#[tokio::test]
async fn a_handshake_that_is_never_finished_takes_no_place() {
    let mut subject = Subject::start_with(|hub| hub.max_clients(2)).await;
    let address = subject.served.address;
    let half = upgrade(address);
    let half = &half[..half.len() / 2];
    let mut slow = Vec::new();
    for _ in 0..50 {
        let mut client = RawClient::dial(address).await;
        client.dribble(half.as_bytes()).await;
        slow.push(client);
    }
    let mut client = subject.open().await;
    client.assert_alive().await;
    subject.assert_neighbour_is_served().await;
    drop(slow);
    client.assert_alive().await;
}

#[tokio::test]
async fn a_client_that_is_gone_before_the_answer_takes_no_place() {
    let mut subject = Subject::start_with(|hub| hub.max_clients(2)).await;
    for _ in 0..50 {
        let mut client = RawClient::dial(subject.served.address).await;
        client
            .send(upgrade(subject.served.address).as_bytes())
            .await;
        drop(client);
        subject.served.clients(1).await;
    }
    subject.open().await.assert_alive().await;
    subject.assert_neighbour_is_served().await;
}
