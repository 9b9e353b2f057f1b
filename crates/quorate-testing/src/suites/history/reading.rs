//! Positions, bounds, and reading.

use std::time::Duration;

use bytes::Bytes;
use quorate::{Codec, ErrorKind, Event, Keep, Outcome, Position, TopicSpec};

use super::{
    Backstage, HEADER_AT, HOUR, MANY, MEBIBYTE, ROOM, expect, expect_nothing, next, numbers,
    publish,
};
use crate::harness::Home;

/// Receipts, messages and histories agree on where a message stands; offsets grow by one.
pub async fn messages_have_consecutive_positions(home: Home) {
    let topic = home.fleet().topic(&ROOM);
    let mut live = topic.subscribe().await.unwrap();
    let mut last: Option<Position> = None;
    for number in 0..5_u64 {
        let receipt = topic.publish(&number).await.unwrap();
        let position = receipt.position.unwrap();
        let Event::Message(message) = next(&mut live).await else {
            panic!("expected a message");
        };
        assert_eq!(message.position(), Some(position));
        assert_eq!(position.offset(), number + 1);
        if let Some(last) = last {
            assert_eq!(last.epoch(), position.epoch());
        }
        last = Some(position);
    }
    let history = topic.history().await.unwrap();
    assert_eq!(Some(history.position), last);
    assert!(history.complete);
}

/// Pages follow one another without a hole, and the last one says that it is.
pub async fn a_history_is_read_page_by_page(home: Home) {
    let topic = home.fleet().topic(&ROOM);
    publish(&topic, 0..10).await;
    let first = topic.history().limit(4).await.unwrap();
    assert_eq!(numbers(&first), [0, 1, 2, 3]);
    assert!(!first.complete);
    let second = topic
        .history()
        .after(first.position)
        .limit(4)
        .await
        .unwrap();
    assert_eq!(numbers(&second), [4, 5, 6, 7]);
    let third = topic
        .history()
        .after(second.position)
        .limit(4)
        .await
        .unwrap();
    assert_eq!(numbers(&third), [8, 9]);
    assert!(third.complete && third.gap.is_none());
    let none = topic.history().after(third.position).await.unwrap();
    assert!(none.events.is_empty() && none.complete && none.gap.is_none());
    assert_eq!(none.position, third.position);
    let small = topic.history().after(second.position).limit_bytes(1);
    let small = small.await.unwrap();
    assert_eq!(numbers(&small), [8], "one, however large it is");
    assert!(!small.complete);
}

/// The last messages, oldest first; none of them only tells where the present is.
pub async fn the_latest_are_read(home: Home) {
    let topic = home.fleet().topic(&ROOM);
    let empty = topic.history().latest(5).await.unwrap();
    assert!(empty.events.is_empty() && empty.complete && empty.position.is_origin());
    let last = publish(&topic, 0..10).await;
    assert_eq!(
        numbers(&topic.history().latest(3).await.unwrap()),
        [7, 8, 9]
    );
    assert_eq!(topic.history().latest(99).await.unwrap().events.len(), 10);
    let present = topic.history().latest(0).await.unwrap();
    assert!(present.events.is_empty());
    assert_eq!(present.position, last);
}

/// What was published since comes first, then what is live, without a hole or a repetition.
pub async fn a_subscription_begins_after_a_position(home: Home) {
    let topic = home.fleet().topic(&ROOM);
    let position = publish(&topic, 0..5).await;
    publish(&topic, 5..600).await;
    let other = home.instance("b").await.topic(&ROOM);
    let mut live = other.subscribe().after(position).await.unwrap();
    publish(&topic, 600..610).await;
    expect(&mut live, 5..610).await;
}

/// From the oldest that is kept.
pub async fn a_subscription_begins_at_the_beginning(home: Home) {
    let topic = home.fleet().topic(&ROOM);
    let mut early = topic.subscribe().from_beginning().await.unwrap();
    publish(&topic, 0..5).await;
    let mut late = topic.subscribe().from_beginning().await.unwrap();
    expect(&mut early, 0..5).await;
    expect(&mut late, 0..5).await;
}

/// Older than what is remembered of idle histories, and still kept.
pub async fn the_beginning_of_an_old_history_is_still_its_beginning(home: Home) {
    const LONG: TopicSpec<u64> =
        TopicSpec::new("long").keep(Duration::from_secs(30 * 24 * 3600), MANY, MEBIBYTE);
    let topic = home.fleet().topic(&LONG);
    publish(&topic, 0..2).await;
    home.elapse(Duration::from_secs(10 * 24 * 3600)).await;
    let mut all = topic.subscribe().from_beginning().await.unwrap();
    expect(&mut all, 0..2).await;
}

/// A reader that came before there was anything is told everything since.
pub async fn a_position_of_before_the_first_message_misses_nothing(home: Home) {
    let topic = home.fleet().topic(&ROOM);
    let mut before = topic.subscribe().await.unwrap();
    let origin = before.position().unwrap();
    assert!(origin.is_origin());
    publish(&topic, 0..3).await;
    expect(&mut before, 0..3).await;
    let mut resumed = topic.subscribe().after(origin).await.unwrap();
    expect(&mut resumed, 0..3).await;
}

/// Never more than the topic says, and the oldest go first.
pub async fn messages_beyond_the_count_are_dropped(home: Home) {
    const FEW: TopicSpec<u64> = TopicSpec::new("few").keep(HOUR, 3, MEBIBYTE);
    let topic = home.fleet().topic(&FEW);
    publish(&topic, 0..10).await;
    assert_eq!(numbers(&topic.history().await.unwrap()), [7, 8, 9]);
}

/// Bytes count with their envelopes.
pub async fn messages_beyond_the_bytes_are_dropped(home: Home) {
    const SMALL: TopicSpec<Bytes> =
        TopicSpec::with_codec("small", Codec::bytes()).keep(HOUR, MANY, 4096);
    let topic = home.fleet().topic(&SMALL);
    for _ in 0..10 {
        topic.publish(&Bytes::from(vec![0; 1000])).await.unwrap();
    }
    let history = topic.history().await.unwrap();
    assert_eq!(history.events.len(), 3);
    assert_eq!(history.position.offset(), 10);
}

/// By the home's clock, message by message.
pub async fn messages_end_with_their_time(home: Home) {
    let topic = home.fleet().topic(&ROOM);
    publish(&topic, 0..2).await;
    home.elapse(HOUR / 2).await;
    publish(&topic, 2..4).await;
    assert_eq!(topic.history().await.unwrap().events.len(), 4);
    home.elapse(HOUR / 2).await;
    assert_eq!(numbers(&topic.history().await.unwrap()), [2, 3]);
    publish(&topic, 4..5).await;
    home.elapse(HOUR / 2 + Duration::from_secs(1)).await;
    assert_eq!(numbers(&topic.history().await.unwrap()), [4]);
    home.elapse(HOUR).await;
    let history = topic.history().await.unwrap();
    assert!(history.events.is_empty() && history.complete);
    assert_eq!(history.position.offset(), 5);
}

/// A bound in bytes that nothing fits into still keeps one message.
pub async fn the_newest_message_is_kept_whatever_its_size(home: Home) {
    const TINY: TopicSpec<u64> = TopicSpec::new("tiny").keep(HOUR, MANY, 1);
    let topic = home.fleet().topic(&TINY);
    publish(&topic, 0..3).await;
    assert_eq!(numbers(&topic.history().await.unwrap()), [2]);
}

/// Positions stay good when all messages have ended: nothing was missed.
pub async fn an_idle_history_remembers_where_it_was(home: Home) {
    let topic = home.fleet().topic(&ROOM);
    let last = publish(&topic, 0..3).await;
    home.elapse(HOUR + Duration::from_secs(6 * 24 * 3600)).await;
    let mut resumed = topic.subscribe().after(last).await.unwrap();
    let next = topic.publish(&3).await.unwrap().position.unwrap();
    assert_eq!((next.epoch(), next.offset()), (last.epoch(), 4));
    expect(&mut resumed, 3..4).await;
}

/// The reply was lost, and the append is repeated: nothing is kept twice.
pub async fn a_repeated_append_is_recognised(home: Home) {
    let backstage = Backstage::enter(home.fleet()).await;
    let append = backstage.append(1, [9; 16]);
    let first = backstage.run(append.clone()).await.unwrap();
    backstage.keep_silently(2).await;
    let mut again = append;
    again.again = Some(Duration::from_secs(5));
    assert_eq!(backstage.run(again.clone()).await.unwrap(), first);
    // It was not, if it is not there.
    again.id = [8; 16];
    again.message = backstage.message(3, [8; 16]).into();
    backstage.run(again).await.unwrap();
    let history = backstage.topic().history().await.unwrap();
    assert_eq!(numbers(&history), [0, 1, 2, 3]);
}

/// Too much was dropped since to tell: that is said.
pub async fn a_forgotten_append_is_not_guessed(home: Home) {
    let backstage = Backstage::enter(home.fleet()).await;
    let mut append = backstage.append(1, [9; 16]);
    append.keep = Keep {
        messages: 1,
        ..append.keep
    };
    backstage.run(append.clone()).await.unwrap();
    let mut other = backstage.append(2, [8; 16]);
    other.keep = append.keep;
    backstage.run(other).await.unwrap();
    append.again = Some(Duration::from_secs(5));
    let error = backstage.run(append).await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unknown, "{error}");
    assert!(!error.is_retryable());
}

/// Each key of a topic has its own offsets and bounds.
pub async fn keys_have_histories_of_their_own(home: Home) {
    let [a, b] = ["a", r#"{"b":"}"}"#].map(|key| home.fleet().topic(&ROOM).key(key).unwrap());
    publish(&a, 0..2).await;
    publish(&b, 10..11).await;
    assert_eq!(numbers(&a.history().await.unwrap()), [0, 1]);
    assert_eq!(numbers(&b.history().await.unwrap()), [10]);
}

/// On one shard, whatever is in the key, and messages show their topic.
pub async fn a_sharded_topic_is_kept(home: Home) {
    const SHARDED: TopicSpec<u64> = TopicSpec::new("sharded")
        .keep(HOUR, MANY, MEBIBYTE)
        .sharded();
    for key in ["a", "{b}", r#"{"c":[{}]}"#, "}{%"] {
        let topic = home.fleet().topic(&SHARDED).key(key).unwrap();
        let mut live = topic.subscribe().await.unwrap();
        let position = publish(&topic, 0..1).await;
        publish(&topic, 1..2).await;
        match next(&mut live).await {
            Event::Message(message) => {
                assert_eq!(message.topic(), format!("sharded:{key}"));
                assert_eq!(message.key(), Some(key));
            }
            other => panic!("expected a message, got {other:?}"),
        }
        let mut resumed = topic.subscribe().after(position).await.unwrap();
        expect(&mut resumed, 1..2).await;
    }
}

/// Whoever publishes, all see one order, and no offset twice.
pub async fn publishers_share_one_order(home: Home) {
    let (a, b) = (home.instance("a").await, home.instance("b").await);
    let mut seen_by_a = a.topic(&ROOM).subscribe().await.unwrap();
    let mut seen_by_b = b.topic(&ROOM).subscribe().await.unwrap();
    let (topic_a, topic_b) = (a.topic(&ROOM), b.topic(&ROOM));
    tokio::join!(publish(&topic_a, 0..50), publish(&topic_b, 100..150));
    for offset in 1..=100 {
        let (Event::Message(one), Event::Message(two)) =
            (next(&mut seen_by_a).await, next(&mut seen_by_b).await)
        else {
            panic!("expected messages");
        };
        assert_eq!((one.position(), *one), (two.position(), *two));
        assert_eq!(one.position().unwrap().offset(), offset);
    }
}

/// A message of another type is reported at its place, and what follows it is read.
pub async fn what_cannot_be_read_stands_in_its_place(home: Home) {
    const WORDS: TopicSpec<String> = TopicSpec::new("room").keep(HOUR, MANY, MEBIBYTE);
    let topic = home.fleet().topic(&ROOM);
    publish(&topic, 0..1).await;
    let words = home.fleet().topic(&WORDS);
    words.publish(&"one".to_owned()).await.unwrap();
    publish(&topic, 2..3).await;
    let history = topic.history().await.unwrap();
    assert!(matches!(
        &history.events[..],
        [Event::Message(_), Event::Undecodable(_), Event::Message(_)]
    ));
    let mut all = topic.subscribe().from_beginning().await.unwrap();
    expect(&mut all, 0..1).await;
    assert!(matches!(next(&mut all).await, Event::Undecodable(_)));
    expect(&mut all, 2..3).await;
}

/// It has a place like any other message, and nobody who has read it asks for it again: at the end of a
/// page, in a page of nothing else, and live.
pub async fn what_cannot_be_read_is_passed_once(home: Home) {
    let backstage = Backstage::enter(home.fleet()).await;
    let topic = backstage.topic();
    let mut live = topic.subscribe().await.unwrap();
    // By turns one whose header is broken, and something else altogether of which nobody is told.
    for number in 2..6 {
        let mut append = backstage.append(number, [u8::try_from(number).unwrap(); 16]);
        let mut message = append.message.to_vec();
        if number % 2 == 0 {
            message[HEADER_AT] = 0xC1;
            append.channel.name = format!("{}:events:room", home.fleet().namespace()).into();
        } else {
            message[0] = b'?';
        }
        append.message = message.into();
        backstage.run(append).await.unwrap();
    }
    publish(topic, 6..7).await;
    let mut page = topic.history().limit(2).await.unwrap();
    let mut offsets = Vec::new();
    loop {
        offsets.extend(page.events.iter().map(|event| match event {
            Event::Message(message) => (message.position().unwrap().offset(), true),
            Event::Undecodable(it) => (it.position().unwrap().offset(), false),
            other => panic!("expected a message, got {other:?}"),
        }));
        assert_eq!(page.position.offset(), offsets.last().unwrap().0);
        if page.complete {
            break;
        }
        let next = topic.history().after(page.position).limit(2);
        page = next.await.unwrap();
    }
    let all = [1, 2, 3, 4, 5, 6].map(|offset| (offset, offset == 1 || offset == 6));
    assert_eq!(offsets, all);
    let mut all = topic.subscribe().from_beginning().await.unwrap();
    expect(&mut all, 0..1).await;
    for subscription in [&mut all, &mut live] {
        for offset in 2..6 {
            match next(subscription).await {
                Event::Undecodable(it) => assert_eq!(it.position().unwrap().offset(), offset),
                other => panic!("expected what cannot be read, got {other:?}"),
            }
        }
        expect(subscription, 6..7).await;
        assert_eq!(subscription.position().unwrap().offset(), 6);
    }
    expect_nothing(&mut live, topic).await;
}

/// What cannot be read may be the oldest there is.
pub async fn a_history_may_begin_with_what_cannot_be_read(home: Home) {
    const FEW: TopicSpec<u64> = TopicSpec::new("room").keep(HOUR, 2, MEBIBYTE);
    let backstage = Backstage::enter(home.fleet()).await;
    let mut foreign = backstage.append(2, [2; 16]);
    foreign.message = vec![b'?'; 40].into();
    backstage.run(foreign).await.unwrap();
    let topic = home.fleet().topic(&FEW);
    publish(&topic, 3..4).await;
    let mut all = topic.subscribe().from_beginning().await.unwrap();
    match next(&mut all).await {
        Event::Undecodable(it) => assert_eq!(it.position().unwrap().offset(), 2),
        other => panic!("expected what cannot be read, got {other:?}"),
    }
    expect(&mut all, 3..4).await;
}

/// Before anything is asked of the home.
pub async fn bad_positions_and_limits_are_refused(home: Home) {
    let topic = home.fleet().topic(&ROOM);
    for limit in [0, 1001] {
        let error = topic.history().limit(limit).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("limit"), "{error}");
    }
    for bytes in [0, MEBIBYTE + 1] {
        let error = topic.history().limit_bytes(bytes).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("limit_bytes"), "{error}");
    }
    let bounds = Keep {
        time: Duration::ZERO,
        messages: 1,
        bytes: 1,
    };
    let error = TopicSpec::<u64>::new("room").try_keep(bounds).unwrap_err();
    assert!(error.to_string().contains("keep.time"), "{error}");
    let error = "room-1".parse::<Position>().unwrap_err();
    assert!(error.to_string().contains("position"), "{error}");
}

/// A topic that is not kept, and a pattern, cannot be read from a position.
pub async fn what_is_not_kept_has_no_positions(home: Home) {
    const BRIEF: TopicSpec<u64> = TopicSpec::new("brief");
    let topic = home.fleet().topic(&BRIEF);
    let mut live = topic.subscribe().await.unwrap();
    assert_eq!(topic.publish(&1).await.unwrap().position, None);
    assert!(matches!(next(&mut live).await, Event::Message(it) if it.position().is_none()));
    assert_eq!(live.position(), None);
    let error = topic.subscribe().from_beginning().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    let kept = home.fleet().topic(&ROOM);
    let error = kept.keys("*").subscribe().from_beginning().await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Unsupported);
    assert!(topic.history().await.unwrap().events.is_empty());
}
