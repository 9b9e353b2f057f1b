//! What instances tell each other of their limiters.

use std::future::IntoFuture;
use std::time::Duration;

use futures_util::FutureExt;
use quorate::limit::{Admission, DecisionCounts, LimitKind, Reserved, WhenDown, reserve};
use quorate::{Fleet, FleetBuilder, LimitFigures, Policy, Tell};
use quorate_testing::harness::{namespace, within};
use quorate_testing::servers::{Server, ServerKind, shared};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn telling(what: Tell) -> FleetBuilder {
    Fleet::builder()
        .url("memory:")
        .tell_limits(what)
        .tell_limits_every(SECOND)
}

/// The figures, once they are such.
async fn figures(fleet: &Fleet, wanted: impl Fn(&LimitFigures) -> bool) -> LimitFigures {
    loop {
        let figures = fleet.limit_figures().await.unwrap();
        if let Some(found) = figures.into_iter().find(&wanted) {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The figures of one limiter, once so much is told.
async fn told(fleet: &Fleet, limiter: &str, asked: u64) -> LimitFigures {
    let wanted = |it: &LimitFigures| it.limiter == limiter && it.decisions.asked() == asked;
    figures(fleet, wanted).await
}

fn keys(figures: &LimitFigures) -> Vec<(&str, Option<&str>, f64, f64)> {
    let keys = figures.hottest.as_ref().expect("keys are told").iter();
    keys.map(|it| (&*it.key, it.action.as_deref(), it.asked, it.denied))
        .collect()
}

/// Uses a limiter on two instances, and looks at it from the second.
async fn used_by_two(one: &Fleet, two: &Fleet) {
    let policies = || {
        [
            Policy::sliding_log(5, MINUTE),
            Policy::token_bucket(50, SECOND),
        ]
    };
    let (a, b) = (
        one.limiter("api", policies()),
        two.limiter("api", policies()),
    );
    for _ in 0..4 {
        let _ = a.consume("user:7").await.unwrap();
        let _ = b.consume("user:7").await.unwrap();
    }
    let _ = b.clone().action("pdf").consume("user:{8}").await.unwrap();
    // What only asks is no request.
    let _ = a.check("user:7").await.unwrap();
    let _ = a.usage("user:7").await.unwrap();
    a.reset("user:7").await.unwrap();
    let seen = told(two, "api", 9).await;
    assert_eq!(seen.instances, 2);
    let decisions = seen.decisions;
    assert_eq!((decisions.allowed, decisions.denied), (6, 3));
    assert_eq!(
        (decisions.shadow, decisions.open, decisions.share),
        (0, 0, 0)
    );
    assert_eq!(decisions.denied_ratio(), Some(3.0 / 9.0));
    assert_eq!(seen.denied_by.len(), 1);
    assert_eq!(seen.denied_by["log-60s"], 3);
    let minute = seen.minutes.last().unwrap();
    assert_eq!((minute.asked, minute.denied), (9, 3));
    assert_eq!(
        keys(&seen),
        [
            ("user:7", None, 8.0, 3.0),
            ("user:{8}", Some("pdf"), 1.0, 0.0)
        ]
    );
    assert_eq!(seen.policies, [policies()]);
}

#[tokio::test(start_paused = true)]
async fn what_instances_tell_of_their_limiters_adds_up() {
    let one = telling(Tell::Keys).build().await.unwrap();
    let two = one.instance("b").await.unwrap();
    used_by_two(&one, &two).await;
}

#[tokio::test]
async fn what_instances_tell_of_their_limiters_adds_up_in_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("home");
    let one = telling(Tell::Keys)
        .url(format!("file:{}", file.display()))
        .tell_limits_every(SECOND / 10)
        .build()
        .await
        .unwrap();
    let two = one.instance("b").await.unwrap();
    within("both tell", used_by_two(&one, &two)).await;
}

async fn adds_up_on(kind: ServerKind) {
    let server = shared(kind).await.unwrap();
    let one = telling(Tell::Keys)
        .url(server.url())
        .namespace(namespace())
        .tell_limits_every(SECOND / 10)
        .build()
        .await
        .unwrap();
    let two = one.instance("b").await.unwrap();
    within("both tell", used_by_two(&one, &two)).await;
    // What is over is not told any more.
    one.close().await;
    within("one is gone", figures(&two, |it| it.instances == 1)).await;
    two.close().await;
}

#[tokio::test]
async fn what_instances_tell_of_their_limiters_adds_up_on_redis() {
    adds_up_on(ServerKind::Redis).await;
}

#[tokio::test]
async fn what_instances_tell_of_their_limiters_adds_up_on_valkey() {
    adds_up_on(ServerKind::Valkey).await;
}

#[tokio::test]
async fn what_instances_tell_of_their_limiters_adds_up_on_a_cluster() {
    adds_up_on(ServerKind::RedisCluster).await;
}

/// Not the counts, and not the keys unless they are asked for.
#[tokio::test(start_paused = true)]
async fn nothing_is_told_of_limiters_unless_it_is_switched_on() {
    for (what, is_told) in [(Tell::Nothing, false), (Tell::Counts, true)] {
        // What is told of caches says nothing about limiters.
        let fleet = telling(what).tell_caches(Tell::Keys).build().await.unwrap();
        let api = fleet.limiter("api", Policy::fixed_window(1, MINUTE));
        for allowed in [true, false] {
            let decision = api.consume("k").await.unwrap();
            assert_eq!(decision.is_allowed(), allowed);
        }
        tokio::time::sleep(MINUTE).await;
        let figures = fleet.limit_figures().await.unwrap();
        assert_eq!(!figures.is_empty(), is_told);
        assert!(figures.iter().all(|it| it.hottest.is_none()), "{figures:?}");
    }
}

/// Whoever decides: what is in hand, together with others, without refusing anybody, of slots.
#[tokio::test(start_paused = true)]
async fn every_decision_about_a_request_counts() {
    let fleet = telling(Tell::Keys).build().await.unwrap();
    let policy = |limit| Policy::fixed_window(limit, MINUTE);
    let local = fleet.limiter("local", policy(10)).local(4);
    for _ in 0..12 {
        let _ = local.consume("k").await.unwrap();
    }
    let seen = told(&fleet, "local", 12).await;
    assert_eq!((seen.decisions.allowed, seen.decisions.denied), (10, 2));
    assert_eq!(keys(&seen), [("k", None, 12.0, 2.0)]);

    let shadow = fleet.limiter("shadow", policy(1)).shadow();
    for _ in 0..3 {
        assert!(shadow.consume("k").await.unwrap().is_allowed());
    }
    let seen = told(&fleet, "shadow", 3).await.decisions;
    assert_eq!((seen.allowed, seen.shadow, seen.denied), (3, 2, 0));

    let (two, one) = (
        fleet.limiter("two", policy(2)),
        fleet.limiter("one", policy(1)),
    );
    for allowed in [true, false] {
        let reserved = reserve([two.consume("a"), one.consume("b")]).await.unwrap();
        assert_eq!(matches!(reserved, Reserved::Allowed(_)), allowed);
    }
    // What is taken back was decided all the same.
    let seen = told(&fleet, "two", 2).await.decisions;
    assert_eq!((seen.allowed, seen.denied), (2, 0));
    let seen = told(&fleet, "one", 2).await.decisions;
    assert_eq!((seen.allowed, seen.denied), (1, 1));

    let slots = fleet.concurrency("slots", 1);
    let permit = slots.enter("k").await.unwrap();
    assert!(matches!(
        slots.enter("k").await.unwrap(),
        Admission::Full { .. }
    ));
    let seen = told(&fleet, "slots", 2).await;
    assert_eq!((seen.decisions.denied, seen.denied_by["slots"]), (1, 1));
    assert!(seen.policies.is_empty());
    drop(permit);

    let blocked = fleet.limiter("blocked", policy(9));
    blocked.block("k", MINUTE).await.unwrap();
    let _ = blocked.consume("k").await.unwrap();
    assert_eq!(told(&fleet, "blocked", 1).await.denied_by["block"], 1);
}

/// What was decided without the home is told once it is back; a call that failed was not decided.
#[tokio::test]
async fn fault_what_is_decided_without_the_home_is_told_when_it_is_back() {
    let server = Server::start(ServerKind::Redis).await.unwrap();
    let fleet = telling(Tell::Counts)
        .url(server.url())
        .tell_limits_every(SECOND / 10)
        .deadline(SECOND / 5)
        .build()
        .await
        .unwrap();
    let policy = Policy::fixed_window(2, MINUTE);
    let open = fleet.limiter("open", &policy).when_down(WhenDown::Open);
    let share = fleet
        .limiter("share", &policy)
        .when_down(WhenDown::share(2));
    let closed = fleet.limiter("closed", &policy);
    let _ = closed.consume("k").await.unwrap();
    server.kill();
    for _ in 0..2 {
        let _ = open.consume("k").await.unwrap();
        let _ = share.consume("k").await.unwrap();
        closed.consume("k").await.unwrap_err();
    }
    server.restart().await.unwrap();
    let seen = within("open is told", told_again(&fleet, "open", 2)).await;
    assert_eq!((seen.allowed, seen.open), (2, 2));
    let seen = within("share is told", told_again(&fleet, "share", 2)).await;
    assert_eq!((seen.allowed, seen.denied, seen.share), (1, 1, 2));
    let seen = within("closed is told", told_again(&fleet, "closed", 1)).await;
    assert_eq!((seen.allowed, seen.denied), (1, 0));
}

/// As [`told`], of a home that may not be back yet.
async fn told_again(fleet: &Fleet, limiter: &str, asked: u64) -> DecisionCounts {
    loop {
        let figures = fleet.limit_figures().await.unwrap_or_default();
        let wanted = |it: &&LimitFigures| it.limiter == limiter && it.decisions.asked() == asked;
        if let Some(found) = figures.iter().find(wanted) {
            return found.decisions;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_hour_of_a_limiter_is_told_minute_by_minute() {
    let fleet = telling(Tell::Counts).build().await.unwrap();
    let api = fleet.limiter("api", Policy::sliding_log(1, SECOND));
    for minute in 0..70 {
        for _ in 0..=minute {
            let _ = api.consume("k").await.unwrap();
        }
        tokio::time::sleep(MINUTE).await;
    }
    let figures = fleet.limit_figures().await.unwrap();
    let minutes = &figures[0].minutes;
    assert_eq!(minutes.len(), 60);
    // The newest has just begun.
    for (at, minute) in minutes[..58].iter().enumerate() {
        assert_eq!(minute.asked, minute.denied + 1, "{at}: {minutes:?}");
        assert_eq!(
            minutes[at + 1].denied,
            minute.denied + 1,
            "{at}: {minutes:?}"
        );
    }
    let total = figures[0].decisions;
    assert_eq!((total.allowed, total.denied), (70, 70 * 69 / 2));
}

/// Namespaces are apart here, too.
#[tokio::test(start_paused = true)]
async fn figures_of_limiters_are_those_of_the_namespace() {
    let fleet = telling(Tell::Counts).build().await.unwrap();
    let inner = fleet.namespaced("inner").unwrap();
    let policy = Policy::fixed_window(9, MINUTE);
    for fleet in [&fleet, &inner, &inner] {
        let _ = fleet.limiter("api", &policy).consume("k").await.unwrap();
    }
    assert_eq!(told(&fleet, "api", 1).await.instances, 1);
    assert_eq!(told(&inner, "api", 2).await.instances, 1);
}

/// Telling needs a runtime; deciding in the process does not.
#[test]
fn what_is_decided_before_there_is_a_runtime_is_told_once_there_is_one() {
    let built = telling(Tell::Counts).build().now_or_never();
    let fleet = built.expect("nothing is waited for").unwrap();
    let policy = Policy::fixed_window(9, MINUTE);
    let api = fleet.limiter("api", &policy);
    let decided = api.consume("k").into_future().now_or_never();
    assert!(decided.unwrap().unwrap().is_allowed());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let named_again = fleet.limiter("api", &policy);
        assert!(named_again.consume("k").await.unwrap().is_allowed());
        assert_eq!(told(&fleet, "api", 2).await.instances, 1);
    });
}

/// They limit different things, and have no name in common but that which people read.
#[tokio::test(start_paused = true)]
async fn a_limiter_and_a_concurrency_limit_of_one_name_are_counted_apart() {
    let fleet = telling(Tell::Keys).build().await.unwrap();
    let rate = fleet.limiter("exports", Policy::fixed_window(1, MINUTE));
    for allowed in [true, false] {
        assert_eq!(rate.consume("a").await.unwrap().is_allowed(), allowed);
    }
    let slots = fleet.concurrency("exports", 1);
    let _permit = slots.enter("b").await.unwrap();
    for _ in 0..3 {
        let full = slots.enter("b").await.unwrap();
        assert!(full.permit().is_none());
    }
    tokio::time::sleep(MINUTE).await;
    let figures = fleet.limit_figures().await.unwrap();
    let [rate, slots] = &*figures else {
        panic!("{figures:?}");
    };
    assert_eq!(
        (&*rate.limiter, rate.kind),
        ("exports", LimitKind::Rate),
        "{rate:?}"
    );
    assert_eq!((rate.decisions.allowed, rate.decisions.denied), (1, 1));
    assert!(!rate.denied_by.contains_key("slots") && !rate.policies.is_empty());
    assert_eq!(
        (&*slots.limiter, slots.kind),
        ("exports", LimitKind::Concurrency),
        "{slots:?}"
    );
    assert_eq!((slots.decisions.allowed, slots.decisions.denied), (1, 3));
    assert_eq!(slots.denied_by["slots"], 3);
    assert_eq!(slots.hottest.as_ref().unwrap()[0].key, "b");
}

/// 64 of them; one that was asked for much, long ago, gives its place up, and may come back.
#[tokio::test(start_paused = true)]
async fn the_limiters_that_were_asked_most_in_the_last_minutes_are_told() {
    const MOST: usize = 64;
    let fleet = telling(Tell::Counts).build().await.unwrap();
    let policy = Policy::fixed_window(100, MINUTE);
    let use_all = async |prefix: &str, times: usize| {
        for number in 0..MOST {
            let limiter = fleet.limiter(&format!("{prefix}-{number}"), &policy);
            for _ in 0..times {
                let _ = limiter.consume("k").await.unwrap();
            }
        }
    };
    let told = async || -> Vec<_> {
        tokio::time::sleep(2 * SECOND).await;
        let figures = fleet.limit_figures().await.unwrap();
        let names = figures.into_iter().map(|it| it.limiter);
        names.collect()
    };
    let are = |names: &[String], prefix: &str| {
        names.len() == MOST && names.iter().all(|it| it.starts_with(prefix))
    };
    use_all("old", 20).await;
    assert!(are(&told().await, "old"));
    // Less than the others in these minutes, and than they were ever.
    use_all("new", 5).await;
    assert!(are(&told().await, "old"));
    tokio::time::sleep(8 * MINUTE).await;
    use_all("new", 3).await;
    assert!(are(&told().await, "old"));
    tokio::time::sleep(3 * MINUTE).await;
    assert!(are(&told().await, "new"));
    use_all("old", 9).await;
    assert!(are(&told().await, "old"));
}

/// Names may come from outside: who only asks, refunds or resets takes no place from those that decide.
#[tokio::test(start_paused = true)]
async fn a_limiter_takes_a_place_among_those_that_are_told_with_its_first_decision() {
    let fleet = telling(Tell::Counts).build().await.unwrap();
    let policy = Policy::fixed_window(9, MINUTE);
    for number in 0..1_200 {
        let limiter = fleet.limiter(&format!("named-{number}"), &policy);
        let _ = limiter.check("k").await.unwrap();
        limiter.reset("k").await.unwrap();
    }
    let api = fleet.limiter("api", &policy);
    assert!(api.consume("k").await.unwrap().is_allowed());
    tokio::time::sleep(MINUTE).await;
    let figures = fleet.limit_figures().await.unwrap();
    let names: Vec<_> = figures.iter().map(|it| &*it.limiter).collect();
    assert_eq!(names, ["api"]);
}
