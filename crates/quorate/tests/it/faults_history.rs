//! Kept topics when servers die and connections break: every message exactly once and in order, or a
//! gap that says so.

use std::time::Duration;

use quorate::{Event, Fleet, FleetBuilder, GapReason, Subscription, TopicSpec};
use quorate_testing::harness::{BEACON_INTERVAL, eventually, within};
use quorate_testing::proxy::{Direction, Proxy};
use quorate_testing::servers::{Server, ServerKind};

const ROOM: TopicSpec<u64> =
    TopicSpec::new("room").keep(Duration::from_secs(3600), 100_000, 64 << 20);

/// Quick to notice and quick to come back, so that tests take no longer than they must.
fn brisk(url: String) -> FleetBuilder {
    Fleet::builder()
        .url(url)
        .command_timeout(Duration::from_secs(1))
        .retries(0_u32)
        .deadline(Duration::from_secs(15))
        .retry_delay(Duration::from_millis(50))
        .max_reconnect_delay(Duration::from_millis(100))
        .ping_interval(Duration::from_millis(500))
        .beacon_interval(BEACON_INTERVAL)
}

/// Publishes `numbers` one after another; each is retried until it is known to be kept.
async fn publish(fleet: &Fleet, numbers: std::ops::Range<u64>) {
    let topic = fleet.topic(&ROOM);
    for number in numbers {
        within("a publish", async { topic.publish(&number).await.unwrap() }).await;
    }
}

/// Reads until `last`: each number must be the one after the last. No gap is expected.
async fn expect_all(room: &mut Subscription<u64>, numbers: std::ops::Range<u64>) {
    for expected in numbers {
        match within("an event", room.next()).await {
            Some(Event::Message(number)) => assert_eq!(*number, expected),
            other => panic!("expected {expected}, got {other:?}"),
        }
    }
}

/// The reply of an append is lost, and it is repeated: the message is there once.
#[tokio::test(flavor = "multi_thread")]
async fn fault_a_kept_publish_whose_reply_is_lost_is_kept_once() {
    let server = Server::start(ServerKind::Redis).await.unwrap();
    let proxy = Proxy::start(server.addr()).await.unwrap();
    let publisher = brisk(proxy.url()).build().await.unwrap();
    let subscriber = brisk(server.url()).build().await.unwrap();
    let mut room = subscriber.topic(&ROOM).subscribe().await.unwrap();
    // The first reply of a script may be that the server does not know it.
    publish(&publisher, 0..1).await;
    for number in 1..20 {
        proxy.cut_before_reply();
        publish(&publisher, number..number + 1).await;
    }
    expect_all(&mut room, 0..20).await;
    let history = subscriber.topic(&ROOM).history().await.unwrap();
    assert_eq!(history.events.len(), 20);
}

/// The subscriber's connection breaks again and again while others publish.
#[tokio::test(flavor = "multi_thread")]
async fn fault_a_subscriber_of_a_kept_topic_misses_nothing_while_its_network_breaks() {
    const LAST: u64 = 2_000;
    let server = Server::start(ServerKind::Redis).await.unwrap();
    let proxy = Proxy::start(server.addr()).await.unwrap();
    let subscriber = brisk(proxy.url()).build().await.unwrap();
    let publisher = brisk(server.url()).build().await.unwrap();
    let mut room = subscriber
        .topic(&ROOM)
        .subscribe()
        .buffer(64)
        .await
        .unwrap();
    let breaking = async {
        loop {
            proxy.cut().await;
            tokio::time::sleep(Duration::from_millis(60)).await;
            proxy.swallow(Direction::Both);
            tokio::time::sleep(Duration::from_millis(40)).await;
            proxy.heal().await.unwrap();
            tokio::time::sleep(Duration::from_millis(60)).await;
        }
    };
    let work = async {
        tokio::join!(publish(&publisher, 0..LAST), expect_all(&mut room, 0..LAST));
    };
    tokio::select! {
        () = breaking => unreachable!(),
        () = work => {}
    }
}

/// A server that writes its log before it answers is killed under load: nothing is lost, nothing comes
/// twice, and nobody is told of a gap.
#[tokio::test(flavor = "multi_thread")]
async fn fault_a_server_with_a_log_is_killed_and_kept_topics_lose_nothing() {
    const PART: u64 = 300;
    let server = Server::builder(ServerKind::Redis)
        .arg("--appendonly", "yes")
        .arg("--appendfsync", "always")
        .start()
        .await
        .unwrap();
    let subscriber = brisk(server.url()).build().await.unwrap();
    let publisher = brisk(server.url()).build().await.unwrap();
    let mut room = subscriber.topic(&ROOM).subscribe().await.unwrap();
    let reading = expect_all(&mut room, 0..4 * PART);
    let killing = async {
        for part in 0..3 {
            let from = part * PART;
            // Killed in the middle of the second half.
            publish(&publisher, from..from + PART / 2).await;
            let killed = async {
                tokio::time::sleep(Duration::from_millis(5)).await;
                server.kill();
                server.restart().await.unwrap();
            };
            tokio::join!(killed, publish(&publisher, from + PART / 2..from + PART));
        }
        publish(&publisher, 3 * PART..4 * PART).await;
    };
    tokio::join!(reading, killing);
}

/// A server that keeps nothing is restarted: the history is another one, and that is said.
#[tokio::test(flavor = "multi_thread")]
async fn fault_a_lost_history_is_a_gap_then_events_again() {
    let server = Server::start(ServerKind::Redis).await.unwrap();
    let fleet = brisk(server.url()).build().await.unwrap();
    let topic = fleet.topic(&ROOM);
    let mut room = topic.subscribe().await.unwrap();
    publish(&fleet, 0..3).await;
    expect_all(&mut room, 0..3).await;
    server.kill();
    eventually("it notices", async || !fleet.state().is_connected()).await;
    server.restart().await.unwrap();
    match within("a gap", room.next()).await {
        Some(Event::Gap(gap)) => {
            assert_eq!((gap.reason, gap.missed), (GapReason::History, None));
            assert!(gap.position.unwrap().is_origin());
        }
        other => panic!("expected a gap, got {other:?}"),
    }
    publish(&fleet, 3..5).await;
    expect_all(&mut room, 3..5).await;
}

/// A pause is no loss.
#[tokio::test(flavor = "multi_thread")]
async fn fault_a_paused_server_delays_kept_messages_and_loses_none() {
    let server = Server::start(ServerKind::Redis).await.unwrap();
    let fleet = brisk(server.url()).build().await.unwrap();
    let mut room = fleet.topic(&ROOM).subscribe().await.unwrap();
    publish(&fleet, 0..5).await;
    server.pause().unwrap();
    let publishing = publish(&fleet, 5..10);
    let resuming = async {
        // Longer than a command may take: connections are given up meanwhile.
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        server.resume().unwrap();
    };
    tokio::join!(publishing, resuming);
    expect_all(&mut room, 0..10).await;
}
