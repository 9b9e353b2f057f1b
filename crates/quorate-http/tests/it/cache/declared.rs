//! The declared mode: the service says how long its responses are kept.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::http::{Method, Request};
use axum::response::IntoResponse;
use axum::routing::get;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use quorate::Fleet;
use quorate_http::cache::{
    CacheControl, Declared, ResponseCache, ResponseCacheBuilder, ResponseKey, Standard,
};
use tower::ServiceExt;

use super::site::{Site, response};

const MINUTE: Duration = Duration::from_secs(60);

fn declared(mode: Declared) -> impl FnOnce(ResponseCacheBuilder) -> ResponseCacheBuilder {
    move |builder| builder.declared(mode)
}

/// A site that answers with what it was asked.
fn echo(mode: Declared) -> Site {
    Site::new(declared(mode), |parts, count| {
        let body = format!("{} {} {count}", parts.method, parts.uri);
        std::future::ready(response("200", body))
    })
}

/// Defect 7 of the register: the key was the pattern of the route, and `/users/2` was answered with the first user's.
#[tokio::test(start_paused = true)]
async fn defect_07_the_key_has_the_path_and_not_the_route() {
    let user = async |Path(id): Path<u64>| format!("user {id}");
    let cache = ResponseCache::builder(Fleet::embedded())
        .declared(Declared::new(MINUTE))
        .build()
        .unwrap();
    let users = Router::new().route("/{id}", get(user)).layer(cache.layer());
    // Also where the layer is within a nested router, which is not shown the whole path.
    let app: Router = Router::new().nest("/users", users.clone()).nest(
        "/admins",
        Router::new()
            .route("/{id}", get(async || "admin"))
            .layer(cache.layer()),
    );
    let ask = async |path: &str| {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = app.clone().oneshot(request).await.unwrap();
        let hit = response.headers()["cache-status"]
            .to_str()
            .unwrap()
            .contains("hit");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (String::from_utf8(body.to_vec()).unwrap(), hit)
    };
    for hit in [false, true] {
        assert_eq!(ask("/users/1").await, ("user 1".to_owned(), hit));
        assert_eq!(ask("/users/2").await, ("user 2".to_owned(), hit));
        assert_eq!(ask("/users/2?x").await, ("user 2".to_owned(), hit));
        assert_eq!(ask("/admins/2").await, ("admin".to_owned(), hit));
    }
}

/// Whatever the response itself says of being fresh.
#[tokio::test(start_paused = true)]
async fn what_is_declared_is_kept_so_long() {
    let site = echo(Declared::new(MINUTE));
    let first = site.get("/a").await;
    assert_eq!(first.cache(), "quorate; fwd=uri-miss; stored");
    tokio::time::advance(MINUTE / 2).await;
    let second = site.get("/a").await;
    assert_eq!(
        (second.cache(), second.header("age")),
        ("quorate; hit; ttl=30", Some("30"))
    );
    assert_eq!(second.body, first.body);
    tokio::time::advance(MINUTE).await;
    assert_ne!(site.get("/a").await.body, first.body);
    // It has left by itself.
    tokio::time::advance(MINUTE * 2).await;
    let key = ResponseKey::get(&"/a".parse().unwrap());
    assert!(site.cache.get(&key).await.unwrap().is_none());
}

/// Given while a new one is made, and beyond that for a service that fails.
#[tokio::test(start_paused = true)]
async fn what_is_stale_is_given_as_declared() {
    let mode = Declared::new(MINUTE)
        .stale_while_revalidate(MINUTE)
        .stale_if_error(MINUTE * 10);
    let site = Site::new(declared(mode), |_, count| {
        let status = if count < 2 { "200" } else { "503" };
        std::future::ready(response(status, count.to_string()))
    });
    assert_eq!(site.get("/").await.body, "0");
    tokio::time::advance(MINUTE + MINUTE / 2).await;
    let stale = site.get("/").await;
    assert_eq!(
        (&*stale.body, stale.cache()),
        (&b"0"[..], "quorate; hit; ttl=-30")
    );
    settle().await;
    assert_eq!(site.get("/").await.body, "1");
    tokio::time::advance(MINUTE * 5).await;
    let old = site.get("/").await;
    assert_eq!((old.status.as_u16(), &*old.body), (200, &b"1"[..]));
    assert_eq!(
        old.cache(),
        "quorate; fwd=stale; fwd-status=503; ttl=-240; detail=error"
    );
    assert_eq!(old.header("age"), Some("300"));
    tokio::time::advance(MINUTE * 7).await;
    assert_eq!(site.get("/").await.status.as_u16(), 503);
}

/// It leaves the cache when nothing could use it any more.
#[tokio::test(start_paused = true)]
async fn entries_leave_at_their_last_stale_moment() {
    let site = echo(Declared::new(MINUTE).stale_if_error(MINUTE * 2));
    site.get("/a").await;
    let key = ResponseKey::get(&"/a".parse().unwrap());
    tokio::time::advance(MINUTE * 3 - Duration::from_secs(1)).await;
    let meta = site.cache.get(&key).await.unwrap().unwrap().meta;
    let times = [meta.stored_at, meta.expires, meta.stale_until];
    assert_eq!(times[1].since(times[0]), MINUTE);
    assert_eq!(times[2].since(times[0]), MINUTE * 3);
    tokio::time::advance(Duration::from_secs(2)).await;
    assert!(site.cache.get(&key).await.unwrap().is_none());
}

/// By fields, and by what else tells answers apart; and the query as the service has it.
#[tokio::test(start_paused = true)]
async fn the_key_has_what_answers_depend_on() {
    let mode = Declared::new(MINUTE)
        .vary(["accept-language"])
        .vary_by(|parts| {
            let tenant = parts.headers.get("x-tenant");
            tenant.map_or_else(String::new, |tenant| tenant.to_str().unwrap().to_owned())
        })
        .key(|parts| {
            let mut pairs: Vec<_> = parts.uri.query().unwrap_or_default().split('&').collect();
            pairs.retain(|pair| !pair.starts_with("utm_"));
            pairs.sort_unstable();
            pairs.join("&")
        });
    let site = echo(mode);
    for (request, runs) in [
        ("GET /a?x=1&y=2", 1),
        ("GET /a?y=2&utm_source=z&x=1", 1),
        ("GET /b?x=1&y=2", 2),
        ("GET /a?x=1", 3),
        ("GET /a?x=1&y=2 | accept-language: de", 4),
        ("GET /a?x=1&y=2 | x-tenant: a", 5),
        ("GET /a?x=1&y=2 | x-tenant: b", 6),
        ("GET /a?x=1&y=2 | x-tenant: a", 6),
        ("GET /a?x=1&y=2 | host: other", 7),
    ] {
        site.send(request).await;
        assert_eq!(site.runs(), runs, "{request}");
    }
}

/// Each for itself, with the content of the request.
#[tokio::test(start_paused = true)]
async fn methods_are_as_declared() {
    let site = echo(Declared::new(MINUTE).methods([Method::GET, Method::POST]));
    let post = async |body: &'static str| {
        let request = Request::post("/a").body(Body::from(body)).unwrap();
        site.send_request(request).await;
        site.runs()
    };
    assert_eq!(
        [post("1").await, post("2").await, post("1").await],
        [1, 2, 2]
    );
    site.get("/a").await;
    site.send("PUT /a").await;
    site.send("HEAD /a").await;
    assert_eq!(site.runs(), 4);
    let site = echo(Declared::new(MINUTE));
    for _ in 0..2 {
        assert_eq!(site.send("POST /a").await.cache(), "quorate; fwd=method");
    }
    // Content of a GET is not a part of its key.
    let request = || Request::get("/a").body(Body::from("x")).unwrap();
    for runs in [3, 4] {
        site.send_request(request()).await;
        assert_eq!(site.runs(), runs);
    }
}

/// By request and by response.
#[tokio::test(start_paused = true)]
async fn predicates_decide_what_is_kept() {
    let mode = Declared::new(MINUTE)
        .skip(|parts| parts.uri.path() == "/skipped")
        .should_cache(|parts, response| parts.uri.path() != "/not" && response.status == 404);
    let site = Site::new(declared(mode), |parts, _| {
        let status = if parts.uri.path() == "/200" {
            "200"
        } else {
            "404"
        };
        std::future::ready(response(status, "x"))
    });
    for (path, runs) in [("/a", 1), ("/200", 2), ("/skipped", 2), ("/not", 2)] {
        let before = site.runs();
        site.get(path).await;
        site.get(path).await;
        assert_eq!(site.runs() - before, runs, "{path}");
    }
    let site = Site::new(declared(Declared::new(MINUTE)), |_, _| {
        std::future::ready(response("404", "x"))
    });
    site.get("/").await;
    site.get("/").await;
    assert_eq!(site.runs(), 2);
}

/// With a request that says so, unless it was declared otherwise.
#[tokio::test(start_paused = true)]
async fn a_response_is_made_anew_for_who_wants_it() {
    let reload = "GET /a | cache-control: no-cache";
    let site = echo(Declared::new(MINUTE));
    let first = site.get("/a").await.body;
    let anew = site.send(reload).await;
    assert_eq!(anew.cache(), "quorate; fwd=request; stored");
    assert_ne!(anew.body, first);
    assert_eq!(site.get("/a").await.body, anew.body);
    let site = echo(Declared::new(MINUTE).reload(false));
    let first = site.get("/a").await.body;
    assert_eq!(site.send(reload).await.body, first);
    assert_eq!(
        site.send("GET /a | cache-control: no-store").await.cache(),
        "quorate; fwd=bypass"
    );
}

/// Time, tags, and whether at all.
#[tokio::test(start_paused = true)]
async fn a_handler_says_how_its_response_is_kept() {
    let fleet = Fleet::embedded();
    let site = Site::on(
        fleet.clone(),
        declared(Declared::new(MINUTE * 10)),
        |parts, count| {
            let control = CacheControl::new();
            let control = match parts.uri.path() {
                "/short" => control.ttl(MINUTE),
                "/tagged" => control.tags(["user:7"]),
                "/never" => control.no_store(),
                "/zero" => control.ttl(Duration::ZERO),
                _ => control.tags([""]),
            };
            std::future::ready((control, count.to_string()).into_response())
        },
    );
    for path in ["/short", "/tagged", "/never", "/zero", "/bad"] {
        site.get(path).await;
    }
    let is_there = async |path: &str| site.get(path).await.cache().contains("hit");
    assert!(is_there("/short").await && is_there("/tagged").await);
    assert!(!is_there("/never").await && !is_there("/zero").await && !is_there("/bad").await);
    fleet.invalidate_tags(["user:7"]).await.unwrap();
    assert!(!is_there("/tagged").await);
    tokio::time::advance(MINUTE * 2).await;
    assert!(!is_there("/short").await);
}

/// A mutation removes exactly one response.
#[tokio::test(start_paused = true)]
async fn a_key_that_is_known_removes_exactly_one() {
    let site = echo(Declared::new(MINUTE).vary(["x-a"]));
    for request in ["GET /1", "GET /2", "GET /1 | x-a: 1"] {
        site.send(request).await;
    }
    let uri = "/1".parse().unwrap();
    let name = "x-a".parse().unwrap();
    let key = ResponseKey::get(&uri).with_field(&name, None);
    assert!(site.cache.delete(&key).await.unwrap());
    assert!(!site.cache.delete(&key).await.unwrap());
    let parts = Request::get("/2").body(()).unwrap().into_parts().0;
    let other = site.cache.cache_key(&parts);
    assert_eq!(other.as_str(), "GET  /2 h:x-a");
    assert!(site.cache.get(&other).await.unwrap().is_some());
    assert_eq!(site.runs(), 3);
    site.send("GET /1 | x-a: 1").await;
    site.send("GET /2").await;
    assert_eq!(site.runs(), 3);
    site.send("GET /1").await;
    assert_eq!(site.runs(), 4);
}

/// Larger than what is kept, and of a size that is not known.
#[tokio::test(start_paused = true)]
async fn what_is_too_large_is_passed_on_whole() {
    let streamed = |parts: Vec<&'static str>| {
        let parts = parts.into_iter().map(Ok::<_, std::io::Error>);
        Body::from_stream(futures_util::stream::iter(parts))
    };
    for (buffers, path, expected, hit) in [
        (false, "/large", "123456789", false),
        (false, "/fits", "12345678", true),
        (false, "/stream", "1234", false),
        (true, "/stream", "1234", true),
        (true, "/long", "123456789", false),
        (false, "/said", "1234", true),
        (false, "/short", "12", false),
    ] {
        let site = Site::new(
            |builder| {
                let builder = builder.declared(Declared::new(MINUTE));
                builder.max_body(8).buffer_streams(buffers)
            },
            move |parts, _| {
                std::future::ready(match parts.uri.path() {
                    "/large" => response("200", "123456789"),
                    "/fits" => response("200", "12345678"),
                    "/stream" => response("200", streamed(vec!["12", "34"])),
                    "/said" => response("200 | content-length: 4", streamed(vec!["12", "34"])),
                    "/short" => response("200 | content-length: 4", streamed(vec!["12"])),
                    _ => response("200", streamed(vec!["123", "456", "789"])),
                })
            },
        );
        for round in 0..2 {
            let answer = site.get(path).await;
            assert_eq!(answer.body, expected, "{path}");
            assert_eq!(
                answer.cache().contains("hit"),
                hit && round > 0,
                "{path} {buffers}"
            );
        }
    }
}

/// What cannot be is refused by name.
#[tokio::test]
async fn options_are_checked_with_the_rule() {
    let builder = || ResponseCache::builder(Fleet::embedded());
    let year = MINUTE * 60 * 24 * 365;
    let mode = || Declared::new(MINUTE);
    for (builder, says) in [
        (
            builder().declared(Declared::new(Duration::ZERO)),
            "ttl must be from 1 ms to a year",
        ),
        (
            builder().declared(mode().stale_if_error(year * 2)),
            "stale_if_error must be at most a year",
        ),
        (
            builder().declared(mode().methods([])),
            "methods must name one",
        ),
        (
            builder().declared(mode().vary(["a b"])),
            "vary must be names of header fields",
        ),
        (builder().max_body(0), "max_body must be from 1 to 256 MiB"),
        (
            builder().pass_for(year),
            "pass_for must be from 1 ms to an hour",
        ),
        (
            builder().wait_for(Duration::ZERO),
            "wait_for must be from 1 ms to an hour",
        ),
        (
            builder().deadline(Duration::ZERO),
            "deadline must not be zero",
        ),
        (
            builder().name("a b"),
            "cache may contain only letters, digits and `_ . / -`",
        ),
    ] {
        let error = builder.build().unwrap_err();
        assert_eq!(error.message(), Some(says));
    }
}

/// What goes on in the background is done.
async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

/// The same for the standard mode, and what caches a response is meant for.
#[tokio::test(start_paused = true)]
async fn the_standard_mode_has_options() {
    let day = MINUTE * 60 * 24;
    for (mode, says) in [
        (
            Standard::new().heuristic(1.5, day),
            "heuristic must be a share from 0 to 1",
        ),
        (
            Standard::new().heuristic(0.1, day * 366),
            "heuristic must be at most a year",
        ),
        (
            Standard::new().revalidate_for(day * 366),
            "revalidate_for must be at most a year",
        ),
        (
            Standard::new().targets(["a b"]),
            "targets must be names of header fields",
        ),
    ] {
        let builder = ResponseCache::builder(Fleet::embedded()).standard(mode);
        assert_eq!(builder.build().unwrap_err().message(), Some(says));
    }
    let mode = Standard::new()
        .heuristic(0.0, day)
        .targets(["x-cache-control", "cdn-cache-control"])
        .revalidate_for(MINUTE);
    let said = "200 | cdn-cache-control: no-store | x-cache-control: max-age=60 | etag: \"a\"";
    let site = Site::new(
        |builder| builder.standard(mode),
        move |_, _| std::future::ready(response(said, "x")),
    );
    site.get("/").await;
    assert!(site.get("/").await.cache().contains("hit"));
    let key = ResponseKey::get(&"/".parse().unwrap());
    tokio::time::advance(MINUTE + MINUTE / 2).await;
    assert!(site.cache.get(&key).await.unwrap().is_some());
    tokio::time::advance(MINUTE).await;
    assert!(site.cache.get(&key).await.unwrap().is_none());
}

/// What a response ends with stays with it.
#[tokio::test(start_paused = true)]
async fn trailers_are_kept_with_the_response() {
    let site = Site::new(declared(Declared::new(MINUTE)), |_, _| async {
        let trailers = [("x-sum".parse().unwrap(), "7".parse().unwrap())];
        let body = Full::new(Bytes::from("ab"))
            .with_trailers(std::future::ready(Some(Ok(trailers.into_iter().collect()))));
        response("200 | content-length: 2", Body::new(body))
    });
    for _ in 0..2 {
        let body = site
            .respond("GET /")
            .await
            .into_body()
            .collect()
            .await
            .unwrap();
        assert_eq!(body.trailers().unwrap()["x-sum"], "7");
        assert_eq!(body.to_bytes(), "ab");
    }
    assert_eq!(site.runs(), 1);
}

/// They share their names with no others.
#[tokio::test(start_paused = true)]
async fn hosts_are_told_apart_unless_they_are_alike() {
    let ask = async |site: &Site| {
        for host in ["a.example", "b.example", "A.example"] {
            site.send(&format!("GET / | host: {host}")).await;
        }
        site.runs()
    };
    assert_eq!(ask(&echo(Declared::new(MINUTE))).await, 2);
    let site = Site::new(
        |builder| builder.declared(Declared::new(MINUTE)).ignore_host(),
        |_, _| std::future::ready(response("200", "x")),
    );
    assert_eq!(ask(&site).await, 1);
    let key = ResponseKey::get(&"https://c.example/".parse().unwrap());
    assert!(site.cache.delete(&key).await.unwrap());
}
