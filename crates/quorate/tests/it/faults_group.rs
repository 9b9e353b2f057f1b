//! Consumer groups when servers die, connections break and consumers are gone: every message is
//! acknowledged at least once, or a gap says that it is not.

use std::collections::BTreeSet;
use std::future::IntoFuture;
use std::time::Duration;

use quorate::events::Listener;
use quorate::{Consumer, Event, Fleet, FleetBuilder, Message, TopicSpec};
use quorate_testing::harness::{eventually, namespace, within};
use quorate_testing::proxy::{Direction, Proxy};
use quorate_testing::servers::{Reply, Server, ServerKind};
use tokio::sync::mpsc::UnboundedSender;

const WORK: TopicSpec<u64> =
    TopicSpec::new("work").keep(Duration::from_secs(3600), 100_000, 64 << 20);

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
}

async fn join(fleet: &Fleet, visibility: Duration) -> Consumer<u64> {
    let group = fleet.topic(&WORK).group("billing").unwrap();
    let group = group.visibility(visibility).from_beginning();
    within("a consumer", group.join()).await.unwrap()
}

async fn publish(fleet: &Fleet, numbers: std::ops::Range<u64>) {
    let topic = fleet.topic(&WORK);
    for number in numbers {
        within("a publish", async { topic.publish(&number).await.unwrap() }).await;
    }
}

async fn message(consumer: &mut Consumer<u64>) -> Message<u64> {
    match within("an event", consumer.next()).await {
        Some(Event::Message(message)) => message,
        other => panic!("expected a message, got {other:?}"),
    }
}

/// Replies of takes and acknowledgements are lost again and again: each message is handed out once.
#[tokio::test(flavor = "multi_thread")]
async fn fault_a_take_whose_reply_is_lost_hands_out_the_same() {
    let server = Server::start(ServerKind::Redis).await.unwrap();
    let proxy = Proxy::start(server.addr()).await.unwrap();
    let consumer = brisk(proxy.url()).build().await.unwrap();
    let publisher = brisk(server.url()).build().await.unwrap();
    // No lease ends while this test runs.
    let mut work = join(&consumer, Duration::from_secs(3600)).await;
    for number in 0..30 {
        publish(&publisher, number..number + 1).await;
        proxy.cut_before_reply();
        let message = message(&mut work).await;
        assert_eq!((*message, message.attempt()), (number, 1));
        proxy.cut_before_reply();
        let settled = within("an answer", work.acknowledge(&message)).await;
        assert!(settled.unwrap());
    }
    let group = publisher.topic(&WORK).group("billing").unwrap();
    let status = group.status().await.unwrap().unwrap();
    assert_eq!((status.pending, status.lag), (0, 0));
}

/// A consumer that can neither be heard nor hears is taken over when its leases end, and told so later.
#[tokio::test(flavor = "multi_thread")]
async fn fault_a_consumer_that_is_cut_off_is_taken_over() {
    let server = Server::start(ServerKind::Redis).await.unwrap();
    let proxy = Proxy::start(server.addr()).await.unwrap();
    let (cut_off, other) = (
        brisk(proxy.url()).build().await.unwrap(),
        brisk(server.url()).build().await.unwrap(),
    );
    let mut lost = join(&cut_off, Duration::from_secs(1)).await;
    publish(&other, 0..3).await;
    let held = message(&mut lost).await;
    proxy.swallow(Direction::Both);
    let mut work = join(&other, Duration::from_secs(3600)).await;
    let mut numbers = BTreeSet::new();
    while numbers.len() < 3 {
        let message = message(&mut work).await;
        assert_eq!(message.attempt(), 2);
        assert!(numbers.insert(*message), "{} came twice", *message);
        assert!(work.acknowledge(&message).await.unwrap());
    }
    let late = lost.acknowledge(&held);
    proxy.heal().await.unwrap();
    // Whether it was sent once or again: that another consumer has had the message may no longer be
    // known, but not that somebody holds it.
    let answer = within("an answer", late).await.unwrap();
    publish(&other, 3..4).await;
    let next = message(&mut work).await;
    assert_eq!((*next, next.attempt()), (3, 1), "answered {answer}");
    assert!(work.acknowledge(&next).await.unwrap());
}

/// Nobody closes anything: consumer and fleet are dropped.
#[tokio::test(flavor = "multi_thread")]
async fn fault_a_dropped_fleet_gives_its_messages_back() {
    let server = Server::start(ServerKind::Redis).await.unwrap();
    let (gone, other) = (
        brisk(server.url()).build().await.unwrap(),
        brisk(server.url()).build().await.unwrap(),
    );
    let mut dropped = join(&gone, Duration::from_secs(3600)).await;
    publish(&other, 0..3).await;
    let held = message(&mut dropped).await;
    drop((dropped, held, gone));
    let mut work = join(&other, Duration::from_secs(3600)).await;
    let mut numbers = BTreeSet::new();
    while numbers.len() < 3 {
        let message = message(&mut work).await;
        numbers.insert(*message);
        assert!(work.acknowledge(&message).await.unwrap());
    }
}

async fn listen(fleet: &Fleet, done: &UnboundedSender<(u64, u32)>) -> Listener {
    let done = done.clone();
    let group = fleet.topic(&WORK).group("billing").unwrap();
    let group = group.visibility(Duration::from_secs(2)).from_beginning();
    let handler = move |message: Message<u64>| {
        let done = done.clone();
        async move {
            tokio::time::sleep(Duration::from_millis(2)).await;
            done.send((*message, message.attempt()))
        }
    };
    let listener = group.on(handler).concurrency(4);
    within("a listener", listener.into_future()).await.unwrap()
}

/// A server that writes its log before it answers is killed under load, again and again: every message
/// is handled, and in the end all are acknowledged.
#[tokio::test(flavor = "multi_thread")]
async fn fault_a_server_with_a_log_is_killed_and_every_message_is_acknowledged() {
    const PART: u64 = 200;
    let server = Server::builder(ServerKind::Redis)
        .arg("--appendonly", "yes")
        .arg("--appendfsync", "always")
        .start()
        .await
        .unwrap();
    let mut fleets = Vec::new();
    for _ in 0..3 {
        fleets.push(brisk(server.url()).build().await.unwrap());
    }
    let (done, mut history) = tokio::sync::mpsc::unbounded_channel();
    let (one, two) = (
        listen(&fleets[0], &done).await,
        listen(&fleets[1], &done).await,
    );
    let publisher = &fleets[2];
    for part in 0..3 {
        let from = part * PART;
        publish(publisher, from..from + PART / 2).await;
        let killed = async {
            tokio::time::sleep(Duration::from_millis(5)).await;
            server.kill();
            server.restart().await.unwrap();
        };
        tokio::join!(killed, publish(publisher, from + PART / 2..from + PART));
    }
    let mut handled = BTreeSet::new();
    while handled.len() < 3 * PART as usize {
        let (number, _) = within("a message", history.recv()).await.unwrap();
        handled.insert(number);
    }
    assert_eq!(handled, (0..3 * PART).collect());
    let group = publisher.topic(&WORK).group("billing").unwrap();
    eventually("all are acknowledged", async || {
        let status = group.status().await.unwrap().unwrap();
        (status.pending, status.lag) == (0, 0)
    })
    .await;
    within("the end", one.stop()).await;
    within("the end", two.stop()).await;
}

/// A server that keeps nothing is restarted: the group is told once, and goes on with what is published.
#[tokio::test(flavor = "multi_thread")]
async fn fault_a_lost_group_is_a_gap_then_messages_again() {
    let server = Server::start(ServerKind::Redis).await.unwrap();
    let fleet = brisk(server.url()).build().await.unwrap();
    let mut work = join(&fleet, Duration::from_secs(60)).await;
    publish(&fleet, 0..2).await;
    let (first, second) = (message(&mut work).await, message(&mut work).await);
    assert!(work.acknowledge(&first).await.unwrap());
    server.kill();
    eventually("it notices", async || !fleet.state().is_connected()).await;
    server.restart().await.unwrap();
    match within("a gap", work.next()).await {
        Some(Event::Gap(gap)) => assert_eq!(gap.missed, None),
        other => panic!("expected a gap, got {other:?}"),
    }
    assert!(!work.acknowledge(&second).await.unwrap());
    publish(&fleet, 2..4).await;
    for number in 2..4 {
        let message = message(&mut work).await;
        assert_eq!((*message, message.attempt()), (number, 1));
        assert!(work.acknowledge(&message).await.unwrap());
    }
}

/// A server that evicts may take any of a group's keys: what was pending is one gap, and the group goes
/// on where it was.
#[tokio::test]
async fn fault_a_group_that_lost_a_key_is_a_gap_then_messages_again() {
    let server = Server::start(ServerKind::Redis).await.unwrap();
    for evicted in [
        &["deliveries"][..],
        &["pending"],
        &["deliveries", "pending"],
    ] {
        let namespace = namespace();
        let fleet = brisk(server.url()).namespace(namespace.as_str());
        let fleet = fleet.build().await.unwrap();
        let mut work = join(&fleet, Duration::from_secs(60)).await;
        publish(&fleet, 0..2).await;
        let (first, second) = (message(&mut work).await, message(&mut work).await);
        assert!(work.acknowledge(&first).await.unwrap());
        for key in evicted {
            let key = format!("{namespace}:history:{{work}}:{key}:billing");
            let removed = server.command(&["DEL", &key]).await.unwrap();
            assert_eq!(removed, Reply::Integer(1), "{key}");
        }
        publish(&fleet, 2..4).await;
        match within("a gap", work.next()).await {
            Some(Event::Gap(gap)) => assert_eq!(gap.missed, None),
            other => panic!("expected a gap without {evicted:?}, got {other:?}"),
        }
        assert!(!work.acknowledge(&second).await.unwrap());
        for number in 2..4 {
            let message = message(&mut work).await;
            assert_eq!((*message, message.attempt()), (number, 1));
            assert!(work.acknowledge(&message).await.unwrap());
        }
    }
}
