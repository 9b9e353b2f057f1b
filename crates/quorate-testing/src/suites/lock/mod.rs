//! What every backend for locks promises.

mod election;
mod elsewhere;
mod holders;
mod lease;
mod named;
mod queue;
mod several;
mod shared;
mod work;

use std::time::Duration;

use quorate::{Acquire, Fleet, LockGuard};

pub use self::election::*;
pub use self::elsewhere::*;
pub use self::holders::*;
pub use self::lease::*;
pub use self::named::*;
pub use self::queue::*;
pub use self::several::*;
pub use self::shared::*;
pub use self::work::*;

/// Makes one test per clause of the lock contract: `lock_suite!(module, harness)`.
#[macro_export]
macro_rules! lock_suite {
    ($module:ident, $harness:expr) => {
        $crate::__suite!(
            $module,
            $harness,
            $crate::suites::lock,
            [
                a_free_lock_is_acquired_and_a_held_one_is_not,
                a_released_lock_can_be_acquired,
                a_lease_that_ends_frees_the_lock,
                tokens_grow_with_every_acquisition,
                an_extended_lease_ends_later,
                a_lease_may_be_made_shorter,
                others_can_neither_extend_nor_release,
                a_late_holder_can_neither_extend_nor_release,
                a_repeated_release_gives_the_same_answer,
                a_waiter_is_woken_by_a_release,
                a_waiter_takes_over_when_a_lease_ends,
                waiting_ends_in_time,
                renewal_keeps_the_lock_beyond_its_lease,
                a_lock_taken_away_is_lost,
                an_unrenewed_lease_is_lost_when_it_ends,
                a_dropped_guard_releases,
                nothing_remains_of_a_lock_that_was_given_back,
                a_lost_lock_cannot_be_detached,
                a_detached_guard_does_not_release,
                a_dropped_acquire_holds_nothing,
                one_of_many_contenders_wins,
                contenders_exclude_each_other,
                names_are_independent,
                names_with_braces_work,
                namespaces_are_apart,
                closing_gives_locks_back,
                waiters_are_served_in_the_order_of_asking,
                nobody_passes_who_waits,
                who_stops_waiting_leaves_the_queue,
                who_is_dropped_while_waiting_leaves_the_queue,
                a_waiter_that_dies_is_passed_over,
                a_waiter_that_dies_behind_others_is_not_counted,
                a_grant_that_nobody_confirms_ends,
                a_grant_after_waiting_has_its_whole_lease,
                asking_again_keeps_the_place_in_the_queue,
                an_old_grant_is_told_from_a_new_one,
                who_holds_and_who_waits_can_be_seen,
                what_is_taken_away_is_lost_at_once,
                what_is_taken_away_from_one_is_not_taken_from_the_next,
                who_waits_gets_what_is_taken_away,
                what_is_released_elsewhere_is_lost_at_once,
                what_is_released_elsewhere_before_the_guard_listens_is_lost,
                what_is_shortened_elsewhere_is_counted_on_for_no_longer,
                what_is_released_elsewhere_of_one_owner_leaves_the_rest,
                a_lease_made_short_is_renewed_in_time,
                one_owner_holds_a_lock_together,
                one_owner_is_not_kept_waiting_by_itself,
                only_a_mutex_is_reentrant,
                work_is_done_while_the_lock_is_held,
                work_is_not_begun_while_others_have_the_lock,
                work_is_dropped_when_the_lock_is_lost,
                work_that_ended_too_late_is_told_from_work_that_did_not,
                work_that_is_dropped_gives_the_lock_back,
                readers_share_and_a_writer_does_not,
                a_waiting_writer_comes_before_later_readers,
                so_many_permits_and_no_more,
                who_waits_for_many_permits_is_not_passed,
                permits_of_a_holder_that_is_gone_are_free,
                shared_holders_have_growing_tokens,
                kinds_of_one_name_are_apart,
                several_locks_are_held_together_or_not_at_all,
                several_locks_are_waited_for_together,
                several_locks_cannot_deadlock,
                losing_one_of_several_locks_is_told,
                names_of_several_locks_are_different,
                one_candidate_leads_at_a_time,
                observers_hear_of_each_leader,
                observers_notice_a_leader_that_is_gone,
                a_deposed_leader_is_told,
                what_is_taken_away_is_seen_by_who_watches,
                locks_of_every_kind_are_listed,
                locks_are_listed_page_by_page,
                a_lease_that_is_called_by_who_asks_is_acquired_once,
                a_dropped_request_does_not_give_back_what_is_asked_for_again,
                bad_input_is_refused_with_the_rule,
            ]
        );
    };
}

pub(super) const HOUR: Duration = Duration::from_secs(3600);
/// Long enough not to end by itself while a test runs.
pub(super) const LONG: Duration = Duration::from_secs(60);
/// Short enough to wait for.
pub(super) const SHORT: Duration = Duration::from_millis(150);

pub(super) async fn acquired(fleet: &Fleet, name: &str, lease: Duration) -> LockGuard {
    match fleet.lock(name).try_acquire().lease(lease).await.unwrap() {
        Acquire::Acquired(guard) => guard,
        other => panic!("the lock should be free: {other:?}"),
    }
}

pub(super) async fn held(fleet: &Fleet, name: &str) -> Duration {
    match fleet.lock(name).try_acquire().await.unwrap() {
        Acquire::Held { remaining, .. } => remaining,
        other => panic!("the lock should be held: {other:?}"),
    }
}
