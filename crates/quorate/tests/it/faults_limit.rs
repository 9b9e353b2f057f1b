//! Limits under fire: lost replies, a home that is gone, futures that are dropped, a clock that is set back.

use std::future::IntoFuture;
use std::pin::pin;
use std::time::Duration;

use futures_util::poll;
use quorate::limit::{Basis, WhenDown, reserve};
use quorate::{ErrorKind, Fleet, FleetBuilder, Limiter, Outcome, Policy, TestClock};
use quorate_testing::harness::{eventually, namespace, within};
use quorate_testing::proxy::{Direction, Proxy};
use quorate_testing::servers::{Server, ServerKind, shared};

const HOUR: Duration = Duration::from_secs(3600);
const SOON: Duration = Duration::from_millis(300);

fn brisk(url: String) -> FleetBuilder {
    Fleet::builder()
        .url(url)
        .command_timeout(Duration::from_secs(2))
        .retry_delay(Duration::from_millis(50))
        .max_reconnect_delay(Duration::from_millis(100))
}

async fn left(limiter: &Limiter, key: &str) -> u64 {
    let usage = limiter.usage(key).await.unwrap();
    let each: Vec<_> = usage.policies().map(|policy| policy.remaining).collect();
    each.into_iter().min().unwrap()
}

/// Nobody can tell, so it is not repeated: it costs what it costs, once.
#[tokio::test(flavor = "multi_thread")]
async fn fault_a_request_with_a_lost_reply_is_unknown_and_counted_once() {
    let server = Server::start(ServerKind::Redis).await.unwrap();
    let proxy = Proxy::start(server.addr()).await.unwrap();
    let fleet = brisk(proxy.url()).build().await.unwrap();
    let limiter = fleet.limiter("api", Policy::sliding_log(5, HOUR));
    // Known to the server, so that the reply that is lost is that of the request.
    assert!(limiter.consume("warm").await.unwrap().is_allowed());
    assert_eq!(left(&limiter, "k").await, 5);
    proxy.cut_before_reply();
    let error = limiter.consume("k").cost(2).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionLost);
    assert_eq!(error.outcome(), Outcome::Unknown);
    assert_eq!(left(&limiter, "k").await, 3);
    // What changes nothing is repeated.
    proxy.cut_before_reply();
    assert!(limiter.check("k").await.unwrap().is_allowed());
    proxy.cut_before_reply();
    assert_eq!(left(&limiter, "k").await, 3);
}

/// A slot whose answer was lost is recognised, and taken once.
#[tokio::test(flavor = "multi_thread")]
async fn fault_an_entry_with_a_lost_reply_takes_one_slot() {
    let server = Server::start(ServerKind::Redis).await.unwrap();
    let proxy = Proxy::start(server.addr()).await.unwrap();
    let fleet = brisk(proxy.url()).build().await.unwrap();
    let limit = fleet.concurrency("exports", 3);
    let warm = limit.enter("k").await.unwrap().permit().unwrap();
    warm.release().await.unwrap();
    assert_eq!(limit.taken("k").await.unwrap(), 0);
    proxy.cut_before_reply();
    let permit = limit.enter("k").await.unwrap().permit().unwrap();
    assert_eq!(permit.remaining(), 2);
    assert_eq!(limit.taken("k").await.unwrap(), 1);
}

/// Each limiter does what it was told to, and asks again when the home is back.
#[tokio::test(flavor = "multi_thread")]
async fn fault_a_limiter_without_its_home_does_what_it_was_told() {
    let server = Server::start(ServerKind::Redis).await.unwrap();
    let fleet = brisk(server.url()).build().await.unwrap();
    let policy = Policy::fixed_window(9, HOUR);
    let closed = fleet.limiter("api", &policy).deadline(SOON);
    let open = closed.clone().when_down(WhenDown::Open);
    let share = closed.clone().when_down(WhenDown::share(4));
    for limiter in [&closed, &open, &share] {
        let decision = limiter.consume("k").await.unwrap();
        assert_eq!(decision.basis(), Basis::Fleet);
    }
    server.kill();
    let error = closed.consume("k").await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
    for _ in 0..20 {
        let decision = open.consume("k").await.unwrap();
        assert_eq!(
            (decision.is_allowed(), decision.basis()),
            (true, Basis::Open)
        );
    }
    // 9 shared by 4 is 2 each.
    for allowed in [true, true, false, false] {
        let decision = share.consume("k").await.unwrap();
        assert_eq!(decision.basis(), Basis::Share);
        assert_eq!(decision.is_allowed(), allowed);
        assert!(decision.into_receipt().is_none());
    }
    server.restart().await.unwrap();
    eventually("the home is asked again", async || {
        open.check("k").await.unwrap().basis() == Basis::Fleet
            && share.check("k").await.unwrap().basis() == Basis::Fleet
    })
    .await;
    let nothing = fleet.limiter("api", &policy).when_down(WhenDown::share(10));
    let error = nothing.consume("k").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

/// Several requests of which a later one is under way: those before it are taken back.
#[tokio::test(flavor = "multi_thread")]
async fn fault_a_dropped_reservation_leaves_nothing_half_counted() {
    let server = Server::start(ServerKind::Redis).await.unwrap();
    let fleet = brisk(server.url()).build().await.unwrap();
    let limiter = fleet.limiter("api", Policy::sliding_log(5, HOUR));
    assert!(limiter.consume("warm").await.unwrap().is_allowed());
    let never = Proxy::start(server.addr()).await.unwrap();
    let held = brisk(never.url()).build().await.unwrap();
    let stuck = held.limiter("api", Policy::sliding_log(5, HOUR));
    assert!(stuck.consume("warm").await.unwrap().is_allowed());
    never.hold(Direction::ToClient);
    let both = [limiter.consume("a"), stuck.consume("b")];
    {
        let counted = eventually("the first is counted", async || {
            left(&limiter, "a").await == 4
        });
        tokio::select! {
            reserved = reserve(both) => panic!("it cannot end: {reserved:?}"),
            () = counted => {}
        }
    }
    eventually("and taken back", async || left(&limiter, "a").await == 5).await;
    // Polled once, and dropped: what was sent is counted or not, and nothing hangs.
    {
        let mut asking = pin!(limiter.consume("c").into_future());
        let _ = poll!(&mut asking);
    }
    assert!(
        within("an answer", limiter.consume("c").into_future())
            .await
            .unwrap()
            .is_allowed()
    );
}

/// A little: time stands still for the key. By more than any of it lasts: the key begins anew.
#[tokio::test]
async fn fault_a_clock_that_is_set_back_locks_nobody_out() {
    let server = shared(ServerKind::Redis).await.unwrap();
    let namespace = namespace();
    let at = async |ahead: Duration| {
        let clock = TestClock::new();
        clock.advance(ahead);
        let builder = Fleet::builder().url(server.url()).namespace(&*namespace);
        let fleet = builder.test_clock(clock).build().await.unwrap();
        fleet.limiter(
            "api",
            [
                Policy::sliding_log(2, HOUR),
                Policy::token_bucket(2, HOUR),
                Policy::fixed_window(2, HOUR),
                Policy::sliding_counter(2, HOUR),
            ],
        )
    };
    let (now, ahead, far) = (
        at(Duration::ZERO).await,
        at(HOUR / 2).await,
        at(HOUR * 24).await,
    );
    assert!(ahead.consume("k").await.unwrap().is_allowed());
    assert!(now.consume("k").await.unwrap().is_allowed());
    assert!(!now.consume("k").await.unwrap().is_allowed());
    assert!(far.consume("k").await.unwrap().is_allowed());
    for allowed in [true, true, false] {
        assert_eq!(now.consume("k").await.unwrap().is_allowed(), allowed);
    }
}
