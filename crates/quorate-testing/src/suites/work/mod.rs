//! What queues promise to who pushes jobs, and to who works.

#![expect(
    clippy::disallowed_methods,
    reason = "a clause ends before its runtime does"
)]

mod asking;
mod batches;
mod claiming;
mod failing;
mod in_process;
mod lagging;
mod leaving;
mod limits;
mod listening;
mod operating;
mod running;
mod scheduling;
mod stopping;
mod waiting;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use quorate::queue::{Each, Together};
use quorate::{Backoff, CancellationToken, Fleet, Job, JobError, Queue, QueueSpec, Worker};
use tokio::task::JoinHandle;

pub use self::asking::*;
pub use self::batches::*;
pub use self::claiming::*;
pub use self::failing::*;
pub use self::in_process::*;
pub use self::lagging::*;
pub use self::leaving::*;
pub use self::limits::*;
pub use self::listening::*;
pub use self::operating::*;
pub use self::running::*;
pub use self::scheduling::*;
pub use self::stopping::*;
pub use self::waiting::*;
use crate::harness::within;

/// Makes one test per promise to who pushes jobs, and to who works: `work_suite!(module, harness)`.
#[macro_export]
macro_rules! work_suite {
    ($module:ident, $harness:expr) => {
        $crate::__suite!(
            $module,
            $harness,
            $crate::suites::work,
            [
                a_job_is_done_by_another_instance,
                jobs_are_pushed_together_or_not_at_all,
                what_is_said_at_the_push_comes_first,
                pushes_with_one_key_are_one_job,
                bad_options_are_refused_with_the_rule,
                a_job_knows_what_it_is,
                at_most_so_many_jobs_run_at_a_time,
                an_idle_worker_is_woken,
                a_job_may_take_longer_than_its_lease,
                the_next_attempt_goes_on_where_the_last_one_stopped,
                a_declined_job_goes_to_another_instance,
                a_paused_queue_waits,
                jobs_are_run_together,
                of_a_batch_each_job_is_settled_by_itself,
                a_batch_with_results_that_do_not_fit_has_failed,
                a_batch_does_not_wait_for_long,
                jobs_are_claimed_by_hand,
                a_claim_waits_for_a_job,
                a_claimed_job_is_settled_as_a_handler_would,
                a_claimed_job_leaves_others_when_it_is_settled,
                a_claimed_job_is_renewed_or_lost,
                a_claimed_job_takes_notes_by_its_receipt,
                an_operator_sees_what_was_pushed_and_what_became_of_it,
                a_watched_job_tells_what_becomes_of_it,
                what_does_not_decode_is_seen_all_the_same,
                the_jobs_of_a_place_come_page_by_page,
                a_dead_job_is_put_right_and_redriven,
                an_operator_takes_away_what_nobody_has,
                queues_are_found_and_counted_whatever_their_types,
                a_sound_queue_has_no_strays,
                operators_are_told_which_rule_they_break,
                a_failed_job_is_tried_again,
                a_job_that_always_fails_is_dead,
                an_aborted_job_is_dead_at_once,
                a_deferred_job_has_made_no_attempt,
                a_panic_is_a_failed_attempt,
                a_job_that_takes_too_long_has_failed,
                an_input_that_does_not_decode_is_dead,
                a_result_that_does_not_fit_is_dead,
                a_worker_whose_lease_has_ended_settles_nothing,
                a_result_is_waited_for_by_many,
                waiting_for_a_result_ends_in_time,
                a_job_that_is_not_known_is_forgotten,
                a_job_that_failed_is_an_error_to_who_wants_its_result,
                a_waiting_job_is_cancelled_by_its_producer,
                a_running_job_is_told_that_it_is_cancelled,
                a_handler_that_does_not_stop_is_dropped,
                a_cancelled_job_may_succeed_all_the_same,
                a_stopping_worker_lets_its_jobs_end,
                a_stopping_worker_hands_back_what_does_not_end,
                a_dropped_worker_stops,
                a_closing_fleet_hands_its_jobs_back,
                limits_hold_over_all_workers,
                limits_of_groups_hold_over_all_workers,
                limits_of_a_worker_are_refused_with_the_rule,
                what_a_handler_leaves_is_done_together_with_its_job,
                a_failed_attempt_leaves_nothing,
                a_group_ends_though_a_job_of_it_dies,
                a_job_that_leaves_nothing_is_a_group_of_one,
                a_group_that_nobody_waits_for_is_told,
                what_cannot_be_left_is_refused,
                many_groups_go_on_at_once,
                each_time_of_a_schedule_is_one_job,
                missed_times_are_made_up_for,
                a_new_schedule_makes_up_for_nothing,
                jobs_of_a_schedule_have_options,
                a_schedule_that_cannot_run_is_refused,
                what_happens_is_heard_on_every_instance,
                what_was_missed_is_told_to_who_listens,
                who_takes_no_events_misses_some,
                who_stops_listening_is_let_go,
                a_queue_that_is_behind_says_so_until_it_has_caught_up,
                a_worker_is_told_that_its_queue_is_behind,
                a_backlog_that_nobody_can_watch_is_refused,
                a_job_is_done_in_the_process_that_pushed_it,
                what_cannot_be_done_here_is_done_elsewhere,
                a_worker_with_limits_takes_nothing_at_once,
                a_dropped_push_does_not_keep_a_job_from_being_done,
                what_is_begun_here_is_no_more_than_there_is_room_for,
                what_is_begun_here_is_a_job_like_any_other,
            ]
        );
    };
}

pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const HOUR: Duration = Duration::from_secs(3600);

/// Hardly any time at all between attempts.
pub(super) const AT_ONCE: Backoff = Backoff {
    initial: Duration::from_millis(1),
    factor: 1.0,
    max: Duration::from_millis(1),
    jitter: 0.0,
};

/// Numbers, of which text comes.
pub(super) const NUMBERS: QueueSpec<u32, String> = QueueSpec::new("numbers").backoff(AT_ONCE);

/// A worker that is running.
pub(super) struct Running {
    pub(super) stop: CancellationToken,
    done: JoinHandle<quorate::Result<()>>,
}

impl Running {
    /// Tells it to stop, and waits until it has.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        within("the end of the worker", self.done)
            .await
            .unwrap()
            .unwrap();
    }

    /// Drops its future where it stands.
    pub(super) fn drop(self) {
        self.done.abort();
    }

    /// Waits until it ends by itself.
    pub(super) async fn ended(self) {
        within("the end of the worker", self.done)
            .await
            .unwrap()
            .unwrap();
    }
}

pub(super) fn run<I, O, H, F>(worker: Worker<I, O, Each<H>>) -> Running
where
    I: Send + Sync + 'static,
    O: Send + Sync + 'static,
    H: Fn(Job<I>) -> F + Send + Sync + 'static,
    F: Future<Output = Result<O, JobError>> + Send + 'static,
{
    let stop = CancellationToken::new();
    let done = tokio::spawn(worker.run(stop.clone()));
    Running { stop, done }
}

/// The same for a handler that takes many jobs together.
pub(super) fn run_together<I, O, H, F>(worker: Worker<I, O, Together<H>>) -> Running
where
    I: Send + Sync + 'static,
    O: Send + Sync + 'static,
    H: Fn(Vec<Job<I>>) -> F + Send + Sync + 'static,
    F: Future<Output = Vec<Result<O, JobError>>> + Send + 'static,
{
    let stop = CancellationToken::new();
    let done = tokio::spawn(worker.run(stop.clone()));
    Running { stop, done }
}

pub(super) fn numbers(fleet: &Fleet) -> Queue<u32, String> {
    fleet.queue(&NUMBERS)
}

/// Says what it got.
pub(super) async fn say(job: Job<u32>) -> Result<String, JobError> {
    Ok(format!("got {}", job.input))
}

/// How often something happened.
#[derive(Clone, Default)]
pub(super) struct Count(Arc<AtomicU32>);

impl Count {
    pub(super) fn more(&self) -> u32 {
        self.0.fetch_add(1, Ordering::SeqCst) + 1
    }

    pub(super) fn less(&self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }

    pub(super) fn get(&self) -> u32 {
        self.0.load(Ordering::SeqCst)
    }
}
