//! What every backend for queues promises.

mod belonging;
mod bringing;
mod concluding;
mod delivering;
mod ending;
mod firing;
mod groups;
mod journaling;
mod limiting;
mod looking;
mod messaging;
mod noting;
mod operating;
mod settling;
mod starting;
mod telling;
mod unique;
mod watching;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate::queue::{
    Ask, Delivered, JobEnd, JobId, JobState, NewJob, Pushed, QueueLimits, QueuePort, Settled,
    Settlement, Turn, WorkerId,
};
use quorate::{CallOptions, Key};

pub use self::belonging::*;
pub use self::bringing::*;
pub use self::concluding::*;
pub use self::delivering::*;
pub use self::ending::*;
pub use self::firing::*;
pub use self::journaling::*;
pub use self::limiting::*;
pub use self::looking::*;
pub use self::messaging::*;
pub use self::noting::*;
pub use self::operating::*;
pub use self::settling::*;
pub use self::starting::*;
pub use self::telling::*;
pub use self::unique::*;
pub use self::watching::*;
use crate::harness::Home;

/// Makes one test per clause of the contract of queues: `queue_suite!(module, harness)`.
#[macro_export]
macro_rules! queue_suite {
    ($module:ident, $harness:expr) => {
        $crate::__suite!(
            $module,
            $harness,
            $crate::suites::queue,
            [
                jobs_are_delivered_oldest_first,
                a_job_is_delivered_as_it_was_pushed,
                groups_take_turns,
                an_urgent_job_has_a_head_start,
                a_delayed_job_is_delivered_when_its_time_has_come,
                a_paused_queue_delivers_nothing,
                queues_are_apart,
                a_repeated_push_changes_nothing,
                a_repeated_turn_gets_the_answer_of_the_first,
                an_overtaken_turn_does_nothing,
                of_many_workers_each_job_has_one,
                a_delivery_is_settled_once,
                a_delivery_is_settled_by_who_has_it,
                defect_9_a_lease_that_runs_out_counts_and_its_worker_settles_nothing,
                defect_10_a_job_that_never_settles_is_dead_after_its_attempts,
                a_failed_job_is_tried_again_after_a_while,
                what_is_deferred_is_no_attempt,
                a_renewed_lease_lasts,
                lease_numbers_grow,
                a_batch_is_settled_together,
                what_became_of_a_job_is_kept_as_long_as_asked,
                what_is_not_kept_is_forgotten_at_once,
                a_waiting_job_is_cancelled,
                a_running_job_is_asked_to_stop,
                what_nobody_began_in_time_has_expired,
                a_dead_job_is_kept,
                bad_input_is_refused_with_the_rule,
                one_idle_worker_is_woken,
                who_leaves_something_wakes_the_next,
                who_is_idle_knows_when_to_come_again,
                an_end_is_announced_to_who_waits_for_it,
                only_a_delivery_that_counts_notes_something,
                a_checkpoint_comes_with_the_next_delivery,
                progress_is_announced_to_who_waits,
                what_is_too_long_is_not_noted,
                a_job_is_shown_as_it_is,
                the_last_lines_of_a_log_are_kept,
                jobs_are_listed_by_place,
                a_long_list_has_pages,
                a_queue_is_counted,
                groups_and_what_is_to_be_brought_are_counted,
                queues_are_found_by_name,
                a_list_that_cannot_be_given_is_refused,
                a_dead_job_is_redriven,
                dead_jobs_are_redriven_in_bulk,
                a_redriven_job_takes_its_key_if_that_is_free,
                a_job_is_edited_before_it_is_delivered,
                a_job_that_nobody_has_is_removed,
                a_place_is_purged,
                what_is_kept_no_longer_is_not_purged,
                what_is_too_much_for_operators_is_refused,
                of_many_producers_one_queues_a_unique_job,
                a_unique_key_is_free_when_its_job_has_ended,
                an_idempotency_key_lasts_as_long_as_the_result,
                a_throttled_key_lasts_its_time,
                a_debounced_job_is_done_as_was_said_last,
                a_debounced_job_is_queued_behind_an_active_one,
                unique_jobs_of_one_batch_are_one,
                a_job_that_leaves_work_begins_a_group,
                a_group_is_over_with_its_last_job_and_kept_for_a_while,
                what_is_brought_twice_changes_nothing,
                an_effect_is_handed_out_until_it_was_performed,
                a_member_is_known_until_its_group_was_told,
                a_member_counts_however_it_ends,
                a_follower_is_queued_when_its_gate_opens,
                a_group_has_the_value_that_its_jobs_said,
                a_job_that_does_not_succeed_leaves_nothing,
                a_redriven_job_belongs_to_no_group,
                the_end_of_a_group_is_announced_to_who_waits_for_it,
                a_group_that_nobody_waits_for_is_told_to_a_worker,
                work_that_breaks_a_rule_is_refused,
                no_more_are_active_than_the_limit_says,
                what_ends_makes_room_for_the_next,
                a_lease_that_runs_out_makes_room,
                of_a_group_no_more_are_active_than_its_limit_says,
                what_is_limited_keeps_its_order,
                a_limited_job_is_seen_and_cancelled_as_any_that_waits,
                a_page_of_limited_jobs_has_no_others,
                jobs_are_begun_as_often_as_the_rate_says,
                jobs_of_a_group_are_begun_as_often_as_its_rate_says,
                limits_that_are_lifted_hold_nothing_back,
                a_repeated_turn_counts_once_for_the_limits,
                limits_that_cannot_be_kept_are_refused,
                many_jobs_are_left_together,
                groups_and_what_is_to_be_brought_are_no_strays,
                a_moment_is_fired_once,
                a_moment_that_has_not_come_is_not_fired,
                what_is_fired_is_pushed_as_it_says,
                schedules_are_listed_and_forgotten,
                a_moment_that_cannot_be_is_refused,
                who_listens_is_told_what_becomes_of_jobs,
                what_happens_in_one_step_is_told_together,
                who_listens_is_told_what_is_done_to_jobs,
                who_listens_is_told_that_a_group_is_over,
                nothing_is_told_when_nobody_listens,
                a_job_is_begun_where_it_is_pushed,
                what_was_begun_where_it_was_pushed_comes_again,
                what_cannot_be_begun_at_once_is_pushed,
                a_job_that_is_begun_where_it_is_pushed_is_unique,
                what_is_appended_is_read_in_its_order,
                a_repeated_append_is_recognised,
                an_append_says_what_is_before_it,
                only_a_delivery_that_counts_appends,
                who_has_a_journal_is_delivered_with_a_checkpoint,
                what_is_appended_is_progress,
                a_journal_is_kept_as_long_as_what_became_of_its_job,
                a_journal_goes_with_a_job_that_is_removed,
                a_long_journal_is_read_in_pages,
                what_no_journal_takes_is_refused,
                a_message_is_in_the_inbox_and_announced_to_who_has_the_job,
                a_message_wakes_a_job_that_waits,
                a_message_before_the_wait_is_not_missed,
                a_job_that_waits_is_due_in_time,
                a_message_does_not_begin_a_job,
                a_message_for_a_job_that_is_over_is_not_kept,
                of_messages_and_waits_at_once_none_is_missed,
                who_has_a_job_ends_it_as_cancelled,
                who_was_cancelled_does_not_wait,
                a_dead_job_is_rewound,
            ]
        );
    };
}

pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const MINUTE: Duration = Duration::from_secs(60);
pub(super) const HOUR: Duration = Duration::from_secs(3600);

/// One queue of a home.
pub(super) struct Queue {
    pub(super) port: Arc<dyn QueuePort>,
    pub(super) key: Key,
}

impl Queue {
    pub(super) fn new(home: &Home) -> Self {
        Self::named(home, "mail")
    }

    pub(super) fn named(home: &Home, name: &str) -> Self {
        Self {
            port: home.fleet().queue_port(),
            key: Key::new(home.fleet().namespace(), name).unwrap(),
        }
    }

    pub(super) async fn push(&self, jobs: &[NewJob]) -> Vec<Pushed> {
        self.port.push(&self.key, jobs, options()).await.unwrap()
    }

    pub(super) async fn turn(&self, ask: &Ask) -> Turn {
        self.port.turn(&self.key, ask, options()).await.unwrap()
    }

    /// What a worker gets in this turn, which wants so many and settles nothing.
    pub(super) async fn take(&self, worker: WorkerId, number: u64, want: usize) -> Vec<Delivered> {
        self.turn(&ask(worker, number, want)).await.delivered
    }

    /// Settles a delivery in this turn, which wants nothing; whether it counted.
    pub(super) async fn settle(
        &self,
        worker: WorkerId,
        number: u64,
        it: &Delivered,
        settlement: Settlement,
    ) -> bool {
        let settled = vec![settled(it, settlement)];
        let ask = Ask {
            settled,
            ..ask(worker, number, 0)
        };
        self.turn(&ask).await.settled == [true]
    }

    pub(super) async fn look(&self, id: JobId) -> Option<JobState> {
        let state = self.port.look(&self.key, id, false, options());
        state.await.unwrap()
    }

    pub(super) async fn cancel(&self, id: JobId) -> Option<JobState> {
        self.port.cancel(&self.key, id, options()).await.unwrap()
    }

    pub(super) async fn pause(&self, paused: bool) {
        let done = self.port.pause(&self.key, paused, options());
        done.await.unwrap();
    }
}

pub(in crate::suites) fn options() -> CallOptions {
    CallOptions::until(tokio::time::Instant::now() + Duration::from_secs(5))
}

/// A job that is delivered twice at most, and of which is kept for an hour what became of it.
pub(super) fn job(input: &'static str) -> NewJob {
    NewJob {
        id: JobId::random(),
        input: Bytes::from_static(input.as_bytes()),
        delay: Duration::ZERO,
        priority: 0,
        group: String::new(),
        attempts: 2,
        expires: None,
        keep: HOUR,
        member_of: None,
        unique: None,
    }
}

/// Of a worker that has a minute for each job.
pub(super) fn ask(worker: WorkerId, number: u64, want: usize) -> Ask {
    Ask {
        worker,
        number,
        settled: Vec::new(),
        want,
        lease: MINUTE,
        takes_groups: false,
        limits: QueueLimits::NONE,
    }
}

pub(super) fn settled(it: &Delivered, settlement: Settlement) -> Settled {
    let (id, lease) = (it.id, it.lease);
    Settled {
        id,
        lease,
        settlement,
    }
}

pub(super) fn succeeded() -> Settlement {
    Settlement::Succeeded {
        result: Bytes::from_static(b"sent"),
        keep: HOUR,
        work: None,
    }
}

pub(super) fn failed(after: Duration) -> Settlement {
    let error = "no such mailbox".to_owned();
    Settlement::Failed { after, error }
}

pub(super) fn ended(end: JobEnd) -> Option<JobState> {
    Some(JobState::Ended(end))
}

pub(super) fn inputs(delivered: &[Delivered]) -> Vec<&str> {
    let inputs = delivered.iter().map(|it| std::str::from_utf8(&it.input));
    inputs.collect::<Result<_, _>>().unwrap()
}
