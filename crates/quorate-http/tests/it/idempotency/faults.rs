//! Killed instances and homes that cannot be asked.

#![expect(
    clippy::disallowed_methods,
    reason = "requests at the same time, which the test waits for"
)]

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use quorate::Fleet;
use quorate_testing::servers::{Server, ServerKind, shared};
use tower::ServiceExt;

use super::site::{Site, layer, post, send};

const SECOND: Duration = Duration::from_secs(1);

/// So that it is soon found out that the server is away, and that it is back.
fn quick(server: &Server) -> String {
    let url = server.url();
    format!("{url}?command_timeout=300ms&max_reconnect_delay=100ms")
}

async fn until(happened: impl Fn() -> bool) {
    while !happened() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Nothing is run.
#[tokio::test(flavor = "multi_thread")]
async fn fault_without_its_home_nothing_is_run() {
    let server = Server::start(ServerKind::Redis).await.unwrap();
    let fleet = Fleet::connect(&quick(&server)).await.unwrap();
    let site = Site::new();
    let app = site.app(layer(&fleet));
    server.kill();
    let refused = send(&app, post("/orders", "k", "tea")).await;
    assert!(refused.status.is_server_error(), "{refused:?}");
    assert_eq!(site.began(), 0);
}

/// The one who waits runs it, when the lease of the one who is gone has ended.
#[tokio::test(flavor = "multi_thread")]
async fn fault_a_killed_instance_holds_a_request_no_longer_than_its_lease() {
    let server = shared(ServerKind::Redis).await.unwrap();
    let name = format!("idempotency-{}", rand::random::<u64>());
    let site = Site::new();
    // What runs in a runtime ends with it, in the middle, as with its process.
    let doomed = tokio::runtime::Runtime::new().unwrap();
    let (url, namespace, at) = (server.url().to_owned(), name.clone(), site.clone());
    doomed.spawn(async move {
        let fleet = Fleet::connect(&url)
            .await
            .unwrap()
            .namespaced(&namespace)
            .unwrap();
        let app = at.app(layer(&fleet).lease(SECOND));
        send(&app, post("/slow", "k", "tea")).await
    });
    until(|| site.began() == 1).await;
    doomed.shutdown_background();
    let fleet = Fleet::connect(server.url())
        .await
        .unwrap()
        .namespaced(&name)
        .unwrap();
    let app = site.app(layer(&fleet).wait_for(60 * SECOND));
    site.gate.add_permits(1);
    let answer = send(&app, post("/slow", "k", "tea")).await;
    assert_eq!((&*answer.body, site.began()), ("2 tea", 2));
}

/// What was answered is kept as soon as the home can be asked again.
#[tokio::test(flavor = "multi_thread")]
async fn fault_an_answer_given_while_the_home_is_away_is_kept() {
    let server = Server::start(ServerKind::Redis).await.unwrap();
    let fleet = Fleet::connect(&quick(&server)).await.unwrap();
    let site = Site::new();
    let app = site.app(layer(&fleet));
    let first = tokio::spawn({
        let app = app.clone();
        async move { send(&app, post("/slow", "k", "tea")).await }
    });
    until(|| site.began() == 1).await;
    // Its memory is lost with it.
    server.kill();
    site.gate.add_permits(1);
    assert_eq!(first.await.unwrap().body, "1 tea");
    server.restart().await.unwrap();
    let count = "return tostring(#redis.call('KEYS', '*idempotency/http*'))";
    while server
        .command(&["EVAL", count, "0"])
        .await
        .unwrap()
        .as_str()
        != Some("1")
    {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let again = send(&app, post("/slow", "k", "tea")).await;
    assert_eq!((&*again.body, again.is_replayed()), ("1 tea", true));
    assert_eq!(site.began(), 1);
}

/// It is given back, so that the client's next attempt is handled.
#[tokio::test]
async fn fault_a_request_dropped_while_it_is_taken_is_given_back() {
    let server = shared(ServerKind::Redis).await.unwrap();
    let fleet = Fleet::connect(server.url()).await.unwrap();
    let name = format!("idempotency-{}", rand::random::<u64>());
    let site = Site::new();
    let app = site.app(layer(&fleet.namespaced(&name).unwrap()));
    for number in 0..20 {
        let key = format!("k{number}");
        {
            let mut request = pin!(app.clone().oneshot(post("/orders", &key, "tea")));
            // On its way to the server, no further.
            let mut context = Context::from_waker(Waker::noop());
            assert!(request.as_mut().poll(&mut context).is_pending());
        }
        loop {
            let answer = send(&app, post("/orders", &key, "tea")).await;
            if answer.status.as_u16() == 201 {
                break;
            }
            assert_eq!(answer.status.as_u16(), 409);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    assert_eq!(site.began(), 20);
}
