//! What every backend for consumer groups promises, and what consumers make of it.

mod beginning;
mod listening;
mod losing;
mod settling;
mod sharing;

pub use beginning::*;
pub use listening::*;
pub use losing::*;
pub use settling::*;
pub use sharing::*;

use std::time::Duration;

use quorate::{Consumer, Event, Fleet, Message, Topic, TopicSpec};

use crate::harness::within;

/// Makes one test per clause of the contract of consumer groups: `group_suite!(module, harness)`.
#[macro_export]
macro_rules! group_suite {
    ($module:ident, $harness:expr) => {
        $crate::__suite!(
            $module,
            $harness,
            $crate::suites::group,
            [
                a_group_begins_with_what_follows,
                a_group_begins_at_the_beginning,
                a_group_begins_after_a_position,
                a_group_that_exists_goes_on_where_it_is,
                a_group_made_before_the_first_message_misses_nothing,
                a_position_of_another_history_is_a_gap_first,
                a_deleted_group_ends_its_consumers,
                a_status_says_what_is_pending_and_what_is_behind,
                bad_group_input_is_refused_with_the_rule,
                consumers_share_the_work,
                every_group_sees_every_message,
                a_parked_consumer_is_woken_by_a_publish,
                a_parked_consumer_takes_over_when_a_lease_ends,
                what_was_handed_out_before_comes_first,
                keys_have_groups_of_their_own,
                a_sharded_topic_has_groups,
                names_of_groups_do_not_meet,
                a_repeated_take_hands_out_the_same,
                a_take_is_bounded,
                an_acknowledged_message_does_not_come_back,
                a_message_not_acknowledged_comes_back,
                a_late_consumer_changes_nothing,
                a_late_acknowledgement_counts_until_the_message_is_taken,
                a_message_given_back_comes_after_its_pause,
                an_extended_message_stays,
                what_is_returned_counts_no_attempt,
                a_repeated_settlement_answers_as_the_first,
                many_settle_at_once,
                what_nobody_asks_for_goes_to_others,
                a_dropped_consumer_gives_back,
                a_consumer_that_leaves_gives_back,
                a_dropped_next_of_a_consumer_loses_nothing,
                closing_gives_messages_back,
                messages_dropped_before_a_group_had_them_are_one_gap,
                messages_that_ended_before_a_group_had_them_are_one_gap,
                a_pending_message_that_is_dropped_is_a_gap,
                a_gap_nobody_has_shown_comes_back,
                a_message_that_cannot_be_read_is_handed_out_once,
                a_listener_acknowledges_what_it_has_handled,
                a_listener_gives_back_what_failed,
                a_listener_handles_several_at_a_time,
                a_slow_handler_keeps_its_message,
                a_stopped_listener_gives_back_what_it_was_handling,
            ]
        );
    };
}

const HOUR: Duration = Duration::from_secs(3600);
/// Short enough to wait for.
const SHORT: Duration = Duration::from_millis(150);
const WORK: TopicSpec<u64> =
    TopicSpec::new("work").keep(Duration::from_secs(7 * 24 * 3600), 10_000, 1 << 24);
/// Keeps three messages.
const FEW: TopicSpec<u64> = TopicSpec::new("few").keep(HOUR, 3, 1 << 20);

/// A consumer of the group `billing` whose leases do not end by themselves, from the beginning.
async fn consumer(fleet: &Fleet) -> Consumer<u64> {
    join(&fleet.topic(&WORK), HOUR).await
}

async fn join(topic: &Topic<u64>, visibility: Duration) -> Consumer<u64> {
    let group = topic.group("billing").unwrap().visibility(visibility);
    group.from_beginning().join().await.unwrap()
}

async fn publish(topic: &Topic<u64>, numbers: std::ops::Range<u64>) {
    for number in numbers {
        topic.publish(&number).await.unwrap();
    }
}

async fn next(consumer: &mut Consumer<u64>) -> Event<u64> {
    within("an event", consumer.next())
        .await
        .expect("the stream goes on")
}

/// The next event, which must be a message.
async fn message(consumer: &mut Consumer<u64>) -> Message<u64> {
    match next(consumer).await {
        Event::Message(message) => message,
        other => panic!("expected a message, got {other:?}"),
    }
}

/// The next event, which must be a gap.
async fn gap(consumer: &mut Consumer<u64>) -> quorate::Gap {
    match next(consumer).await {
        Event::Gap(gap) => gap,
        other => panic!("expected a gap, got {other:?}"),
    }
}

/// The next message is this one, at its attempt; it is acknowledged.
async fn expect(consumer: &mut Consumer<u64>, number: u64, attempt: u32) {
    let message = message(consumer).await;
    assert_eq!((*message, message.attempt()), (number, attempt));
    assert!(consumer.acknowledge(&message).await.unwrap());
}

/// Publishes one more and gets it: so nothing stood before it.
async fn expect_nothing(consumer: &mut Consumer<u64>, topic: &Topic<u64>) {
    topic.publish(&u64::MAX).await.unwrap();
    expect(consumer, u64::MAX, 1).await;
}
