//! The TypeScript client that the hub serves, and what it and the server have to agree on.

use quorate_http::canonical_json;
use serde_json::Value;

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
