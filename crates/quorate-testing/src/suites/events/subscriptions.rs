//! Subscriptions come and go; listeners fail and go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::FutureExt;
use quorate::Subscription;

use super::{NUMBERS, TEXTS, message};
use crate::harness::{Home, eventually, within};

/// Defect 4: after unsubscribing, subscribing again was never sent to the server.
pub async fn defect_04_resubscribe_after_unsubscribe_delivers(home: Home) {
    let other = home.instance("b").await;
    let topic = home.fleet().topic(&NUMBERS);
    for round in 0..5 {
        let mut numbers = topic.subscribe().await.unwrap();
        other.topic(&NUMBERS).publish(&round).await.unwrap();
        assert_eq!(*message(&mut numbers).await, round);
        numbers.unsubscribe().await.unwrap();
    }
    // Without waiting for the unsubscribe, too.
    for round in 0..5 {
        let mut numbers = topic.subscribe().await.unwrap();
        other.topic(&NUMBERS).publish(&round).await.unwrap();
        assert_eq!(*message(&mut numbers).await, round);
        drop(numbers);
    }
}

/// One subscription at the transport, however many listeners an instance has.
pub async fn one_transport_subscription_serves_every_listener(home: Home) {
    let other = home.instance("b").await;
    let topic = home.fleet().topic(&NUMBERS);
    let _first = topic.subscribe().await.unwrap();
    let _second = topic.subscribe().await.unwrap();
    let subscriptions = home.fleet().subscriptions();
    assert_eq!(subscriptions.len(), 1);
    assert_eq!(subscriptions[0].1, 2);
    let receivers = other.topic(&NUMBERS).publish(&1).await.unwrap().receivers;
    assert!(matches!(receivers, None | Some(1)), "{receivers:?}");
}

/// When the last listener leaves, the transport is no longer asked for the topic.
pub async fn the_last_one_out_unsubscribes(home: Home) {
    let other = home.instance("b").await;
    let topic = home.fleet().topic(&NUMBERS);
    let first = topic.subscribe().await.unwrap();
    let second = topic.subscribe().await.unwrap();
    first.unsubscribe().await.unwrap();
    assert_eq!(home.fleet().subscriptions().len(), 1);
    second.unsubscribe().await.unwrap();
    assert_eq!(home.fleet().subscriptions().len(), 0);
    let receivers = other.topic(&NUMBERS).publish(&1).await.unwrap().receivers;
    assert!(matches!(receivers, None | Some(0)), "{receivers:?}");
}

/// A subscribe whose future is dropped at any point leaves nothing subscribed.
pub async fn a_dropped_subscribe_leaves_nothing_behind(home: Home) {
    let topic = home.fleet().topic(&NUMBERS);
    for polls in 0..4 {
        let mut subscribe = Box::pin(async { topic.subscribe().await });
        for _ in 0..polls {
            if (&mut subscribe).now_or_never().is_some() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(subscribe);
        eventually("no subscription", async || {
            home.fleet().subscriptions().is_empty()
        })
        .await;
    }
    let mut numbers = topic.subscribe().await.unwrap();
    topic.publish(&1).await.unwrap();
    assert_eq!(*message(&mut numbers).await, 1);
}

/// Many tasks that subscribe and leave at once end with a subscription that works.
pub async fn churn_leaves_a_working_subscription(home: Home) {
    let topic = home.fleet().topic(&NUMBERS);
    let churn = |rounds: u64| {
        let topic = topic.clone();
        async move {
            for round in 0..rounds {
                let numbers = topic.subscribe().await.unwrap();
                if round % 2 == 0 {
                    drop(numbers)
                } else {
                    numbers.unsubscribe().await.unwrap()
                }
            }
        }
    };
    tokio::join!(churn(20), churn(21), churn(22), churn(23));
    let mut numbers = topic.subscribe().await.unwrap();
    topic.publish(&1).await.unwrap();
    assert_eq!(*message(&mut numbers).await, 1);
    drop(numbers);
    eventually("no subscription", async || {
        home.fleet().subscriptions().is_empty()
    })
    .await;
}

/// A `next` that is dropped before it is ready takes no message with it.
pub async fn a_dropped_next_loses_nothing(home: Home) {
    let topic = home.fleet().topic(&NUMBERS);
    let mut numbers = topic.subscribe().await.unwrap();
    for expected in 0..50 {
        let early = numbers.next().now_or_never();
        assert!(early.is_none(), "{early:?}");
        topic.publish(&expected).await.unwrap();
        assert_eq!(*message(&mut numbers).await, expected);
    }
}

/// `unsubscribe_all` ends the streams after what they have buffered; subscribing again works.
pub async fn unsubscribe_all_ends_every_stream(home: Home) {
    let fleet = home.fleet();
    let mut numbers = fleet.topic(&NUMBERS).subscribe().await.unwrap();
    let mut texts = fleet.topic(&TEXTS).subscribe().await.unwrap();
    fleet.topic(&NUMBERS).publish(&1).await.unwrap();
    eventually("the message", async || numbers.backlog() == 1).await;
    fleet.unsubscribe_all();
    assert_eq!(*message(&mut numbers).await, 1);
    assert!(within("the end", numbers.next()).await.is_none());
    assert!(within("the end", texts.next()).await.is_none());
    drop((numbers, texts));
    let mut again = fleet.topic(&NUMBERS).subscribe().await.unwrap();
    fleet.topic(&NUMBERS).publish(&2).await.unwrap();
    assert_eq!(*message(&mut again).await, 2);
}

/// Closing an instance ends its streams and leaves others alone.
pub async fn closing_ends_every_stream(home: Home) {
    let other = home.instance("b").await;
    let mut here = home.fleet().topic(&NUMBERS).subscribe().await.unwrap();
    let mut there: Subscription<u64> = other.topic(&NUMBERS).subscribe().await.unwrap();
    other.close().await;
    assert!(within("the end", there.next()).await.is_none());
    assert_eq!(other.state(), quorate::ConnectionState::Closed);
    home.fleet().topic(&NUMBERS).publish(&1).await.unwrap();
    assert_eq!(*message(&mut here).await, 1);
}

/// A listener that returns an error is called with the next message.
pub async fn a_failing_listener_is_called_again(home: Home) {
    let seen = Arc::new(AtomicU64::new(0));
    let topic = home.fleet().topic(&NUMBERS);
    let count = seen.clone();
    let _listener = topic
        .on(move |number| {
            let count = count.clone();
            async move {
                count.fetch_add(*number, Ordering::SeqCst);
                if *number == 1 {
                    Err("does not like 1")
                } else {
                    Ok(())
                }
            }
        })
        .await
        .unwrap();
    let mut bystander = topic.subscribe().await.unwrap();
    for number in [1, 10, 100] {
        topic.publish(&number).await.unwrap();
        assert_eq!(*message(&mut bystander).await, number);
    }
    eventually("all three", async || seen.load(Ordering::SeqCst) == 111).await;
}

/// A listener that panics, in its call or in its future, is called with the next message.
pub async fn a_panicking_listener_is_called_again(home: Home) {
    let seen = Arc::new(AtomicU64::new(0));
    let topic = home.fleet().topic(&NUMBERS);
    let count = seen.clone();
    let _listener = topic
        .on(move |number| {
            assert!(*number != 1, "panics in the call");
            let count = count.clone();
            async move {
                assert!(*number != 10, "panics in the future");
                count.fetch_add(*number, Ordering::SeqCst);
            }
        })
        .await
        .unwrap();
    for number in [1, 10, 100] {
        topic.publish(&number).await.unwrap();
    }
    eventually("the third", async || seen.load(Ordering::SeqCst) == 100).await;
}

/// A stopped listener has given its subscription up when `stop` returns.
pub async fn a_stopped_listener_is_not_called(home: Home) {
    let seen = Arc::new(AtomicU64::new(0));
    let topic = home.fleet().topic(&NUMBERS);
    let count = seen.clone();
    let listener = topic
        .on(move |number| {
            count.fetch_add(*number, Ordering::SeqCst);
            async {}
        })
        .await
        .unwrap();
    topic.publish(&1).await.unwrap();
    eventually("the first", async || seen.load(Ordering::SeqCst) == 1).await;
    listener.stop().await;
    let mut after = topic.subscribe().await.unwrap();
    topic.publish(&10).await.unwrap();
    assert_eq!(*message(&mut after).await, 10);
    assert_eq!(seen.load(Ordering::SeqCst), 1);
}
