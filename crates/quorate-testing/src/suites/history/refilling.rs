//! What was missed is refilled completely, or shows as a gap.

use std::time::Duration;

use futures_util::FutureExt;
use quorate::{Event, GapReason, Overflow, Position, TopicSpec};

use super::{Backstage, HOUR, MEBIBYTE, ROOM, expect, expect_nothing, gap, next, numbers, publish};
use crate::harness::{Home, eventually};

const FEW: TopicSpec<u64> = TopicSpec::new("few").keep(HOUR, 3, MEBIBYTE);

/// Not even what is still there of it: the stream goes on where the gap says.
pub async fn a_position_no_longer_kept_is_a_gap_and_nothing_partial(home: Home) {
    let topic = home.fleet().topic(&FEW);
    let position = publish(&topic, 0..1).await;
    let last = publish(&topic, 1..10).await;
    let history = topic.history().after(position).await.unwrap();
    let missing = history.gap.unwrap();
    assert!(history.events.is_empty());
    assert_eq!(
        (missing.reason, missing.missed, missing.position),
        (GapReason::History, Some(9), Some(last))
    );
    assert_eq!(history.position, last);
    let mut resumed = topic.subscribe().after(position).await.unwrap();
    assert_eq!(gap(&mut resumed).await, missing);
    assert_eq!(resumed.position(), Some(last));
    expect_nothing(&mut resumed, &topic).await;
    // What the bounds just reach is not lost.
    let at_the_edge = topic.history().latest(3).await.unwrap();
    let Event::Message(oldest) = &at_the_edge.events[0] else {
        panic!("expected a message");
    };
    let edge = oldest.position().unwrap();
    let before = Position::new(edge.epoch(), edge.offset() - 1, 0);
    let all = topic.history().after(before).await.unwrap();
    assert_eq!(all.events.len(), 3);
}

/// Another epoch: nobody knows what was missed.
pub async fn a_position_of_a_lost_history_is_a_gap(home: Home) {
    let topic = home.fleet().topic(&ROOM);
    let last = publish(&topic, 0..3).await;
    for (epoch, offset) in [
        (last.epoch() - 1, 2),
        (last.epoch() + 1, 2),
        (last.epoch(), 4),
    ] {
        let position = Position::new(epoch, offset, 5);
        let missing = topic.history().after(position).await.unwrap().gap.unwrap();
        assert_eq!((missing.missed, missing.position), (None, Some(last)));
    }
    // Nothing was ever kept here, and the position says otherwise.
    let other = home.fleet().topic(&ROOM).key("other").unwrap();
    let missing = other.history().after(last).await.unwrap().gap.unwrap();
    assert_eq!(missing.missed, None);
    // So long ago that a whole history may have come and gone since.
    let ages_ago = Position::new(last.epoch() - 8 * 24 * 3600 * 1_000_000, 0, 0);
    for topic in [&topic, &other] {
        let history = topic.history().after(ages_ago).await.unwrap();
        assert!(history.gap.is_some() && history.events.is_empty());
    }
}

/// The place is there, and holds another message: what was read once has been rolled back.
pub async fn a_rewritten_history_is_a_gap(home: Home) {
    let topic = home.fleet().topic(&ROOM);
    let last = publish(&topic, 0..3).await;
    for offset in [2, 3] {
        let other = Position::new(last.epoch(), offset, last.mark() ^ 0x5555);
        let history = topic.history().after(other).await.unwrap();
        assert!(history.gap.is_some() && history.events.is_empty());
    }
}

/// What its buffer dropped is read again.
pub async fn a_slow_subscriber_of_a_kept_topic_misses_nothing(home: Home) {
    let topic = home.fleet().topic(&ROOM);
    let subscribe = || topic.subscribe().buffer(4);
    let mut oldest = subscribe().await.unwrap();
    let mut newest = subscribe().overflow(Overflow::DropNewest).await.unwrap();
    publish(&topic, 0..700).await;
    expect(&mut oldest, 0..350).await;
    publish(&topic, 700..710).await;
    expect(&mut oldest, 350..710).await;
    expect(&mut newest, 0..710).await;
    expect_nothing(&mut oldest, &topic).await;
}

/// A message that did not arrive is read when the next one does.
pub async fn a_hole_is_refilled(home: Home) {
    let backstage = Backstage::enter(home.fleet()).await;
    let mut live = backstage.topic().subscribe().await.unwrap();
    publish(backstage.topic(), 1..2).await;
    backstage.keep_silently(2).await;
    backstage.keep_silently(3).await;
    publish(backstage.topic(), 4..5).await;
    expect(&mut live, 1..5).await;
    expect_nothing(&mut live, backstage.topic()).await;
}

/// The last message did not arrive, and a publisher says that there is one.
pub async fn a_lost_last_message_is_refilled(home: Home) {
    let backstage = Backstage::enter(home.fleet()).await;
    let mut live = backstage.topic().subscribe().await.unwrap();
    publish(backstage.topic(), 1..2).await;
    let position = backstage.keep_silently(2).await;
    backstage.confirm(position).await;
    expect(&mut live, 1..3).await;
}

/// A slow subscriber whose messages the bounds have dropped meanwhile.
pub async fn what_is_no_longer_there_to_refill_is_a_gap(home: Home) {
    let topic = home.fleet().topic(&FEW);
    let mut slow = topic.subscribe().buffer(2).await.unwrap();
    publish(&topic, 0..1).await;
    expect(&mut slow, 0..1).await;
    let last = publish(&topic, 1..20).await;
    let missing = gap(&mut slow).await;
    assert_eq!(
        (missing.reason, missing.missed, missing.position),
        (GapReason::History, Some(19), Some(last))
    );
    expect_nothing(&mut slow, &topic).await;
}

/// Not live, and not from the history; but by everybody else.
pub async fn excluded_messages_are_neither_seen_nor_missed(home: Home) {
    let topic = home.fleet().topic(&ROOM);
    let other = home.instance("b").await;
    let start = publish(&topic, 0..1).await;
    let mut own = topic.subscribe().await.unwrap();
    let mut others = other.topic(&ROOM).subscribe().await.unwrap();
    topic.publish(&1).exclude_self().await.unwrap();
    publish(&topic, 2..3).await;
    expect(&mut own, 2..3).await;
    expect(&mut others, 1..3).await;
    let mut own = topic.subscribe().after(start).await.unwrap();
    expect(&mut own, 2..3).await;
    let mut others = other.topic(&ROOM).subscribe().after(start).await.unwrap();
    expect(&mut others, 1..3).await;
}

/// With their positions; a pattern has no history of its own.
pub async fn patterns_see_kept_topics_live(home: Home) {
    let topic = home.fleet().topic(&ROOM).key("a").unwrap();
    let mut all = home
        .fleet()
        .topic(&ROOM)
        .keys("*")
        .subscribe()
        .await
        .unwrap();
    let position = publish(&topic, 0..1).await;
    match next(&mut all).await {
        Event::Message(message) => assert_eq!(message.position(), Some(position)),
        other => panic!("expected a message, got {other:?}"),
    }
    assert_eq!(all.position(), None);
}

/// Also in the middle of a page.
pub async fn a_dropped_next_of_a_kept_topic_loses_nothing(home: Home) {
    let topic = home.fleet().topic(&ROOM);
    publish(&topic, 0..20).await;
    let mut all = topic.subscribe().from_beginning().await.unwrap();
    let mut seen = Vec::new();
    while seen.len() < 20 {
        if let Some(Some(event)) = all.next().now_or_never() {
            seen.push(*event.message().unwrap());
        }
        tokio::task::yield_now().await;
        tokio::time::sleep(Duration::from_micros(100)).await;
    }
    assert_eq!(seen, (0..20).collect::<Vec<_>>());
}

/// Where it stands is where another can go on.
pub async fn a_subscription_knows_its_position(home: Home) {
    let topic = home.fleet().topic(&ROOM);
    publish(&topic, 0..10).await;
    let mut first = topic.subscribe().from_beginning().await.unwrap();
    expect(&mut first, 0..4).await;
    let position = first.position().unwrap();
    drop(first);
    let rest = topic.history().after(position).await.unwrap();
    assert_eq!(numbers(&rest), (4..10).collect::<Vec<_>>());
}

/// The same handler as on any topic; a slow one is given everything.
pub async fn listeners_of_a_kept_topic_miss_nothing(home: Home) {
    let topic = home.fleet().topic(&ROOM);
    let (seen, mut numbers) = tokio::sync::mpsc::channel(1);
    let listener = topic
        .on(move |number| {
            let seen = seen.clone();
            async move { seen.send(*number).await }
        })
        .buffer(2)
        .await
        .unwrap();
    publish(&topic, 0..50).await;
    for expected in 0..50 {
        let number = crate::harness::within("a call", numbers.recv()).await;
        assert_eq!(number, Some(expected));
    }
    listener.stop().await;
    eventually("it is gone", async || {
        numbers.is_closed() || numbers.is_empty()
    })
    .await;
}
