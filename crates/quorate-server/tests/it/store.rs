//! Stores over HTTP.

use std::time::Duration;

use quorate::{Fleet, StoreSpec};
use quorate_testing::servers::{Server, ServerKind};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::support::{Answer, Served};

const JSON: (&str, &str) = ("content-type", "application/json");

impl Served {
    /// Puts a JSON body, with more headers.
    pub(crate) async fn put(&self, path: &str, more: &[(&str, &str)], body: &str) -> Answer {
        let headers: Vec<_> = [JSON].iter().chain(more).copied().collect();
        self.send("PUT", path, &headers, body.to_owned()).await
    }

    pub(crate) async fn delete(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send("DELETE", path, headers, "").await
    }
}

fn etag(answer: &Answer) -> &str {
    answer.headers["etag"].to_str().unwrap()
}

#[tokio::test]
async fn what_is_set_is_read_until_it_ends_or_is_deleted() {
    let served = Served::start().await;
    let path = "/v1/store/carts/user%2F7";
    served
        .get(path)
        .await
        .problem(404, "NOT_FOUND", "has no `user/7`");
    let set = served.put(path, &[], "{ \"items\": [1, 2.50] }").await;
    assert_eq!(set.status, 204, "{set:?}");
    let found = served.get(path).await;
    assert_eq!(found.status, 200);
    assert_eq!(found.headers["content-type"], "application/json");
    assert_eq!(found.text(), r#"{"items":[1,2.50]}"#);
    assert_eq!(etag(&found), etag(&set));
    assert!(
        !found.headers.contains_key("quorate-expires-in-ms"),
        "{found:?}"
    );
    let known = [("if-none-match", etag(&found))];
    assert_eq!(served.send("GET", path, &known, "").await.status, 304);

    served.put(&format!("{path}?ttl=1h"), &[], "1").await;
    let left = |answer: &Answer| -> u64 {
        answer.headers["quorate-expires-in-ms"]
            .to_str()
            .unwrap()
            .parse()
            .unwrap()
    };
    assert!((3_500_000..=3_600_000).contains(&left(&served.get(path).await)));
    served.put(&format!("{path}?ttl=keep"), &[], "2").await;
    let kept = served.get(path).await;
    assert_eq!(kept.text(), "2");
    assert!((3_500_000..=3_600_000).contains(&left(&kept)));

    for deleted in [true, false] {
        let answer = served.delete(path, &[]).await;
        assert_eq!(
            (answer.status, answer.json()),
            (200, json!({"deleted": deleted}))
        );
    }
    assert_eq!(served.get(path).await.status, 404);
}

#[tokio::test]
async fn conditions_are_those_of_the_library() {
    let served = Served::start().await;
    let path = "/v1/store/leaders/eu";
    let absent = [("if-none-match", "*")];
    let none = served.put(path, &[("if-match", "\"abc\"")], "1").await;
    none.problem(412, "FAILED_PRECONDITION", "does not have that value");
    assert_eq!(served.put(path, &absent, "\"a\"").await.status, 204);
    let there = served.put(path, &absent, "\"b\"").await;
    there.problem(412, "FAILED_PRECONDITION", "there is an entry already");

    let found = served.get(path).await;
    let same = [("if-match", etag(&found))];
    assert_eq!(served.put(path, &same, "\"b\"").await.status, 204);
    let lost = served.put(path, &same, "\"c\"").await;
    lost.problem(412, "FAILED_PRECONDITION", "does not have that value");
    assert_eq!(served.delete(path, &same).await.status, 412);
    assert_eq!(served.get(path).await.text(), "\"b\"");
    let found = served.get(path).await;
    let either = format!("\"no\", {}", etag(&found));
    assert_eq!(
        served.delete(path, &[("if-match", &either)]).await.status,
        200
    );
    assert_eq!(served.get(path).await.status, 404);
}

#[tokio::test]
async fn a_repeated_write_with_its_key_happens_once() {
    let served = Served::start().await;
    let path = "/v1/store/visits/7/increment";
    let once = [JSON, ("idempotency-key", "\"k-1\"")];
    for _ in 0..2 {
        let answer = served.send("POST", path, &once, r#"{"by": 5}"#).await;
        assert_eq!((answer.status, answer.json()), (200, json!({"value": 5})));
    }
    let other = served.send("POST", path, &once, r#"{"by": 6}"#).await;
    other.problem(
        400,
        "INVALID_ARGUMENT",
        "idempotency_key must not be that of another write",
    );
    let answer = served.post(path, json!({})).await;
    assert_eq!(answer.json(), json!({"value": 6}));
    assert_eq!(served.get("/v1/store/visits/7").await.text(), "6");

    let claim = [("if-none-match", "*"), ("idempotency-key", "k-2")];
    for _ in 0..2 {
        assert_eq!(
            served.put("/v1/store/leaders/eu", &claim, "1").await.status,
            204
        );
    }
}

#[tokio::test]
async fn a_write_with_an_older_fencing_token_is_refused() {
    let redis = Server::start(ServerKind::Redis).await.unwrap();
    for served in [Served::start().await, Served::on(&redis.url()).await] {
        served.until_ready(true).await;
        let path = "/v1/store/reports/may";
        let add = "/v1/store/reports/may/increment";
        let (old, new) = (("fencing-token", "9"), ("fencing-token", "10"));
        assert_eq!(served.put(path, &[new], "1").await.status, 204);
        let tag = etag(&served.get(path).await).to_owned();
        let same = ("if-match", &*tag);
        for refused in [
            served.put(path, &[old], "2").await,
            served.put(&format!("{path}?ttl=1h"), &[old], "2").await,
            served.put(path, &[old, same], "2").await,
            served.delete(path, &[old]).await,
            served.delete(path, &[old, same]).await,
            served.send("POST", add, &[JSON, old], "{}").await,
        ] {
            refused.problem(412, "FAILED_PRECONDITION", "with the fencing token 10");
        }
        assert_eq!(served.get(path).await.text(), "1");

        let added = served.send("POST", add, &[JSON, new], "{}").await;
        assert_eq!(added.json(), json!({ "value": 2 }));
        let tag = etag(&served.get(path).await).to_owned();
        let same = ("if-match", &*tag);
        assert_eq!(served.put(path, &[new, same], "3").await.status, 204);
        assert_eq!(served.delete(path, &[new]).await.status, 200);
        // It is remembered when the entry is gone, also by who makes it anew.
        let absent = ("if-none-match", "*");
        let refused = served.put(path, &[old, absent], "4").await;
        refused.problem(412, "FAILED_PRECONDITION", "with the fencing token 10");
        assert_eq!(served.get(path).await.status, 404);

        for bad in ["", "-1", "x", "99999999999999999999"] {
            let refused = served.put(path, &[("fencing-token", bad)], "1").await;
            refused.problem(400, "INVALID_ARGUMENT", "header fencing-token must be");
        }
    }
}

#[tokio::test]
async fn a_counter_lives_as_long_as_is_said() {
    let served = Served::start().await;
    let left = async || -> Duration {
        let answer = served.get("/v1/store/hits/a").await;
        let text = answer.headers["quorate-expires-in-ms"].to_str().unwrap();
        Duration::from_millis(text.parse().unwrap())
    };
    let hour = Duration::from_secs(3600);
    let path = "/v1/store/hits/a/increment";
    for (body, longest) in [
        (json!({"ttl": "1h"}), hour),
        (json!({"ttl": "2h"}), hour),
        (json!({"ttl": "2h", "extend": true}), hour * 2),
    ] {
        assert_eq!(served.post(path, body).await.status, 200);
        let left = left().await;
        assert!(left <= longest && left > longest - hour / 2, "{left:?}");
    }
    served.put("/v1/store/hits/text", &[], "\"a\"").await;
    let answer = served
        .post("/v1/store/hits/text/increment", json!({}))
        .await;
    answer.problem(409, "FAILED_PRECONDITION", "is no counter");
    served
        .post("/v1/store/hits/b/increment", json!({"by": i64::MAX}))
        .await;
    let answer = served.post("/v1/store/hits/b/increment", json!({})).await;
    answer.problem(400, "INVALID_ARGUMENT", "range of 64 bits");
}

#[tokio::test]
async fn keys_are_listed_page_by_page() {
    let redis = Server::start(ServerKind::Redis).await.unwrap();
    for served in [Served::start().await, Served::on(&redis.url()).await] {
        served.until_ready(true).await;
        for number in 0..60 {
            served
                .put(&format!("/v1/store/users/u{number:02}"), &[], "1")
                .await;
        }
        served.put("/v1/store/users/x", &[], "1").await;
        let (mut keys, mut from) = (Vec::new(), String::new());
        loop {
            let page = served
                .get(&format!("/v1/store/users?prefix=u&limit=1{from}"))
                .await
                .json();
            let names = page["keys"].as_array().unwrap();
            keys.extend(names.iter().map(|key| key.as_str().unwrap().to_owned()));
            match page["next"].as_str() {
                Some(next) => from = format!("&from={next}"),
                None => break,
            }
        }
        keys.sort();
        keys.dedup();
        let expected: Vec<_> = (0..60).map(|number| format!("u{number:02}")).collect();
        assert_eq!(keys, expected);
        let all = served.get("/v1/store/users?limit=1000").await.json();
        assert_eq!(all["keys"].as_array().unwrap().len(), 61);
        assert_eq!(all["next"], Value::Null);
    }
}

/// A service in Rust and a program that is none see the same.
#[tokio::test]
async fn values_are_those_of_the_library() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Cart {
        owner: String,
        items: Vec<u32>,
    }
    const CARTS: StoreSpec<u64, Cart> = StoreSpec::new("carts");
    const PACKED: StoreSpec<u64, Cart> =
        StoreSpec::with_codec("packed", quorate::Codec::message_pack());
    let redis = Server::start(ServerKind::Redis).await.unwrap();
    let served = Served::on(&redis.url()).await;
    served.until_ready(true).await;
    let fleet = Fleet::connect(&redis.url()).await.unwrap();
    let cart = |items| Cart {
        owner: "a b".to_owned(),
        items,
    };

    let body = "{ \"owner\": \"a b\",\n \"items\": [1] }";
    served.put("/v1/store/carts/7", &[], body).await;
    let carts = fleet.store(&CARTS);
    assert_eq!(carts.get(&7).await.unwrap(), Some(cart(vec![1])));
    // Also byte by byte.
    let (before, after) = (cart(vec![1]), cart(vec![2]));
    assert!(
        carts
            .compare_and_set(&7, Some(&before), &after)
            .await
            .unwrap()
    );
    assert_eq!(
        served.get("/v1/store/carts/7").await.text(),
        r#"{"owner":"a b","items":[2]}"#
    );

    fleet.store(&PACKED).set(&7, &after).await.unwrap();
    let packed = served.get("/v1/store/packed/7").await;
    assert_eq!(packed.headers["content-type"], "application/octet-stream");
}

#[tokio::test]
async fn wrong_input_to_a_store_is_refused_with_the_rule() {
    let served = Served::configured("[limits]\nmax_body_bytes = 100").await;
    for (path, headers, body, says) in [
        ("/v1/store/a%20b/k", &[][..], "1", "store may contain only"),
        ("/v1/store/a/%0A", &[], "1", "key must not contain control"),
        ("/v1/store/a/k", &[], "{", "value must be JSON"),
        ("/v1/store/a/k?ttl=5", &[], "1", "ttl must be a duration"),
        (
            "/v1/store/a/k?ttl=0s",
            &[],
            "1",
            "ttl must be at least 1 ms",
        ),
        ("/v1/store/a/k?colour=1", &[], "1", "colour"),
        (
            "/v1/store/a/k",
            &[("if-match", "*")],
            "1",
            "if-match must be an etag",
        ),
        (
            "/v1/store/a/k",
            &[("if-none-match", "\"a\"")],
            "1",
            "if-none-match must be `*`",
        ),
        (
            "/v1/store/a/k",
            &[("idempotency-key", "x")],
            "1",
            "idempotency-key must come with",
        ),
        (
            "/v1/store/a/k",
            &[("idempotency-key", "\"\""), ("if-none-match", "*")],
            "1",
            "visible",
        ),
    ] {
        served
            .put(path, headers, body)
            .await
            .problem(400, "INVALID_ARGUMENT", says);
    }
    for (query, says) in [
        ("limit=0", "limit must be from 1 to 1000"),
        ("from=abc", "from must be the `next`"),
        ("match=*", "match is for caches"),
        ("colour=1", "colour"),
    ] {
        let answer = served.get(&format!("/v1/store/a?{query}")).await;
        answer.problem(400, "INVALID_ARGUMENT", says);
    }
    for (body, says) in [
        (json!({"by": 1.5}), "by"),
        (json!({"ttl": "0s"}), "ttl must be at least 1 ms"),
        (json!({"extend": true}), "extend must come with a ttl"),
        (json!({"colour": 1}), "colour"),
    ] {
        let answer = served.post("/v1/store/a/k/increment", body).await;
        answer.problem(400, "INVALID_ARGUMENT", says);
    }
    let large = format!("\"{}\"", "x".repeat(100));
    let answer = served.put("/v1/store/a/k", &[], &large).await;
    answer.problem(413, "INVALID_ARGUMENT", "body must be at most 100 bytes");
    let answer = served
        .send(
            "PUT",
            "/v1/store/a/k",
            &[("content-type", "text/plain")],
            "1",
        )
        .await;
    answer.problem(415, "INVALID_ARGUMENT", "application/json");
    assert_eq!(served.get("/v1/store/a/k").await.status, 404);
}
