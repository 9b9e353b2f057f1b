//! What every backend for executions promises.

mod beginning;
mod bounds;
mod ending;
mod results;
mod tasks;

use std::time::Duration;

use quorate::execution::TaskBegun;
use quorate::{Executions, Fleet};

pub use self::beginning::*;
pub use self::bounds::*;
pub use self::ending::*;
pub use self::results::*;
pub use self::tasks::*;

/// Makes one test per clause of the contract of executions: `execution_suite!(module, harness)`.
#[macro_export]
macro_rules! execution_suite {
    ($module:ident, $harness:expr) => {
        $crate::__suite!(
            $module,
            $harness,
            $crate::suites::execution,
            [
                an_execution_is_in_progress_for_every_instance,
                defect_20_an_execution_that_is_begun_twice_goes_on_as_it_was,
                of_many_who_begin_an_execution_one_does,
                executions_are_apart,
                a_task_is_begun_by_one_at_a_time,
                of_many_who_begin_a_task_one_does,
                of_beginning_and_committing_at_once_no_task_is_begun_after_its_result,
                a_task_of_no_execution_is_unknown,
                defect_19_a_task_that_is_abandoned_is_begun_again,
                an_attempt_that_is_over_abandons_nothing,
                what_is_done_is_not_abandoned,
                a_task_whose_lease_is_over_is_begun_again,
                a_task_without_a_lease_waits_for_who_has_it,
                defect_18_ids_of_tasks_are_compared_as_wholes,
                defect_18_loops_of_any_length_come_to_their_end,
                a_result_ends_its_task_in_one_step,
                the_first_result_of_a_task_stays,
                of_many_who_commit_one_result_stays,
                what_was_not_begun_may_be_committed,
                results_are_of_any_type,
                results_are_read_together,
                a_result_of_another_type_is_shown_with_where_it_is,
                what_was_disposed_of_is_forgotten,
                an_id_is_remembered_when_its_execution_is_over,
                an_id_that_is_not_remembered_begins_again,
                an_execution_lives_as_long_as_it_makes_progress,
                looking_at_an_execution_is_no_progress,
                an_execution_keeps_the_time_to_live_it_began_with,
                an_execution_that_ended_begins_anew,
                an_execution_without_a_time_to_live_stays,
                bad_input_is_refused_with_the_rule,
                a_result_that_is_too_large_is_refused,
                results_that_are_too_much_together_are_refused,
                more_tasks_than_there_may_be_are_refused,
                a_closed_fleet_refuses,
            ]
        );
    };
}

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// The execution that most clauses are about.
const ORDER: &str = "order-42";

fn checkouts(fleet: &Fleet) -> Executions {
    fleet.executions("checkout")
}

/// Executions of which one has begun.
async fn begun(fleet: &Fleet) -> Executions {
    let checkouts = checkouts(fleet);
    checkouts.begin(ORDER).await.unwrap();
    checkouts
}

const FIRST: TaskBegun = TaskBegun::Begun { attempt: 1 };
const SECOND_TIME: TaskBegun = TaskBegun::Begun { attempt: 2 };
