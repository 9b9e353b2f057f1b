//! A cache that fails fails no request.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use quorate::{CacheSpec, Codec, ErrorSource, Fleet};
use quorate_http::cache::{Declared, ResponseCacheBuilder, ResponseKey};
use quorate_testing::proxy::Proxy;
use quorate_testing::servers::{Server, ServerKind};

use super::site::{Site, response};

const MINUTE: Duration = Duration::from_secs(60);

fn declared(builder: ResponseCacheBuilder) -> ResponseCacheBuilder {
    builder.declared(Declared::new(MINUTE))
}

/// Without its server, requests are answered as if there were no cache, and whoever looks after the service is told.
#[tokio::test(flavor = "multi_thread")]
async fn fault_requests_go_on_without_the_server() {
    let server = Server::start(ServerKind::Redis).await.unwrap();
    let proxy = Proxy::start(server.addr()).await.unwrap();
    let told = Arc::new(AtomicUsize::new(0));
    let heard = told.clone();
    let fleet = Fleet::builder()
        .url(proxy.url())
        .retry_delay(Duration::from_millis(20))
        .max_reconnect_delay(Duration::from_millis(50))
        .on_error(move |source, _| {
            heard.fetch_add(usize::from(source == ErrorSource::Cache), Ordering::SeqCst);
        })
        .build()
        .await
        .unwrap();
    let site = Site::on(
        fleet.clone(),
        |builder| declared(builder).deadline(Duration::from_millis(300)),
        |_, count| std::future::ready(response("200", count.to_string())),
    );
    site.get("/a").await;
    assert!(site.get("/a").await.cache().contains("hit"));
    proxy.refuse().await;
    proxy.cut().await;
    for count in ["1", "2", "3"] {
        let answer = site.get("/a").await;
        assert_eq!(answer.body, count);
        assert_eq!(answer.cache(), "quorate; fwd=miss; detail=error");
    }
    assert!(told.load(Ordering::SeqCst) >= 3);
    let changed = site.send("POST /a").await;
    assert_eq!(changed.status, 200);
    proxy.heal().await.unwrap();
    fleet.ready().await.unwrap();
    assert!(site.get("/a").await.status == 200);
    fleet.close().await;
}

/// A fleet that was closed keeps nothing, and stands in nobody's way.
#[tokio::test(start_paused = true)]
async fn requests_go_on_after_the_fleet_was_closed() {
    let site = Site::new(declared, |_, count| {
        std::future::ready(response("200", count.to_string()))
    });
    site.get("/a").await;
    site.fleet.close().await;
    for count in ["1", "2"] {
        assert_eq!(site.get("/a").await.body, count);
    }
}

/// What is stored and is no response is a miss, and the next response takes its place.
#[tokio::test(start_paused = true)]
async fn a_corrupted_entry_is_a_miss() {
    const TEXTS: CacheSpec<str, String> = CacheSpec::with_codec("http", Codec::text());
    let site = Site::new(declared, |_, count| {
        std::future::ready(response("200", count.to_string()))
    });
    site.get("/a").await;
    let key = ResponseKey::get(&"/a".parse().unwrap());
    let entries = site.fleet.cache(&TEXTS);
    assert!(entries.exists(key.as_str()).await.unwrap());
    entries
        .put(key.as_str(), &"nonsense".to_owned())
        .await
        .unwrap();
    assert_eq!(site.get("/a").await.body, "1");
    assert!(site.get("/a").await.cache().contains("hit"));
}

/// What was stored under a name for another request is not given.
#[tokio::test(start_paused = true)]
async fn an_entry_of_another_request_is_not_given() {
    const BYTES: CacheSpec<str, bytes::Bytes> = CacheSpec::with_codec("http", Codec::bytes());
    let site = Site::new(declared, |parts, _| {
        std::future::ready(response("200", parts.uri.path().to_owned()))
    });
    site.get("/a").await;
    let entries = site.fleet.cache(&BYTES);
    let (one, other) = (
        ResponseKey::get(&"/a".parse().unwrap()),
        ResponseKey::get(&"/b".parse().unwrap()),
    );
    let entry = entries.get(one.as_str()).await.unwrap().unwrap();
    entries.put(other.as_str(), &entry).await.unwrap();
    assert_eq!(site.get("/b").await.body, "/b");
    assert!(site.cache.get(&other).await.unwrap().is_none());
}
