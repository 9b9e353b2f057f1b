//! What cannot be handed out.

use std::time::Duration;

use quorate::history::{Content, TakeId};
use quorate::{Event, GapReason, TopicSpec};

use super::sharing::take;
use super::{FEW, HOUR, WORK, consumer, expect, expect_nothing, gap, join, message, next, publish};
use crate::harness::{Home, within};

/// With their number and where the group goes on; no other consumer sees it.
pub async fn messages_dropped_before_a_group_had_them_are_one_gap(home: Home) {
    let other = home.instance("b").await;
    let topic = home.fleet().topic(&FEW);
    let mut work = join(&topic, HOUR).await;
    let mut second = join(&other.topic(&FEW), HOUR).await;
    publish(&topic, 0..10).await;
    let missing = gap(&mut work).await;
    assert_eq!(missing.reason, GapReason::History);
    assert_eq!(missing.missed, Some(7));
    let position = missing.position.unwrap();
    assert_eq!(position.offset(), 7);
    for number in 7..10 {
        let message = message(&mut work).await;
        assert_eq!(*message, number);
        assert_eq!(message.position().unwrap().epoch(), position.epoch());
        assert!(work.acknowledge(&message).await.unwrap());
    }
    home.elapse(HOUR / 2).await;
    expect_nothing(&mut second, &topic).await;
}

/// As those that were dropped for their number.
pub async fn messages_that_ended_before_a_group_had_them_are_one_gap(home: Home) {
    let brief: TopicSpec<u64> = TopicSpec::new("brief").keep(HOUR, 100, 1 << 20);
    let topic = home.fleet().topic(&brief);
    let mut work = join(&topic, HOUR).await;
    publish(&topic, 0..4).await;
    home.elapse(HOUR * 2).await;
    publish(&topic, 4..5).await;
    assert_eq!(gap(&mut work).await.missed, Some(4));
    expect(&mut work, 4, 1).await;
    expect_nothing(&mut work, &topic).await;
}

/// Nobody has acknowledged it, and nobody can get it.
pub async fn a_pending_message_that_is_dropped_is_a_gap(home: Home) {
    let topic = home.fleet().topic(&FEW);
    let mut work = join(&topic, Duration::from_secs(600)).await;
    publish(&topic, 0..1).await;
    let held = message(&mut work).await;
    publish(&topic, 1..4).await;
    for number in 1..4 {
        expect(&mut work, number, 1).await;
    }
    assert!(work.retry(&held, Duration::ZERO).await.unwrap());
    let missing = gap(&mut work).await;
    assert_eq!(missing.missed, Some(1));
    assert_eq!(missing.position.unwrap().offset(), 1);
    home.elapse(Duration::from_secs(1200)).await;
    expect_nothing(&mut work, &topic).await;
}

/// Its consumer was killed first.
pub async fn a_gap_nobody_has_shown_comes_back(home: Home) {
    let small: TopicSpec<u64> = TopicSpec::new("work").keep(HOUR * 100, 1, 1 << 20);
    let topic = home.fleet().topic(&small);
    drop(consumer(home.fleet()).await);
    publish(&topic, 0..3).await;
    let killed = take(home.fleet(), TakeId::random(), 9, false).await;
    let contents: Vec<_> = killed.deliveries.iter().map(|it| &it.content).collect();
    assert!(matches!(
        contents[..],
        [Content::Gone(Some(2)), Content::Message(_)]
    ));
    home.elapse(HOUR * 2).await;
    let mut work = consumer(home.fleet()).await;
    assert_eq!(gap(&mut work).await.missed, Some(2));
    expect(&mut work, 2, 2).await;
    home.elapse(HOUR * 2).await;
    expect_nothing(&mut work, &topic).await;
}

/// It would come back for ever.
pub async fn a_message_that_cannot_be_read_is_handed_out_once(home: Home) {
    let texts: TopicSpec<String> = TopicSpec::new("work").keep(HOUR * 100, 100, 1 << 20);
    let topic = home.fleet().topic(&WORK);
    let mut work = consumer(home.fleet()).await;
    let text = "not a number".to_owned();
    home.fleet().topic(&texts).publish(&text).await.unwrap();
    publish(&topic, 1..2).await;
    match next(&mut work).await {
        Event::Undecodable(undecodable) => {
            assert_eq!(&undecodable.bytes()[..], b"\"not a number\"")
        }
        other => panic!("expected an undecodable message, got {other:?}"),
    }
    expect(&mut work, 1, 1).await;
    within("the end", work.leave()).await;
    home.elapse(HOUR * 2).await;
    let mut work = consumer(home.fleet()).await;
    expect_nothing(&mut work, &topic).await;
}
