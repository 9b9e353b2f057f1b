//! The layer that turns away who asks too often.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, HeaderName, Request, Response, StatusCode};
use axum::routing::get;
use http_body_util::BodyExt;
use quorate::limit::WhenDown;
use quorate::{Fleet, Limiter, Policy};
use quorate_http::limit::{LimitBy, RateLimitLayer, TrustedProxies};
use quorate_testing::servers::{Server, ServerKind};
use tower::ServiceExt;

const MINUTE: Duration = Duration::from_secs(60);
const KEY: HeaderName = HeaderName::from_static("x-api-key");

/// A service behind the layer, and how many requests reached it.
fn service(layer: RateLimitLayer) -> (Router, Arc<AtomicU64>) {
    let reached = Arc::new(AtomicU64::new(0));
    let counted = reached.clone();
    let handler = move || {
        let counted = counted.clone();
        async move {
            counted.fetch_add(1, Ordering::SeqCst);
            "hello"
        }
    };
    (Router::new().route("/", get(handler)).layer(layer), reached)
}

async fn ask(app: &Router, from: &str, headers: &[(&str, &str)]) -> Response<Body> {
    let mut request = Request::get("/");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut request = request.body(Body::empty()).unwrap();
    let peer: SocketAddr = from.parse().unwrap();
    request.extensions_mut().insert(ConnectInfo(peer));
    app.clone().oneshot(request).await.unwrap()
}

fn field<'h>(headers: &'h HeaderMap, name: &str) -> &'h str {
    headers
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}

fn limiter(fleet: &Fleet, limit: u64) -> Limiter {
    fleet.limiter("http", Policy::fixed_window(limit, MINUTE))
}

/// The fields of the draft with every response, and 429 with a problem document for who is refused.
#[tokio::test(start_paused = true)]
async fn too_many_requests_are_answered_with_429_and_when_to_come_back() {
    let layer = RateLimitLayer::new(limiter(&Fleet::embedded(), 2), LimitBy::address());
    let (app, reached) = service(layer);
    for left in ["\"fixed-60s\";r=1;t=60", "\"fixed-60s\";r=0;t=60"] {
        let response = ask(&app, "203.0.113.9:1", &[]).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(field(response.headers(), "ratelimit"), left);
        let policy = field(response.headers(), "ratelimit-policy");
        assert_eq!(policy, "\"fixed-60s\";q=2;w=60");
        assert_eq!(field(response.headers(), "x-ratelimit-limit"), "");
    }
    tokio::time::advance(Duration::from_millis(10_500)).await;
    let response = ask(&app, "203.0.113.9:2", &[]).await;
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(field(response.headers(), "retry-after"), "50");
    assert_eq!(
        field(response.headers(), "ratelimit"),
        "\"fixed-60s\";r=0;t=50"
    );
    assert_eq!(
        field(response.headers(), "content-type"),
        "application/problem+json"
    );
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(problem["code"], "RESOURCE_EXHAUSTED");
    assert_eq!(problem["policy"], "fixed-60s");
    // Somebody else's is not touched, and nobody who was refused reached the service.
    assert_eq!(ask(&app, "203.0.113.10:1", &[]).await.status(), 200);
    assert_eq!(reached.load(Ordering::SeqCst), 3);
}

/// Behind proxies by the client they name, and not by what a client says of itself.
#[tokio::test]
async fn clients_behind_trusted_proxies_are_told_apart() {
    let proxies = TrustedProxies::new(["10.0.0.0/8"]).unwrap();
    let by = LimitBy::address_behind(proxies);
    let (app, _) = service(RateLimitLayer::new(limiter(&Fleet::embedded(), 1), by));
    let from = async |peer: &str, forwarded: &str| {
        let headers = [("x-forwarded-for", forwarded)];
        ask(&app, peer, &headers).await.status().as_u16()
    };
    assert_eq!(from("10.0.0.1:1", "203.0.113.1").await, 200);
    assert_eq!(from("10.0.0.2:1", "203.0.113.2").await, 200);
    assert_eq!(from("10.0.0.2:1", "9.9.9.9, 203.0.113.1").await, 429);
    // Who is no proxy cannot speak for others.
    assert_eq!(from("203.0.113.3:1", "203.0.113.4").await, 200);
    assert_eq!(from("203.0.113.3:1", "203.0.113.5").await, 429);
    assert_eq!(from("203.0.113.4:1", "203.0.113.6").await, 200);
    // All of a /64 are one.
    assert_eq!(from("[2001:db8::1]:1", "").await, 200);
    assert_eq!(from("[2001:db8::2]:1", "").await, 429);
    assert_eq!(from("[2001:db8:0:1::2]:1", "").await, 200);
}

/// By a header, with what is no secret in the home; and who has none is not free.
#[tokio::test]
async fn a_header_tells_requests_apart_and_is_not_kept() {
    let fleet = Fleet::embedded();
    let limiter = limiter(&fleet, 1);
    let (app, _) = service(RateLimitLayer::new(limiter.clone(), LimitBy::header(KEY)));
    let with = async |key: &[(&str, &str)]| ask(&app, "[::1]:1", key).await.status().as_u16();
    assert_eq!(with(&[("x-api-key", "secret-1")]).await, 200);
    assert_eq!(with(&[("x-api-key", "secret-1")]).await, 429);
    assert_eq!(with(&[("x-api-key", "secret-2")]).await, 200);
    assert_eq!(
        with(&[("x-api-key", "secret-"), ("x-api-key", "1")]).await,
        200
    );
    assert_eq!(with(&[]).await, 200);
    assert_eq!(with(&[]).await, 429);
    assert!(limiter.check("secret-1").await.unwrap().is_allowed());
}

/// A request that one rule refuses is not counted by the others; each says what it has left.
#[tokio::test]
async fn several_rules_count_all_or_none() {
    let fleet = Fleet::embedded();
    let user = fleet.limiter("user", Policy::sliding_log(2, MINUTE).named("user"));
    let address = fleet.limiter("address", Policy::token_bucket(9, MINUTE).named("address"));
    let by_user = LimitBy::function(|request| {
        let user = request.headers.get("x-user")?;
        Some(user.to_str().ok()?.to_owned())
    });
    let layer = RateLimitLayer::new(address.clone(), LimitBy::address())
        .and(user, by_user)
        .cost(|request| {
            if request.headers.contains_key("x-dear") {
                2
            } else {
                1
            }
        })
        .legacy_fields();
    let (app, _) = service(layer);
    let response = ask(&app, "192.0.2.1:1", &[("x-user", "ann"), ("x-dear", "")]).await;
    assert_eq!(response.status(), StatusCode::OK);
    let headers = response.headers();
    assert!(field(headers, "ratelimit").starts_with("\"address\";r=7;t="));
    assert!(field(headers, "ratelimit").contains(", \"user\";r=0;t=60"));
    assert_eq!(
        field(headers, "ratelimit-policy"),
        "\"address\";q=9;w=60, \"user\";q=2;w=60"
    );
    let legacy = ["limit", "remaining", "reset"];
    let legacy = legacy.map(|name| field(headers, &format!("x-ratelimit-{name}")));
    assert_eq!(legacy, ["2", "0", "60"]);
    for _ in 0..9 {
        let response = ask(&app, "192.0.2.1:1", &[("x-user", "ann")]).await;
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    }
    // Without a user that rule says nothing.
    assert_eq!(ask(&app, "192.0.2.1:1", &[]).await.status(), 200);
    let usage = address.usage("192.0.2.1").await.unwrap();
    assert_eq!(usage.policies().next().unwrap().remaining, 6);
}

/// What it was told to.
#[tokio::test(flavor = "multi_thread")]
async fn fault_without_its_home_the_layer_does_what_its_limiter_was_told() {
    let server = Server::start(ServerKind::Redis).await.unwrap();
    let fleet = Fleet::connect(&server.url()).await.unwrap();
    let limiter = limiter(&fleet, 1).deadline(Duration::from_millis(200));
    let (closed, reached) = service(RateLimitLayer::new(limiter.clone(), LimitBy::address()));
    let open = limiter.when_down(WhenDown::Open);
    let (open, _) = service(RateLimitLayer::new(open, LimitBy::address()));
    server.kill();
    let refused = ask(&closed, "192.0.2.1:1", &[]).await.status();
    assert!(refused.is_server_error(), "{refused}");
    assert_eq!(reached.load(Ordering::SeqCst), 0);
    for _ in 0..3 {
        assert_eq!(ask(&open, "192.0.2.1:1", &[]).await.status(), 200);
    }
}

/// Rather than letting everybody be one.
#[tokio::test]
async fn a_service_that_knows_no_addresses_says_so() {
    let (app, _) = service(RateLimitLayer::new(
        limiter(&Fleet::embedded(), 1),
        LimitBy::address(),
    ));
    let request = Request::get("/").body(Body::empty()).unwrap();
    let response = app.oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
}
