//! Conditions of requests, and what a 304 of the service leaves as it was.

use std::time::Duration;

use axum::body::Body;
use axum::http::Method;
use quorate_http::cache::{CacheControl, Declared, ResponseCacheBuilder, ResponseKey};

use super::site::{Site, response};

const MINUTE: Duration = Duration::from_secs(60);

fn declared(mode: Declared) -> impl FnOnce(ResponseCacheBuilder) -> ResponseCacheBuilder {
    move |builder| builder.declared(mode)
}

/// A condition of another method is the service's to judge, and no reason for a 304.
#[tokio::test(start_paused = true)]
async fn only_get_and_head_are_answered_with_304() {
    let mode = Declared::new(MINUTE).methods([Method::GET, Method::POST]);
    let site = Site::new(declared(mode), |_, _| {
        let said = "200 | etag: \"a\" | last-modified: Sat, 21 Nov 2020 10:00:00 GMT";
        std::future::ready(response(said, "x"))
    });
    for method in ["GET", "HEAD", "POST"] {
        let is_post = method == "POST";
        site.send(&format!("{method} /a")).await;
        for (condition, is_judged) in [
            ("if-none-match: \"a\"", !is_post),
            ("if-modified-since: Sat, 21 Nov 2020 10:00:00 GMT", true),
        ] {
            let before = site.runs();
            let answer = site.send(&format!("{method} /a | {condition}")).await;
            let status = if is_post { 200 } else { 304 };
            assert_eq!(answer.status.as_u16(), status, "{method} {condition}");
            assert_eq!(site.runs() == before, is_judged, "{method} {condition}");
        }
    }
}

/// What the handler said of its response holds for as long as the response does.
#[tokio::test(start_paused = true)]
async fn what_still_holds_is_kept_as_its_handler_said() {
    for (again, seconds) in [(None, 10), (Some(30), 30)] {
        let mode = Declared::new(MINUTE).stale_if_error(MINUTE * 10);
        let site = Site::new(declared(mode), move |parts, _| {
            let is_asked = parts.headers.contains_key("if-none-match");
            let status = if is_asked { "304" } else { "200" };
            let mut answer = response(&format!("{status} | etag: \"a\""), Body::empty());
            let said = if is_asked { again } else { Some(10) };
            if let Some(seconds) = said {
                let ttl = Duration::from_secs(seconds);
                answer.extensions_mut().insert(CacheControl::new().ttl(ttl));
            }
            std::future::ready(answer)
        });
        site.get("/a").await;
        for _ in 0..2 {
            tokio::time::advance(Duration::from_secs(31)).await;
            let answer = site.get("/a").await;
            assert!(
                answer.cache().contains("fwd-status=304"),
                "{}",
                answer.cache()
            );
            let key = ResponseKey::get(&"/a".parse().unwrap());
            let meta = site.cache.get(&key).await.unwrap().unwrap().meta;
            assert_eq!(meta.expires.since(meta.stored_at).as_secs(), seconds);
        }
    }
}

/// It would be answered with 412, about what the request would change.
#[tokio::test(start_paused = true)]
async fn only_a_get_is_asked_whether_it_still_holds() {
    let mode = Declared::new(MINUTE)
        .stale_if_error(MINUTE * 10)
        .methods([Method::GET, Method::POST]);
    let site = Site::new(declared(mode), |parts, count| {
        let is_asked = parts.headers.contains_key("if-none-match");
        let status = match (parts.method.as_str(), is_asked) {
            ("POST", true) => "412",
            (_, true) => "304",
            (_, false) => "200",
        };
        std::future::ready(response(
            &format!("{status} | etag: \"a\""),
            count.to_string(),
        ))
    });
    for (method, is_asked) in [("GET", true), ("POST", false)] {
        let first = site.send(&format!("{method} /a")).await;
        tokio::time::advance(MINUTE * 2).await;
        let second = site.send(&format!("{method} /a")).await;
        assert_eq!(second.status, 200, "{method}");
        assert_eq!(first.body == second.body, is_asked, "{method}");
    }
}
