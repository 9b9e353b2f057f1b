//! What every backend for limits promises.

mod calls;
mod policies;
mod slots;

use std::time::Duration;

use quorate::limit::Receipt;
use quorate::{Decision, Limiter, Policy};

pub use self::calls::*;
pub use self::policies::*;
pub use self::slots::*;

/// Makes one test per clause of the contract of limits: `limit_suite!(module, harness)`.
#[macro_export]
macro_rules! limit_suite {
    ($module:ident, $harness:expr) => {
        $crate::__suite!(
            $module,
            $harness,
            $crate::suites::limit,
            [
                a_limit_allows_so_many_and_no_more,
                a_refusal_says_when_it_would_be_allowed,
                what_is_refused_is_not_counted,
                a_fixed_window_begins_with_its_first_request,
                a_log_counts_each_request_for_its_own_window,
                a_long_log_forgets_what_has_left_it,
                a_counter_weighs_the_window_before,
                a_bucket_fills_at_its_rate_up_to_its_burst,
                costs_are_counted,
                checking_changes_nothing,
                usage_shows_each_policy,
                several_policies_count_all_or_none,
                a_refund_takes_back_what_was_counted,
                a_refund_gives_nothing_that_no_longer_counts,
                a_refund_of_what_is_over_leaves_the_rest,
                a_refund_of_one_window_leaves_the_others,
                a_reset_forgets,
                a_blocked_key_is_refused_and_keeps_its_count,
                a_refusal_blocks_its_key_if_that_is_asked,
                a_refused_batch_blocks_nobody,
                limits_may_differ_from_call_to_call,
                a_changed_limit_goes_on_with_what_was_counted,
                keys_actions_limiters_and_namespaces_are_apart,
                a_shadow_refuses_nobody,
                one_of_many_requests_at_once_is_first,
                several_requests_are_allowed_together_or_not_at_all,
                what_is_forgotten_leaves_nothing,
                so_many_enter_and_no_more,
                a_slot_given_back_is_free,
                the_slot_of_an_ended_lease_is_free,
                a_permit_renews_its_lease,
                a_dropped_permit_gives_its_slot_back,
                a_dropped_entry_takes_no_slot,
                closing_gives_slots_back,
                many_at_once_share_the_slots,
                bad_input_is_refused_with_the_rule,
            ]
        );
    };
}

pub(super) const HOUR: Duration = Duration::from_secs(3600);
pub(super) const SECOND: Duration = Duration::from_secs(1);

/// One of each algorithm, allowing 5.
pub(super) fn each() -> [(&'static str, Policy); 4] {
    [
        ("fixed", Policy::fixed_window(5, HOUR * 8)),
        ("counter", Policy::sliding_counter(5, HOUR * 8)),
        ("log", Policy::sliding_log(5, HOUR * 8)),
        ("bucket", Policy::token_bucket(1, HOUR * 8).burst(5)),
    ]
}

pub(super) async fn remaining(limiter: &Limiter, key: &str) -> u64 {
    match limiter.consume(key).await.unwrap() {
        Decision::Allow { remaining, .. } => remaining,
        denied => panic!("it should be allowed: {denied:?}"),
    }
}

pub(super) async fn retry_after(limiter: &Limiter, key: &str) -> Duration {
    match limiter.consume(key).await.unwrap() {
        Decision::Deny { retry_after, .. } => retry_after,
        allowed => panic!("it should be refused: {allowed:?}"),
    }
}

pub(super) async fn left(limiter: &Limiter, key: &str) -> u64 {
    let usage = limiter.usage(key).await.unwrap();
    let each: Vec<_> = usage.policies().map(|policy| policy.remaining).collect();
    each.into_iter().min().unwrap_or(0)
}

pub(super) async fn receipt(limiter: &Limiter, key: &str, cost: u64) -> Receipt {
    let decision = limiter.consume(key).cost(cost).await.unwrap();
    decision.into_receipt().expect("it should be counted")
}
