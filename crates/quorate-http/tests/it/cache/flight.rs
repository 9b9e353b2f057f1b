//! One question for all who want the same, in the whole fleet.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::http::Response;
use futures_util::FutureExt;
use futures_util::future::join_all;
use quorate::Fleet;
use quorate_http::cache::{Declared, ResponseCacheBuilder};
use quorate_testing::harness::{Embedded, Home, OnServer, eventually, run};
use quorate_testing::servers::ServerKind;

use super::site::{Site, response};

const MINUTE: Duration = Duration::from_secs(60);

fn declared(mode: Declared) -> impl FnOnce(ResponseCacheBuilder) -> ResponseCacheBuilder {
    move |builder| builder.declared(mode)
}

/// A site that takes a moment, and counts over its instances.
fn slow(fleet: &Fleet, runs: &Arc<AtomicUsize>, mode: Declared) -> Site {
    let runs = runs.clone();
    Site::on(fleet.clone(), declared(mode), move |_, _| {
        let run = runs.fetch_add(1, Ordering::SeqCst);
        async move {
            tokio::time::sleep(Duration::from_millis(50)).await;
            response("200", run.to_string())
        }
    })
}

/// Defect 8 of the register: ten who asked at once for what was not there ran the handler ten times.
#[tokio::test(start_paused = true)]
async fn defect_08_ten_cold_misses_are_one_run() {
    let runs = Arc::default();
    let site = slow(&Fleet::embedded(), &runs, Declared::new(MINUTE));
    let answers = join_all((0..10).map(|_| site.get("/report"))).await;
    assert!(answers.iter().all(|answer| answer.body == "0"));
    assert_eq!(runs.load(Ordering::SeqCst), 1);
    let collapsed = answers
        .iter()
        .filter(|answer| answer.cache().contains("collapsed"));
    assert_eq!(collapsed.count(), 9);
}

async fn one_run_of_two_instances(home: Home) {
    let other = home.instance("b").await;
    let runs = Arc::default();
    let mode = Declared::new(MINUTE).stale_while_revalidate(MINUTE);
    let sites = [home.fleet(), &other].map(|fleet| slow(fleet, &runs, mode.clone()));
    let asks = (0..20).map(|number| sites[number % 2].get("/report"));
    let answers = join_all(asks).await;
    assert!(answers.iter().all(|answer| answer.body == "0"));
    assert_eq!(runs.load(Ordering::SeqCst), 1);
    // And one for a new one, while all are given the old one.
    home.elapse(MINUTE + MINUTE / 2).await;
    let asks = (0..20).map(|number| sites[number % 2].get("/report"));
    for answer in join_all(asks).await {
        assert!(
            answer.body == "0" || answer.cache().contains("hit; ttl=5"),
            "{answer:?}"
        );
    }
    eventually("there is a new one", async || {
        sites[1].get("/report").await.body == "1"
    })
    .await;
    assert_eq!(sites[0].get("/report").await.body, "1");
    assert_eq!(runs.load(Ordering::SeqCst), 2);
}

#[test]
fn defect_08_one_run_of_two_instances() {
    run(&Embedded, one_run_of_two_instances);
}

#[test]
fn defect_08_one_run_of_two_instances_on_redis() {
    run(&OnServer(ServerKind::Redis), one_run_of_two_instances);
}

#[test]
fn defect_08_one_run_of_two_instances_on_a_cluster() {
    run(
        &OnServer(ServerKind::RedisCluster),
        one_run_of_two_instances,
    );
}

/// Whoever makes a new one in the background leaves it to who does already, however long that takes.
async fn a_refresh_is_left_to_who_makes_it(home: Home) {
    let other = home.instance("b").await;
    let runs = Arc::<AtomicUsize>::default();
    let sites = [home.fleet(), &other].map(|fleet| {
        let (runs, mode) = (runs.clone(), Declared::new(MINUTE));
        let mode = mode.stale_while_revalidate(MINUTE);
        let brief = Duration::from_millis(300);
        let configure = |builder| declared(mode)(builder).wait_for(brief);
        Site::on(fleet.clone(), configure, move |_, _| {
            let run = runs.fetch_add(1, Ordering::SeqCst);
            async move {
                if run > 0 {
                    tokio::time::sleep(brief * 5).await;
                }
                response("200", run.to_string())
            }
        })
    });
    sites[0].get("/a").await;
    home.elapse(MINUTE + MINUTE / 2).await;
    for site in &sites {
        assert_eq!(site.get("/a").await.body, "0");
    }
    eventually("there is a new one", async || {
        sites[1].get("/a").await.body != "0"
    })
    .await;
    assert_eq!(runs.load(Ordering::SeqCst), 2);
}

#[test]
fn a_refresh_is_left_to_who_makes_it_on_embedded() {
    run(&Embedded, a_refresh_is_left_to_who_makes_it);
}

#[test]
fn a_refresh_is_left_to_who_makes_it_on_redis() {
    run(
        &OnServer(ServerKind::Redis),
        a_refresh_is_left_to_who_makes_it,
    );
}

/// What an invalidation overtakes is neither kept nor given to whoever asks after it.
#[tokio::test(start_paused = true)]
async fn what_is_overtaken_is_not_kept() {
    let runs = Arc::default();
    let site = slow(&Fleet::embedded(), &runs, Declared::new(MINUTE));
    let asks = (0..3).map(|_| site.get("/a"));
    let removal = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let key = quorate_http::cache::ResponseKey::get(&"/a".parse().unwrap());
        site.cache.delete(&key).await.unwrap();
        site.get("/a").await
    };
    let (_, after) = tokio::join!(join_all(asks), removal);
    assert_ne!(after.body, "0");
    assert_eq!(site.get("/a").await.body, after.body);
}

/// The client goes away; those who wait, and the cache, have the answer all the same.
#[tokio::test(start_paused = true)]
async fn a_client_that_goes_away_leaves_its_answer_to_others() {
    let runs = Arc::default();
    let site = slow(&Fleet::embedded(), &runs, Declared::new(MINUTE));
    let mut first = Box::pin(site.get("/a"));
    while runs.load(Ordering::SeqCst) == 0 {
        assert!((&mut first).now_or_never().is_none());
        tokio::task::yield_now().await;
    }
    let mut second = Box::pin(site.get("/a"));
    assert!((&mut second).now_or_never().is_none());
    drop(first);
    assert_eq!(second.await.body, "0");
    assert!(site.get("/a").await.cache().contains("hit"));
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}

/// … as far as that is allowed: then the next one asks.
#[tokio::test(start_paused = true)]
async fn what_goes_on_unattended_is_bounded() {
    let brief = Duration::from_secs(2);
    for (count, time, goes_on) in [(0, MINUTE, false), (1, brief, false), (1, MINUTE, true)] {
        let (begun, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let counters = (begun.clone(), ended.clone());
        let site = Site::new(
            move |builder| {
                builder
                    .declared(Declared::new(MINUTE))
                    .unattended(count, time)
            },
            move |_, _| {
                let (begun, ended) = counters.clone();
                async move {
                    begun.fetch_add(1, Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_secs(10)).await;
                    ended.fetch_add(1, Ordering::SeqCst);
                    response("200", "x")
                }
            },
        );
        let mut ask = Box::pin(site.get("/a"));
        while begun.load(Ordering::SeqCst) == 0 {
            assert!((&mut ask).now_or_never().is_none());
            tokio::task::yield_now().await;
        }
        drop(ask);
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert_eq!(
            ended.load(Ordering::SeqCst),
            usize::from(goes_on),
            "{count} for {time:?}"
        );
        assert_eq!(site.get("/a").await.cache().contains("hit"), goes_on);
    }
}

/// Who only waited has nothing to leave to anybody.
#[tokio::test(start_paused = true)]
async fn who_waits_and_goes_away_asks_nothing() {
    let configure = |builder: ResponseCacheBuilder| {
        let wait = Duration::from_secs(3);
        builder.declared(Declared::new(MINUTE)).wait_for(wait)
    };
    let site = Site::new(configure, |_, _| async {
        tokio::time::sleep(Duration::from_secs(10)).await;
        response("200", "x")
    });
    let mut first = Box::pin(site.get("/a"));
    while site.runs() == 0 {
        assert!((&mut first).now_or_never().is_none());
        tokio::task::yield_now().await;
    }
    let second = tokio::time::timeout(Duration::from_secs(1), site.get("/a"));
    assert!(second.await.is_err(), "it waits");
    first.await;
    assert_eq!(site.runs(), 1);
}

/// Whoever fails fails for itself, and the next one asks.
#[tokio::test(start_paused = true)]
async fn a_failure_is_nobody_elses() {
    let site = Site::new(declared(Declared::new(MINUTE)), |_, count| async move {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let status = if count == 0 { "503" } else { "200" };
        response(status, count.to_string())
    });
    let answers = join_all((0..5).map(|_| site.get("/a"))).await;
    let failed = answers.iter().filter(|answer| answer.status == 503);
    assert_eq!(failed.count(), 1);
    assert!(site.get("/a").await.status == 200);
}

/// A handler that panics does so for who asked, and for nobody else.
#[tokio::test(start_paused = true)]
#[expect(clippy::disallowed_methods, reason = "a panic has to be caught")]
async fn a_panic_is_nobody_elses() {
    let site = Site::new(declared(Declared::new(MINUTE)), |_, count| async move {
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(count > 0, "the first one panics");
        response("200", "x")
    });
    let ask = || {
        let site = site.clone();
        tokio::spawn(async move { site.get("/a").await.status })
    };
    let (first, second) = (ask(), ask());
    let results = [first.await, second.await];
    assert_eq!(results.iter().filter(|result| result.is_err()).count(), 1);
    assert_eq!(site.get("/a").await.status, 200);
}

/// Also where the answer is larger than what is kept.
#[tokio::test(start_paused = true)]
async fn an_answer_that_is_not_kept_is_whole_for_each() {
    let large = |_, _| async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let parts = [0; 3].map(|_| Ok::<_, std::io::Error>(vec![b'a'; 700]));
        let body = Body::from_stream(futures_util::stream::iter(parts));
        let answer: Response<Body> = response("200", body);
        answer
    };
    let site = Site::new(
        |builder| {
            builder
                .declared(Declared::new(MINUTE))
                .max_body(1000)
                .buffer_streams(true)
        },
        large,
    );
    for answer in join_all((0..10).map(|_| site.get("/a"))).await {
        assert_eq!(answer.body.len(), 2100);
    }
    assert_eq!(site.runs(), 10);
}
