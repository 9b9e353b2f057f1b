//! When executions end.

use std::time::Duration;

use quorate::execution::{Begun, Committed, TaskBegun};

use super::{FIRST, HOUR, MINUTE, ORDER, begun, checkouts};
use crate::harness::Home;

/// With its tasks and their results.
pub async fn what_was_disposed_of_is_forgotten(home: Home) {
    let checkouts = begun(home.fleet()).await;
    checkouts.begin_task(ORDER, "charge").await.unwrap();
    checkouts.commit_result(ORDER, "stock", &1).await.unwrap();
    assert!(checkouts.dispose(ORDER).await.unwrap());
    assert!(!checkouts.dispose(ORDER).await.unwrap());
    assert!(!checkouts.is_in_progress(ORDER).await.unwrap());
    let in_progress = checkouts.is_task_in_progress(ORDER, "charge").await;
    assert!(!in_progress.unwrap());
    let result = checkouts.result::<u32>(ORDER, "stock").await.unwrap();
    assert_eq!(result, None);
    assert!(checkouts.results(ORDER).await.unwrap().is_empty());
    let begun = checkouts.begin_task(ORDER, "charge").await.unwrap();
    assert_eq!(begun, TaskBegun::Unknown);
    let committed = checkouts.commit_result(ORDER, "charge", &1).await.unwrap();
    assert_eq!(committed, Committed::Unknown);
    assert!(!checkouts.abandon_task(ORDER, "charge").await.unwrap());
}

/// For an hour, or as long as the handle says; then it begins another, of which nothing is done.
pub async fn an_id_is_remembered_when_its_execution_is_over(home: Home) {
    let checkouts = begun(home.fleet()).await;
    let brief = home.fleet().executions("brief").remember(MINUTE);
    brief.begin(ORDER).await.unwrap();
    for executions in [&checkouts, &brief] {
        executions.commit_result(ORDER, "a", &1).await.unwrap();
        assert!(executions.dispose(ORDER).await.unwrap());
        assert_eq!(executions.begin(ORDER).await.unwrap(), Begun::Over);
        assert!(!executions.is_in_progress(ORDER).await.unwrap());
    }
    home.elapse(MINUTE).await;
    assert_eq!(checkouts.begin(ORDER).await.unwrap(), Begun::Over);
    assert_eq!(brief.begin(ORDER).await.unwrap(), Begun::New);
    home.elapse(HOUR - MINUTE).await;
    assert_eq!(checkouts.begin(ORDER).await.unwrap(), Begun::New);
    for executions in [&checkouts, &brief] {
        assert_eq!(executions.begin_task(ORDER, "a").await.unwrap(), FIRST);
    }
}

/// At once.
pub async fn an_id_that_is_not_remembered_begins_again(home: Home) {
    let checkouts = begun(home.fleet()).await.remember(Duration::ZERO);
    checkouts.commit_result(ORDER, "a", &1).await.unwrap();
    assert!(checkouts.dispose(ORDER).await.unwrap());
    assert!(!checkouts.dispose(ORDER).await.unwrap());
    assert_eq!(checkouts.begin(ORDER).await.unwrap(), Begun::New);
    assert!(checkouts.results(ORDER).await.unwrap().is_empty());
    assert_eq!(checkouts.begin_task(ORDER, "a").await.unwrap(), FIRST);
}

/// Each of the three calls that make some counts, and keeps the whole of it.
pub async fn an_execution_lives_as_long_as_it_makes_progress(home: Home) {
    let checkouts = checkouts(home.fleet()).ttl(HOUR);
    checkouts.begin(ORDER).await.unwrap();
    checkouts.commit_result(ORDER, "first", &1).await.unwrap();
    for round in 0..6 {
        home.elapse(MINUTE * 50).await;
        match round % 3 {
            0 => assert_eq!(checkouts.begin(ORDER).await.unwrap(), Begun::InProgress),
            1 => drop(checkouts.begin_task(ORDER, "a").await.unwrap()),
            _ => drop(checkouts.commit_result(ORDER, "b", &2).await.unwrap()),
        }
    }
    home.elapse(MINUTE * 50).await;
    assert!(checkouts.is_in_progress(ORDER).await.unwrap());
    assert!(checkouts.is_task_in_progress(ORDER, "a").await.unwrap());
    let results = checkouts.results(ORDER).await.unwrap();
    assert!(results.tasks().eq(["b", "first"]));
    home.elapse(MINUTE * 10).await;
    assert!(!checkouts.is_in_progress(ORDER).await.unwrap());
    assert!(checkouts.results(ORDER).await.unwrap().is_empty());
    let begun = checkouts.begin_task(ORDER, "c").await.unwrap();
    assert_eq!(begun, TaskBegun::Unknown);
}

/// Nor is giving a task up.
pub async fn looking_at_an_execution_is_no_progress(home: Home) {
    let checkouts = checkouts(home.fleet()).ttl(HOUR);
    checkouts.begin(ORDER).await.unwrap();
    checkouts.begin_task(ORDER, "a").await.unwrap();
    home.elapse(MINUTE * 50).await;
    assert!(checkouts.is_in_progress(ORDER).await.unwrap());
    assert!(checkouts.is_task_in_progress(ORDER, "a").await.unwrap());
    assert_eq!(checkouts.result::<()>(ORDER, "a").await.unwrap(), None);
    assert!(checkouts.results(ORDER).await.unwrap().is_empty());
    assert!(checkouts.abandon_task(ORDER, "a").await.unwrap());
    home.elapse(MINUTE * 10).await;
    assert!(!checkouts.is_in_progress(ORDER).await.unwrap());
}

/// Whatever the handle that makes progress says.
pub async fn an_execution_keeps_the_time_to_live_it_began_with(home: Home) {
    let checkouts = checkouts(home.fleet());
    checkouts.clone().ttl(HOUR).begin(ORDER).await.unwrap();
    home.elapse(MINUTE * 50).await;
    for other in [checkouts.clone(), checkouts.clone().ttl(MINUTE)] {
        assert_eq!(other.begin(ORDER).await.unwrap(), Begun::InProgress);
        other.begin_task(ORDER, "a").await.unwrap();
    }
    home.elapse(MINUTE * 50).await;
    assert!(checkouts.is_in_progress(ORDER).await.unwrap());
    home.elapse(MINUTE * 10).await;
    assert!(!checkouts.is_in_progress(ORDER).await.unwrap());
}

/// With nothing of what was before.
pub async fn an_execution_that_ended_begins_anew(home: Home) {
    let checkouts = checkouts(home.fleet()).ttl(MINUTE);
    checkouts.begin(ORDER).await.unwrap();
    checkouts.commit_result(ORDER, "a", &1).await.unwrap();
    checkouts.begin_task(ORDER, "b").await.unwrap();
    home.elapse(MINUTE).await;
    assert_eq!(checkouts.begin(ORDER).await.unwrap(), Begun::New);
    assert!(checkouts.results(ORDER).await.unwrap().is_empty());
    for task in ["a", "b"] {
        assert_eq!(checkouts.begin_task(ORDER, task).await.unwrap(), FIRST);
    }
}

/// Until it is disposed of.
pub async fn an_execution_without_a_time_to_live_stays(home: Home) {
    let checkouts = begun(home.fleet()).await;
    checkouts.commit_result(ORDER, "a", &1).await.unwrap();
    home.elapse(HOUR * 24 * 365).await;
    assert!(checkouts.is_in_progress(ORDER).await.unwrap());
    let result = checkouts.result::<u32>(ORDER, "a").await.unwrap();
    assert_eq!(result, Some(1));
    assert!(checkouts.dispose(ORDER).await.unwrap());
}
