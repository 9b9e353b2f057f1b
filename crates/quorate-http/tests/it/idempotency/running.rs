//! Requests while the first is running.

#![expect(
    clippy::disallowed_methods,
    reason = "requests at the same time, which the test waits for"
)]

use std::sync::atomic::Ordering;
use std::time::Duration;

use quorate::Fleet;
use quorate_testing::servers::{ServerKind, shared};
use tokio::task::JoinSet;
use tower::ServiceExt;

use super::site::{Site, layer, post, send};

async fn until(happened: impl Fn() -> bool) {
    while !happened() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Unless it waits; another request under its key is told that it is one.
#[tokio::test]
async fn a_second_request_is_told_that_the_first_is_running() {
    let site = Site::new();
    let app = site.app(layer(&Fleet::embedded()));
    let first = tokio::spawn({
        let app = app.clone();
        async move { send(&app, post("/slow", "k", "tea")).await }
    });
    until(|| site.began() == 1).await;
    let second = send(&app, post("/slow", "k", "tea")).await;
    assert_eq!(
        (second.status.as_u16(), second.code()),
        (409, "ABORTED".into())
    );
    assert_eq!(second.headers["retry-after"], "1");
    assert_eq!(
        send(&app, post("/slow", "k", "coffee"))
            .await
            .status
            .as_u16(),
        422
    );
    site.gate.add_permits(1);
    assert_eq!(first.await.unwrap().body, "1 tea");
    assert_eq!(send(&app, post("/slow", "k", "tea")).await.body, "1 tea");
}

/// All are given the one response, on whatever instance they wait.
async fn of_many_at_once_one_runs(fleet: Fleet) {
    let site = Site::new();
    let patient = |fleet: &Fleet| site.app(layer(fleet).wait_for(Duration::from_secs(60)));
    let apps = [
        patient(&fleet),
        patient(&fleet.instance("b").await.unwrap()),
    ];
    let mut requests = JoinSet::new();
    for number in 0..40 {
        let app = apps[number % 2].clone();
        requests.spawn(async move { send(&app, post("/slow", "k", "tea")).await });
    }
    until(|| site.began() == 1).await;
    // Some wait by now, others have yet to ask.
    site.gate.add_permits(1);
    let mut replayed = 0;
    while let Some(answer) = requests.join_next().await {
        let answer = answer.unwrap();
        assert_eq!((answer.status.as_u16(), &*answer.body), (201, "1 tea"));
        replayed += u32::from(answer.is_replayed());
    }
    assert_eq!((replayed, site.began()), (39, 1));
}

#[tokio::test]
async fn of_many_requests_at_once_one_runs_on_embedded() {
    of_many_at_once_one_runs(Fleet::embedded()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_requests_at_once_one_runs_on_redis() {
    let server = shared(ServerKind::Redis).await.unwrap();
    let fleet = Fleet::connect(server.url()).await.unwrap();
    let name = format!("idempotency-{}", rand::random::<u64>());
    of_many_at_once_one_runs(fleet.namespaced(&name).unwrap()).await;
}

/// It waits as long as it said.
#[tokio::test(start_paused = true)]
async fn who_waits_gives_up_after_its_time() {
    let site = Site::new();
    let app = site.app(layer(&Fleet::embedded()).wait_for(Duration::from_secs(5)));
    let first = tokio::spawn(app.clone().oneshot(post("/slow", "k", "tea")));
    until(|| site.began() == 1).await;
    let began = tokio::time::Instant::now();
    assert_eq!(
        send(&app, post("/slow", "k", "tea")).await.status.as_u16(),
        409
    );
    assert_eq!(began.elapsed().as_secs(), 5);
    site.gate.add_permits(1);
    first.await.unwrap().unwrap();
}

/// The handler runs to its end, and its response is there when the client asks again.
#[tokio::test]
async fn a_client_that_goes_away_changes_nothing() {
    let site = Site::new();
    let app = site.app(layer(&Fleet::embedded()));
    let first = tokio::spawn(app.clone().oneshot(post("/slow", "k", "tea")));
    until(|| site.began() == 1).await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    assert_eq!(
        send(&app, post("/slow", "k", "tea")).await.status.as_u16(),
        409
    );
    site.gate.add_permits(1);
    until(|| site.ended.load(Ordering::SeqCst) == 1).await;
    loop {
        let again = send(&app, post("/slow", "k", "tea")).await;
        if again.status.as_u16() != 409 {
            assert_eq!((&*again.body, again.is_replayed()), ("1 tea", true));
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(site.began(), 1);
}

/// It stays taken for as long as the handler runs, however short the lease is.
#[tokio::test(start_paused = true)]
async fn a_handler_may_run_longer_than_the_lease() {
    let site = Site::new();
    let app = site.app(layer(&Fleet::embedded()).lease(Duration::from_secs(1)));
    let first = tokio::spawn(app.clone().oneshot(post("/slow", "k", "tea")));
    until(|| site.began() == 1).await;
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(900)).await;
        assert_eq!(
            send(&app, post("/slow", "k", "tea")).await.status.as_u16(),
            409
        );
    }
    site.gate.add_permits(1);
    first.await.unwrap().unwrap();
    assert_eq!(send(&app, post("/slow", "k", "tea")).await.body, "1 tea");
    assert_eq!(site.began(), 1);
}

/// Then it can be sent again at once, and the panic is that of the request.
#[tokio::test]
async fn a_handler_that_panics_lets_the_request_be_sent_again() {
    let site = Site::new();
    let app = site.app(layer(&Fleet::embedded()));
    let first = tokio::spawn(app.clone().oneshot(post("/panic", "k", "")));
    assert!(first.await.unwrap_err().is_panic());
    assert_eq!(send(&app, post("/panic", "k", "")).await.body, "2 ");
}

/// Also for those whose clients have gone away.
#[tokio::test]
async fn drained_a_layer_has_kept_every_answer() {
    let site = Site::new();
    let fleet = Fleet::embedded();
    let builder = layer(&fleet).build().unwrap();
    let app = site.app_behind(builder.clone());
    let first = tokio::spawn(app.clone().oneshot(post("/slow", "k", "tea")));
    until(|| site.began() == 1).await;
    first.abort();
    let mut drained = Box::pin(builder.drain());
    assert!(futures_util::poll!(&mut drained).is_pending());
    site.gate.add_permits(1);
    drained.await;
    assert_eq!(send(&app, post("/slow", "k", "tea")).await.body, "1 tea");
}
