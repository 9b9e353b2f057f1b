//! Servers die, stall, and lose replies: outcomes stay honest, and what was subscribed comes back.

use std::future::IntoFuture;
use std::time::Duration;

use quorate::{ErrorKind, Event, Fleet, FleetBuilder, GapReason, Outcome, Subscription, TopicSpec};
use quorate_testing::harness::{BEACON_INTERVAL, eventually, within};
use quorate_testing::proxy::{Direction, Proxy};
use quorate_testing::servers::{Server, ServerKind};

const NUMBERS: TopicSpec<u64> = TopicSpec::new("numbers");

async fn server() -> Server {
    Server::start(ServerKind::Redis).await.unwrap()
}

/// Quick to notice and quick to come back, so that tests take no longer than they must.
fn brisk(url: String) -> FleetBuilder {
    Fleet::builder()
        .url(url)
        .command_timeout(Duration::from_secs(1))
        .retry_delay(Duration::from_millis(50))
        .max_reconnect_delay(Duration::from_millis(100))
        .ping_interval(Duration::from_millis(500))
        .beacon_interval(BEACON_INTERVAL)
}

/// Publishes until the subscription has seen a gap and a message after it; returns the gap's reason.
async fn gap_then_message(publisher: &Fleet, numbers: &mut Subscription<u64>) -> GapReason {
    let topic = publisher.topic(&NUMBERS);
    let publishing = async {
        for number in 0_u64.. {
            // Errors are expected while the server is away.
            let _ = topic.publish(&number).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let reading = async {
        let mut reason = None;
        loop {
            match numbers.next().await.expect("the stream goes on") {
                Event::Gap(gap) => reason = Some(gap.reason),
                Event::Message(_) if reason.is_some() => return reason.unwrap(),
                _ => {}
            }
        }
    };
    tokio::select! {
        () = publishing => unreachable!(),
        reason = within("a gap, then a message", reading) => reason,
    }
}

/// Done-when 2: kill and restart the server; the subscriber sees a gap, then events again.
#[tokio::test(flavor = "multi_thread")]
async fn fault_a_killed_and_restarted_server_is_a_gap_then_events_again() {
    let server = server().await;
    let (a, b) = tokio::join!(brisk(server.url()).build(), brisk(server.url()).build());
    let (a, b) = (a.unwrap(), b.unwrap());
    let mut numbers = a.topic(&NUMBERS).subscribe().await.unwrap();
    let mut all = a.topic(&NUMBERS).matching("*").subscribe().await.unwrap();
    b.topic(&NUMBERS).publish(&1).await.unwrap();
    assert_eq!(*numbers.next_message().await.unwrap(), 1);
    assert_eq!(*all.next_message().await.unwrap(), 1);
    server.kill();
    server.restart().await.unwrap();
    assert_eq!(
        gap_then_message(&b, &mut numbers).await,
        GapReason::Reconnected
    );
    assert_eq!(gap_then_message(&b, &mut all).await, GapReason::Reconnected);
}

/// Who subscribes after a restart has missed nothing, and is not told otherwise.
#[tokio::test(flavor = "multi_thread")]
async fn fault_a_subscription_made_after_a_restart_sees_no_gap() {
    let server = server().await;
    let fleet = brisk(server.url()).build().await.unwrap();
    let topic = fleet.topic(&NUMBERS);
    topic
        .subscribe()
        .await
        .unwrap()
        .unsubscribe()
        .await
        .unwrap();
    server.kill();
    eventually("it notices", async || !fleet.state().is_connected()).await;
    server.restart().await.unwrap();
    within("the connection", fleet.ready()).await.unwrap();
    let mut numbers = topic.subscribe().await.unwrap();
    topic.publish(&7).await.unwrap();
    match within("an event", numbers.next()).await {
        Some(Event::Message(seven)) => assert_eq!(*seven, 7),
        other => panic!("expected a message, got {other:?}"),
    }
}

/// A connection that swallows everything is noticed by probing it.
#[tokio::test(flavor = "multi_thread")]
async fn fault_a_half_open_connection_is_a_gap_then_events_again() {
    let server = server().await;
    let proxy = Proxy::start(server.addr()).await.unwrap();
    let subscriber = brisk(proxy.url()).build().await.unwrap();
    let publisher = brisk(server.url()).build().await.unwrap();
    let mut numbers = subscriber.topic(&NUMBERS).subscribe().await.unwrap();
    let before = proxy.stats().accepted;
    proxy.swallow(Direction::Both);
    publisher.topic(&NUMBERS).publish(&1).await.unwrap();
    // It gives the dead connections up and tries new ones, which the proxy swallows too.
    proxy.wait(|stats| stats.accepted > before).await;
    proxy.heal().await.unwrap();
    assert_eq!(
        gap_then_message(&publisher, &mut numbers).await,
        GapReason::Reconnected
    );
}

/// A publish whose reply is lost is reported as unknown, and not repeated.
#[tokio::test(flavor = "multi_thread")]
async fn fault_a_publish_with_a_lost_reply_is_unknown_and_happens_once() {
    let server = server().await;
    let proxy = Proxy::start(server.addr()).await.unwrap();
    let publisher = brisk(proxy.url()).build().await.unwrap();
    let observer = brisk(server.url()).build().await.unwrap();
    let mut numbers = observer.topic(&NUMBERS).subscribe().await.unwrap();
    proxy.cut_before_reply();
    let error = publisher.topic(&NUMBERS).publish(&1).await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unknown, "{error}");
    assert!(
        matches!(error.kind(), ErrorKind::ConnectionLost | ErrorKind::Timeout),
        "{error}"
    );
    publisher.topic(&NUMBERS).publish(&2).await.unwrap();
    // The first was applied, exactly once, and the sequence has no hole.
    assert_eq!(*within("1", numbers.next_message()).await.unwrap(), 1);
    assert!(matches!(within("2", numbers.next()).await, Some(Event::Message(two)) if *two == 2));
}

/// A lock whose reply is lost is asked for again with the same lease: it is acquired once.
#[tokio::test(flavor = "multi_thread")]
async fn fault_an_acquire_with_a_lost_reply_is_repeated_harmlessly() {
    let server = server().await;
    let proxy = Proxy::start(server.addr()).await.unwrap();
    let fleet = brisk(proxy.url()).build().await.unwrap();
    // Known to the server, so that the reply that is lost is that of the transition.
    fleet
        .lock("warm")
        .try_acquire()
        .await
        .unwrap()
        .guard()
        .unwrap()
        .release()
        .await
        .unwrap();
    proxy.cut_before_reply();
    let guard = fleet
        .lock("report")
        .try_acquire()
        .await
        .unwrap()
        .guard()
        .expect("it is free");
    proxy.cut_before_reply();
    assert!(
        guard.release().await.unwrap(),
        "the repeated release says what the first did"
    );
    assert!(
        fleet
            .lock("report")
            .try_acquire()
            .await
            .unwrap()
            .is_acquired()
    );
}

/// While there is no server, waiting calls wait and failing ones fail, both honestly.
#[tokio::test(flavor = "multi_thread")]
async fn fault_while_disconnected_calls_wait_or_fail_as_configured() {
    let server = server().await;
    let waiting = brisk(server.url())
        .command_timeout(Duration::from_secs(10))
        .build()
        .await
        .unwrap();
    let failing = brisk(server.url())
        .when_unavailable(quorate::WhenUnavailable::Fail)
        .retries(1_u32)
        .build()
        .await
        .unwrap();
    server.kill();
    eventually("both notice", async || {
        !waiting.state().is_connected() && !failing.state().is_connected()
    })
    .await;
    let error = failing.topic(&NUMBERS).publish(&1).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.outcome()),
        (ErrorKind::Disconnected, Outcome::NotApplied)
    );
    let topic = waiting.topic(&NUMBERS);
    let publish = topic.publish(&2).into_future();
    let (sent, restarted) = tokio::join!(publish, server.restart());
    restarted.unwrap();
    sent.unwrap();
}

/// A holder that cannot reach the server learns that its lease has ended.
#[tokio::test(flavor = "multi_thread")]
async fn fault_a_holder_cut_off_loses_its_lock_by_its_own_clock() {
    let server = server().await;
    let proxy = Proxy::start(server.addr()).await.unwrap();
    let cut_off = brisk(proxy.url()).build().await.unwrap();
    let other = brisk(server.url()).build().await.unwrap();
    let lease = Duration::from_millis(800);
    let lock = cut_off.lock("report");
    let guard = lock
        .try_acquire()
        .lease(lease)
        .await
        .unwrap()
        .guard()
        .unwrap();
    proxy.swallow(Direction::Both);
    let next = within("the lock", other.lock("report").acquire().into_future())
        .await
        .unwrap();
    let next = next.guard().unwrap();
    within("the loss", guard.lost()).await;
    assert!(next.token() > guard.token());
}

/// A server that stops for a while (SIGSTOP) is waited for, and nothing is lost that was acknowledged.
#[tokio::test(flavor = "multi_thread")]
async fn fault_a_stalled_server_answers_or_times_out_and_recovers() {
    let server = server().await;
    let fleet = brisk(server.url()).retries(1_u32).build().await.unwrap();
    server.pause().unwrap();
    let error = fleet.lock("report").try_acquire().await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
    server.resume().unwrap();
    let lock = fleet.lock("report");
    eventually("the lock", async || {
        lock.try_acquire()
            .await
            .is_ok_and(|answer| answer.is_acquired())
    })
    .await;
}

/// A deadline bounds the whole call, retries included.
#[tokio::test(flavor = "multi_thread")]
async fn fault_a_deadline_ends_a_call_that_would_go_on() {
    let server = server().await;
    let fleet = brisk(server.url())
        .retries(0_u32)
        .deadline(Duration::from_millis(600))
        .build()
        .await
        .unwrap();
    server.kill();
    eventually("it notices", async || !fleet.state().is_connected()).await;
    let error = within(
        "the answer",
        fleet.topic(&NUMBERS).publish(&1).into_future(),
    )
    .await
    .unwrap_err();
    assert_eq!(error.outcome(), Outcome::NotApplied, "{error}");
}

/// Closing does not hang on a dead server.
#[tokio::test(flavor = "multi_thread")]
async fn fault_close_ends_on_a_dead_server() {
    let server = server().await;
    let fleet = brisk(server.url()).build().await.unwrap();
    let mut numbers = fleet.topic(&NUMBERS).subscribe().await.unwrap();
    let guard = fleet
        .lock("report")
        .try_acquire()
        .await
        .unwrap()
        .guard()
        .unwrap();
    server.pause().unwrap();
    within("the close", fleet.close_within(Duration::from_secs(1))).await;
    assert!(numbers.next().await.is_none());
    assert!(guard.is_lost());
    server.resume().unwrap();
}
