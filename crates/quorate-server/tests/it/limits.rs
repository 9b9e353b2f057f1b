//! What a client may cost.

use serde_json::json;

use crate::support::{Served, raw};

const LIMITS: &str = "[limits]\nmax_header_bytes = 8192\nmax_headers = 16\nheader_timeout = '200ms'\n\
    request_timeout = '300ms'\nmax_subscriptions = 2\nmax_frame_bytes = 256";

#[tokio::test]
async fn heads_that_are_too_large_are_refused() {
    let served = Served::configured(LIMITS).await;
    let long = format!(
        "GET /healthz HTTP/1.1\r\nhost: localhost\r\na: {}\r\n\r\n",
        "x".repeat(20_000)
    );
    let many = format!(
        "GET /healthz HTTP/1.1\r\nhost: localhost\r\n{}\r\n",
        "a: b\r\n".repeat(30)
    );
    for head in [long, many] {
        let answer = raw(&served.authority, &[head.as_bytes()]).await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
        assert!(answer.ends_with("\r\n\r\n"), "no body: {answer}");
    }
    // As the protocol's description says: these two come before there is a request.
    let answer = raw(&served.authority, &[b"hello there\r\n\r\n"]).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n"), "no body: {answer}");
}

#[tokio::test]
async fn a_client_that_dawdles_is_cut_off() {
    let served = Served::configured(LIMITS).await;
    // A head that never ends, nothing at all, and a body that never comes.
    let answer = raw(&served.authority, &[b"GET / HTTP/1.1\r\nhost: loc"]).await;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 408"),
        "{answer}"
    );
    assert_eq!(raw(&served.authority, &[]).await, "");
    let post = b"POST /v1/events/a HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/plain\r\n\
        content-length: 10\r\n\r\nabc";
    let answer = raw(&served.authority, &[post]).await;
    assert!(answer.starts_with("HTTP/1.1 504"), "{answer}");
    assert!(answer.contains("DEADLINE_EXCEEDED"), "{answer}");
    assert_eq!(served.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn one_connection_too_many_is_refused_and_makes_no_difference_to_the_others() {
    let served = Served::configured("[limits]\nmax_connections = 2").await;
    let mut first = served.sse("topic=a").await;
    let _second = served.sse("topic=a").await;
    let answer = raw(
        &served.authority,
        &[b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n"],
    )
    .await;
    // Reset rather than read, where our request came after the refusal.
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 503"),
        "{answer}"
    );
    drop(_second);
    // Its place is free again as soon as the server has noticed.
    let published = loop {
        let mut stream = tokio::net::TcpStream::connect(&served.authority)
            .await
            .unwrap();
        let post = b"POST /v1/events/a HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/plain\r\n\
            content-length: 1\r\nconnection: close\r\n\r\nx";
        let mut answer = String::new();
        let sent = tokio::io::AsyncWriteExt::write_all(&mut stream, post).await;
        let read = tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut answer).await;
        if sent.is_ok() && read.is_ok() && !answer.starts_with("HTTP/1.1 503") {
            break answer;
        }
    };
    assert!(published.starts_with("HTTP/1.1 200"), "{published}");
    assert_eq!(first.data().await["data"], "x");
}

#[tokio::test]
async fn a_client_s_subscriptions_and_frames_are_bounded() {
    let served = Served::configured(LIMITS).await;
    let answer = served.get("/v1/sse?topic=a&topic=b&topic=c").await;
    answer.problem(400, "INVALID_ARGUMENT", "from 1 to 2");
    let mut ws = served.ws(&[]).await.unwrap();
    let hello = ws.next().await.unwrap();
    assert_eq!(
        (&hello["max_subscriptions"], &hello["max_frame_bytes"]),
        (&json!(2), &json!(256))
    );
    for (id, topic) in [(1, "a"), (2, "b"), (3, "c")] {
        ws.send(json!({"id": id, "subscribe": topic})).await;
        let answer = ws.until(|frame| frame["id"] == id).await;
        assert_eq!(
            answer["error"]["code"].as_str(),
            (id == 3).then_some("RESOURCE_EXHAUSTED")
        );
    }
    ws.send(json!({"id": 4, "subscribe": "x".repeat(300)}))
        .await;
    assert_eq!(ws.next().await.unwrap_err(), Some(1009));
}
