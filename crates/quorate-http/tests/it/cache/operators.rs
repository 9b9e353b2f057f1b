//! What operators do with a cache.

use std::sync::Arc;
use std::time::Duration;

use axum::http::Response;
use bytes::Bytes;
use futures_util::TryStreamExt;
use quorate_http::cache::{CacheControl, Declared, EntryMeta, ResponseCacheBuilder, ResponseKey};
use quorate_testing::harness::{Embedded, EmbeddedFile, Home, OnServer, eventually, run};
use quorate_testing::servers::ServerKind;
use tokio::sync::Semaphore;

use super::site::{Site, response};

const MINUTE: Duration = Duration::from_secs(60);

fn declared(builder: ResponseCacheBuilder) -> ResponseCacheBuilder {
    builder.declared(Declared::new(MINUTE).stale_if_error(MINUTE))
}

fn key(path: &str) -> ResponseKey {
    ResponseKey::get(&path.parse().unwrap())
}

async fn everything_operators_do(home: Home) {
    let site = Site::on(home.fleet().clone(), declared, |parts, _| {
        let path: String = parts.uri.path().chars().take(99).collect();
        let tags = CacheControl::new().tags([format!("page:{path}")]);
        let mut response = response("203 | x-own: 1", parts.uri.to_string());
        response.extensions_mut().insert(tags);
        std::future::ready(response)
    });
    for path in ["/users/1", "/users/2?x", "/orders/1"] {
        site.get(path).await;
    }
    let long = format!("/long/{}", "x".repeat(600));
    site.get(&long).await;

    let found = site.cache.get(&key("/users/2?x")).await.unwrap().unwrap();
    assert_eq!(
        (&*found.body, &found.headers["x-own"]),
        (&b"/users/2?x"[..], &"1".parse().unwrap())
    );
    let meta = found.meta;
    assert_eq!((&*meta.key, &*meta.path), ("GET  /users/2?x", "/users/2?x"));
    assert_eq!(
        (meta.method.as_str(), meta.status.as_u16(), meta.bytes),
        ("GET", 203, 10)
    );
    assert_eq!(meta.tags, ["page:/users/2"]);
    assert_eq!(meta.expires.since(meta.stored_at), MINUTE);
    assert_eq!(meta.stale_until.since(meta.expires), MINUTE);

    let mut paths: Vec<_> = site
        .cache
        .entries()
        .map_ok(|meta| meta.path)
        .try_collect()
        .await
        .unwrap();
    paths.sort_unstable();
    assert_eq!(paths, [&*long, "/orders/1", "/users/1", "/users/2?x"]);

    // Defect 8 of the register: it said how many it removed, and the next request was given them all the same.
    let removed = site
        .cache
        .invalidate(|entry| entry.path.starts_with("/users/") || entry.path.starts_with("/long/"))
        .await
        .unwrap();
    assert_eq!(removed, 3);
    for (path, is_there) in [("/users/1", false), (&*long, false), ("/orders/1", true)] {
        assert_eq!(
            site.get(path).await.cache().contains("hit"),
            is_there,
            "{path}"
        );
    }

    let own = Response::builder()
        .status(200)
        .body(Bytes::from("own"))
        .unwrap();
    assert!(
        site.cache
            .set(&key("/users/2?x"), own, MINUTE)
            .await
            .unwrap()
    );
    let answer = site.get("/users/2?x").await;
    assert_eq!(answer.body, "own");
    assert!(answer.cache().contains("hit"), "{}", answer.cache());
    assert!(site.cache.delete(&key("/users/2?x")).await.unwrap());
    assert_eq!(site.get("/users/2?x").await.body, "/users/2?x");
    assert_eq!(site.cache.clear().await.unwrap(), 4);
    assert!(site.cache.entries().try_next().await.unwrap().is_none());
}

#[test]
fn operators_on_embedded() {
    run(&Embedded, everything_operators_do);
}

#[test]
fn operators_on_file() {
    run(&EmbeddedFile, everything_operators_do);
}

#[test]
fn operators_on_redis() {
    run(&OnServer(ServerKind::Redis), everything_operators_do);
}

#[test]
fn operators_on_valkey() {
    run(&OnServer(ServerKind::Valkey), everything_operators_do);
}

/// With the option and its rule, before anything is touched.
#[tokio::test(start_paused = true)]
async fn what_is_set_is_checked() {
    let site = Site::new(declared, |_, _| std::future::ready(response("200", "x")));
    let own = || Response::new(Bytes::from("own"));
    for ttl in [Duration::ZERO, MINUTE * 60 * 24 * 366] {
        let error = site.cache.set(&key("/a"), own(), ttl).await.unwrap_err();
        assert_eq!(error.message(), Some("ttl must be from 1 ms to a year"));
    }
    let mut tagged = own();
    tagged
        .extensions_mut()
        .insert(CacheControl::new().tags([""]));
    let error = site
        .cache
        .set(&key("/a"), tagged, MINUTE)
        .await
        .unwrap_err();
    assert_eq!(
        error.message(),
        Some("tags must have from 1 to 255 bytes each")
    );
    let large = Response::new(Bytes::from(vec![0; 2 * 1024 * 1024]));
    assert!(!site.cache.set(&key("/a"), large, MINUTE).await.unwrap());
    assert!(site.cache.get(&key("/a")).await.unwrap().is_none());
}

/// Who asked is given its answer; nobody else ever is.
async fn what_is_on_its_way_when_it_is_invalidated_is_not_kept(home: Home) {
    let gate = Arc::new(Semaphore::new(1));
    let passed = gate.clone();
    let site = Site::on(home.fleet().clone(), declared, move |_, count| {
        let gate = passed.clone();
        async move {
            gate.acquire().await.unwrap().forget();
            response("200", count.to_string())
        }
    });
    let other = Site::on(home.instance("b").await, declared, |_, _| {
        std::future::ready(response("200", "other"))
    });
    site.get("/stays").await;
    let invalidation = async {
        eventually("the service is asked", async || site.runs() == 2).await;
        let is_meant = |entry: &EntryMeta| entry.path != "/stays";
        assert_eq!(other.cache.invalidate(is_meant).await.unwrap(), 0);
        gate.add_permits(1);
    };
    let (answer, ()) = tokio::join!(site.get("/a"), invalidation);
    assert_eq!(answer.body, "1");
    assert_eq!(other.get("/a").await.body, "other");
    assert!(other.get("/stays").await.cache().contains("hit"));
}

#[test]
fn what_is_on_its_way_is_not_kept_on_embedded() {
    run(
        &Embedded,
        what_is_on_its_way_when_it_is_invalidated_is_not_kept,
    );
}

#[test]
fn what_is_on_its_way_is_not_kept_on_redis() {
    run(
        &OnServer(ServerKind::Redis),
        what_is_on_its_way_when_it_is_invalidated_is_not_kept,
    );
}
