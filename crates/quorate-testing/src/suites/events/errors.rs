//! What cannot be sent is refused before anything happens; what cannot be read is reported.

use std::sync::{Arc, Mutex};

use quorate::events::UndecodableError;
use quorate::{ErrorKind, Outcome, TopicSpec};

use super::{NUMBERS, TEXTS, message, undecodable};
use crate::harness::{Home, eventually};

const SMALL: TopicSpec<u64> = TopicSpec::new("small").validate(small);
/// The same topic, published by a program that does not check.
const UNCHECKED: TopicSpec<u64> = TopicSpec::new("small");

fn small(number: &u64) -> Result<(), String> {
    if *number < 10 {
        Ok(())
    } else {
        Err("must be below 10".into())
    }
}

/// Defect 5: a closed instance was still retried, and its subscriptions hung.
pub async fn defect_05_a_closed_instance_refuses_and_does_not_retry(home: Home) {
    let instance = home.instance("b").await;
    let topic = instance.topic(&NUMBERS);
    instance.close().await;
    instance.close().await;
    for error in [
        topic.publish(&1).await.unwrap_err(),
        topic.subscribe().await.unwrap_err(),
        instance
            .channel("c")
            .unwrap()
            .publish("x")
            .await
            .unwrap_err(),
        instance.lock("l").try_acquire().await.unwrap_err(),
        instance.ready().await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
        assert_eq!(error.outcome(), Outcome::NotApplied);
        assert!(!error.is_retryable());
    }
}

/// What does not decode is reported with its topic and bytes, and the next message arrives.
pub async fn an_undecodable_message_is_reported_and_not_fatal(home: Home) {
    let mut numbers = home.fleet().topic(&NUMBERS).subscribe().await.unwrap();
    let same_name = TopicSpec::try_with_codec("numbers", quorate::Codec::text()).unwrap();
    home.fleet()
        .topic(&same_name)
        .publish(&"not a number".to_owned())
        .await
        .unwrap();
    home.fleet().topic(&NUMBERS).publish(&2).await.unwrap();
    let reported = undecodable(&mut numbers).await;
    assert_eq!(reported.topic(), "numbers");
    assert_eq!(&reported.bytes()[..], b"not a number");
    assert!(matches!(
        reported.error(),
        UndecodableError::Codec { codec: "json", .. }
    ));
    assert_eq!(*message(&mut numbers).await, 2);
}

/// A message without an envelope, from another program, is reported by a topic.
pub async fn a_foreign_message_is_reported(home: Home) {
    let mut numbers = home.fleet().topic(&NUMBERS).subscribe().await.unwrap();
    let raw = home.fleet().channel("events:numbers").unwrap();
    for foreign in ["7", "", "{\"type\":\"x\"}"] {
        raw.publish(foreign).await.unwrap();
        let reported = undecodable(&mut numbers).await;
        assert!(matches!(reported.error(), UndecodableError::Envelope(_)));
        assert_eq!(&reported.bytes()[..], foreign.as_bytes());
    }
}

/// An envelope of a later, incompatible layout is reported as such.
pub async fn a_newer_envelope_is_reported(home: Home) {
    let mut numbers = home.fleet().topic(&NUMBERS).subscribe().await.unwrap();
    let raw = home.fleet().channel("events:numbers").unwrap();
    raw.publish(vec![0xC1, 200, 0, 0, 0]).await.unwrap();
    let reported = undecodable(&mut numbers).await;
    assert!(
        reported.error().to_string().contains("version 200"),
        "{}",
        reported.error()
    );
}

/// A value that `validate` refuses is reported by who receives it.
pub async fn a_refused_arrival_is_reported(home: Home) {
    let mut numbers = home.fleet().topic(&SMALL).subscribe().await.unwrap();
    home.fleet().topic(&UNCHECKED).publish(&50).await.unwrap();
    home.fleet().topic(&UNCHECKED).publish(&5).await.unwrap();
    let reported = undecodable(&mut numbers).await;
    assert!(
        matches!(reported.error(), UndecodableError::Invalid(rule) if rule == "must be below 10")
    );
    assert_eq!(*message(&mut numbers).await, 5);
}

/// A value that `validate` refuses is not published.
pub async fn a_refused_publish_publishes_nothing(home: Home) {
    let mut numbers = home.fleet().topic(&UNCHECKED).subscribe().await.unwrap();
    let error = home.fleet().topic(&SMALL).publish(&50).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.outcome()),
        (ErrorKind::InvalidInput, Outcome::NotApplied)
    );
    assert!(
        error.to_string().contains("payload must be below 10"),
        "{error}"
    );
    home.fleet().topic(&SMALL).publish(&5).await.unwrap();
    assert_eq!(*message(&mut numbers).await, 5);
}

/// Every argument that breaks a rule is refused by name, before anything is touched.
pub async fn bad_input_is_refused_with_the_rule(home: Home) {
    let fleet = home.fleet();
    let topic = fleet.topic(&NUMBERS);
    let long = "x".repeat(600);
    let refused = [
        (topic.key(&long).err(), "key"),
        (topic.key("a\nb").err(), "key"),
        (fleet.channel("").err(), "channel"),
        (fleet.channel("__x").err(), "channel"),
        (fleet.channel(&long).err(), "channel"),
        (
            topic.publish(&1).event_type("__x").await.err(),
            "event_type",
        ),
        (topic.publish(&1).event_type("").await.err(), "event_type"),
        (topic.publish(&1).source(&long).await.err(), "source"),
        (
            topic.publish(&1).correlation_id("\0").await.err(),
            "correlation_id",
        ),
        (topic.subscribe().buffer(0).await.err(), "buffer"),
        (
            topic.subscribe().buffer_bytes(0).await.err(),
            "buffer_bytes",
        ),
        (topic.matching("").subscribe().await.err(), "pattern"),
        (topic.keys(&long).subscribe().await.err(), "pattern"),
        (fleet.channels("\n").await.err(), "pattern"),
    ];
    for (number, (error, field)) in refused.into_iter().enumerate() {
        let error = error.unwrap_or_else(|| panic!("case {number} ({field}) was accepted"));
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert!(error.to_string().contains(&format!("{field} ")), "{error}");
    }
}

/// A fire-and-forget publish that fails is reported to `on_error`.
pub async fn an_unpublishable_detached_message_is_reported(home: Home) {
    // The hook belongs to the builder, so this clause makes an instance that is told of its errors by
    // closing it: the report is the log otherwise. What can be seen on every home is the effect.
    let seen = Arc::new(Mutex::new(Vec::new()));
    let fleet = home.fleet();
    let mut texts = fleet.topic(&TEXTS).subscribe().await.unwrap();
    let log = seen.clone();
    let reporting = quorate::Fleet::builder()
        .url("memory:")
        .on_error(move |source, error| log.lock().unwrap().push((source, error.kind())))
        .build()
        .await
        .unwrap();
    reporting
        .topic(&TEXTS)
        .publish(&"x".repeat(2 << 20))
        .detach();
    reporting.close().await;
    reporting.topic(&TEXTS).publish(&"x".to_owned()).detach();
    eventually("two reports", async || seen.lock().unwrap().len() == 2).await;
    let kinds: Vec<_> = seen.lock().unwrap().iter().map(|(_, kind)| *kind).collect();
    assert_eq!(kinds, [ErrorKind::InvalidInput, ErrorKind::Closed]);
    fleet.topic(&TEXTS).publish(&"sent".to_owned()).detach();
    assert_eq!(*message(&mut texts).await, "sent");
}
