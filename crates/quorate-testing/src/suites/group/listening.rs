//! Handlers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use quorate::{Backoff, Message, Topic};
use tokio::sync::{Barrier, Notify, mpsc};

use super::{HOUR, SHORT, WORK, consumer, expect, expect_nothing, publish};
use crate::harness::{Home, eventually, within};

async fn all_done(topic: &Topic<u64>) {
    let group = topic.group("billing").unwrap();
    eventually("all are acknowledged", async || {
        let status = group.status().await.unwrap().unwrap();
        (status.pending, status.lag) == (0, 0)
    })
    .await;
}

/// When its handler has returned.
pub async fn a_listener_acknowledges_what_it_has_handled(home: Home) {
    let topic = home.fleet().topic(&WORK);
    let (seen, mut handled) = mpsc::unbounded_channel();
    let group = topic.group("billing").unwrap().from_beginning();
    let listener = group.on(move |number: Message<u64>| {
        let seen = seen.clone();
        async move { seen.send((*number, number.attempt())) }
    });
    let listener = listener.await.unwrap();
    publish(&topic, 0..5).await;
    for number in 0..5 {
        let handled = within("a message", handled.recv()).await;
        assert_eq!(handled, Some((number, 1)));
    }
    all_done(&topic).await;
    within("the end", listener.stop()).await;
    let mut work = consumer(home.fleet()).await;
    expect_nothing(&mut work, &topic).await;
}

/// Whether its handler returned an error, panicked in its future, or before there was one.
pub async fn a_listener_gives_back_what_failed(home: Home) {
    let topic = home.fleet().topic(&WORK);
    let (seen, mut handled) = mpsc::unbounded_channel();
    let soon = Backoff {
        initial: Duration::from_millis(10),
        ..Backoff::DEFAULT
    };
    let group = topic.group("billing").unwrap().from_beginning();
    let handler = move |number: Message<u64>| {
        let seen = seen.clone();
        assert_ne!(number.attempt(), 2, "this attempt fails before its future");
        async move {
            match number.attempt() {
                1 => Err("this attempt fails".to_owned()),
                3 => panic!("this attempt panics"),
                attempt => {
                    seen.send((*number, attempt)).unwrap();
                    Ok(())
                }
            }
        }
    };
    let listener = group.on(handler).backoff(soon).await.unwrap();
    publish(&topic, 0..1).await;
    assert_eq!(within("it", handled.recv()).await, Some((0, 4)));
    all_done(&topic).await;
    listener.stop().await;
}

/// As many as it was told.
pub async fn a_listener_handles_several_at_a_time(home: Home) {
    let topic = home.fleet().topic(&WORK);
    let meeting = Arc::new(Barrier::new(3));
    let group = topic.group("billing").unwrap().from_beginning().batch(1);
    let handler = move |_: Message<u64>| {
        let meeting = meeting.clone();
        async move {
            meeting.wait().await;
        }
    };
    let listener = group.on(handler).concurrency(3).await.unwrap();
    publish(&topic, 0..6).await;
    all_done(&topic).await;
    listener.stop().await;
}

/// For longer than the visibility, and nobody else gets it.
pub async fn a_slow_handler_keeps_its_message(home: Home) {
    let other = home.instance("b").await;
    let topic = home.fleet().topic(&WORK);
    let begun = Arc::new(AtomicU32::new(0));
    for fleet in [home.fleet(), &other] {
        let begun = begun.clone();
        let group = fleet.topic(&WORK).group("billing").unwrap();
        // Long enough that a busy machine extends it in time.
        let group = group.from_beginning().visibility(SHORT * 10);
        let handler = move |_: Message<u64>| {
            begun.fetch_add(1, Ordering::Relaxed);
            async { tokio::time::sleep(SHORT * 25).await }
        };
        group.on(handler).await.unwrap().detach();
    }
    publish(&topic, 0..1).await;
    all_done(&topic).await;
    assert_eq!(begun.load(Ordering::Relaxed), 1);
}

/// Before `stop` returns.
pub async fn a_stopped_listener_gives_back_what_it_was_handling(home: Home) {
    let topic = home.fleet().topic(&WORK);
    let begun = Arc::new(Notify::new());
    let tell = begun.clone();
    let group = topic.group("billing").unwrap().from_beginning();
    let handler = move |_: Message<u64>| {
        tell.notify_one();
        std::future::pending::<()>()
    };
    let listener = group.visibility(HOUR).on(handler).await.unwrap();
    publish(&topic, 0..1).await;
    within("a call", begun.notified()).await;
    within("the end", listener.stop()).await;
    let mut work = consumer(home.fleet()).await;
    expect(&mut work, 0, 2).await;
}
