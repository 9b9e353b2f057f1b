//! How long a request waits for the answer to another one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::middleware::map_request;
use futures_util::FutureExt;
use http_body_util::BodyExt;
use quorate::Fleet;
use quorate_http::cache::{Declared, ResponseCache, ResponseCacheBuilder, ResponseKey, Standard};
use quorate_testing::harness::eventually;
use tokio::time::Instant;
use tower::ServiceExt;

use super::site::{Site, response};

const MINUTE: Duration = Duration::from_secs(60);
const BRIEF: Duration = Duration::from_secs(3);

fn declared(builder: ResponseCacheBuilder) -> ResponseCacheBuilder {
    builder.declared(Declared::new(MINUTE))
}

fn standard(builder: ResponseCacheBuilder) -> ResponseCacheBuilder {
    builder.standard(Standard::new())
}

/// A site that never answers whom it hears first.
fn hanging(builder: impl FnOnce(ResponseCacheBuilder) -> ResponseCacheBuilder) -> Site {
    let configure = |from| builder(from).unattended(0, MINUTE);
    Site::new(configure, |_, count| async move {
        if count == 0 {
            std::future::pending::<()>().await;
        }
        response("200 | cache-control: max-age=60", count.to_string())
    })
}

/// Then it asks for itself, and who comes next does not wait any more.
#[tokio::test(start_paused = true)]
async fn who_waits_too_long_asks_for_itself() {
    let modes: [fn(ResponseCacheBuilder) -> ResponseCacheBuilder; 2] = [declared, standard];
    for mode in modes {
        for (wait, least, most) in [(Some(BRIEF), 3, 4), (None, 10, 11)] {
            let site = hanging(|builder| match wait {
                Some(time) => mode(builder).wait_for(time),
                None => mode(builder),
            });
            let mut first = Box::pin(site.get("/a"));
            while site.runs() == 0 {
                assert!((&mut first).now_or_never().is_none());
                tokio::task::yield_now().await;
            }
            let began = Instant::now();
            assert_eq!(site.get("/a").await.body, "1");
            let waited = began.elapsed().as_secs();
            assert!((least..most).contains(&waited), "{waited} s");
            let began = Instant::now();
            assert_eq!(site.get("/a").await.body, "2");
            assert!(began.elapsed() < Duration::from_secs(1));
            // It still may keep what it is given, and nobody else does; until it goes away.
            assert!(site.get("/a").await.cache().contains("fwd"));
            drop(first);
            eventually("an answer is kept", async || {
                site.get("/a").await.cache().contains("hit")
            })
            .await;
        }
    }
}

/// Now and then somebody waits again, however many ask: else one that hangs would be the last one that is waited for.
#[tokio::test(start_paused = true)]
async fn that_nobody_waits_ends_though_somebody_asks() {
    let site = hanging(|builder| declared(builder).wait_for(BRIEF));
    let mut first = Box::pin(site.get("/a"));
    while site.runs() == 0 {
        assert!((&mut first).now_or_never().is_none());
        tokio::task::yield_now().await;
    }
    let (until, mut waits) = (Instant::now() + MINUTE, 0);
    while Instant::now() < until {
        let began = Instant::now();
        site.get("/a").await;
        waits += u32::from(began.elapsed() >= BRIEF);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!(waits > 1, "they wait again");
}

/// It was asked for before the removal, however late it came.
#[tokio::test(start_paused = true)]
async fn what_was_waited_for_too_long_is_overtaken_like_any_other() {
    let site = Site::new(
        |builder| declared(builder).wait_for(BRIEF),
        |_, count| async move {
            tokio::time::sleep(MINUTE / 2).await;
            response("200", count.to_string())
        },
    );
    let removal = async {
        tokio::time::sleep(MINUTE / 4).await;
        let key = ResponseKey::get(&"/a".parse().unwrap());
        site.cache.delete(&key).await.unwrap();
    };
    let (one, two, ()) = tokio::join!(site.get("/a"), site.get("/a"), removal);
    assert_eq!(site.runs(), 2);
    let after = site.get("/a").await.body;
    assert!(after != one.body && after != two.body);
}

/// A slow service is waited for no longer than that, and what it says at last is kept.
#[tokio::test(start_paused = true)]
async fn what_takes_longer_than_anybody_waits_is_kept() {
    let site = Site::new(
        |builder| declared(builder).wait_for(BRIEF),
        |_, count| async move {
            tokio::time::sleep(MINUTE).await;
            response("200", count.to_string())
        },
    );
    let asks = (0..60).map(|second| {
        let site = site.clone();
        async move {
            tokio::time::sleep(Duration::from_secs(second)).await;
            let began = Instant::now();
            site.get("/a").await;
            assert!(began.elapsed() < MINUTE + BRIEF * 2);
        }
    });
    futures_util::future::join_all(asks).await;
    assert!(site.get("/a").await.cache().contains("hit"));
}

async fn ask(app: &Router, path: &str) -> (String, String) {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let response = app.clone().oneshot(request).await.unwrap();
    let lines = response.headers().get_all("cache-status").iter();
    let lines: Vec<_> = lines.map(|line| line.to_str().unwrap()).collect();
    let lines = lines.join(", ");
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (String::from_utf8(body.to_vec()).unwrap(), lines)
}

fn counting(runs: &Arc<AtomicUsize>) -> Router {
    let runs = runs.clone();
    Router::new().fallback(move || {
        let run = runs.fetch_add(1, Ordering::SeqCst);
        async move { run.to_string() }
    })
}

fn named(fleet: &Fleet, name: &str) -> ResponseCache {
    let builder = ResponseCache::builder(fleet.clone()).name(name);
    declared(builder).build().unwrap()
}

/// The outer one keeps; the inner one goes past itself.
#[tokio::test(start_paused = true)]
async fn two_layers_of_one_cache_do_not_wait_for_each_other() {
    let fleet = Fleet::embedded();
    for same in [true, false] {
        let runs = Arc::default();
        let outer = named(&fleet, if same { "same" } else { "outer" });
        let inner = named(&fleet, if same { "same" } else { "inner" });
        let app = counting(&runs).layer(inner.layer()).layer(outer.layer());
        let began = Instant::now();
        let (body, cache) = ask(&app, "/a").await;
        assert_eq!(body, "0");
        assert!(began.elapsed() < Duration::from_secs(1), "{cache}");
        let (body, cache) = ask(&app, "/a").await;
        assert_eq!(body, "0");
        assert!(cache.ends_with("hit; ttl=60"), "{cache}");
        assert_eq!(runs.load(Ordering::SeqCst), 1);
    }
}

/// Where that cannot be known, the inner one waits no longer than it would for anybody.
#[tokio::test(start_paused = true)]
async fn layers_of_one_cache_in_two_services_wait_only_so_long() {
    let fleet = Fleet::embedded();
    let runs = Arc::default();
    let cache = named(&fleet, "same");
    let forget = |mut request: Request<Body>| async move {
        request.extensions_mut().clear();
        request
    };
    let app = counting(&runs).layer(cache.layer());
    let app = app.layer(map_request(forget)).layer(cache.layer());
    let asked = tokio::time::timeout(MINUTE, ask(&app, "/a")).await;
    assert_eq!(asked.expect("it is answered").0, "0");
    let (body, cache) = ask(&app, "/a").await;
    assert_eq!(body, "0");
    assert!(
        cache.ends_with("hit; ttl=50") || cache.ends_with("hit; ttl=60"),
        "{cache}"
    );
}
