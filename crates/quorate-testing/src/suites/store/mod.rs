//! What every backend for stores promises.

mod counters;
mod fenced;
mod many;
mod once;
mod values;
mod writes;

use std::time::Duration;

use quorate::{Codec, Fleet, Store, StoreSpec};

pub use self::counters::*;
pub use self::fenced::*;
pub use self::many::*;
pub use self::once::*;
pub use self::values::*;
pub use self::writes::*;

/// Makes one test per clause of the store contract: `store_suite!(module, harness)`.
#[macro_export]
macro_rules! store_suite {
    ($module:ident, $harness:expr) => {
        $crate::__suite!(
            $module,
            $harness,
            $crate::suites::store,
            [
                what_was_set_is_read_by_every_instance,
                what_is_not_there_is_none,
                bytes_come_back_as_they_were_written,
                raw_entries_are_what_other_programs_see,
                raw_and_named_entries_are_apart,
                keys_namespaces_and_stores_are_apart,
                any_text_is_a_key,
                what_does_not_decode_is_an_error,
                bad_input_is_refused_with_the_rule,
                a_closed_fleet_refuses,
                an_entry_ends_when_its_time_is_over,
                an_entry_without_a_time_stays,
                a_time_is_kept_moved_or_taken_away,
                expire_and_persist_move_the_end_of_what_is_there,
                delete_says_whether_there_was_one,
                set_if_absent_sets_once,
                an_entry_that_ended_is_absent,
                compare_and_set_sets_what_is_as_expected,
                compare_and_set_of_nothing_expects_nothing,
                compare_and_delete_removes_what_is_as_expected,
                of_many_who_set_if_absent_one_does,
                of_many_who_compare_and_set_none_is_lost,
                durable_writes_say_what_they_reached,
                durability_of_nothing_is_refused,
                counters_begin_at_nothing,
                counters_are_plain_numbers,
                of_many_who_count_none_is_lost,
                a_counter_that_would_overflow_stays,
                what_is_no_number_is_not_counted,
                a_counter_ends_after_its_first_increment,
                an_increment_may_move_the_end,
                a_codec_without_digits_does_not_count,
                many_are_set_and_read_in_order,
                many_live_as_long_as_is_said,
                scan_gives_every_key_once,
                scan_gives_only_what_begins_with_the_prefix,
                scan_takes_globs_for_text,
                scan_of_nothing_ends,
                a_scan_goes_on_where_another_stopped,
                a_repeated_write_is_answered_as_the_first_time,
                what_is_repeated_need_not_be_there_any_more,
                an_idempotency_key_belongs_to_one_write,
                an_idempotency_key_belongs_to_one_entry,
                an_idempotency_key_is_forgotten_in_time,
                a_refusal_is_remembered_too,
                of_many_with_one_idempotency_key_one_counts,
                idempotency_keys_are_checked,
                raw_entries_have_idempotency_keys_too,
                an_old_token_writes_nothing,
                a_fence_outlives_the_entry,
                a_fence_is_of_one_entry,
                a_fenced_write_is_repeated_as_any_other,
            ]
        );
    };
}

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

const TEXTS: StoreSpec<str, String> = StoreSpec::new("texts");
const COUNTS: StoreSpec<str, i64> = StoreSpec::new("counts");
const RAW: StoreSpec<str, String> = StoreSpec::raw(Codec::text());

fn texts(fleet: &Fleet) -> Store<str, String> {
    fleet.store(&TEXTS)
}

fn text(text: &str) -> String {
    text.to_owned()
}
