//! What is too much, or no good.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use quorate::execution::{Committed, MAX_RESULT_BYTES, MAX_RESULTS_BYTES, MAX_TASKS, TaskBegun};
use quorate::{ErrorKind, Outcome};

use super::{ORDER, begun, checkouts};
use crate::harness::Home;

/// Before anything is touched.
pub async fn bad_input_is_refused_with_the_rule(home: Home) {
    let checkouts = begun(home.fleet()).await;
    let (long, longer) = ("x".repeat(257), "x".repeat(513));
    let unnamed = home.fleet().executions("a:b");
    let (never, ever) = (Duration::ZERO, Duration::MAX);
    let task = || checkouts.begin_task(ORDER, "a");
    let unwritten = BTreeMap::from([((1, 2), 3)]);
    for (error, says) in [
        (
            checkouts.begin("").await.unwrap_err(),
            "execution must not be empty",
        ),
        (
            checkouts.begin(&long).await.unwrap_err(),
            "execution must be at most 256 bytes",
        ),
        (
            checkouts.is_in_progress("a\n").await.unwrap_err(),
            "execution must not contain control characters",
        ),
        (
            checkouts.begin_task(ORDER, "").await.unwrap_err(),
            "task must not be empty",
        ),
        (
            checkouts.abandon_task(ORDER, &longer).await.unwrap_err(),
            "task must be at most 512 bytes",
        ),
        (
            checkouts.commit_result(ORDER, "a\0", &1).await.unwrap_err(),
            "task must not contain control characters",
        ),
        (
            checkouts.result::<u32>(ORDER, "").await.unwrap_err(),
            "task must not be empty",
        ),
        (
            unnamed.begin(ORDER).await.unwrap_err(),
            "name may contain only letters, digits and `_ . / -`",
        ),
        (
            checkouts.clone().ttl(never).begin("b").await.unwrap_err(),
            "ttl must be at least 1 ms",
        ),
        (
            checkouts.clone().ttl(ever).begin("b").await.unwrap_err(),
            "ttl must be at most 100 years",
        ),
        (
            task().lease(never).await.unwrap_err(),
            "lease must be at least 1 ms",
        ),
        (
            task().lease(ever).await.unwrap_err(),
            "lease must be at most 100 years",
        ),
        (
            checkouts
                .clone()
                .remember(ever)
                .dispose(ORDER)
                .await
                .unwrap_err(),
            "remember must be at most 100 years",
        ),
    ] {
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(error.outcome(), Outcome::NotApplied);
        assert_eq!(error.message(), Some(says));
    }
    let error = checkouts.commit_result(ORDER, "a", &unwritten).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Encode);
    assert!(!checkouts.is_in_progress("b").await.unwrap());
    assert!(checkouts.is_in_progress(ORDER).await.unwrap());
    let in_progress = checkouts.is_task_in_progress(ORDER, "a").await;
    assert!(!in_progress.unwrap());
    // As long as they may be.
    let (execution, task) = (&long[1..], &longer[1..]);
    checkouts.begin(execution).await.unwrap();
    let committed = checkouts.commit_result(execution, task, &1).await;
    assert_eq!(committed.unwrap(), Committed::Stored);
}

/// And its task goes on.
pub async fn a_result_that_is_too_large_is_refused(home: Home) {
    let checkouts = begun(home.fleet()).await;
    checkouts.begin_task(ORDER, "a").await.unwrap();
    // With its quotes.
    let just = "x".repeat(MAX_RESULT_BYTES - 2);
    let error = checkouts
        .commit_result(ORDER, "a", &format!("{just}x"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(
        error.message(),
        Some("value must be at most 1048576 bytes of JSON, and has 1048577")
    );
    let in_progress = checkouts.is_task_in_progress(ORDER, "a").await;
    assert!(in_progress.unwrap());
    let committed = checkouts.commit_result(ORDER, "a", &just).await;
    assert_eq!(committed.unwrap(), Committed::Stored);
    let read = checkouts.result::<String>(ORDER, "a").await.unwrap();
    assert!(read == Some(just));
}

/// So that they can be read at once.
pub async fn results_that_are_too_much_together_are_refused(home: Home) {
    let checkouts = begun(home.fleet()).await;
    let large = "x".repeat(MAX_RESULT_BYTES - 2);
    let most = MAX_RESULTS_BYTES / MAX_RESULT_BYTES - 1;
    for task in 0..most {
        let task = task.to_string();
        let committed = checkouts.commit_result(ORDER, &task, &large).await;
        assert_eq!(committed.unwrap(), Committed::Stored);
    }
    // The ids of the tasks count.
    let error = checkouts.commit_result(ORDER, "one more", &large).await;
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(error.outcome(), Outcome::NotApplied);
    assert_eq!(
        error.message(),
        Some("results must be at most 67108864 bytes in an execution")
    );
    let result = checkouts.result::<String>(ORDER, "one more").await;
    assert_eq!(result.unwrap(), None);
    let committed = checkouts.commit_result(ORDER, "a small one", &1).await;
    assert_eq!(committed.unwrap(), Committed::Stored);
    assert_eq!(checkouts.results(ORDER).await.unwrap().len(), most + 1);
}

/// Those that are there go on.
pub async fn more_tasks_than_there_may_be_are_refused(home: Home) {
    let checkouts = begun(home.fleet()).await;
    for hundred in 0..MAX_TASKS / 100 {
        let begin = |number: usize| {
            let task = (hundred * 100 + number).to_string();
            IntoFuture::into_future(checkouts.begin_task(ORDER, &task))
        };
        for begun in join_all((0..100).map(begin)).await {
            begun.unwrap();
        }
    }
    for error in [
        checkouts.begin_task(ORDER, "more").await.unwrap_err(),
        checkouts
            .commit_result(ORDER, "more", &1)
            .await
            .unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(error.outcome(), Outcome::NotApplied);
        assert_eq!(
            error.message(),
            Some("tasks must be at most 10000 in an execution")
        );
    }
    let again = checkouts.begin_task(ORDER, "7").await.unwrap();
    assert_eq!(again, TaskBegun::InProgress);
    let committed = checkouts.commit_result(ORDER, "7", &1).await.unwrap();
    assert_eq!(committed, Committed::Stored);
}

/// And changes nothing.
pub async fn a_closed_fleet_refuses(home: Home) {
    let other = home.instance("b").await;
    let there = begun(&other).await;
    other.close().await;
    for error in [
        there.begin("b").await.unwrap_err(),
        there.begin_task(ORDER, "a").await.unwrap_err(),
        there.results(ORDER).await.unwrap_err(),
        there.dispose(ORDER).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Closed);
    }
    let here = checkouts(home.fleet());
    assert!(here.is_in_progress(ORDER).await.unwrap());
}
