//! What would keep something wrong, or something of somebody else's, is not kept; and what changed does not stay.

use std::time::Duration;

use axum::body::Body;
use futures_util::stream;
use quorate_http::cache::{CacheControl, Declared, ResponseCacheBuilder};

use super::site::{Site, response};

const MINUTE: Duration = Duration::from_secs(60);

fn declared(mode: Declared) -> impl FnOnce(ResponseCacheBuilder) -> ResponseCacheBuilder {
    move |builder| builder.declared(mode)
}

/// The service may build its links with the one, and the key names the other.
#[tokio::test(start_paused = true)]
async fn a_request_that_names_two_hosts_goes_past_the_cache() {
    let site = Site::new(declared(Declared::new(MINUTE)), |parts, _| {
        let host = parts.headers["host"].to_str().unwrap().to_owned();
        std::future::ready(response("200", host))
    });
    let evil = "GET http://shop.example/p | host: evil.example";
    let twice = "GET /p | host: shop.example | host: evil.example";
    for request in [evil, twice] {
        assert_eq!(site.send(request).await.cache(), "quorate; fwd=bypass");
    }
    let good = "GET http://shop.example/p | host: shop.example";
    for cache in ["quorate; fwd=uri-miss; stored", "quorate; hit; ttl=60"] {
        let answer = site.send(good).await;
        assert_eq!(
            (answer.cache(), &*answer.body),
            (cache, b"shop.example".as_slice())
        );
    }
}

/// A cookie that a response varies by is compared, and not kept.
#[tokio::test(start_paused = true)]
async fn what_a_response_varies_by_is_kept_without_its_secrets() {
    let site = Site::new(
        |builder| builder,
        |_, _| {
            let said = "200 | cache-control: max-age=60, public | vary: cookie, x-plain";
            std::future::ready(response(said, "for one"))
        },
    );
    let request = "GET / | host: a | cookie: session=topsecret | x-plain: shown";
    for hit in [false, true] {
        assert_eq!(site.send(request).await.cache().contains("hit"), hit);
    }
    let other = "GET / | host: a | cookie: session=another | x-plain: shown";
    assert!(!site.send(other).await.cache().contains("hit"));
    let kept = quorate::CacheSpec::<str, bytes::Bytes>::with_codec("http", quorate::Codec::bytes());
    let kept = site.fleet.cache(&kept);
    let entry = kept
        .get("GET a /")
        .await
        .unwrap()
        .expect("it is kept under this key");
    let has = |text: &[u8]| entry.windows(text.len()).any(|part| part == text);
    assert!(has(b"shown") && !has(b"topsecret"));
}

/// It would be cut off each time.
#[tokio::test(start_paused = true)]
async fn a_body_of_another_length_than_it_says_is_not_kept() {
    let site = Site::new(declared(Declared::new(MINUTE)), |_, _| {
        std::future::ready(response("200 | content-length: 100", "fifty"))
    });
    for _ in 0..2 {
        assert!(!site.send("GET /").await.cache().contains("hit"));
    }
    assert_eq!(site.runs(), 2);
}

/// Nobody waits for its end.
#[tokio::test(start_paused = true)]
async fn a_stream_of_events_is_passed_on_as_it_comes() {
    let configure = |builder: ResponseCacheBuilder| {
        builder.declared(Declared::new(MINUTE)).buffer_streams(true)
    };
    let site = Site::new(configure, |_, _| {
        let endless = stream::iter([Ok::<_, std::io::Error>("data: 1\n\n")]);
        let endless = futures_util::StreamExt::chain(endless, stream::pending());
        let body = Body::from_stream(endless);
        std::future::ready(response(
            "200 | content-type: Text/Event-Stream; charset=utf-8",
            body,
        ))
    });
    let mut body = site.respond("GET /").await.into_body();
    let first = http_body_util::BodyExt::frame(&mut body)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(first.into_data().unwrap(), "data: 1\n\n");
}

/// What only the whole answer said it is about.
#[tokio::test(start_paused = true)]
async fn a_response_that_still_holds_is_about_what_it_was_about() {
    let site = Site::new(
        |builder| builder,
        |parts, _| {
            if parts.headers.contains_key("if-none-match") {
                return std::future::ready(response(
                    "304 | etag: \"1\" | cache-control: max-age=60",
                    "",
                ));
            }
            let said = "200 | etag: \"1\" | cache-control: max-age=60 | cache-groups: \"g\"";
            let mut whole = response(said, "user 7");
            whole
                .extensions_mut()
                .insert(CacheControl::new().tags(["user:7"]));
            std::future::ready(whole)
        },
    );
    site.send("GET / | host: a").await;
    tokio::time::advance(MINUTE * 2).await;
    site.send("GET / | host: a").await;
    assert!(site.send("GET / | host: a").await.cache().contains("hit"));
    site.fleet.invalidate_tags(["user:7"]).await.unwrap();
    assert!(!site.send("GET / | host: a").await.cache().contains("hit"));
}

/// One visitor whose answer is not for others does not take from them what is.
#[tokio::test(start_paused = true)]
async fn an_answer_for_one_leaves_what_is_fresh_for_others() {
    let site = Site::new(
        |builder| builder,
        |parts, _| {
            let said = if parts.headers.contains_key("x-user") {
                "200 | cache-control: private"
            } else {
                "200 | cache-control: max-age=600"
            };
            std::future::ready(response(said, "page"))
        },
    );
    site.send("GET / | host: a").await;
    site.send("GET / | host: a | x-user: ann | cache-control: no-cache")
        .await;
    assert!(site.send("GET / | host: a").await.cache().contains("hit"));
}

/// What a declared response says against itself counts.
#[tokio::test(start_paused = true)]
async fn a_declared_response_may_ask_to_be_asked_for() {
    for (said, kept) in [
        ("no-cache", false),
        ("must-revalidate", true),
        ("max-age=1", true),
    ] {
        let mode = Declared::new(MINUTE).stale_while_revalidate(MINUTE * 10);
        let site = Site::new(declared(mode), move |_, _| {
            std::future::ready(response(&format!("200 | cache-control: {said}"), "x"))
        });
        site.get("/").await;
        assert_eq!(site.get("/").await.cache().contains("hit"), kept, "{said}");
        tokio::time::advance(MINUTE * 2).await;
        let is_stale_given = said == "max-age=1";
        assert_eq!(
            site.get("/").await.cache().contains("hit"),
            is_stale_given,
            "{said}"
        );
    }
}

/// A client that goes away while its change is made does not leave what was there before.
#[tokio::test(start_paused = true)]
async fn a_change_whose_client_left_ends_what_is_kept() {
    let site = Site::new(
        |builder| builder,
        |parts, count| async move {
            if parts.method == "POST" {
                // It is made by now; the answer takes its time.
                tokio::time::sleep(MINUTE).await;
            }
            response(
                "200 | cache-control: max-age=60",
                format!("version {count}"),
            )
        },
    );
    site.send("GET /a | host: a").await;
    assert!(site.send("GET /a | host: a").await.cache().contains("hit"));
    let post = site.send("POST /a | host: a");
    assert!(
        tokio::time::timeout(Duration::from_secs(1), post)
            .await
            .is_err()
    );
    while site.send("GET /a | host: a").await.cache().contains("hit") {
        tokio::task::yield_now().await;
    }
}

/// Windows in which it may be given stale begin when it was no longer fresh, wherever that was.
#[tokio::test(start_paused = true)]
async fn what_was_stale_before_it_came_is_not_given_stale_once_more() {
    let site = Site::new(
        |builder| builder,
        |_, _| {
            let said = "200 | age: 1000 | cache-control: max-age=60, stale-while-revalidate=30";
            std::future::ready(response(said, "old"))
        },
    );
    for _ in 0..3 {
        assert!(!site.send("GET / | host: a").await.cache().contains("hit"));
    }
    assert_eq!(site.runs(), 3);
}

/// Nor what has to be validated each time.
#[tokio::test(start_paused = true)]
async fn an_answer_for_one_leaves_what_is_validated() {
    for (field, said) in [
        ("authorization: x", "200 | cache-control: max-age=60"),
        ("x-bad: 1", "403"),
    ] {
        let name = field.split(':').next().unwrap();
        let site = Site::new(
            |builder| builder,
            move |parts, count| {
                let has_it = parts.headers.contains_key("if-none-match");
                let said = match (parts.headers.contains_key(name), has_it) {
                    (true, _) => said,
                    (false, true) => "304 | etag: \"a\"",
                    (false, false) => "200 | cache-control: no-cache | etag: \"a\"",
                };
                std::future::ready(response(said, count.to_string()))
            },
        );
        let first = site.send("GET / | host: a").await;
        site.send(&format!("GET / | host: a | {field}")).await;
        let again = site.send("GET / | host: a").await;
        assert_eq!(again.body, first.body, "{field}");
        assert!(again.cache().contains("fwd-status=304"), "{field}");
    }
}
