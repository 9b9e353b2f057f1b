//! Who gets what, and when.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::FutureExt;
use quorate::history::{Content, GroupPort, PageLimit, Take, TakeId, TakeReply, Taken};
use quorate::{CallOptions, Event, Fleet, Key, TopicSpec};

use super::{HOUR, SHORT, WORK, consumer, expect, expect_nothing, join, message, publish};
use crate::harness::{Home, eventually, within};

/// One take of the group `billing` at its port.
pub(super) async fn take(fleet: &Fleet, id: TakeId, messages: u32, again: bool) -> Taken {
    let take = Take {
        id,
        limit: PageLimit {
            messages,
            bytes: 1 << 20,
        },
        visibility: HOUR,
        again: again.then_some(Duration::from_secs(5)),
    };
    let (port, key, options) = backend(fleet);
    match port.take(&key, "billing", take, options).await.unwrap() {
        TakeReply::Taken(taken) => taken,
        TakeReply::Deleted => panic!("it was not deleted"),
    }
}

/// The port, and what to call it with.
pub(super) fn backend(fleet: &Fleet) -> (std::sync::Arc<dyn GroupPort>, Key, CallOptions) {
    let port = fleet.group_port().unwrap();
    let key = Key::new(fleet.namespace(), "work").unwrap();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    (port, key, CallOptions::until(deadline))
}

/// Each message is given to one of them, and all are handled.
pub async fn consumers_share_the_work(home: Home) {
    const COUNT: u64 = 60;
    let topic = home.fleet().topic(&WORK);
    let fleets = [home.instance("b").await, home.instance("c").await];
    let (seen, mut done) = tokio::sync::mpsc::unbounded_channel();
    let mut listeners = Vec::new();
    for (number, fleet) in fleets.iter().enumerate() {
        let seen = seen.clone();
        let group = fleet.topic(&WORK).group("billing").unwrap();
        let handler = move |order: quorate::Message<u64>| {
            let seen = seen.clone();
            async move { seen.send((number, *order, order.attempt())) }
        };
        let listener = group.from_beginning().batch(2).visibility(HOUR).on(handler);
        listeners.push(listener.await.unwrap());
    }
    publish(&topic, 0..COUNT).await;
    let mut handled = BTreeSet::new();
    for _ in 0..COUNT {
        let (_, number, attempt) = within("a message", done.recv()).await.unwrap();
        assert!(handled.insert(number), "{number} was handed out twice");
        assert_eq!(attempt, 1);
    }
    assert_eq!(handled, (0..COUNT).collect());
    let group = topic.group("billing").unwrap();
    eventually("all are acknowledged", async || {
        let status = group.status().await.unwrap().unwrap();
        (status.pending, status.lag) == (0, 0)
    })
    .await;
    for listener in listeners {
        listener.stop().await;
    }
}

/// Groups know nothing of each other.
pub async fn every_group_sees_every_message(home: Home) {
    let topic = home.fleet().topic(&WORK);
    let mut billing = consumer(home.fleet()).await;
    let mut mail = topic.group("mail").unwrap().await.unwrap();
    let mut live = topic.subscribe().await.unwrap();
    publish(&topic, 0..3).await;
    for number in 0..3 {
        expect(&mut billing, number, 1).await;
        expect(&mut mail, number, 1).await;
        let seen = within("a message", live.next_message()).await.unwrap();
        assert_eq!(*seen, number);
    }
}

/// It need not look.
pub async fn a_parked_consumer_is_woken_by_a_publish(home: Home) {
    let other = home.instance("b").await;
    let mut work = consumer(&other).await;
    let topic = home.fleet().topic(&WORK);
    let group = topic.group("billing").unwrap();
    // Together they take longer than may be, if it only looks from time to time.
    let rounds = async {
        for number in 0..24 {
            assert!(work.next().now_or_never().is_none());
            // Meanwhile it finds nothing.
            for _ in 0..3 {
                group.status().await.unwrap();
            }
            topic.publish(&number).await.unwrap();
            expect(&mut work, number, 1).await;
        }
    };
    within("all are handed out", rounds).await;
}

/// Of a consumer that is alive, and does nothing.
pub async fn a_parked_consumer_takes_over_when_a_lease_ends(home: Home) {
    let other = home.instance("b").await;
    let topic = home.fleet().topic(&WORK);
    let mut idle = join(&topic, SHORT).await;
    publish(&topic, 0..1).await;
    let held = message(&mut idle).await;
    assert_eq!(held.attempt(), 1);
    let mut work = consumer(&other).await;
    let again = message(&mut work).await;
    assert_eq!((*again, again.attempt()), (0, 2));
    assert!(work.acknowledge(&again).await.unwrap());
}

/// Before anything new.
pub async fn what_was_handed_out_before_comes_first(home: Home) {
    let topic = home.fleet().topic(&WORK);
    let mut idle = consumer(home.fleet()).await;
    publish(&topic, 0..2).await;
    let _held = [message(&mut idle).await, message(&mut idle).await];
    publish(&topic, 2..3).await;
    home.elapse(HOUR * 2).await;
    let other = home.instance("b").await;
    let mut work = consumer(&other).await;
    expect(&mut work, 0, 2).await;
    expect(&mut work, 1, 2).await;
    expect(&mut work, 2, 1).await;
}

/// Each key of a keyed topic is a topic.
pub async fn keys_have_groups_of_their_own(home: Home) {
    let topic = home.fleet().topic(&WORK);
    let (one, two) = (topic.key("1").unwrap(), topic.key("{2}").unwrap());
    let (mut first, mut second) = (join(&one, HOUR).await, join(&two, HOUR).await);
    publish(&one, 10..11).await;
    publish(&two, 20..21).await;
    expect(&mut first, 10, 1).await;
    expect(&mut second, 20, 1).await;
    let message = {
        publish(&one, 11..12).await;
        message(&mut first).await
    };
    assert_eq!(message.topic(), "work:1");
    assert!(first.acknowledge(&message).await.unwrap());
    expect_nothing(&mut second, &two).await;
}

/// On its own shard.
pub async fn a_sharded_topic_has_groups(home: Home) {
    let sharded: TopicSpec<u64> = TopicSpec::new("sharded").keep(HOUR, 100, 1 << 20).sharded();
    let topic = home.fleet().topic(&sharded);
    let mut work = join(&topic, HOUR).await;
    let publishing = async {
        tokio::task::yield_now().await;
        publish(&topic, 0..1).await;
    };
    let (message, ()) = tokio::join!(message(&mut work), publishing);
    assert_eq!((*message, message.topic()), (0, "sharded"));
    assert!(work.acknowledge(&message).await.unwrap());
}

/// Whatever they look like.
pub async fn names_of_groups_do_not_meet(home: Home) {
    let topic = home.fleet().topic(&WORK);
    let mut consumers = Vec::new();
    for name in ["a", "a:pending", "pending:a", "a:b", "meta", "group:a"] {
        let group = topic.group(name).unwrap();
        consumers.push(group.join().await.unwrap());
    }
    publish(&topic, 0..2).await;
    for work in &mut consumers {
        expect(work, 0, 1).await;
        expect(work, 1, 1).await;
    }
}

/// Its reply was lost, and it is the same take.
pub async fn a_repeated_take_hands_out_the_same(home: Home) {
    let topic = home.fleet().topic(&WORK);
    drop(consumer(home.fleet()).await);
    publish(&topic, 0..5).await;
    let id = TakeId::random();
    let first = take(home.fleet(), id, 3, false).await;
    assert_eq!(first.deliveries.len(), 3);
    assert_eq!(first.next, Some(Duration::ZERO));
    let again = take(home.fleet(), id, 3, true).await;
    assert_eq!(again.deliveries, first.deliveries);
    // One that was never applied is applied now.
    let second = take(home.fleet(), TakeId::random(), 3, true).await;
    let offsets: Vec<_> = second.deliveries.iter().map(|it| it.offset).collect();
    assert_eq!(offsets, [4, 5]);
    let nothing = take(home.fleet(), TakeId::random(), 3, false).await;
    assert!(nothing.deliveries.is_empty());
    let next = nothing.next.expect("leases end");
    assert!(next <= HOUR && next > HOUR / 2, "{next:?}");
}

/// In messages and in bytes; one message is handed out however large it is.
pub async fn a_take_is_bounded(home: Home) {
    let blobs: TopicSpec<String> = TopicSpec::new("work").keep(HOUR, 100, 1 << 20);
    let topic = home.fleet().topic(&blobs);
    drop(consumer(home.fleet()).await);
    for _ in 0..4 {
        topic.publish(&"x".repeat(1000)).await.unwrap();
    }
    let mut sizes = Vec::new();
    for bytes in [10, 2500, 1 << 20] {
        let (port, key, options) = backend(home.fleet());
        let limit = PageLimit { messages: 9, bytes };
        let take = Take {
            id: TakeId::random(),
            limit,
            visibility: HOUR,
            again: None,
        };
        let TakeReply::Taken(taken) = port.take(&key, "billing", take, options).await.unwrap()
        else {
            panic!("it was not deleted")
        };
        let whole = |it: &quorate::history::Handed| matches!(it.content, Content::Message(_));
        assert!(taken.deliveries.iter().all(whole));
        sizes.push(taken.deliveries.len());
    }
    assert_eq!(sizes, [1, 2, 1]);
    let mut other = topic
        .group("other")
        .unwrap()
        .from_beginning()
        .await
        .unwrap();
    for _ in 0..4 {
        let event = within("an event", other.next()).await;
        assert!(matches!(event, Some(Event::Message(_))));
    }
}
