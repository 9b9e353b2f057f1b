//! What every transport for events promises.

mod delivery;
mod errors;
mod loss;
mod scope;
mod subscriptions;

pub use delivery::*;
pub use errors::*;
pub use loss::*;
pub use scope::*;
pub use subscriptions::*;

use quorate::{Codec, Event, Message, Subscription, TopicSpec};

use crate::harness::within;

/// Makes one test per clause of the events contract: `events_suite!(module, harness)`.
#[macro_export]
macro_rules! events_suite {
    ($module:ident, $harness:expr) => {
        $crate::__suite!(
            $module,
            $harness,
            $crate::suites::events,
            [
                defect_01_a_publish_reaches_a_subscriber_on_another_instance,
                defect_03_strings_and_bytes_arrive_as_they_were_sent,
                defect_04_resubscribe_after_unsubscribe_delivers,
                defect_05_a_closed_instance_refuses_and_does_not_retry,
                defect_11_nested_keys_do_not_collide,
                defect_17_every_handle_receives,
                every_listener_receives,
                its_own_messages_are_received_unless_excluded,
                a_message_carries_what_its_publisher_said,
                messages_of_one_publisher_keep_their_order,
                concurrent_publishers_each_keep_their_order,
                every_codec_round_trips,
                a_value_is_decoded_once_per_process,
                raw_channels_carry_bytes_as_they_are,
                a_sharded_topic_delivers,
                large_payloads_pass_up_to_the_limit,
                receivers_are_counted_where_the_home_knows,
                another_topic_is_not_received,
                a_key_reaches_only_its_key,
                a_pattern_shows_the_concrete_topic,
                a_pattern_takes_its_topic_literally,
                patterns_do_not_see_sharded_topics,
                namespaces_are_apart,
                raw_patterns_stay_in_their_namespace,
                a_slow_subscriber_sees_a_gap_and_delays_nobody,
                a_hole_in_the_sequence_is_a_gap,
                a_lost_last_message_is_a_gap,
                a_duplicate_is_dropped,
                publishers_confirm_what_they_last_sent,
                an_undecodable_message_is_reported_and_not_fatal,
                a_foreign_message_is_reported,
                a_newer_envelope_is_reported,
                a_refused_arrival_is_reported,
                a_refused_publish_publishes_nothing,
                bad_input_is_refused_with_the_rule,
                an_unpublishable_detached_message_is_reported,
                one_transport_subscription_serves_every_listener,
                the_last_one_out_unsubscribes,
                a_dropped_subscribe_leaves_nothing_behind,
                churn_leaves_a_working_subscription,
                a_dropped_next_loses_nothing,
                unsubscribe_all_ends_every_stream,
                closing_ends_every_stream,
                a_failing_listener_is_called_again,
                a_panicking_listener_is_called_again,
                a_stopped_listener_is_not_called,
            ]
        );
    };
}

pub(crate) const NUMBERS: TopicSpec<u64> = TopicSpec::new("numbers");
pub(crate) const TEXTS: TopicSpec<String> = TopicSpec::with_codec("texts", Codec::text());

/// The next event, which must be a message.
pub(crate) async fn message<T>(subscription: &mut Subscription<T>) -> Message<T>
where
    T: std::fmt::Debug + Send + Sync + 'static,
{
    match within("a message", subscription.next()).await {
        Some(Event::Message(message)) => message,
        other => panic!("expected a message, got {other:?}"),
    }
}

/// The next event, which must be a gap.
pub(crate) async fn gap<T>(subscription: &mut Subscription<T>) -> quorate::Gap
where
    T: std::fmt::Debug + Send + Sync + 'static,
{
    match within("a gap", subscription.next()).await {
        Some(Event::Gap(gap)) => gap,
        other => panic!("expected a gap, got {other:?}"),
    }
}

/// The next event, which must be undecodable.
pub(crate) async fn undecodable<T>(
    subscription: &mut Subscription<T>,
) -> quorate::events::Undecodable
where
    T: std::fmt::Debug + Send + Sync + 'static,
{
    match within("an undecodable message", subscription.next()).await {
        Some(Event::Undecodable(undecodable)) => undecodable,
        other => panic!("expected an undecodable message, got {other:?}"),
    }
}
