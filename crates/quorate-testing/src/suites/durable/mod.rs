//! What durable runs promise.

#![expect(
    clippy::disallowed_methods,
    reason = "a clause ends before its runtime does"
)]

mod families;
mod operating;
mod parking;
mod parts;
mod steps;
mod telling;
mod waiting;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use quorate::{
    Backoff, CancellationToken, DurableRuns, Failure, Fleet, RunFailure, RunHandle, RunState,
    Workflow,
};
use serde::de::DeserializeOwned;
use tokio::task::JoinHandle;

pub use self::families::*;
pub use self::operating::*;
pub use self::parking::*;
pub use self::parts::*;
pub use self::steps::*;
pub use self::telling::*;
pub use self::waiting::*;
use crate::harness::{PATIENCE, within};

/// Makes one test per promise of durable runs: `durable_suite!(module, harness)`.
#[macro_export]
macro_rules! durable_suite {
    ($module:ident, $harness:expr) => {
        $crate::__suite!(
            $module,
            $harness,
            $crate::suites::durable,
            [
                a_run_is_done_by_another_instance,
                a_run_that_is_started_again_is_the_same,
                a_step_that_is_over_is_not_done_again,
                a_step_in_flight_is_done_again_with_the_same_key,
                a_step_is_tried_as_often_as_it_may_be,
                a_pause_between_attempts_outlives_the_process,
                a_step_that_failed_for_good_may_be_caught,
                a_step_that_takes_too_long_has_failed,
                a_value_that_is_too_large_is_a_failure,
                a_run_that_gets_nowhere_has_failed,
                who_has_lost_a_run_writes_nothing_more,
                loops_are_as_long_as_they_are,
                names_that_begin_alike_are_not_one,
                what_is_joined_goes_on_once,
                scopes_do_not_know_of_each_other,
                a_list_is_done_some_at_a_time,
                what_was_first_is_first_again,
                a_signal_that_was_not_chosen_is_still_there,
                what_is_drawn_is_drawn_again,
                a_run_sleeps_without_its_process,
                a_run_waits_until_a_time,
                who_stops_hands_over_what_may_go_on,
                a_signal_that_comes_before_the_wait_is_kept,
                a_signal_wakes_a_run_that_waits,
                a_signal_is_waited_for_so_long_at_most,
                signals_are_taken_in_order_once_each,
                a_paused_run_begins_nothing_new,
                a_run_that_is_asked_to_stop_may_undo_what_it_did,
                a_run_that_waits_is_cancelled,
                what_was_cancelled_stays_cancelled,
                a_run_is_cancelled_before_it_begins,
                a_run_tells_how_far_it_is,
                what_is_over_is_told_nothing,
                a_run_waits_for_those_that_it_started,
                a_child_that_is_over_is_found,
                a_run_cannot_wait_for_itself,
                a_run_that_is_asked_to_stop_asks_its_children,
                what_was_done_is_undone_if_the_rest_fails,
                a_run_whose_code_has_changed_is_parked,
                a_parked_run_goes_on_with_the_right_code,
                a_step_with_another_input_parks_the_run,
                what_is_left_out_parks_the_run,
                a_mark_lets_old_runs_go_on_as_they_were,
                a_run_keeps_its_version,
                what_breaks_a_rule_is_refused,
                what_is_written_down_of_a_run_is_read,
                runs_are_listed_and_counted,
                a_run_that_failed_is_tried_again_from_an_earlier_place,
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

/// A number in, text out.
pub(super) const TEXT: Workflow<u32, String> = Workflow::new("text").backoff(AT_ONCE);

/// An instance that does runs.
pub(super) struct Working {
    pub(super) runs: DurableRuns,
    stop: CancellationToken,
    done: JoinHandle<quorate::Result<()>>,
}

impl Working {
    /// Tells it to stop, and waits until it has.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        within("the end of the worker", self.done)
            .await
            .unwrap()
            .unwrap();
    }
}

pub(super) fn work(runs: DurableRuns) -> Working {
    let stop = CancellationToken::new();
    let done = tokio::spawn(runs.work(stop.clone()));
    Working { runs, stop, done }
}

/// One that starts runs, and does none.
pub(super) fn starter(fleet: &Fleet) -> DurableRuns {
    fleet.durable().build().unwrap()
}

/// The result of a run that succeeds.
pub(super) async fn result<O: DeserializeOwned + Send + 'static>(run: &RunHandle<O>) -> O {
    ended(run).await.unwrap()
}

/// What became of a run.
pub(super) async fn ended<O>(run: &RunHandle<O>) -> Result<O, Failure>
where
    O: DeserializeOwned + Send + 'static,
{
    let ended = run.result().timeout(PATIENCE).await.unwrap();
    ended.map_err(RunFailure::into_failure)
}

/// Waits until a run is in such a state.
pub(super) async fn until<O>(run: &RunHandle<O>, wanted: impl Fn(&RunState) -> bool) -> RunState {
    let found = async {
        loop {
            let state = run.state().await.unwrap().expect("it is kept");
            if wanted(&state) {
                return state;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within("the state of the run", found).await
}

/// Waits until a run waits without its process.
pub(super) async fn until_it_waits<O>(run: &RunHandle<O>) {
    until(run, |state| matches!(state, RunState::Waiting(_))).await;
}

/// How often something happened.
#[derive(Clone, Default)]
pub(super) struct Count(Arc<AtomicU32>);

impl Count {
    pub(super) fn more(&self) -> u32 {
        self.0.fetch_add(1, Ordering::SeqCst) + 1
    }

    pub(super) fn get(&self) -> u32 {
        self.0.load(Ordering::SeqCst)
    }
}

/// What happened, in order.
#[derive(Clone, Default)]
pub(super) struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    /// Takes note of a step that is done.
    #[expect(clippy::unused_async, reason = "it stands for what would wait")]
    pub(super) async fn step(&self, what: impl Into<String>) -> Result<u32, Failure> {
        let mut told = self.0.lock().unwrap();
        told.push(what.into());
        Ok(u32::try_from(told.len()).expect("few"))
    }

    pub(super) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}
