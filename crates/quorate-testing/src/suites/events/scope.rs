//! What is published reaches those it is meant for, and nobody else.

use quorate::{ErrorKind, TopicSpec};

use super::{NUMBERS, message};
use crate::harness::Home;

/// A subscriber of one topic does not receive another's messages.
pub async fn another_topic_is_not_received(home: Home) {
    const OTHER: TopicSpec<u64> = TopicSpec::new("other");
    let fleet = home.fleet();
    let mut numbers = fleet.topic(&NUMBERS).subscribe().await.unwrap();
    fleet.topic(&OTHER).publish(&1).await.unwrap();
    fleet.topic(&NUMBERS).publish(&2).await.unwrap();
    assert_eq!(*message(&mut numbers).await, 2);
}

/// A publish to (topic, 1) reaches (topic, 1), and neither (topic, 2), (topic, ""), nor the topic.
pub async fn a_key_reaches_only_its_key(home: Home) {
    let topic = home.fleet().topic(&NUMBERS);
    let keyed = |key: &str| topic.key(key).unwrap();
    let mut one = keyed("1").subscribe().await.unwrap();
    let mut two = keyed("2").subscribe().await.unwrap();
    let mut empty = keyed("").subscribe().await.unwrap();
    let mut bare = topic.subscribe().await.unwrap();
    keyed("1").publish(&1).await.unwrap();
    keyed("2").publish(&2).await.unwrap();
    keyed("").publish(&3).await.unwrap();
    topic.publish(&4).await.unwrap();
    assert_eq!(*message(&mut one).await, 1);
    assert_eq!(*message(&mut two).await, 2);
    assert_eq!(*message(&mut empty).await, 3);
    assert_eq!(*message(&mut bare).await, 4);
    for subscription in [&one, &two, &empty, &bare] {
        assert_eq!(subscription.backlog(), 0);
    }
}

/// Defect 11: keys that differed only deep inside were taken for one.
pub async fn defect_11_nested_keys_do_not_collide(home: Home) {
    let topic = home.fleet().topic(&NUMBERS);
    let first = topic.key(r#"{"job":{"id":1}}"#).unwrap();
    let second = topic.key(r#"{"job":{"id":2}}"#).unwrap();
    let mut numbers = first.subscribe().await.unwrap();
    second.publish(&2).await.unwrap();
    first.publish(&1).await.unwrap();
    assert_eq!(*message(&mut numbers).await, 1);
}

/// Under a pattern a message shows the topic it was published to.
pub async fn a_pattern_shows_the_concrete_topic(home: Home) {
    const EU: TopicSpec<u64> = TopicSpec::new("orders/eu");
    const US: TopicSpec<u64> = TopicSpec::new("orders/us");
    let fleet = home.fleet();
    let mut all = fleet
        .topic(&EU)
        .matching("orders/*")
        .subscribe()
        .await
        .unwrap();
    let mut keys = fleet
        .topic(&NUMBERS)
        .keys("room-[0-9]")
        .subscribe()
        .await
        .unwrap();
    fleet.topic(&EU).publish(&1).await.unwrap();
    fleet
        .topic(&US)
        .key("7")
        .unwrap()
        .publish(&2)
        .await
        .unwrap();
    fleet
        .topic(&NUMBERS)
        .key("room-x")
        .unwrap()
        .publish(&3)
        .await
        .unwrap();
    fleet
        .topic(&NUMBERS)
        .key("room-4")
        .unwrap()
        .publish(&4)
        .await
        .unwrap();
    let (first, second) = (message(&mut all).await, message(&mut all).await);
    assert_eq!((first.topic(), *first), ("orders/eu", 1));
    assert_eq!(
        (second.topic(), second.key(), *second),
        ("orders/us:7", Some("7"), 2)
    );
    let keyed = message(&mut keys).await;
    assert_eq!((keyed.topic(), *keyed), ("numbers:room-4", 4));
}

/// What stands before a glob is escaped: nothing in it is a wildcard.
pub async fn a_pattern_takes_its_topic_literally(home: Home) {
    const DOTTED: TopicSpec<u64> = TopicSpec::new("a.b-c");
    const LOOKALIKE: TopicSpec<u64> = TopicSpec::new("aXb-c");
    let fleet = home.fleet();
    let mut keys = fleet.topic(&DOTTED).keys("?").subscribe().await.unwrap();
    fleet
        .topic(&LOOKALIKE)
        .key("1")
        .unwrap()
        .publish(&1)
        .await
        .unwrap();
    fleet
        .topic(&DOTTED)
        .key("12")
        .unwrap()
        .publish(&2)
        .await
        .unwrap();
    fleet
        .topic(&DOTTED)
        .key("1")
        .unwrap()
        .publish(&3)
        .await
        .unwrap();
    assert_eq!(*message(&mut keys).await, 3);
}

/// A pattern does not see sharded topics, on any home, and asking for one is refused.
pub async fn patterns_do_not_see_sharded_topics(home: Home) {
    const SHARDED: TopicSpec<u64> = TopicSpec::new("spread").sharded();
    const CLASSIC: TopicSpec<u64> = TopicSpec::new("spread-not");
    let fleet = home.fleet();
    let mut all = fleet
        .topic(&CLASSIC)
        .matching("spread*")
        .subscribe()
        .await
        .unwrap();
    fleet.topic(&SHARDED).publish(&1).await.unwrap();
    fleet.topic(&CLASSIC).publish(&2).await.unwrap();
    assert_eq!(*message(&mut all).await, 2);
    let error = fleet
        .topic(&SHARDED)
        .keys("*")
        .subscribe()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

/// A namespace applies to topics, raw channels and patterns; namespaces share the connections.
pub async fn namespaces_are_apart(home: Home) {
    let fleet = home.fleet();
    let (red, blue) = (
        fleet.namespaced("red").unwrap(),
        fleet.namespaced("blue").unwrap(),
    );
    let mut numbers = red.topic(&NUMBERS).subscribe().await.unwrap();
    let mut pattern = red.topic(&NUMBERS).matching("*").subscribe().await.unwrap();
    let mut raw = red.channel("feed").unwrap().subscribe().await.unwrap();
    for (fleet, number) in [(fleet, 1), (&blue, 2), (&red, 3)] {
        fleet.topic(&NUMBERS).publish(&number).await.unwrap();
        fleet
            .channel("feed")
            .unwrap()
            .publish(number.to_string())
            .await
            .unwrap();
    }
    assert_eq!(*message(&mut numbers).await, 3);
    let matched = message(&mut pattern).await;
    assert_eq!((*matched, matched.topic()), (3, "numbers"));
    assert_eq!(&message(&mut raw).await[..], b"3");
}

/// A glob over raw channels sees those of its own namespace.
pub async fn raw_patterns_stay_in_their_namespace(home: Home) {
    let fleet = home.fleet();
    let inner = fleet.namespaced("inner").unwrap();
    let mut feeds = inner.channels("feed-*").await.unwrap();
    fleet
        .channel("feed-1")
        .unwrap()
        .publish("outside")
        .await
        .unwrap();
    inner
        .channel("other")
        .unwrap()
        .publish("unmatched")
        .await
        .unwrap();
    inner
        .channel("feed-2")
        .unwrap()
        .publish("matched")
        .await
        .unwrap();
    let received = message(&mut feeds).await;
    assert_eq!(
        (&received[..], received.topic()),
        (&b"matched"[..], "feed-2")
    );
}
