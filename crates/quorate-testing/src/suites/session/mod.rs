//! What every backend for sessions promises.

mod fields;
mod ids;
mod lives;
mod users;

use std::time::Duration;

use quorate::{Fleet, SessionId, SessionKey, Sessions};

pub use self::fields::*;
pub use self::ids::*;
pub use self::lives::*;
pub use self::users::*;

/// Makes one test per clause of the session contract: `session_suite!(module, harness)`.
#[macro_export]
macro_rules! session_suite {
    ($module:ident, $harness:expr) => {
        $crate::__suite!(
            $module,
            $harness,
            $crate::suites::session,
            [
                a_session_is_seen_by_every_instance,
                a_session_says_whose_it_is_and_since_when,
                a_session_lives_seven_days_unless_said_otherwise,
                an_unused_session_ends,
                a_used_session_lives_on,
                looking_at_a_session_is_no_use_of_it,
                uses_are_written_down_now_and_then,
                a_use_may_give_another_time_to_live,
                an_absolute_end_is_not_moved,
                defect_13_what_has_ended_is_gone_at_once_and_stays,
                defect_14_a_use_keeps_the_time_to_live_of_the_session,
                what_was_deleted_is_not_used_nor_changed,
                of_deletion_and_use_at_once_deletion_wins,
                bad_input_is_refused_with_the_rule,
                a_closed_fleet_refuses,
                fields_are_read_by_every_instance,
                of_many_who_change_different_fields_none_is_lost,
                changes_are_made_together_and_in_order,
                a_field_ends_on_its_own,
                what_is_taken_is_taken_once,
                too_much_is_refused_and_changes_nothing,
                fields_hold_any_bytes,
                a_wrong_secret_proves_nothing,
                a_handle_deletes_and_stays_the_same,
                a_rotated_id_is_good_for_a_while,
                of_two_who_rotate_one_does,
                who_logs_in_has_another_id_and_the_same_fields,
                of_login_and_changes_at_once_nothing_is_lost,
                of_two_who_log_in_with_one_id_one_does,
                who_logs_in_with_the_session_of_another_begins_afresh,
                collected_changes_are_made_together,
                who_is_logged_in_already_gets_another_id,
                namespaces_are_apart,
                a_users_sessions_are_listed_newest_first,
                what_has_ended_is_neither_listed_nor_counted,
                anonymous_sessions_are_nobodys,
                all_sessions_of_a_user_are_deleted,
                all_others_of_a_user_are_deleted,
                the_oldest_goes_where_there_are_too_many,
                of_many_who_log_in_at_once_no_more_than_allowed_stay,
                a_thousand_sessions_are_listed,
                users_are_apart,
                partition_keys_are_apart,
                a_removal_is_heard_on_every_instance,
                a_removal_that_is_not_ones_own_is_not_heard,
                the_end_of_an_unused_session_is_noticed,
            ]
        );
    };
}

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

const TEXT: SessionKey<String> = SessionKey::new("text");
const COUNT: SessionKey<u32> = SessionKey::new("count");

fn text(text: &str) -> String {
    text.to_owned()
}

/// A session of Alice's.
async fn alice(sessions: &Sessions) -> SessionId {
    sessions.create("alice").await.unwrap().id
}

async fn is_there(fleet: &Fleet, id: &SessionId) -> bool {
    fleet.sessions().is_valid(id).await.unwrap()
}
