//! What every backend for caches promises.

mod batches;
mod entries;
mod failing;
mod fencing;
mod kept;
mod loaders;
mod loading;
mod names;
mod near;
mod refreshing;
mod tags;
mod turns;

use std::time::Duration;

use quorate::{Cache, CacheSpec, Fleet};

pub use self::batches::*;
pub use self::entries::*;
pub use self::failing::*;
pub use self::fencing::*;
pub use self::kept::*;
pub use self::loaders::*;
pub use self::loading::*;
pub use self::names::*;
pub use self::near::*;
pub use self::refreshing::*;
pub use self::tags::*;
pub use self::turns::*;

/// Makes one test per clause of the cache contract: `cache_suite!(module, harness)`.
#[macro_export]
macro_rules! cache_suite {
    ($module:ident, $harness:expr) => {
        $crate::__suite!(
            $module,
            $harness,
            $crate::suites::cache,
            [
                what_was_put_is_read_by_every_instance,
                nothing_cached_is_not_what_is_not_cached,
                an_entry_is_gone_after_its_time,
                the_time_is_the_specs_unless_a_put_says_otherwise,
                put_if_absent_keeps_what_is_there,
                a_removed_entry_is_gone,
                several_are_put_read_and_removed,
                expire_moves_the_end_of_what_is_there,
                cached_counters_are_plain_numbers,
                what_was_put_is_not_counted,
                what_does_not_decode_is_a_miss,
                an_oversized_value_is_skipped_or_refused,
                jitter_makes_times_shorter,
                caches_keys_and_namespaces_are_apart,
                clear_removes_everything_and_says_how_much,
                clear_matching_takes_a_glob,
                defect_15_clear_works_in_any_namespace,
                cache_input_is_checked_with_the_rule,
                a_scan_of_a_cache_gives_every_key_once,
                a_scan_of_a_cache_takes_a_glob,
                a_scan_of_a_cache_leaves_out_what_is_loading,
                a_scan_of_a_cache_leaves_out_what_failed,
                a_scan_of_a_cache_goes_on_where_another_stopped,
                a_glob_that_cannot_be_is_refused,
                an_invalidated_tag_ends_its_entries,
                a_tag_spans_caches_of_a_namespace,
                what_is_put_after_an_invalidation_stays,
                defect_16_an_entry_that_lost_its_tag_is_not_touched,
                several_tags_are_invalidated_at_once,
                tags_are_honoured_by_all_that_reads,
                tags_of_many_entries_are_honoured,
                tags_work_without_anything_cached,
                one_of_many_loads,
                whoever_asks_while_another_instance_loads_waits,
                a_loaded_value_is_kept,
                a_loaded_nothing_is_kept,
                a_failed_load_is_told_to_all_and_not_kept,
                a_dropped_load_is_taken_over,
                a_dead_loader_is_replaced_when_its_lease_ends,
                a_loader_says_how_its_value_is_kept,
                an_old_value_stands_in_for_a_failed_load,
                what_does_not_decode_is_loaded_again,
                an_oversized_value_is_loaded_and_not_kept,
                a_slow_load_keeps_its_lease,
                what_is_not_kept_is_handed_to_all_who_wait,
                what_cannot_be_kept_is_told_to_all_who_wait,
                a_registered_loader_loads_once,
                a_registered_loader_says_how_its_value_is_kept,
                a_registered_load_outlives_its_caller,
                several_are_got_by_a_registered_loader,
                a_loader_that_panics_is_an_error,
                a_closed_fleet_ends_its_loads,
                an_old_value_is_given_while_a_slow_load_goes_on,
                without_an_old_value_only_the_hard_timeout_ends_the_wait,
                whoever_waits_for_another_instance_has_its_own_patience,
                a_load_that_is_not_polled_is_replaced,
                a_registered_load_takes_over_from_the_dead,
                a_load_that_failed_is_not_tried_again_at_once,
                a_load_that_failed_is_tried_again_when_its_old_value_is_gone,
                a_cached_error_is_told_to_whoever_asks,
                a_cached_error_ends_with_what_is_newer,
                a_cached_error_is_not_told_where_an_old_value_is_there,
                a_cached_error_is_kept_up_to_a_kibibyte,
                a_value_near_its_end_is_loaded_again,
                a_load_ahead_of_time_that_fails_is_not_tried_again_at_once,
                one_at_a_time_loads_ahead_of_time,
                what_was_loaded_meanwhile_is_not_loaded_again,
                what_is_fresh_is_loaded_anew_for_who_wants_that,
                a_refresh_loads_what_is_fresh,
                a_refresh_that_fails_leaves_what_is_there,
                several_are_loaded_with_one_call,
                a_loader_of_several_says_how_they_are_kept,
                what_others_load_is_no_part_of_the_batch,
                batches_load_each_key_once,
                a_batch_that_fails_is_told_or_stood_in_for,
                a_batch_is_fenced_key_by_key,
                a_dropped_batch_is_taken_over,
                a_slow_batch_keeps_its_leases_and_a_dead_one_does_not,
                a_batch_is_checked_with_the_rule,
                a_load_overtaken_by_a_put_is_not_kept,
                a_load_overtaken_by_a_removal_is_not_kept,
                a_load_overtaken_by_an_invalidation_is_not_kept,
                a_load_overtaken_by_a_first_invalidation_is_not_kept,
                a_load_overtaken_by_a_clear_is_not_kept,
                no_load_lands_behind_a_clear,
                a_load_overtaken_by_a_count_is_not_kept,
                a_load_that_was_ended_is_not_kept,
                an_ended_load_leaves_what_is_there,
                a_load_is_not_overtaken_by_other_tags,
                a_load_overtaken_while_its_lease_is_renewed_is_not_kept,
                who_asks_after_an_invalidation_is_not_given_what_was_loading,
                a_cached_counter_needs_a_codec_with_digits,
                an_entry_says_when_it_was_stored_and_how_long_it_is_fresh,
                an_entry_is_seen_when_it_is_no_longer_fresh,
                a_counter_is_an_entry_without_a_time,
                an_entry_that_does_not_decode_is_not_there,
                a_value_says_how_long_it_is_kept_beyond_its_time,
                what_was_read_is_near,
                what_the_process_changed_is_not_near,
                what_others_change_is_not_near_for_long,
                what_has_no_tags_stays_near_when_one_is_invalidated,
                what_is_near_ends_at_its_time,
                a_counter_is_not_near,
                what_is_near_has_a_bound,
                many_at_once_are_not_near,
                what_is_near_is_never_older_than_the_own_write,
                nothing_is_near_after_the_end,
                a_refresh_is_never_given_what_was_there,
                a_refresh_that_waited_for_a_failure_tries_itself,
                who_waits_is_not_ended_by_unsubscribing_everything,
                what_is_not_kept_is_not_handed_to_who_asks_after_a_removal,
                who_waits_for_another_load_waits_only_as_long_as_it_said,
                what_a_batch_does_not_keep_is_not_handed_to_who_asks_after_a_removal,
            ]
        );
    };
}

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

const TEXTS: CacheSpec<str, String> = CacheSpec::new("texts");

fn texts(fleet: &Fleet) -> Cache<str, String> {
    fleet.cache(&TEXTS)
}

fn text(text: &str) -> String {
    text.to_owned()
}
