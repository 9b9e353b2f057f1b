//! What requests are answered, one after the other.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request};
use quorate::Fleet;
use quorate_http::idempotency::{IdempotencyLayer, IdempotencyScope};
use quorate_testing::servers::{ServerKind, shared};

use super::site::{CALLER, Site, layer, post, send};

/// On any instance: with its status, its fields and its body, and without what was about the moment.
async fn a_request_is_handled_once(fleet: Fleet) {
    let site = Site::new();
    let (one, two) = (
        site.app(layer(&fleet)),
        site.app(layer(&fleet.instance("b").await.unwrap())),
    );
    let first = send(&one, post("/orders?a=1", "k", "tea")).await;
    assert_eq!((first.status.as_u16(), &*first.body), (201, "1 tea"));
    assert!(!first.is_replayed());
    for app in [&one, &two] {
        let again = send(app, post("/orders?a=1", "k", "tea")).await;
        assert_eq!((again.status.as_u16(), &*again.body), (201, "1 tea"));
        assert!(again.is_replayed());
        assert_eq!(again.headers["location"], "/orders/1");
        let twice: Vec<_> = again.headers.get_all("x-twice").iter().collect();
        assert_eq!(twice, ["a", "b"]);
        assert!(!again.headers.contains_key("date"));
    }
    assert_eq!(site.began(), 1);
    assert_eq!(
        send(&two, post("/orders?a=1", "k2", "tea")).await.body,
        "2 tea"
    );
}

#[tokio::test]
async fn a_request_is_handled_once_on_embedded() {
    a_request_is_handled_once(Fleet::embedded()).await;
}

#[tokio::test]
async fn a_request_is_handled_once_on_redis_and_valkey() {
    for kind in [ServerKind::Redis, ServerKind::Valkey] {
        let server = shared(kind).await.unwrap();
        let fleet = Fleet::connect(server.url()).await.unwrap();
        let name = format!("idempotency-{}", rand::random::<u64>());
        a_request_is_handled_once(fleet.namespaced(&name).unwrap()).await;
    }
}

/// Another method, path, query, type or body.
#[tokio::test]
async fn a_key_is_for_one_request() {
    let site = Site::new();
    let app = site.app(layer(&Fleet::embedded()));
    send(&app, post("/orders?a=1", "k", "tea")).await;
    let mut others = vec![
        post("/orders?a=2", "k", "tea"),
        post("/orders", "k", "tea"),
        post("/order?a=1", "k", "tea"),
        post("/orders?a=1", "k", "coffee"),
        post("/orders?a=1", "k", "tea"),
        post("/orders?a=1", "k", "tea"),
    ];
    *others[4].method_mut() = Method::PATCH;
    let json = "application/json".parse().unwrap();
    others[5].headers_mut().insert("content-type", json);
    for other in others {
        let shown = format!("{other:?}");
        let answer = send(&app, other).await;
        assert_eq!(answer.status.as_u16(), 422, "{shown}");
        assert_eq!(answer.code(), "FAILED_PRECONDITION");
    }
    assert_eq!(site.began(), 1);
    assert!(
        send(&app, post("/orders?a=1", "k", "tea"))
            .await
            .is_replayed()
    );
}

/// Nor responses, whatever they call their requests.
#[tokio::test]
async fn callers_do_not_share_keys() {
    let fleet = Fleet::embedded();
    let site = Site::new();
    let app = site.app(layer(&fleet));
    let of = |caller: &'static str| {
        let mut request = post("/orders", "k", "tea");
        request
            .headers_mut()
            .insert(CALLER, caller.parse().unwrap());
        request
    };
    assert_eq!(send(&app, of("ann")).await.body, "1 tea");
    assert_eq!(send(&app, of("bob")).await.body, "2 tea");
    assert_eq!(send(&app, of("ann")).await.body, "1 tea");
    // A layer that calls itself something else has keys of its own.
    let other = site.app(layer(&fleet).name("other"));
    assert_eq!(send(&other, of("ann")).await.body, "3 tea");
}

/// A scope that knows nobody lets nobody in.
#[tokio::test]
async fn a_request_of_nobody_is_refused() {
    let scope = IdempotencyScope::function(|request| {
        let user = request.headers.get("x-user")?;
        Some(user.to_str().ok()?.to_owned())
    });
    let site = Site::new();
    let app = site.app(IdempotencyLayer::builder(&Fleet::embedded(), scope));
    let answer = send(&app, post("/orders", "k", "tea")).await;
    assert_eq!((answer.status.as_u16(), site.began()), (401, 0));
    // Nor one without the header by which callers are told apart.
    let by_header = site.app(layer(&Fleet::embedded()));
    let mut without = post("/orders", "k", "tea");
    without.headers_mut().remove(CALLER);
    assert_eq!(send(&by_header, without).await.status.as_u16(), 401);
    let mut known = post("/orders", "k", "tea");
    known.headers_mut().insert("x-user", "ann".parse().unwrap());
    assert_eq!(send(&app, known).await.body, "1 tea");
}

/// Each time, unless that is refused.
#[tokio::test]
async fn without_a_key_a_request_is_handled_each_time() {
    let site = Site::new();
    let app = site.app(layer(&Fleet::embedded()));
    let without = || Request::post("/orders").body(Body::from("tea")).unwrap();
    let get = || {
        let request = Request::get("/orders").header("idempotency-key", "k");
        request.body(Body::empty()).unwrap()
    };
    for number in 1..=2 {
        assert_eq!(send(&app, without()).await.body, format!("{number} tea"));
    }
    for number in 3..=4 {
        assert_eq!(send(&app, get()).await.body, format!("{number} "));
    }
    let strict = site.app(layer(&Fleet::embedded()).required());
    let answer = send(&strict, without()).await;
    assert_eq!(
        (answer.status.as_u16(), answer.code()),
        (400, "INVALID_ARGUMENT".into())
    );
    assert!(
        answer.body.contains("Idempotency-Key must be given"),
        "{}",
        answer.body
    );
    assert_eq!(send(&strict, get()).await.body, "5 ");
}

/// With the rule, before anything is run.
#[tokio::test]
async fn what_breaks_a_rule_is_refused() {
    let site = Site::new();
    let app = site.app(layer(&Fleet::embedded()).max_request_bytes(8));
    let answer = send(&app, post("/orders", &"x".repeat(256), "tea")).await;
    assert_eq!(answer.status.as_u16(), 400);
    assert!(answer.body.contains("must have 1 to 255 characters"));
    let answer = send(&app, post("/orders", "k", "more than 8")).await;
    assert_eq!(answer.status.as_u16(), 413);
    assert!(answer.body.contains("at most 8 bytes"), "{}", answer.body);
    assert_eq!(site.began(), 0);
    assert_eq!(
        send(&app, post("/orders", "k", "8 bytes!")).await.body,
        "1 8 bytes!"
    );
}

#[tokio::test]
async fn options_are_checked_with_the_rule() {
    let fleet = Fleet::embedded();
    let second = Duration::from_secs(1);
    for (builder, rule) in [
        (
            layer(&fleet).keep_for(second / 2),
            "keep_for must be 1 s to a year",
        ),
        (
            layer(&fleet).lease(second * 4000),
            "lease must be 1 s to 1 h",
        ),
        (
            layer(&fleet).wait_for(second * 301),
            "wait_for must be at most 5 min",
        ),
        (
            layer(&fleet).max_response_bytes(usize::MAX),
            "max_response_bytes must be at most 256 MiB",
        ),
        (
            layer(&fleet).name("x".repeat(101)),
            "name must be at most 100 bytes",
        ),
    ] {
        let error = builder.build().unwrap_err();
        assert_eq!(error.message(), Some(rule));
    }
    assert!(layer(&fleet).name("a b").build().is_err());
}

/// What says that nothing was done can be sent again; what says that it went wrong cannot.
#[tokio::test]
async fn only_a_final_answer_is_kept() {
    let site = Site::new();
    let app = site.app(layer(&Fleet::embedded()));
    assert_eq!(
        send(&app, post("/busy", "k", "")).await.status.as_u16(),
        503
    );
    let answer = send(&app, post("/busy", "k", "")).await;
    assert_eq!((answer.status.as_u16(), &*answer.body), (201, "2 "));
    assert_eq!(send(&app, post("/broken", "k2", "")).await.body, "3 ");
    let again = send(&app, post("/broken", "k2", "")).await;
    assert_eq!((again.status.as_u16(), &*again.body), (500, "3 "));
    let only_success = site.app(layer(&Fleet::embedded()).final_when(|status| status.is_success()));
    assert_eq!(
        send(&only_success, post("/broken", "k", "")).await.body,
        "4 "
    );
    assert_eq!(
        send(&only_success, post("/broken", "k", "")).await.body,
        "5 "
    );
}

/// Its response is given whole; who asks again is told that there was one.
#[tokio::test]
async fn a_response_that_is_too_large_is_not_kept_and_not_made_again() {
    let site = Site::new();
    let app = site.app(layer(&Fleet::embedded()).max_response_bytes(8));
    let body = "a body of twenty ...";
    assert_eq!(
        send(&app, post("/orders", "k", body)).await.body,
        format!("1 {body}")
    );
    let again = send(&app, post("/orders", "k", body)).await;
    assert_eq!(
        (again.status.as_u16(), again.code()),
        (409, "ALREADY_EXISTS".into())
    );
    assert_eq!(site.began(), 1);
}

/// Then it can be sent again.
#[tokio::test(start_paused = true)]
async fn a_response_is_kept_for_its_time() {
    let site = Site::new();
    let app = site.app(layer(&Fleet::embedded()).keep_for(Duration::from_secs(60)));
    send(&app, post("/orders", "k", "tea")).await;
    tokio::time::advance(Duration::from_secs(59)).await;
    assert_eq!(send(&app, post("/orders", "k", "tea")).await.body, "1 tea");
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(send(&app, post("/orders", "k", "tea")).await.body, "2 tea");
}

/// Two requests with one body under two paths of a nested router are two.
#[tokio::test]
async fn the_whole_path_counts_within_a_nested_router() {
    let site = Site::new();
    let inner = || site.app(layer(&FLEET));
    static FLEET: std::sync::LazyLock<Fleet> = std::sync::LazyLock::new(Fleet::embedded);
    let app = Router::new().nest("/a", inner()).nest("/b", inner());
    assert_eq!(
        send(&app, post("/a/orders", "k", "tea")).await.body,
        "1 tea"
    );
    assert_eq!(
        send(&app, post("/b/orders", "k", "tea"))
            .await
            .status
            .as_u16(),
        422
    );
}

/// It is not waited for, and not made again.
#[tokio::test]
async fn a_response_that_is_streamed_is_not_kept_and_not_made_again() {
    let site = Site::new();
    let app = site.app(layer(&Fleet::embedded()));
    assert_eq!(send(&app, post("/stream", "k", "")).await.body, "ab");
    let again = send(&app, post("/stream", "k", "")).await;
    assert_eq!(
        (again.status.as_u16(), again.code()),
        (409, "ALREADY_EXISTS".into())
    );
    assert_eq!(site.began(), 1);
}

/// Whatever its status: it may have been done.
#[tokio::test]
async fn an_answer_that_does_not_know_is_final() {
    let site = Site::new();
    let app = site.app(layer(&Fleet::embedded()));
    for is_replayed in [false, true] {
        let answer = send(&app, post("/unknown", "k", "")).await;
        assert_eq!(answer.status.as_u16(), 503);
        assert_eq!(answer.is_replayed(), is_replayed);
    }
    assert_eq!(site.began(), 1);
}

/// The outer one handles the request; to the inner one it is as if it had no key.
#[tokio::test]
async fn a_layer_within_another_does_not_wait_for_it() {
    let site = Site::new();
    let fleet = Fleet::embedded();
    let app = site
        .app(layer(&fleet))
        .layer(layer(&fleet).build().unwrap());
    assert_eq!(send(&app, post("/orders", "k", "tea")).await.body, "1 tea");
    let again = send(&app, post("/orders", "k", "tea")).await;
    assert_eq!((&*again.body, again.is_replayed()), ("1 tea", true));
}
