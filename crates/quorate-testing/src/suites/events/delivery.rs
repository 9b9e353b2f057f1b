//! What is published arrives, as it was sent, in order.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use quorate::{Codec, TopicSpec};
use serde::{Deserialize, Serialize};

use super::{NUMBERS, TEXTS, message};
use crate::harness::Home;

/// Defect 1: nothing was ever delivered on a real server.
pub async fn defect_01_a_publish_reaches_a_subscriber_on_another_instance(home: Home) {
    let other = home.instance("b").await;
    let mut numbers = home.fleet().topic(&NUMBERS).subscribe().await.unwrap();
    other.topic(&NUMBERS).publish(&7).await.unwrap();
    assert_eq!(*message(&mut numbers).await, 7);
}

/// Defect 3: `"hello"` came back as a buffer, `"42"` as a number.
pub async fn defect_03_strings_and_bytes_arrive_as_they_were_sent(home: Home) {
    const BLOBS: TopicSpec<Bytes> = TopicSpec::with_codec("blobs", Codec::bytes());
    let fleet = home.fleet();
    let mut texts = fleet.topic(&TEXTS).subscribe().await.unwrap();
    for text in ["hello", "42", "", "{\"a\":1}", "größe"] {
        fleet.topic(&TEXTS).publish(&text.to_owned()).await.unwrap();
        assert_eq!(*message(&mut texts).await, text);
    }
    let mut blobs = fleet.topic(&BLOBS).subscribe().await.unwrap();
    let every_byte = Bytes::from_iter(0..=255_u8);
    fleet.topic(&BLOBS).publish(&every_byte).await.unwrap();
    assert_eq!(*message(&mut blobs).await, every_byte);
}

/// Defect 17: a subscriber made in another way than the first received nothing.
pub async fn defect_17_every_handle_receives(home: Home) {
    let fleet = home.fleet();
    let topic = fleet.topic(&NUMBERS);
    let mut by_clone = topic.clone().subscribe().await.unwrap();
    let mut by_fleet = fleet.clone().topic(&NUMBERS).subscribe().await.unwrap();
    let mut by_name = fleet
        .topic(&TopicSpec::<u64>::try_new("numbers").unwrap())
        .subscribe()
        .await
        .unwrap();
    topic.publish(&1).await.unwrap();
    for subscription in [&mut by_clone, &mut by_fleet, &mut by_name] {
        assert_eq!(*message(subscription).await, 1);
    }
}

/// All local subscriptions of an instance receive a message.
pub async fn every_listener_receives(home: Home) {
    let topic = home.fleet().topic(&NUMBERS);
    let mut listeners = Vec::new();
    for _ in 0..10 {
        listeners.push(topic.subscribe().await.unwrap());
    }
    topic.publish(&3).await.unwrap();
    for listener in &mut listeners {
        assert_eq!(*message(listener).await, 3);
    }
}

/// Self-delivery is on; `exclude_self` opts out, for this instance alone and without a gap.
pub async fn its_own_messages_are_received_unless_excluded(home: Home) {
    let other = home.instance("b").await;
    let (mine, theirs) = (home.fleet().topic(&NUMBERS), other.topic(&NUMBERS));
    let (mut here, mut there) = (
        mine.subscribe().await.unwrap(),
        theirs.subscribe().await.unwrap(),
    );
    mine.publish(&1).await.unwrap();
    mine.publish(&2).exclude_self().await.unwrap();
    mine.publish(&3).await.unwrap();
    for expected in [1, 3] {
        assert_eq!(*message(&mut here).await, expected);
    }
    for expected in [1, 2, 3] {
        assert_eq!(*message(&mut there).await, expected);
    }
}

/// Id, topic, type, key, source, timestamp and correlation id arrive; defaults are the documented ones.
pub async fn a_message_carries_what_its_publisher_said(home: Home) {
    let topic = home.fleet().topic(&NUMBERS).key("room 1").unwrap();
    let mut numbers = topic.subscribe().await.unwrap();
    topic.publish(&1).await.unwrap();
    topic
        .publish(&2)
        .event_type("added")
        .source("import")
        .correlation_id("request-7")
        .content_type("text/csv")
        .await
        .unwrap();

    let plain = message(&mut numbers).await;
    assert_eq!(plain.topic(), "numbers:room 1");
    assert_eq!(plain.key(), Some("room 1"));
    assert_eq!(plain.event_type(), Some("numbers"));
    assert_eq!(plain.source(), Some("a"));
    assert_eq!(plain.correlation_id(), None);
    assert_eq!(plain.content_type(), Some("application/json"));
    assert_eq!(&plain.bytes()[..], b"1");
    let age = plain.timestamp().unwrap().elapsed().unwrap_or_default();
    assert!(age.as_secs() < 3600, "{age:?}");

    let full = message(&mut numbers).await;
    assert_eq!(full.event_type(), Some("added"));
    assert_eq!(full.source(), Some("import"));
    assert_eq!(full.correlation_id(), Some("request-7"));
    assert_eq!(full.content_type(), Some("text/csv"));
    assert_ne!(full.id().unwrap(), plain.id().unwrap());
}

/// One publisher's messages arrive in the order they were published.
pub async fn messages_of_one_publisher_keep_their_order(home: Home) {
    let other = home.instance("b").await;
    let mut numbers = home
        .fleet()
        .topic(&NUMBERS)
        .subscribe()
        .buffer(2000)
        .await
        .unwrap();
    let topic = other.topic(&NUMBERS);
    for number in 0..1000 {
        topic.publish(&number).await.unwrap();
    }
    for expected in 0..1000 {
        assert_eq!(*message(&mut numbers).await, expected);
    }
}

/// Publishers at work at once: no gap, and each one's order is kept.
pub async fn concurrent_publishers_each_keep_their_order(home: Home) {
    let (b, c) = (home.instance("b").await, home.instance("c").await);
    let mut numbers = home
        .fleet()
        .topic(&NUMBERS)
        .subscribe()
        .buffer(4000)
        .await
        .unwrap();
    let publish = |fleet: &quorate::Fleet, base: u64| {
        let topic = fleet.topic(&NUMBERS);
        async move {
            for number in base..base + 200 {
                topic.publish(&number).await.unwrap();
            }
        }
    };
    tokio::join!(
        publish(&b, 0),
        publish(&b, 1000),
        publish(&c, 2000),
        publish(&c, 3000),
        publish(home.fleet(), 4000),
    );
    let mut next: [u64; 5] = std::array::from_fn(|publisher| publisher as u64 * 1000);
    for _ in 0..1000 {
        let number = *message(&mut numbers).await;
        let expected = &mut next[usize::try_from(number / 1000).unwrap()];
        assert_eq!(number, *expected);
        *expected += 1;
    }
}

/// JSON, MessagePack, text and bytes.
pub async fn every_codec_round_trips(home: Home) {
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Order {
        id: u64,
        items: Vec<String>,
        note: Option<String>,
    }
    const JSON: TopicSpec<Order> = TopicSpec::new("json");
    const PACKED: TopicSpec<Order> = TopicSpec::new("packed").codec(Codec::message_pack());
    let order = Order {
        id: u64::MAX,
        items: vec!["a".into(), String::new()],
        note: None,
    };
    for spec in [&JSON, &PACKED] {
        let topic = home.fleet().topic(spec);
        let mut orders = topic.subscribe().await.unwrap();
        topic.publish(&order).await.unwrap();
        assert_eq!(*message(&mut orders).await, order);
    }
}

static DECODED: AtomicUsize = AtomicUsize::new(0);

/// However many subscriptions share a message, it is decoded once; if none looks at it, never.
pub async fn a_value_is_decoded_once_per_process(home: Home) {
    const COUNTED: TopicSpec<u64> = TopicSpec::with_codec(
        "counted",
        Codec::custom(
            "counting",
            "text/plain",
            |number| Ok(number.to_string().into()),
            |bytes| {
                DECODED.fetch_add(1, Ordering::SeqCst);
                Ok(std::str::from_utf8(bytes)?.parse()?)
            },
        ),
    );
    // Another home of this process may run the same clause: count from where it stands.
    let before = DECODED.load(Ordering::SeqCst);
    let topic = home.fleet().topic(&COUNTED);
    let mut subscriptions = Vec::new();
    for _ in 0..5 {
        subscriptions.push(topic.subscribe().await.unwrap());
    }
    topic.publish(&9).await.unwrap();
    for subscription in &mut subscriptions {
        assert_eq!(*message(subscription).await, 9);
    }
    assert_eq!(DECODED.load(Ordering::SeqCst) - before, 1);
}

/// A raw channel carries bytes without an envelope, and knows nothing about them.
pub async fn raw_channels_carry_bytes_as_they_are(home: Home) {
    let channel = home.fleet().channel("legacy feed").unwrap();
    assert!(
        channel.name().ends_with(":legacy feed"),
        "{}",
        channel.name()
    );
    let mut messages = channel.subscribe().await.unwrap();
    channel.publish(&b"\x00\xffplain"[..]).await.unwrap();
    let received = message(&mut messages).await;
    assert_eq!(&received[..], b"\x00\xffplain");
    assert_eq!(received.topic(), "legacy feed");
    assert_eq!(received.id(), None);
    assert_eq!(received.timestamp(), None);
}

/// A sharded topic behaves as any other for those who name it.
pub async fn a_sharded_topic_delivers(home: Home) {
    const SHARDED: TopicSpec<u64> = TopicSpec::new("sharded").sharded();
    let other = home.instance("b").await;
    let mut numbers = home
        .fleet()
        .topic(&SHARDED)
        .key("{x}")
        .unwrap()
        .subscribe()
        .await
        .unwrap();
    other
        .topic(&SHARDED)
        .key("{x}")
        .unwrap()
        .publish(&5)
        .await
        .unwrap();
    assert_eq!(*message(&mut numbers).await, 5);
}

/// A payload of the largest size passes; one more byte is refused.
pub async fn large_payloads_pass_up_to_the_limit(home: Home) {
    let topic = home.fleet().topic(&TEXTS);
    let mut texts = topic.subscribe().await.unwrap();
    let largest = "x".repeat(1024 * 1024);
    topic.publish(&largest).await.unwrap();
    assert_eq!(message(&mut texts).await.len(), largest.len());
    let error = topic.publish(&format!("{largest}x")).await.unwrap_err();
    assert_eq!(error.kind(), quorate::ErrorKind::InvalidInput);
    assert!(
        error
            .to_string()
            .contains("payload must be at most 1048576 bytes"),
        "{error}"
    );
}

/// The receipt counts subscribed instances, where the home can count them.
pub async fn receivers_are_counted_where_the_home_knows(home: Home) {
    let other = home.instance("b").await;
    let topic = home.fleet().topic(&NUMBERS);
    let before = topic.publish(&1).await.unwrap().receivers;
    let _here = topic.subscribe().await.unwrap();
    let _here_too = topic.subscribe().await.unwrap();
    let _there = other.topic(&NUMBERS).subscribe().await.unwrap();
    let after = topic.publish(&2).await.unwrap().receivers;
    match (before, after) {
        // A cluster's node knows only its own subscribers, and does not pretend otherwise.
        (None, None) => {}
        counted => assert_eq!(counted, (Some(0), Some(2))),
    }
}
