//! What tasks come to.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use quorate::ErrorKind;
use quorate::execution::{Committed, TaskBegun};
use serde::{Deserialize, Serialize};

use super::{ORDER, begun, checkouts};
use crate::harness::Home;

/// There is no moment at which it is in progress and has one, or is not and has none.
pub async fn a_result_ends_its_task_in_one_step(home: Home) {
    let here = begun(home.fleet()).await;
    let other = home.instance("b").await;
    let there = checkouts(&other);
    for round in 0..20 {
        let task = format!("step-{round}");
        here.begin_task(ORDER, &task).await.unwrap();
        let watch = async {
            // Begun by somebody else until it is done: never free.
            loop {
                match there.begin_task(ORDER, &task).await.unwrap() {
                    TaskBegun::InProgress => tokio::task::yield_now().await,
                    answer => break answer,
                }
            }
        };
        let (committed, seen) = tokio::join!(here.commit_result(ORDER, &task, &round), watch);
        assert_eq!(committed.unwrap(), Committed::Stored);
        assert_eq!(seen, TaskBegun::Done);
        let result = there.result::<i32>(ORDER, &task).await.unwrap();
        assert_eq!(result, Some(round));
        assert!(!there.is_task_in_progress(ORDER, &task).await.unwrap());
    }
}

/// Who commits another, or the same once more, is told so.
pub async fn the_first_result_of_a_task_stays(home: Home) {
    let checkouts = begun(home.fleet()).await;
    checkouts.begin_task(ORDER, "charge").await.unwrap();
    let committed = checkouts.commit_result(ORDER, "charge", &1).await;
    assert_eq!(committed.unwrap(), Committed::Stored);
    for value in [2, 1] {
        let committed = checkouts.commit_result(ORDER, "charge", &value).await;
        assert_eq!(committed.unwrap(), Committed::AlreadyDone);
    }
    let result = checkouts.result::<u32>(ORDER, "charge").await.unwrap();
    assert_eq!(result, Some(1));
}

/// And it is that of the one who is told that it was stored.
pub async fn of_many_who_commit_one_result_stays(home: Home) {
    let here = begun(home.fleet()).await;
    let other = home.instance("b").await;
    let there = checkouts(&other);
    for round in 0..10 {
        let task = &format!("step-{round}");
        let commit = |number: usize| {
            let checkouts = [&here, &there][number % 2];
            async move {
                let committed = checkouts.commit_result(ORDER, task, &number).await;
                (number, committed.unwrap())
            }
        };
        let answers = join_all((0..16).map(commit)).await;
        let is_stored = |answer: &&(usize, Committed)| answer.1 == Committed::Stored;
        let stored: Vec<_> = answers.iter().filter(is_stored).collect();
        assert_eq!(stored.len(), 1, "{answers:?}");
        let result = there.result::<usize>(ORDER, task).await.unwrap();
        assert_eq!(result, Some(stored[0].0));
    }
}

/// Such as what an engine finds out without waiting for anybody.
pub async fn what_was_not_begun_may_be_committed(home: Home) {
    let checkouts = begun(home.fleet()).await;
    let committed = checkouts.commit_result(ORDER, "now", &1_700_000_000).await;
    assert_eq!(committed.unwrap(), Committed::Stored);
    let begun = checkouts.begin_task(ORDER, "now").await.unwrap();
    assert_eq!(begun, TaskBegun::Done);
    // After it was abandoned as well.
    checkouts.begin_task(ORDER, "charge").await.unwrap();
    checkouts.abandon_task(ORDER, "charge").await.unwrap();
    let committed = checkouts.commit_result(ORDER, "charge", &1).await;
    assert_eq!(committed.unwrap(), Committed::Stored);
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Receipt {
    order: u64,
    lines: BTreeMap<String, f64>,
    note: Option<String>,
}

/// Of any that can be written as JSON, nothing too.
pub async fn results_are_of_any_type(home: Home) {
    let checkouts = begun(home.fleet()).await;
    let receipt = Receipt {
        order: u64::MAX,
        lines: BTreeMap::from([("apples \"red\"\n".to_owned(), 1.5)]),
        note: None,
    };
    let commit = checkouts.commit_result(ORDER, "receipt", &receipt);
    assert_eq!(commit.await.unwrap(), Committed::Stored);
    let read = checkouts.result(ORDER, "receipt").await.unwrap();
    assert_eq!(read, Some(receipt));
    checkouts
        .commit_result(ORDER, "nothing", &())
        .await
        .unwrap();
    let read = checkouts.result::<()>(ORDER, "nothing").await.unwrap();
    assert_eq!(read, Some(()), "which is not that there is none");
    checkouts.commit_result(ORDER, "text", "").await.unwrap();
    let read = checkouts.result::<String>(ORDER, "text").await.unwrap();
    assert_eq!(read.as_deref(), Some(""));
}

/// With their names, and without what is in progress.
pub async fn results_are_read_together(home: Home) {
    let checkouts = begun(home.fleet()).await;
    assert!(checkouts.results(ORDER).await.unwrap().is_empty());
    checkouts.begin_task(ORDER, "later").await.unwrap();
    for number in 0..300 {
        let task = format!("step-{number}");
        checkouts.begin_task(ORDER, &task).await.unwrap();
        let commit = checkouts.commit_result(ORDER, &task, &number);
        commit.await.unwrap();
    }
    checkouts
        .commit_result(ORDER, "total", "300")
        .await
        .unwrap();
    let results = checkouts.results(ORDER).await.unwrap();
    assert_eq!(results.len(), 301);
    assert!(!results.is_empty() && results.contains("total") && !results.contains("later"));
    for number in 0..300 {
        let result = results.get::<u32>(&format!("step-{number}")).unwrap();
        assert_eq!(result, Some(number));
    }
    let total = results.get::<String>("total").unwrap();
    assert_eq!(total.as_deref(), Some("300"));
    assert_eq!(results.get::<u32>("later").unwrap(), None);
    let mut names: Vec<_> = (0..300).map(|number| format!("step-{number}")).collect();
    names.push("total".to_owned());
    names.sort_unstable();
    assert!(results.tasks().eq(names));
}

/// The key, the field, what is wrong and the beginning of what is there.
pub async fn a_result_of_another_type_is_shown_with_where_it_is(home: Home) {
    let checkouts = begun(home.fleet()).await;
    checkouts
        .commit_result(ORDER, "charge", "paid")
        .await
        .unwrap();
    let long = "x".repeat(10_000);
    checkouts.commit_result(ORDER, "long", &long).await.unwrap();
    let results = checkouts.results(ORDER).await.unwrap();
    let namespace = home.fleet().namespace();
    for (error, says) in [
        (
            checkouts.result::<u32>(ORDER, "charge").await.unwrap_err(),
            "field \"charge\": invalid type: string \"paid\", expected u32 at line 1 column 6. Raw value: \"\\\"paid\\\"\"",
        ),
        (
            results.get::<u32>("charge").unwrap_err(),
            "field \"charge\": ",
        ),
        (
            checkouts.result::<u32>(ORDER, "long").await.unwrap_err(),
            "Raw value: \"\\\"xxxx",
        ),
    ] {
        assert_eq!(error.kind(), ErrorKind::Decode);
        assert!(std::error::Error::source(&error).is_some());
        let message = error.message().unwrap();
        let key = format!("key \"{namespace}:execution:{{checkout:{ORDER}}}:results\" ");
        assert!(message.contains(&key), "{message}");
        assert!(message.contains(says), "{message}");
    }
    // It stays what it was.
    let read = checkouts.result::<String>(ORDER, "charge").await.unwrap();
    assert_eq!(read.as_deref(), Some("paid"));
}
