//! What caches are told, and what ours keeps.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response, header};
use axum::routing::get;
use http_body_util::BodyExt;
use quorate::Fleet;
use quorate_http::Rejection;
use quorate_http::cache::{Declared, ResponseCache};
use quorate_http::session::{CurrentSession, SessionLayer};
use tower::ServiceExt;

use super::browser::{COUNT, Site};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn what_depends_on_a_session_is_not_for_caches() {
    let site = Site::new(&Fleet::embedded());
    let browser = site.browser();
    for path in ["/look", "/count", "/count", "/look", "/logout/here"] {
        let answer = browser.get(path).await;
        assert_eq!(answer.field("cache-control"), "no-store", "{path}");
        assert_eq!(answer.field("vary"), "cookie", "{path}");
    }
}

/// Unless it is about to carry an id.
#[tokio::test]
async fn what_a_handler_says_to_caches_counts() {
    async fn handler(session: CurrentSession) -> Result<Response<Body>, Rejection> {
        if session.get(&COUNT).await?.is_none() {
            session.set(&COUNT, &1)?;
        }
        let response = Response::builder().header(header::CACHE_CONTROL, "private, max-age=5");
        let response = response.header("cdn-cache-control", "max-age=9");
        Ok(response.body(Body::empty()).unwrap())
    }
    let layer = SessionLayer::new(Fleet::embedded().sessions());
    let app: Router = Router::new().route("/", get(handler)).layer(layer);
    let ask = async |cookie: &str| {
        let request = Request::get("/").header("cookie", cookie);
        let request = request.body(Body::empty()).unwrap();
        app.clone()
            .oneshot(request)
            .await
            .unwrap()
            .into_parts()
            .0
            .headers
    };
    let first = ask("").await;
    assert_eq!(first["cache-control"], "no-store");
    assert!(!first.contains_key("cdn-cache-control"));
    let cookie = first["set-cookie"].to_str().unwrap();
    let second = ask(cookie.split_once(';').unwrap().0).await;
    assert_eq!(second["cache-control"], "private, max-age=5");
    assert_eq!(second["cdn-cache-control"], "max-age=9");
}

/// On whichever side of the session's layer it is, and though it was told to ignore cookies.
#[tokio::test]
async fn the_response_cache_shares_nothing_that_depends_on_a_session() {
    let fleet = Fleet::embedded();
    let asked = Arc::new(AtomicU32::new(0));
    let personal = {
        let asked = asked.clone();
        move |session: CurrentSession| async move {
            let nth = asked.fetch_add(1, Ordering::SeqCst);
            session.set(&COUNT, &nth).unwrap();
            nth.to_string()
        }
    };
    let public = move || {
        let asked = asked.clone();
        async move { asked.fetch_add(1, Ordering::SeqCst).to_string() }
    };
    let routes = || {
        Router::new()
            .route("/personal", get(personal.clone()))
            .route("/public", get(public.clone()))
    };
    let cache = |name: &str| {
        let declared = Declared::new(MINUTE).ignore(["cookie"]);
        let cache = ResponseCache::builder(fleet.clone())
            .name(name)
            .declared(declared);
        cache.build().unwrap().layer()
    };
    let sessions = || SessionLayer::new(fleet.sessions());
    let within = routes().layer(cache("within")).layer(sessions());
    let around = routes().layer(sessions()).layer(cache("around"));
    for app in [within, around] {
        let app: Router = app;
        let ask = async |path: &str| {
            let request = Request::get(path)
                .header("host", "a")
                .header("cookie", "x=1");
            let request = request.body(Body::empty()).unwrap();
            let response = app.clone().oneshot(request).await.unwrap();
            let cookies = response.headers().get_all("set-cookie").iter().count();
            (
                response.into_body().collect().await.unwrap().to_bytes(),
                cookies,
            )
        };
        let (one, two) = (ask("/personal").await, ask("/personal").await);
        assert_ne!(one.0, two.0);
        assert_eq!((one.1, two.1), (1, 1));
        let (one, two) = (ask("/public").await, ask("/public").await);
        assert_eq!(one, two);
    }
}
