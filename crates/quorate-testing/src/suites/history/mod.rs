//! What every backend for kept topics promises, and what subscriptions make of it.

mod reading;
mod refilling;

pub use reading::*;
pub use refilling::*;

use std::time::Duration;

use quorate::events::{History, RawChannel};
use quorate::history::Append;
use quorate::{
    CallOptions, Event, Fleet, Keep, Key, Message, Position, Subscription, Topic, TopicSpec,
};

use crate::harness::within;

/// Makes one test per clause of the contract of kept topics: `history_suite!(module, harness)`.
#[macro_export]
macro_rules! history_suite {
    ($module:ident, $harness:expr) => {
        $crate::__suite!(
            $module,
            $harness,
            $crate::suites::history,
            [
                messages_have_consecutive_positions,
                a_history_is_read_page_by_page,
                the_latest_are_read,
                a_subscription_begins_after_a_position,
                a_subscription_begins_at_the_beginning,
                the_beginning_of_an_old_history_is_still_its_beginning,
                a_position_of_before_the_first_message_misses_nothing,
                messages_beyond_the_count_are_dropped,
                messages_beyond_the_bytes_are_dropped,
                messages_end_with_their_time,
                the_newest_message_is_kept_whatever_its_size,
                an_idle_history_remembers_where_it_was,
                a_repeated_append_is_recognised,
                a_forgotten_append_is_not_guessed,
                keys_have_histories_of_their_own,
                a_sharded_topic_is_kept,
                publishers_share_one_order,
                what_cannot_be_read_stands_in_its_place,
                what_cannot_be_read_is_passed_once,
                a_history_may_begin_with_what_cannot_be_read,
                bad_positions_and_limits_are_refused,
                what_is_not_kept_has_no_positions,
                a_position_no_longer_kept_is_a_gap_and_nothing_partial,
                a_position_of_a_lost_history_is_a_gap,
                a_rewritten_history_is_a_gap,
                a_slow_subscriber_of_a_kept_topic_misses_nothing,
                a_hole_is_refilled,
                a_lost_last_message_is_refilled,
                what_is_no_longer_there_to_refill_is_a_gap,
                excluded_messages_are_neither_seen_nor_missed,
                patterns_see_kept_topics_live,
                a_dropped_next_of_a_kept_topic_loses_nothing,
                a_subscription_knows_its_position,
                listeners_of_a_kept_topic_miss_nothing,
            ]
        );
    };
}

pub(crate) const HOUR: Duration = Duration::from_secs(3600);
pub(crate) const MANY: u32 = 10_000;
pub(crate) const MEBIBYTE: u64 = 1 << 20;
pub(crate) const ROOM: TopicSpec<u64> = TopicSpec::new("room").keep(HOUR, MANY, MEBIBYTE);

/// Where the envelope keeps its flags, its place and its id (see the layout in the library's docs).
const FLAGS_AT: usize = 2;
const PLACE_AT: std::ops::Range<usize> = 13..29;
const HEADER_AT: usize = PLACE_AT.end;
const ID_AT: std::ops::Range<usize> = 34..50;
const BEACON: u8 = 1;
const KEPT: u8 = 4;

pub(crate) async fn publish(topic: &Topic<u64>, numbers: std::ops::Range<u64>) -> Position {
    let mut last = None;
    for number in numbers {
        last = topic.publish(&number).await.unwrap().position;
    }
    last.expect("a kept topic's message has a position")
}

pub(crate) async fn next<T>(subscription: &mut Subscription<T>) -> Event<T>
where
    T: std::fmt::Debug + Send + Sync + 'static,
{
    within("an event", subscription.next())
        .await
        .expect("the stream goes on")
}

pub(crate) async fn expect(subscription: &mut Subscription<u64>, numbers: std::ops::Range<u64>) {
    for expected in numbers {
        match next(subscription).await {
            Event::Message(number) => assert_eq!(*number, expected),
            other => panic!("expected {expected}, got {other:?}"),
        }
    }
}

/// Publishes one more and sees it: so nothing stood before it.
pub(crate) async fn expect_nothing(subscription: &mut Subscription<u64>, topic: &Topic<u64>) {
    topic.publish(&u64::MAX).await.unwrap();
    match next(subscription).await {
        Event::Message(number) => assert_eq!(*number, u64::MAX),
        other => panic!("expected only what was published last, got {other:?}"),
    }
}

/// The next event, which must be a gap.
pub(crate) async fn gap(subscription: &mut Subscription<u64>) -> quorate::Gap {
    match next(subscription).await {
        Event::Gap(gap) => gap,
        other => panic!("expected a gap, got {other:?}"),
    }
}

pub(crate) fn numbers(history: &History<u64>) -> Vec<u64> {
    history
        .events
        .iter()
        .map(|event| match event {
            Event::Message(message) => **message,
            other => panic!("expected a message, got {other:?}"),
        })
        .collect()
}

/// What keeps a message without telling anybody, and what tells without keeping.
pub(crate) struct Backstage {
    fleet: Fleet,
    topic: Topic<u64>,
    wire: RawChannel,
    /// A message as it travelled, to make others of.
    sample: Vec<u8>,
}

impl Backstage {
    /// Publishes a 0, to learn how messages look.
    pub(crate) async fn enter(fleet: &Fleet) -> Self {
        let topic = fleet.topic(&ROOM);
        let wire = fleet.channel("events:room").unwrap();
        let mut tap = wire.subscribe().await.unwrap();
        topic.publish(&0).await.unwrap();
        let sample: Message<_> = within("it travels", tap.next_message()).await.unwrap();
        Self {
            fleet: fleet.clone(),
            topic,
            wire,
            sample: sample.bytes().to_vec(),
        }
    }

    /// An envelope around `number`, with this id.
    pub(crate) fn message(&self, number: u64, id: [u8; 16]) -> Vec<u8> {
        let mut message = self.sample.clone();
        message[ID_AT].copy_from_slice(&id);
        message.pop();
        message.extend_from_slice(number.to_string().as_bytes());
        message
    }

    pub(crate) fn append(&self, number: u64, id: [u8; 16]) -> Append {
        let silent = quorate::events::Channel {
            name: "nobody-listens".into(),
            sharded: false,
        };
        let keep = Keep {
            time: HOUR,
            messages: MANY,
            bytes: MEBIBYTE,
        };
        Append::new(silent, self.message(number, id).into(), id, keep)
    }

    pub(crate) async fn run(&self, append: Append) -> quorate::Result<Position> {
        let key = Key::new(self.fleet.namespace(), "room").unwrap();
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        let port = self.fleet.history_port();
        let appended = port
            .append(&key, append, CallOptions::until(deadline))
            .await?;
        Ok(appended.position)
    }

    /// A message that subscribers do not hear of.
    pub(crate) async fn keep_silently(&self, number: u64) -> Position {
        let mut id = [7; 16];
        id[8..].copy_from_slice(&number.to_be_bytes());
        self.run(self.append(number, id)).await.unwrap()
    }

    /// A publisher says that this is the newest message.
    pub(crate) async fn confirm(&self, position: Position) {
        let mut beacon = self.sample[..PLACE_AT.end].to_vec();
        beacon[FLAGS_AT] = BEACON | KEPT;
        let place = &mut beacon[PLACE_AT];
        place[..8].copy_from_slice(&position.epoch().to_le_bytes());
        place[8..].copy_from_slice(&position.offset().to_le_bytes());
        self.wire.publish(beacon).await.unwrap();
    }

    pub(crate) fn topic(&self) -> &Topic<u64> {
        &self.topic
    }
}
