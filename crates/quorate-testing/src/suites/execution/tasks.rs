//! Whose tasks are.

use futures_util::future::join_all;
use quorate::execution::{Committed, TaskBegun};

use super::{FIRST, MINUTE, ORDER, SECOND_TIME, begun, checkouts};
use crate::harness::Home;

/// The others are told that it is in progress, and later that it is done.
pub async fn a_task_is_begun_by_one_at_a_time(home: Home) {
    let here = begun(home.fleet()).await;
    let other = home.instance("b").await;
    let there = checkouts(&other);
    assert!(!here.is_task_in_progress(ORDER, "charge").await.unwrap());
    assert_eq!(here.begin_task(ORDER, "charge").await.unwrap(), FIRST);
    assert!(there.is_task_in_progress(ORDER, "charge").await.unwrap());
    let again = there.begin_task(ORDER, "charge").await.unwrap();
    assert_eq!(again, TaskBegun::InProgress);
    assert_eq!(there.begin_task(ORDER, "stock").await.unwrap(), FIRST);
    here.commit_result(ORDER, "charge", "paid").await.unwrap();
    let again = there.begin_task(ORDER, "charge").await.unwrap();
    assert_eq!(again, TaskBegun::Done);
}

/// Whether anybody has it is decided in the step in which it is begun.
pub async fn of_many_who_begin_a_task_one_does(home: Home) {
    let here = begun(home.fleet()).await;
    let other = home.instance("b").await;
    let there = checkouts(&other);
    for round in 0..10 {
        let task = format!("step-{round}");
        let begin = |number: usize| {
            let checkouts = [&here, &there][number % 2];
            IntoFuture::into_future(checkouts.begin_task(ORDER, &task))
        };
        let answers = join_all((0..16).map(begin)).await;
        let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
        let begun = answers.iter().filter(|answer| **answer == FIRST).count();
        assert_eq!(begun, 1, "{answers:?}");
        let others = answers.iter().filter(|answer| **answer != FIRST);
        assert!(others.eq([&TaskBegun::InProgress; 15]));
    }
}

/// Who begins it either does so before, or is told that it is done.
pub async fn of_beginning_and_committing_at_once_no_task_is_begun_after_its_result(home: Home) {
    let here = begun(home.fleet()).await;
    let other = home.instance("b").await;
    let there = checkouts(&other);
    for round in 0..20 {
        let task = format!("step-{round}");
        let (committed, began) = tokio::join!(
            here.commit_result(ORDER, &task, &round),
            IntoFuture::into_future(there.begin_task(ORDER, &task))
        );
        assert_eq!(committed.unwrap(), Committed::Stored);
        assert!(matches!(began.unwrap(), FIRST | TaskBegun::Done));
        assert!(!there.is_task_in_progress(ORDER, &task).await.unwrap());
        let begun = there.begin_task(ORDER, &task).await.unwrap();
        assert_eq!(begun, TaskBegun::Done);
    }
}

/// Which is a value, not an error, and makes none.
pub async fn a_task_of_no_execution_is_unknown(home: Home) {
    let checkouts = checkouts(home.fleet());
    let begun = checkouts.begin_task(ORDER, "charge").await.unwrap();
    assert_eq!(begun, TaskBegun::Unknown);
    let committed = checkouts.commit_result(ORDER, "charge", &1).await.unwrap();
    assert_eq!(committed, Committed::Unknown);
    assert!(!checkouts.abandon_task(ORDER, "charge").await.unwrap());
    let in_progress = checkouts.is_task_in_progress(ORDER, "charge").await;
    assert!(!in_progress.unwrap());
    let result = checkouts.result::<u32>(ORDER, "charge").await.unwrap();
    assert_eq!(result, None);
    assert!(checkouts.results(ORDER).await.unwrap().is_empty());
    assert!(!checkouts.dispose(ORDER).await.unwrap());
    assert!(!checkouts.is_in_progress(ORDER).await.unwrap());
}

/// After a dispatch that failed, or a step that did, by anybody and as often as it takes.
pub async fn defect_19_a_task_that_is_abandoned_is_begun_again(home: Home) {
    let here = begun(home.fleet()).await;
    let other = home.instance("b").await;
    let there = checkouts(&other);
    assert_eq!(here.begin_task(ORDER, "charge").await.unwrap(), FIRST);
    assert!(here.abandon_task(ORDER, "charge").await.unwrap());
    assert!(!there.is_task_in_progress(ORDER, "charge").await.unwrap());
    assert!(!here.abandon_task(ORDER, "charge").await.unwrap());
    let again = there.begin_task(ORDER, "charge").await.unwrap();
    assert_eq!(again, SECOND_TIME);
    for attempt in 2..10 {
        let abandoned = here.abandon_task(ORDER, "charge").attempt(attempt).await;
        assert!(abandoned.unwrap());
        let again = there.begin_task(ORDER, "charge").await.unwrap();
        let attempt = attempt + 1;
        assert_eq!(again, TaskBegun::Begun { attempt });
    }
    there.commit_result(ORDER, "charge", "paid").await.unwrap();
    let result = here.result::<String>(ORDER, "charge").await.unwrap();
    assert_eq!(result.as_deref(), Some("paid"));
}

/// It would take the task from who has it now. To abandon one's own once more is no harm.
pub async fn an_attempt_that_is_over_abandons_nothing(home: Home) {
    let checkouts = begun(home.fleet()).await;
    assert_eq!(checkouts.begin_task(ORDER, "charge").await.unwrap(), FIRST);
    for _ in 0..2 {
        let abandoned = checkouts.abandon_task(ORDER, "charge").attempt(1).await;
        assert!(abandoned.unwrap(), "again, as after a lost reply");
    }
    let again = checkouts.begin_task(ORDER, "charge").await.unwrap();
    assert_eq!(again, SECOND_TIME);
    for attempt in [0, 1, 3, u64::MAX] {
        let abandoned = checkouts.abandon_task(ORDER, "charge").attempt(attempt);
        assert!(!abandoned.await.unwrap(), "{attempt}");
    }
    let in_progress = checkouts.is_task_in_progress(ORDER, "charge").await;
    assert!(in_progress.unwrap());
}

/// By no number, and not without one.
pub async fn what_is_done_is_not_abandoned(home: Home) {
    let checkouts = begun(home.fleet()).await;
    checkouts.begin_task(ORDER, "charge").await.unwrap();
    checkouts.commit_result(ORDER, "charge", &7).await.unwrap();
    assert!(!checkouts.abandon_task(ORDER, "charge").await.unwrap());
    let abandoned = checkouts.abandon_task(ORDER, "charge").attempt(1).await;
    assert!(!abandoned.unwrap());
    let begun = checkouts.begin_task(ORDER, "charge").await.unwrap();
    assert_eq!(begun, TaskBegun::Done);
    let result = checkouts.result::<u32>(ORDER, "charge").await.unwrap();
    assert_eq!(result, Some(7));
}

/// Whatever became of who had it; and the first of the two who commits has done it.
pub async fn a_task_whose_lease_is_over_is_begun_again(home: Home) {
    let checkouts = begun(home.fleet()).await;
    let begin = || checkouts.begin_task(ORDER, "charge").lease(MINUTE);
    assert_eq!(begin().await.unwrap(), FIRST);
    home.elapse(MINUTE / 2).await;
    assert_eq!(begin().await.unwrap(), TaskBegun::InProgress);
    home.elapse(MINUTE / 2).await;
    let in_progress = checkouts.is_task_in_progress(ORDER, "charge").await;
    assert!(!in_progress.unwrap());
    assert!(!checkouts.abandon_task(ORDER, "charge").await.unwrap());
    assert_eq!(begin().await.unwrap(), SECOND_TIME);
    // The first one is late, and not too late.
    let committed = checkouts.commit_result(ORDER, "charge", "a").await;
    assert_eq!(committed.unwrap(), Committed::Stored);
    let committed = checkouts.commit_result(ORDER, "charge", "b").await;
    assert_eq!(committed.unwrap(), Committed::AlreadyDone);
}

/// However long that takes.
pub async fn a_task_without_a_lease_waits_for_who_has_it(home: Home) {
    let checkouts = begun(home.fleet()).await;
    assert_eq!(checkouts.begin_task(ORDER, "charge").await.unwrap(), FIRST);
    home.elapse(MINUTE * 60 * 24 * 365).await;
    let again = checkouts.begin_task(ORDER, "charge").lease(MINUTE).await;
    assert_eq!(again.unwrap(), TaskBegun::InProgress);
    home.elapse(MINUTE * 2).await;
    let in_progress = checkouts.is_task_in_progress(ORDER, "charge").await;
    assert!(in_progress.unwrap(), "a refused call gives no lease");
}

/// Never by how they begin.
pub async fn defect_18_ids_of_tasks_are_compared_as_wholes(home: Home) {
    let checkouts = begun(home.fleet()).await;
    let tasks = [
        "a", "ab", "a-1", "a-10", "func1", "func10", "A", "a:b", "a b", "é",
    ];
    for (number, task) in tasks.into_iter().enumerate() {
        assert_eq!(checkouts.begin_task(ORDER, task).await.unwrap(), FIRST);
        let committed = checkouts.commit_result(ORDER, task, &number).await;
        assert_eq!(committed.unwrap(), Committed::Stored, "{task}");
        for later in &tasks[number + 1..] {
            let in_progress = checkouts.is_task_in_progress(ORDER, later).await;
            assert!(!in_progress.unwrap(), "{task} is not {later}");
            let result = checkouts.result::<usize>(ORDER, later).await.unwrap();
            assert_eq!(result, None, "{task} is not {later}");
        }
    }
    for (number, task) in tasks.into_iter().enumerate() {
        let result = checkouts.result::<usize>(ORDER, task).await.unwrap();
        assert_eq!(result, Some(number), "{task}");
    }
}

/// Each step is done once and in its turn, by an engine that begins the function anew for each.
pub async fn defect_18_loops_of_any_length_come_to_their_end(home: Home) {
    let checkouts = checkouts(home.fleet());
    for length in [10, 11, 12, 100] {
        let execution = format!("loop of {length}");
        checkouts.begin(&execution).await.unwrap();
        let mut done = Vec::new();
        'replay: loop {
            let results = checkouts.results(&execution).await.unwrap();
            for step in 1..=length {
                let task = format!("notify-friend-{step}");
                if results.contains(&task) {
                    continue;
                }
                let begun = checkouts.begin_task(&execution, &task).await.unwrap();
                assert_eq!(begun, FIRST, "{task} of {length}");
                done.push(step);
                let committed = checkouts.commit_result(&execution, &task, &step).await;
                assert_eq!(committed.unwrap(), Committed::Stored);
                continue 'replay;
            }
            break;
        }
        assert!(done.into_iter().eq(1..=length));
        assert!(checkouts.dispose(&execution).await.unwrap());
    }
}
