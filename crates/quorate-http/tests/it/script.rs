//! The TypeScript client that the hub serves, and what it and the server have to agree on.

use quorate_http::canonical_json;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::Served;

/// The client's tests read the same file.
const VECTORS: &str = include_str!("../../../../clients/typescript/test/canonical.json");

#[test]
fn canonical_json_is_the_text_that_clients_make() {
    let vectors: Vec<(String, String)> = serde_json::from_str(VECTORS).unwrap();
    assert!(vectors.len() > 10);
    for (given, expected) in vectors {
        let value: Value = serde_json::from_str(&given).unwrap();
        assert_eq!(canonical_json(&value), expected, "{given}");
    }
}

#[test]
fn the_served_client_is_the_published_one() {
    let published = include_str!("../../../../clients/typescript/dist/client.js");
    let served = include_str!("../../src/hub/client.js");
    assert!(
        published == served,
        "run `npm run build` in clients/typescript"
    );
}

/// The head and the body of the answer to `GET`.
async fn get(served: &Served, path: &str, headers: &str) -> (String, String) {
    let mut socket = TcpStream::connect(served.address).await.unwrap();
    let request =
        format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.find_map(|(header, value)| (header == name).then_some(value))
}

#[tokio::test]
async fn browsers_get_the_client_and_keep_it() {
    let served = Served::start(|hub| hub).await;
    let (head, body) = get(&served, "/client.js", "").await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert_eq!(
        header(&head, "content-type"),
        Some("text/javascript; charset=utf-8")
    );
    assert_eq!(header(&head, "cache-control"), Some("no-cache"));
    assert!(body.contains("export { QuorateClient"), "{body}");

    let tag = header(&head, "etag").unwrap();
    for known in [
        tag.to_owned(),
        format!("\"other\", W/{tag}"),
        "*".to_owned(),
    ] {
        let (head, body) = get(
            &served,
            "/client.js",
            &format!("if-none-match: {known}\r\n"),
        )
        .await;
        assert!(head.starts_with("HTTP/1.1 304"), "{head}");
        assert_eq!((header(&head, "etag"), body.as_str()), (Some(tag), ""));
    }
    let (head, _) = get(&served, "/client.js", "if-none-match: \"other\"\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let (head, _) = get(&served, "/client.js?v=1", "").await;
    assert!(
        header(&head, "cache-control")
            .unwrap()
            .contains("immutable")
    );
}
