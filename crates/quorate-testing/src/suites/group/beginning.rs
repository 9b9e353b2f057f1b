//! Where a group begins, goes on and ends.

use std::time::Duration;

use quorate::{ErrorKind, Event, Position, TopicSpec};

use super::{FEW, HOUR, WORK, consumer, expect, expect_nothing, gap, message, publish};
use crate::harness::{Home, within};

/// Unless told otherwise.
pub async fn a_group_begins_with_what_follows(home: Home) {
    let topic = home.fleet().topic(&WORK);
    publish(&topic, 0..3).await;
    let mut work = topic.group("billing").unwrap().await.unwrap();
    publish(&topic, 3..5).await;
    expect(&mut work, 3, 1).await;
    expect(&mut work, 4, 1).await;
}

/// With the oldest that is kept; what was dropped before the group was made is not its loss.
pub async fn a_group_begins_at_the_beginning(home: Home) {
    let topic = home.fleet().topic(&FEW);
    publish(&topic, 0..5).await;
    let group = topic.group("billing").unwrap();
    let mut work = group.from_beginning().join().await.unwrap();
    for number in 2..5 {
        expect(&mut work, number, 1).await;
    }
}

/// With what follows it.
pub async fn a_group_begins_after_a_position(home: Home) {
    let topic = home.fleet().topic(&WORK);
    publish(&topic, 0..2).await;
    let position = topic.publish(&2).await.unwrap().position.unwrap();
    publish(&topic, 3..5).await;
    let group = topic.group("billing").unwrap();
    let mut work = group.after(position).join().await.unwrap();
    expect(&mut work, 3, 1).await;
    expect(&mut work, 4, 1).await;
}

/// Wherever a later consumer says that it begins, and when nobody consumed for a while.
pub async fn a_group_that_exists_goes_on_where_it_is(home: Home) {
    let topic = home.fleet().topic(&WORK);
    let mut work = consumer(home.fleet()).await;
    publish(&topic, 0..3).await;
    expect(&mut work, 0, 1).await;
    work.leave().await;
    home.elapse(HOUR).await;
    let mut work = topic.group("billing").unwrap().join().await.unwrap();
    expect(&mut work, 1, 1).await;
    let other = home.instance("b").await;
    let mut again = consumer(&other).await;
    publish(&topic, 3..4).await;
    work.leave().await;
    expect(&mut again, 2, 1).await;
    expect(&mut again, 3, 1).await;
}

/// Nor does it see a gap, wherever it was told to begin.
pub async fn a_group_made_before_the_first_message_misses_nothing(home: Home) {
    let topic = home.fleet().topic(&WORK);
    let origin = topic.history().latest(0).await.unwrap().position;
    assert!(origin.is_origin());
    let group = |name| topic.group(name).unwrap();
    let mut consumers = [
        group("now").join().await.unwrap(),
        group("beginning").from_beginning().join().await.unwrap(),
        group("after").after(origin).join().await.unwrap(),
    ];
    publish(&topic, 0..2).await;
    for work in &mut consumers {
        expect(work, 0, 1).await;
        expect(work, 1, 1).await;
    }
}

/// What followed it cannot be told: it is a gap, then all that is kept.
pub async fn a_position_of_another_history_is_a_gap_first(home: Home) {
    let topic = home.fleet().topic(&WORK);
    publish(&topic, 0..2).await;
    let group = topic.group("billing").unwrap();
    let mut work = group.after(Position::new(7, 3, 0)).join().await.unwrap();
    let missing = gap(&mut work).await;
    assert_eq!(missing.missed, None);
    assert_eq!(missing.position.unwrap().offset(), 0);
    expect(&mut work, 0, 1).await;
    expect(&mut work, 1, 1).await;
}

/// And who joins after that makes a new one.
pub async fn a_deleted_group_ends_its_consumers(home: Home) {
    let other = home.instance("b").await;
    let topic = home.fleet().topic(&WORK);
    let mut work = consumer(home.fleet()).await;
    publish(&topic, 0..2).await;
    let first = message(&mut work).await;
    let group = other.topic(&WORK).group("billing").unwrap();
    assert!(group.delete().await.unwrap());
    assert!(!group.delete().await.unwrap());
    assert_eq!(group.status().await.unwrap(), None);
    // What was taken before is still handed out, and belongs to nobody.
    while let Some(event) = within("the end", work.next()).await {
        assert!(matches!(event, Event::Message(_)));
    }
    assert!(!work.acknowledge(&first).await.unwrap());
    let mut anew = consumer(&other).await;
    expect(&mut anew, 0, 1).await;
    expect(&mut anew, 1, 1).await;
}

/// And where the group goes on.
pub async fn a_status_says_what_is_pending_and_what_is_behind(home: Home) {
    let topic = home.fleet().topic(&WORK);
    let group = topic.group("billing").unwrap().batch(2).visibility(HOUR);
    assert_eq!(group.status().await.unwrap(), None);
    let mut work = group.clone().join().await.unwrap();
    publish(&topic, 0..5).await;
    let status = async || group.status().await.unwrap().unwrap();
    let before = status().await;
    assert_eq!((before.pending, before.lag), (0, 5));
    let first = message(&mut work).await;
    let taken = status().await;
    assert_eq!((taken.pending, taken.lag), (2, 3));
    assert_eq!(taken.position.offset(), 2);
    assert!(work.acknowledge(&first).await.unwrap());
    assert_eq!(status().await.pending, 1);
    expect(&mut work, 1, 1).await;
    for number in 2..5 {
        expect(&mut work, number, 1).await;
    }
    let done = status().await;
    assert_eq!((done.pending, done.lag), (0, 0));
    assert_eq!(done.position.epoch(), first.position().unwrap().epoch());
    expect_nothing(&mut work, &topic).await;
}

/// Before anything is touched.
pub async fn bad_group_input_is_refused_with_the_rule(home: Home) {
    let ephemeral: TopicSpec<u64> = TopicSpec::new("ephemeral");
    let refused = home.fleet().topic(&ephemeral).group("billing");
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Unsupported);
    let topic = home.fleet().topic(&WORK);
    for (name, rule) in [("", "empty"), ("a b", "may contain"), ("__x", "reserved")] {
        let error = topic.group(name).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let error = error.to_string();
        assert!(error.contains("group") && error.contains(rule), "{error}");
    }
    let group = topic.group("billing").unwrap();
    for (bad, field) in [
        (group.clone().batch(0), "batch"),
        (group.clone().batch(257), "batch"),
        (
            group.clone().visibility(Duration::from_millis(1)),
            "visibility",
        ),
        (group.clone().visibility(HOUR * 25), "visibility"),
    ] {
        let error = bad.join().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(field), "{error}");
    }
    let none = group.clone().on(|_| async {}).concurrency(0).await;
    assert!(none.unwrap_err().to_string().contains("concurrency"));
    assert_eq!(group.status().await.unwrap(), None);

    let mut work = consumer(home.fleet()).await;
    let mut subscription = topic.subscribe().await.unwrap();
    publish(&topic, 0..1).await;
    let own = message(&mut work).await;
    let foreign = within("a message", subscription.next_message())
        .await
        .unwrap();
    assert_eq!(foreign.attempt(), 1);
    for (settling, field) in [
        (work.acknowledge(&foreign), "message"),
        (work.retry(&own, HOUR * 25), "after"),
        (work.extend(&own, Duration::ZERO), "visibility"),
    ] {
        let error = settling.await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(field), "{error}");
    }
    assert!(work.acknowledge(&own).await.unwrap());
}
