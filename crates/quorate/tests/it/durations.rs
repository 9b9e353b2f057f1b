//! The longest time there is, wherever a time is taken: refused with the field and its rule, or as good
//! as no limit, and never a sum that overflows.

use std::time::Duration;

use quorate::{Error, ErrorKind, Event, Fleet, FleetBuilder, Keep, RetryPolicy, TopicSpec};
use quorate_testing::harness::{namespace, within};
use quorate_testing::servers::{ServerKind, shared};

const EVER: Duration = Duration::MAX;
const WORK: TopicSpec<u64> = TopicSpec::new("work").keep(Duration::from_secs(3600), 100, 1 << 20);

fn refused(error: &Error, field: &str) {
    let message = error.message().unwrap_or_default();
    assert!(message.starts_with(field), "{field}: {error}");
    assert!(message.contains("must be"), "{field}: {error}");
}

#[tokio::test]
async fn an_option_of_a_fleet_is_no_longer_than_its_rule() {
    type Set = fn(FleetBuilder, Duration) -> FleetBuilder;
    let options: [(&str, Set); 12] = [
        ("command_timeout", |fleet, time| fleet.command_timeout(time)),
        ("deadline", |fleet, time| fleet.deadline(time)),
        ("connect_timeout", |fleet, time| fleet.connect_timeout(time)),
        ("retry_delay", |fleet, time| fleet.retry_delay(time)),
        ("max_retry_delay", |fleet, time| fleet.max_retry_delay(time)),
        ("reconnect_delay", |fleet, time| fleet.reconnect_delay(time)),
        ("max_reconnect_delay", |fleet, time| {
            fleet.max_reconnect_delay(time)
        }),
        ("ping_interval", |fleet, time| fleet.ping_interval(time)),
        ("beacon_interval", |fleet, time| fleet.beacon_interval(time)),
        ("presence_lease", |fleet, time| fleet.presence_lease(time)),
        ("tell_caches_every", |fleet, time| {
            fleet.tell_caches_every(time)
        }),
        ("tell_limits_every", |fleet, time| {
            fleet.tell_limits_every(time)
        }),
    ];
    for (field, set) in options {
        let fleet = set(Fleet::builder().url("memory:"), EVER);
        let error = fleet.build().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{field}");
        refused(&error, field);
    }
    let keep = Keep {
        time: EVER,
        messages: 1,
        bytes: 1,
    };
    let error = TopicSpec::<u64>::new("room").try_keep(keep).unwrap_err();
    refused(&error, "keep.time");
}

#[tokio::test]
async fn a_lease_is_no_longer_than_its_rule() {
    let fleet = Fleet::embedded();
    let lock = fleet.lock("report");
    let error = lock.try_acquire().lease(EVER).await.unwrap_err();
    refused(&error, "lease");
    let guard = lock.try_acquire().await.unwrap().guard().unwrap();
    refused(&guard.extend(EVER).await.unwrap_err(), "lease");
    let topic = fleet.topic(&WORK);
    let group = topic.group("billing").unwrap();
    let error = group.clone().visibility(EVER).await.unwrap_err();
    refused(&error, "visibility");
    let mut work = group.await.unwrap();
    topic.publish(&1).await.unwrap();
    let message = within("a message", work.next_message()).await.unwrap();
    let error = work.extend(&message, EVER).await.unwrap_err();
    refused(&error, "visibility");
    refused(&work.retry(&message, EVER).await.unwrap_err(), "after");
    assert!(work.acknowledge(&message).await.unwrap());
}

/// Also where calls fail, and are tried again after a while.
async fn whoever_waits_for_ever(url: &str) {
    let builder = Fleet::builder().url(url).namespace(namespace());
    let fleet = builder.build().await.unwrap();
    fleet.ready().await.unwrap();
    assert!(fleet.health(EVER).await.healthy);
    let topic = fleet.topic(&WORK);
    let mut live = topic.subscribe().deadline(EVER).await.unwrap();
    topic.publish(&1).deadline(EVER).await.unwrap();
    let event = within("an event", live.next()).await;
    assert!(matches!(event, Some(Event::Message(_))));
    let history = topic.history().deadline(EVER).await.unwrap();
    assert_eq!(history.events.len(), 1);

    let lock = fleet.lock("report");
    let guard = lock.try_acquire().await.unwrap().guard().unwrap();
    let waits = lock.acquire().wait(EVER);
    let (released, acquired) = tokio::join!(guard.release(), async { waits.await });
    assert!(released.unwrap());
    assert!(acquired.unwrap().guard().is_some());
    within("the end", fleet.close_within(EVER)).await;
}

#[tokio::test]
async fn who_waits_for_ever_does_not_overflow() {
    whoever_waits_for_ever("memory:").await;
    whoever_waits_for_ever(shared(ServerKind::Redis).await.unwrap().url()).await;
}

#[test]
fn a_pause_that_is_none_is_the_longest_allowed() {
    let mut backoff = RetryPolicy::default().backoff;
    backoff.jitter = 0.0;
    backoff.initial = EVER;
    assert_eq!(backoff.delay(9), backoff.max);
    backoff.max = EVER;
    assert_eq!(backoff.delay(9), EVER);
    backoff.jitter = f64::NAN;
    backoff.max = Duration::from_secs(1);
    assert_eq!(backoff.delay(9), Duration::from_secs(1));
}
