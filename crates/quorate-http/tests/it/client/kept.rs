//! Kept topics: whatever the network does, the client yields each message once and in order, or a gap
//! where it is no longer kept.

use std::future::IntoFuture;
use std::num::NonZeroU32;
use std::time::Duration;

use futures_util::FutureExt;
use proptest::prelude::*;
use quorate::{Codec, Fleet, GapReason, Keep, Position, TopicSpec};
use quorate_http::Hub;
use quorate_http::client::{ClientEvent, ClientSubscription};
use quorate_testing::harness::{eventually, within};
use quorate_testing::proxy::Proxy;
use serde_json::Value;

use super::hub::{Served, client};

const fn keep(messages: u32) -> Keep {
    Keep {
        time: Duration::from_secs(600),
        messages,
        bytes: 64 * 1024 * 1024,
    }
}

async fn serve(fleet: &Fleet, keep: Keep) -> Served {
    let hub = Hub::builder(fleet.clone()).open();
    Served::start(hub.keep("room", keep).unwrap()).await
}

/// Publishes the next number, which is also its offset.
async fn publish(fleet: &Fleet, keep: Keep, number: u64) -> Position {
    let spec = TopicSpec::try_with_codec("room", Codec::<u64>::json()).unwrap();
    let topic = fleet
        .topic(&spec.try_keep(keep).unwrap())
        .key("42")
        .unwrap();
    let position = topic.publish(&number).await.unwrap().position.unwrap();
    assert_eq!(position.offset(), number);
    position
}

/// What one subscriber has seen.
#[derive(Debug)]
struct Seen {
    next: u64,
    gaps: u64,
}

impl Seen {
    /// Takes an event; fails the test if one was skipped or came twice.
    fn take(&mut self, event: ClientEvent<Value>) {
        match event {
            ClientEvent::Message(message) => {
                assert_eq!(
                    message.as_u64(),
                    Some(self.next),
                    "after {} gaps",
                    self.gaps
                );
                assert_eq!(message.position().unwrap().offset(), self.next);
                self.next += 1;
            }
            ClientEvent::Gap(gap) => {
                assert_eq!(gap.reason, GapReason::History);
                let to = gap.position.expect("where it goes on").offset();
                assert!(to >= self.next, "a gap from {} to {to}", self.next);
                self.gaps += 1;
                self.next = to + 1;
            }
            other => panic!("{other:?}"),
        }
    }

    async fn reach(&mut self, subscription: &mut ClientSubscription<Value>, last: u64) {
        while self.next <= last {
            let event = within("an event", subscription.next()).await.unwrap();
            self.take(event);
        }
    }
}

#[tokio::test]
async fn a_program_goes_on_where_the_last_one_stopped() {
    let fleet = Fleet::embedded();
    let served = serve(&fleet, keep(1000)).await;
    for number in 1..=150 {
        publish(&fleet, keep(1000), number).await;
    }
    let first = client(served.address).connect().await.unwrap();
    let ten = NonZeroU32::new(10).unwrap();
    let mut room = first.subscribe_topic("room:42").recent(ten).await.unwrap();
    let mut seen = Seen { next: 141, gaps: 0 };
    seen.reach(&mut room, 145).await;
    let position = room.position().unwrap();
    assert_eq!(position.offset(), 145);
    first.close().await;

    publish(&fleet, keep(1000), 151).await;
    let second = client(served.address).connect().await.unwrap();
    let mut room = second
        .subscribe_topic("room:42")
        .after(position)
        .await
        .unwrap();
    // Another one here, at the same time, from the beginning and with little room.
    let beginning = Position::new(position.epoch(), 0, 0);
    let begun = second.subscribe_topic("room:42").after(beginning).buffer(7);
    let mut whole = begun.await.unwrap();
    publish(&fleet, keep(1000), 152).await;
    seen.reach(&mut room, 152).await;
    let mut all = Seen { next: 1, gaps: 0 };
    all.reach(&mut whole, 152).await;
    assert_eq!((seen.gaps, all.gaps), (0, 0));

    let history = second
        .history_topic("room:42")
        .after(position)
        .limit(3)
        .await
        .unwrap();
    assert_eq!((history.events.len(), history.complete), (3, false));
    assert_eq!(history.position.unwrap().offset(), 148);
    let error = second.history_topic("other").await.unwrap_err();
    assert_eq!(error.code(), quorate_http::Code::Unimplemented);
}

#[tokio::test]
async fn a_consumer_that_is_slower_than_the_messages_misses_none() {
    let fleet = Fleet::embedded();
    let served = serve(&fleet, keep(5000)).await;
    let client = client(served.address).connect().await.unwrap();
    let mut slow = client.subscribe_topic("room:42").buffer(16).await.unwrap();
    let mut fast = client.subscribe_topic("room:42").await.unwrap();
    let mut quick = Seen { next: 1, gaps: 0 };
    for number in 1..=800 {
        publish(&fleet, keep(5000), number).await;
        if number % 100 == 0 {
            quick.reach(&mut fast, number).await;
        }
    }
    assert_eq!(slow.backlog(), 16);
    let mut seen = Seen { next: 1, gaps: 0 };
    seen.reach(&mut slow, 800).await;
    assert_eq!((seen.gaps, quick.gaps), (0, 0));
}

#[tokio::test]
async fn what_is_no_longer_kept_is_a_gap_and_nothing_partial() {
    let fleet = Fleet::embedded();
    let served = serve(&fleet, keep(5)).await;
    let proxy = Proxy::start(served.address).await.unwrap();
    let client = client(proxy.addr()).connect().await.unwrap();
    let mut room = client.subscribe_topic("room:42").await.unwrap();
    publish(&fleet, keep(5), 1).await;
    let mut seen = Seen { next: 1, gaps: 0 };
    seen.reach(&mut room, 1).await;
    proxy.refuse().await;
    proxy.cut().await;
    eventually("it is noticed", async || !client.state().is_ready()).await;
    eventually("the hub notices", async || served.hub.clients() == 0).await;
    for number in 2..=20 {
        publish(&fleet, keep(5), number).await;
    }
    proxy.heal().await.unwrap();
    let ClientEvent::Gap(gap) = within("a gap", room.next()).await.unwrap() else {
        panic!("no gap")
    };
    assert_eq!((gap.missed, gap.position.unwrap().offset()), (Some(19), 20));
    assert_eq!(room.position(), gap.position);
    publish(&fleet, keep(5), 21).await;
    Seen { next: 21, gaps: 1 }.reach(&mut room, 21).await;
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Publish(u8),
    Take(u8),
    Cut,
    /// The client is sent to the other instance.
    Move,
    Subscribe,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1_u8..40).prop_map(Step::Publish),
        4 => (1_u8..40).prop_map(Step::Take),
        2 => Just(Step::Cut),
        1 => Just(Step::Move),
        1 => Just(Step::Subscribe),
    ]
}

type Subscribed = (ClientSubscription<Value>, Seen);

fn take_what_is_there((subscription, seen): &mut Subscribed, most: u8) {
    for _ in 0..most {
        let Some(event) = subscription.next().now_or_never() else {
            return;
        };
        seen.take(event.unwrap());
    }
}

async fn run(steps: Vec<Step>, kept: u32) {
    let keep = keep(kept);
    let fleet = Fleet::embedded();
    let other = fleet.instance("other").await.unwrap();
    let hubs = [serve(&fleet, keep).await, serve(&other, keep).await];
    let proxy = Proxy::start(hubs[0].address).await.unwrap();
    let client = client(proxy.addr()).connect().await.unwrap();
    let mut subscribed: Vec<Subscribed> = Vec::new();
    let (mut published, mut at) = (0, 0);
    for step in std::iter::once(Step::Subscribe).chain(steps) {
        match step {
            Step::Publish(count) => {
                for _ in 0..count {
                    published += 1;
                    let by = if published % 2 == 0 { &fleet } else { &other };
                    publish(by, keep, published).await;
                }
            }
            Step::Take(count) => {
                for one in &mut subscribed {
                    take_what_is_there(one, count);
                }
            }
            Step::Cut => proxy.cut().await,
            Step::Move => {
                at = 1 - at;
                proxy.retarget(hubs[at].address);
                proxy.cut().await;
            }
            Step::Subscribe if subscribed.len() < 3 => {
                let making = client.subscribe_topic("room:42").buffer(20);
                let subscription = within("a subscription", making.into_future())
                    .await
                    .unwrap();
                let next = subscription.position().unwrap().offset() + 1;
                subscribed.push((subscription, Seen { next, gaps: 0 }));
            }
            Step::Subscribe => {}
        }
    }
    for (subscription, seen) in &mut subscribed {
        seen.reach(subscription, published).await;
        // Where nothing ends, nothing is missing.
        assert!(kept < 10_000 || seen.gaps == 0, "{seen:?}");
    }
    client.close().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 50, ..ProptestConfig::default() })]

    #[test]
    fn each_message_once_and_in_order_or_a_gap(
        steps in proptest::collection::vec(step(), 1..40),
        kept in prop_oneof![Just(10_000_u32), Just(15)],
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(run(steps, kept));
    }
}
