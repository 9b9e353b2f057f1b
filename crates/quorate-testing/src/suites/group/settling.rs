//! What becomes of what was handed out.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use quorate::history::{Settle, Settlement, TakeId};
use quorate::{ErrorKind, Fleet};

use super::sharing::{backend, take};
use super::{HOUR, SHORT, WORK, consumer, expect, expect_nothing, join, message, publish};
use crate::harness::{Home, within};

/// Not even after its lease would have ended.
pub async fn an_acknowledged_message_does_not_come_back(home: Home) {
    let topic = home.fleet().topic(&WORK);
    let mut work = consumer(home.fleet()).await;
    publish(&topic, 0..2).await;
    expect(&mut work, 0, 1).await;
    expect(&mut work, 1, 1).await;
    home.elapse(HOUR * 2).await;
    expect_nothing(&mut work, &topic).await;
}

/// To whoever asks, until it is acknowledged; each time counts.
pub async fn a_message_not_acknowledged_comes_back(home: Home) {
    let topic = home.fleet().topic(&WORK);
    let mut work = consumer(home.fleet()).await;
    publish(&topic, 0..1).await;
    for attempt in 1..=4 {
        let message = message(&mut work).await;
        assert_eq!((*message, message.attempt()), (0, attempt));
        home.elapse(HOUR * 2).await;
    }
    expect(&mut work, 0, 5).await;
    expect_nothing(&mut work, &topic).await;
}

/// It is told that another consumer has had the message.
pub async fn a_late_consumer_changes_nothing(home: Home) {
    let other = home.instance("b").await;
    let topic = home.fleet().topic(&WORK);
    let (mut slow, mut fast) = (consumer(home.fleet()).await, consumer(&other).await);
    publish(&topic, 0..1).await;
    let late = message(&mut slow).await;
    home.elapse(HOUR * 2).await;
    let message = message(&mut fast).await;
    assert_eq!((*message, message.attempt()), (0, 2));
    assert!(!slow.acknowledge(&late).await.unwrap());
    assert!(!slow.extend(&late, HOUR).await.unwrap());
    assert!(!slow.retry(&late, Duration::ZERO).await.unwrap());
    let group = topic.group("billing").unwrap();
    assert_eq!(group.status().await.unwrap().unwrap().pending, 1);
    assert!(fast.acknowledge(&message).await.unwrap());
    assert!(!slow.acknowledge(&late).await.unwrap());
    expect_nothing(&mut slow, &topic).await;
}

/// Its work is done, and nobody else has begun it.
pub async fn a_late_acknowledgement_counts_until_the_message_is_taken(home: Home) {
    let topic = home.fleet().topic(&WORK);
    let mut work = consumer(home.fleet()).await;
    publish(&topic, 0..1).await;
    let late = message(&mut work).await;
    home.elapse(HOUR * 2).await;
    assert!(work.acknowledge(&late).await.unwrap());
    expect_nothing(&mut work, &topic).await;
}

/// And not before; what gave it back has it no longer.
pub async fn a_message_given_back_comes_after_its_pause(home: Home) {
    let topic = home.fleet().topic(&WORK);
    let mut work = consumer(home.fleet()).await;
    publish(&topic, 0..1).await;
    let given = message(&mut work).await;
    assert!(work.retry(&given, HOUR * 3).await.unwrap());
    assert!(!work.acknowledge(&given).await.unwrap());
    assert!(!work.extend(&given, HOUR).await.unwrap());
    home.elapse(HOUR * 2).await;
    expect_nothing(&mut work, &topic).await;
    home.elapse(HOUR * 2).await;
    let again = message(&mut work).await;
    assert_eq!((*again, again.attempt()), (0, 2));
    assert!(work.retry(&again, Duration::ZERO).await.unwrap());
    expect(&mut work, 0, 3).await;
}

/// For as long as it was extended by, from then.
pub async fn an_extended_message_stays(home: Home) {
    let topic = home.fleet().topic(&WORK);
    let mut work = consumer(home.fleet()).await;
    publish(&topic, 0..1).await;
    let held = message(&mut work).await;
    assert!(work.extend(&held, HOUR * 10).await.unwrap());
    home.elapse(HOUR * 5).await;
    expect_nothing(&mut work, &topic).await;
    home.elapse(HOUR * 6).await;
    expect(&mut work, 0, 2).await;
}

async fn settle(fleet: &Fleet, offset: u64, take: TakeId, settle: Settle, again: bool) -> bool {
    let settlement = Settlement {
        offset,
        take,
        settle,
    };
    let (port, key, options) = backend(fleet);
    port.settle(&key, "billing", &[settlement], again, options)
        .await
        .unwrap()[0]
}

/// Nobody has seen it.
pub async fn what_is_returned_counts_no_attempt(home: Home) {
    let fleet = home.fleet();
    drop(consumer(fleet).await);
    publish(&fleet.topic(&WORK), 0..1).await;
    for _ in 0..3 {
        let id = TakeId::random();
        let taken = take(fleet, id, 1, false).await;
        assert_eq!(taken.deliveries[0].attempt, 1);
        assert!(settle(fleet, 1, id, Settle::Return, false).await);
    }
    let mut work = consumer(fleet).await;
    expect(&mut work, 0, 1).await;
}

/// Its reply was lost: it changes nothing more.
pub async fn a_repeated_settlement_answers_as_the_first(home: Home) {
    let fleet = home.fleet();
    drop(consumer(fleet).await);
    publish(&fleet.topic(&WORK), 0..2).await;
    let id = TakeId::random();
    assert_eq!(take(fleet, id, 2, false).await.deliveries.len(), 2);
    for verb in [
        Settle::Extend(HOUR),
        Settle::Retry(HOUR),
        Settle::Retry(HOUR),
    ] {
        assert!(settle(fleet, 1, id, verb, false).await);
        assert!(settle(fleet, 1, id, verb, true).await);
    }
    assert!(settle(fleet, 2, id, Settle::Acknowledge, false).await);
    assert!(settle(fleet, 2, id, Settle::Acknowledge, true).await);
    // One that was never handed out was acknowledged by nobody.
    assert!(!settle(fleet, 2, id, Settle::Acknowledge, false).await);
}

/// In few calls, each with its own answer.
pub async fn many_settle_at_once(home: Home) {
    const COUNT: usize = 300;
    let topic = home.fleet().topic(&WORK);
    let mut work = consumer(home.fleet()).await;
    publish(&topic, 0..COUNT as u64).await;
    let mut messages = Vec::new();
    while messages.len() < COUNT {
        messages.push(message(&mut work).await);
    }
    let (done, back) = messages.split_at(COUNT / 2);
    let done = done.iter().map(|message| work.acknowledge(message));
    let back = back.iter().map(|message| work.retry(message, HOUR));
    let settled = join_all(done.chain(back).collect::<Vec<_>>()).await;
    assert!(settled.into_iter().all(|settled| settled.unwrap()));
    let status = topic.group("billing").unwrap().status().await.unwrap();
    assert_eq!(status.unwrap().pending, COUNT as u64 / 2);
    expect_nothing(&mut work, &topic).await;
}

/// A consumer that is busy with one message does not sit on the rest of its batch.
pub async fn what_nobody_asks_for_goes_to_others(home: Home) {
    let other = home.instance("b").await;
    let topic = home.fleet().topic(&WORK);
    publish(&topic, 0..8).await;
    let mut busy = join(&topic, SHORT * 2).await;
    let first = message(&mut busy).await;
    assert!(busy.acknowledge(&first).await.unwrap());
    let mut work = consumer(&other).await;
    let mut numbers = Vec::new();
    while numbers.len() < 7 {
        let message = message(&mut work).await;
        numbers.push(*message);
        assert!(work.acknowledge(&message).await.unwrap());
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (1..8).collect::<Vec<_>>());
    drop(busy);
}

/// What was handed out and what was not.
pub async fn a_dropped_consumer_gives_back(home: Home) {
    let other = home.instance("b").await;
    let topic = home.fleet().topic(&WORK);
    let mut gone = consumer(home.fleet()).await;
    publish(&topic, 0..3).await;
    let _held = message(&mut gone).await;
    drop(gone);
    let mut work = consumer(&other).await;
    let mut numbers = Vec::new();
    while numbers.len() < 3 {
        let message = message(&mut work).await;
        numbers.push(*message);
        assert!(work.acknowledge(&message).await.unwrap());
    }
    numbers.sort_unstable();
    assert_eq!(numbers, [0, 1, 2]);
}

/// Before it returns; only what was handed out counts as an attempt.
pub async fn a_consumer_that_leaves_gives_back(home: Home) {
    let topic = home.fleet().topic(&WORK);
    let mut gone = consumer(home.fleet()).await;
    publish(&topic, 0..3).await;
    expect(&mut gone, 0, 1).await;
    let _held = message(&mut gone).await;
    within("the end", gone.leave()).await;
    let taken = take(home.fleet(), TakeId::random(), 9, false).await;
    let mut handed: Vec<_> = taken
        .deliveries
        .iter()
        .map(|it| (it.offset, it.attempt))
        .collect();
    handed.sort_unstable();
    assert_eq!(handed, [(2, 2), (3, 1)]);
}

/// Wherever it is dropped.
pub async fn a_dropped_next_of_a_consumer_loses_nothing(home: Home) {
    let topic = home.fleet().topic(&WORK);
    let mut work = consumer(home.fleet()).await;
    for number in 0..20 {
        assert!(work.next().now_or_never().is_none());
        topic.publish(&number).await.unwrap();
        if number % 2 == 0 {
            // While the take is under way, or just after it.
            tokio::task::yield_now().await;
        }
        let early = work.next().now_or_never();
        let message = match early {
            Some(event) => event.unwrap().message().unwrap(),
            None => message(&mut work).await,
        };
        assert_eq!((*message, message.attempt()), (number, 1));
        assert!(work.acknowledge(&message).await.unwrap());
    }
}

/// What was asked for before is settled, the rest given back, and later calls say why they fail.
pub async fn closing_gives_messages_back(home: Home) {
    let other = home.instance("b").await;
    let topic = home.fleet().topic(&WORK);
    let mut gone = consumer(&other).await;
    publish(&topic, 0..3).await;
    let (first, second) = (message(&mut gone).await, message(&mut gone).await);
    let settling = gone.acknowledge(&first);
    other.close().await;
    drop(settling);
    assert!(within("the end", gone.next()).await.is_none());
    let error = gone.acknowledge(&second).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    let taken = take(home.fleet(), TakeId::random(), 9, false).await;
    let mut offsets: Vec<_> = taken.deliveries.iter().map(|it| it.offset).collect();
    offsets.sort_unstable();
    assert_eq!(offsets, [2, 3]);
}
