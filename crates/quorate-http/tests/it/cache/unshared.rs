//! Answers that are not for others: nobody waits for them, in the whole fleet, and the next one that is for others is kept.

use std::future::ready;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use quorate::Fleet;
use quorate_http::cache::{CacheControl, Declared, ResponseCacheBuilder, ResponseKey};
use quorate_testing::harness::{Embedded, Home, OnServer, eventually, run, within};
use quorate_testing::servers::ServerKind;
use tokio::sync::{Barrier, Semaphore};

use super::site::{Site, response};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
/// Requests that ask at the same time.
const MANY: usize = 6;

/// How a cache is made.
type Configure = fn(ResponseCacheBuilder) -> ResponseCacheBuilder;

fn standard(builder: ResponseCacheBuilder) -> ResponseCacheBuilder {
    builder
}

fn declared(builder: ResponseCacheBuilder) -> ResponseCacheBuilder {
    builder.declared(Declared::new(MINUTE))
}

fn nothing(builder: ResponseCacheBuilder) -> ResponseCacheBuilder {
    builder.declared(Declared::new(MINUTE).should_cache(|_, _| false))
}

fn standing_in(builder: ResponseCacheBuilder) -> ResponseCacheBuilder {
    builder.declared(Declared::new(MINUTE).stale_if_error(HOUR))
}

/// Why an answer is not for others: the mode, what the service says, and what the request does.
const REASONS: [(Configure, &str, &str); 6] = [
    (
        standard,
        "200 | cache-control: max-age=60",
        "authorization: x",
    ),
    (standard, "200 | cache-control: private", "x-a: 1"),
    (declared, "200 | cache-control: no-store", "x-a: 1"),
    (declared, "403", "x-a: 1"),
    (declared, "503", "x-a: 1"),
    (nothing, "200", "x-a: 1"),
];

/// An instance of a site that answers those with `x-meet` when so many of them are with the service at the same time.
fn meeting(fleet: &Fleet, configure: Configure, meet: &Arc<Barrier>, said: &'static str) -> Site {
    let meet = meet.clone();
    let configure = move |builder| configure(builder).wait_for(HOUR).pass_for(HOUR);
    Site::on(fleet.clone(), configure, move |parts, _| {
        let meet = meet.clone();
        async move {
            if parts.headers.contains_key("x-meet") {
                meet.wait().await;
            }
            let is_first = parts.headers.contains_key("x-first");
            response(if is_first { "200" } else { said }, "own")
        }
    })
}

async fn meet(sites: &[Site; 2], request: &str) {
    let request = format!("{request} | x-meet: 1");
    let asks = (0..MANY).map(|number| sites[number % 2].send(&request));
    within("all are with the service at the same time", join_all(asks)).await;
}

async fn nobody_waits_for_what_is_not_for_others(home: Home) {
    let other = home.instance("b").await;
    for (number, (configure, said, field)) in REASONS.into_iter().enumerate() {
        let barrier = Arc::new(Barrier::new(MANY));
        let sites = [home.fleet(), &other].map(|fleet| meeting(fleet, configure, &barrier, said));
        let request = format!("GET /{number} | {field}");
        sites[0].send(&request).await;
        meet(&sites, &request).await;
    }
}

#[test]
fn nobody_waits_for_what_is_not_for_others_on_embedded() {
    run(&Embedded, nobody_waits_for_what_is_not_for_others);
}

#[test]
fn nobody_waits_for_what_is_not_for_others_on_redis() {
    run(
        &OnServer(ServerKind::Redis),
        nobody_waits_for_what_is_not_for_others,
    );
}

/// An instance of a site that first answers and then fails, those with `x-hold` not before they are let go.
fn failing(fleet: &Fleet, runs: &Arc<AtomicUsize>, hold: &Arc<Semaphore>) -> Site {
    let (runs, hold) = (runs.clone(), hold.clone());
    let configure = |builder| standing_in(builder).wait_for(HOUR).pass_for(HOUR);
    Site::on(fleet.clone(), configure, move |parts, _| {
        let (run, hold) = (runs.fetch_add(1, Ordering::SeqCst), hold.clone());
        async move {
            if parts.headers.contains_key("x-hold") {
                drop(hold.acquire().await);
            }
            response(if run == 0 { "200" } else { "503" }, "own")
        }
    })
}

/// One at a time asks the service; the others are given what stands in for it.
async fn nobody_waits_for_a_failure_that_is_stood_in_for(home: Home) {
    let other = home.instance("b").await;
    let (runs, hold) = (Arc::default(), Arc::new(Semaphore::new(0)));
    let sites = [home.fleet(), &other].map(|fleet| failing(fleet, &runs, &hold));
    sites[0].get("/a").await;
    home.elapse(MINUTE * 2).await;
    let stood_in = sites[0].get("/a").await;
    assert_eq!(stood_in.status, 200, "{}", stood_in.cache());
    let others = async {
        let with_service = async || runs.load(Ordering::SeqCst) == 3;
        eventually("one is with the service", with_service).await;
        let asks = (0..MANY).map(|number| sites[number % 2].get("/a"));
        for answer in within("the others are answered", join_all(asks)).await {
            assert_eq!(answer.status, 200, "{}", answer.cache());
        }
        assert_eq!(
            runs.load(Ordering::SeqCst),
            3,
            "the service is asked by one"
        );
        hold.add_permits(1);
    };
    let (one, ()) = tokio::join!(sites[0].send("GET /a | x-hold: 1"), others);
    assert_eq!(one.status, 200, "{}", one.cache());
}

#[test]
fn nobody_waits_for_a_failure_that_is_stood_in_for_on_embedded() {
    run(&Embedded, nobody_waits_for_a_failure_that_is_stood_in_for);
}

#[test]
fn nobody_waits_for_a_failure_that_is_stood_in_for_on_redis() {
    run(
        &OnServer(ServerKind::Redis),
        nobody_waits_for_a_failure_that_is_stood_in_for,
    );
}

/// What would stand in for a failure is given to nobody while the service only says what is not for others.
async fn what_stands_in_is_not_given_where_nothing_failed(home: Home) {
    let other = home.instance("b").await;
    let barrier = Arc::new(Barrier::new(MANY));
    let said = "200 | cache-control: no-store";
    let sites = [home.fleet(), &other].map(|fleet| meeting(fleet, standing_in, &barrier, said));
    sites[0].send("GET /a | x-first: 1").await;
    home.elapse(MINUTE * 2).await;
    sites[0].get("/a").await;
    meet(&sites, "GET /a").await;
}

#[test]
fn what_stands_in_is_not_given_where_nothing_failed_on_embedded() {
    run(&Embedded, what_stands_in_is_not_given_where_nothing_failed);
}

#[test]
fn what_stands_in_is_not_given_where_nothing_failed_on_redis() {
    run(
        &OnServer(ServerKind::Redis),
        what_stands_in_is_not_given_where_nothing_failed,
    );
}

/// An instance of a site that panics, and then answers slowly.
fn recovering(fleet: &Fleet, runs: &Arc<AtomicUsize>) -> Site {
    let runs = runs.clone();
    let configure = |builder| declared(builder).wait_for(HOUR).pass_for(HOUR);
    Site::on(fleet.clone(), configure, move |_, _| {
        let run = runs.fetch_add(1, Ordering::SeqCst);
        async move {
            tokio::time::sleep(Duration::from_millis(300)).await;
            assert!(run > 0, "the first one panics");
            let mut answer = response("200", "own");
            let tagged = CacheControl::new().tags(["t"]);
            answer.extensions_mut().insert(tagged);
            answer
        }
    })
}

/// Also where it was remembered while nothing was there: when what then is kept ends, the others wait for one again.
async fn what_is_remembered_does_not_outlive_the_next_answer(home: Home) {
    let other = home.instance("b").await;
    let runs = Arc::default();
    let sites = [home.fleet(), &other].map(|fleet| recovering(fleet, &runs));
    let panicking = AssertUnwindSafe(sites[0].get("/a")).catch_unwind();
    assert!(panicking.await.is_err());
    sites[0].get("/a").await;
    home.fleet().invalidate_tags(["t"]).await.unwrap();
    join_all((0..MANY).map(|number| sites[number % 2].get("/a"))).await;
    assert_eq!(runs.load(Ordering::SeqCst), 3);
}

#[test]
fn what_is_remembered_does_not_outlive_the_next_answer_on_embedded() {
    run(
        &Embedded,
        what_is_remembered_does_not_outlive_the_next_answer,
    );
}

#[test]
fn what_is_remembered_does_not_outlive_the_next_answer_on_redis() {
    run(
        &OnServer(ServerKind::Redis),
        what_is_remembered_does_not_outlive_the_next_answer,
    );
}

/// A site that answers with this when asked for nothing else.
fn site(said: &'static str) -> Site {
    Site::new(
        |builder| builder,
        move |parts, count| {
            let asked = parts.headers.get("x-said");
            let said = asked.map_or(said, |_| "200 | cache-control: max-age=60");
            let mut answer = response(said, count.to_string());
            let tagged = CacheControl::new().tags(["t"]);
            answer.extensions_mut().insert(tagged);
            ready(answer)
        },
    )
}

const PRIVATE: &str = "200 | cache-control: private";

/// And that there was none is forgotten with it.
#[tokio::test(start_paused = true)]
async fn the_next_answer_that_is_for_others_is_kept() {
    let site = site(PRIVATE);
    site.get("/a").await;
    let second = site.get("/a").await;
    assert_eq!(second.cache(), "quorate; fwd=miss; detail=pass");
    let kept = site.send("GET /a | x-said: 1").await;
    assert_eq!(kept.cache(), "quorate; fwd=miss; stored; detail=pass");
    let hit = site.get("/a").await;
    assert_eq!(
        (&hit.body, hit.cache()),
        (&kept.body, "quorate; hit; ttl=60")
    );
}

/// It is remembered for five seconds, or as long as was said, and answers nobody.
#[tokio::test(start_paused = true)]
async fn that_an_answer_is_not_for_others_is_remembered_for_a_while() {
    let site = site(PRIVATE);
    for (number, cache) in ["fwd=uri-miss", "detail=pass", "detail=pass"]
        .iter()
        .enumerate()
    {
        let answer = site.get("/a").await;
        assert_eq!(answer.body, number.to_string());
        assert!(answer.cache().contains(cache), "{}", answer.cache());
    }
    let only = site.send("GET /a | cache-control: only-if-cached").await;
    assert_eq!(only.status, 504);
    let key = ResponseKey::get(&"/a".parse().unwrap());
    assert!(site.cache.get(&key).await.unwrap().is_none());
    tokio::time::advance(Duration::from_secs(6)).await;
    assert!(site.get("/a").await.cache().contains("fwd=uri-miss"));
}

/// Like any entry.
#[tokio::test(start_paused = true)]
async fn what_is_remembered_of_an_answer_ends_with_what_is_kept() {
    let site = site(PRIVATE);
    let key = ResponseKey::get(&"/a".parse().unwrap());
    for how in 0..5 {
        site.get("/a").await;
        assert!(site.get("/a").await.cache().contains("detail=pass"));
        match how {
            0 => drop(site.cache.delete(&key).await.unwrap()),
            1 => drop(site.cache.clear().await.unwrap()),
            2 => drop(site.cache.invalidate(|_| true).await.unwrap()),
            3 => site.fleet.invalidate_tags(["t"]).await.unwrap(),
            _ => drop(site.send("POST /a | x-said: 1").await),
        }
        let answer = site.get("/a").await;
        assert!(
            answer.cache().contains("fwd=uri-miss"),
            "{how}: {}",
            answer.cache()
        );
        site.cache.delete(&key).await.unwrap();
    }
}

/// Nor is what a removal overtakes.
#[tokio::test(start_paused = true)]
async fn an_answer_that_was_overtaken_is_not_kept_either() {
    let site = Site::new(declared, |parts, count| async move {
        if parts.headers.contains_key("x-own") {
            return response("200 | cache-control: no-store", "own");
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        response("200", count.to_string())
    });
    site.send("GET /a | x-own: 1").await;
    let removal = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let key = ResponseKey::get(&"/a".parse().unwrap());
        site.cache.delete(&key).await.unwrap();
    };
    let (answer, ()) = tokio::join!(site.get("/a"), removal);
    assert!(answer.cache().contains("detail=pass"), "{}", answer.cache());
    assert_ne!(site.get("/a").await.body, answer.body);
}

/// Whoever is given an answer of its own takes nothing from others that came to be meanwhile.
#[tokio::test(start_paused = true)]
async fn an_answer_of_its_own_takes_the_place_of_nothing() {
    let site = Site::new(
        |builder| builder,
        |parts, _| async move {
            if parts.headers.contains_key("x-slow") {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            let is_own = parts.headers.contains_key("authorization");
            let body = if is_own { "own" } else { "for all" };
            response("200 | cache-control: max-age=60", body)
        },
    );
    site.send("GET /a | authorization: x").await;
    // Each asks while the other is under way, in either order.
    let slow = "GET /a | authorization: x | x-slow: 1";
    let (own, all) = tokio::join!(site.send(slow), site.get("/a"));
    assert_eq!((&*own.body, &*all.body), (&b"own"[..], &b"for all"[..]));
    let (all, own) = tokio::join!(site.send("GET /a | x-slow: 1"), async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        site.send("GET /a | authorization: x | cache-control: no-cache")
            .await
    });
    assert_eq!((&*own.body, &*all.body), (&b"own"[..], &b"for all"[..]));
    assert!(site.get("/a").await.cache().contains("hit"));
}

/// Who is answered so again and again does not keep the others from their turn.
#[tokio::test(start_paused = true)]
async fn that_an_answer_is_not_for_others_is_not_remembered_for_ever() {
    let site = site(PRIVATE);
    let began = tokio::time::Instant::now();
    site.get("/a").await;
    while site.get("/a").await.cache().contains("detail=pass") {
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(began.elapsed() < MINUTE, "it is renewed each time");
    }
}
