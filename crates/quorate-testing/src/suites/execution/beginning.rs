//! How executions begin.

use futures_util::future::join_all;
use quorate::execution::{Begun, Committed};

use super::{FIRST, ORDER, begun, checkouts};
use crate::harness::Home;

/// As soon as it has begun, and until it is disposed of.
pub async fn an_execution_is_in_progress_for_every_instance(home: Home) {
    let other = home.instance("b").await;
    let (here, there) = (checkouts(home.fleet()), checkouts(&other));
    assert!(!there.is_in_progress(ORDER).await.unwrap());
    assert_eq!(here.begin(ORDER).await.unwrap(), Begun::New);
    assert!(there.is_in_progress(ORDER).await.unwrap());
    assert_eq!(here.begin_task(ORDER, "charge").await.unwrap(), FIRST);
    assert!(there.is_task_in_progress(ORDER, "charge").await.unwrap());
    assert!(there.dispose(ORDER).await.unwrap());
    assert!(!here.is_in_progress(ORDER).await.unwrap());
}

/// The message that starts it may be delivered twice.
pub async fn defect_20_an_execution_that_is_begun_twice_goes_on_as_it_was(home: Home) {
    let checkouts = begun(home.fleet()).await;
    checkouts.begin_task(ORDER, "charge").await.unwrap();
    checkouts.commit_result(ORDER, "stock", &3).await.unwrap();
    let other = home.instance("b").await;
    let again = super::checkouts(&other).begin(ORDER).await.unwrap();
    assert_eq!(again, Begun::InProgress);
    let is_charging = checkouts.is_task_in_progress(ORDER, "charge").await;
    assert!(is_charging.unwrap());
    let stock = checkouts.result::<u32>(ORDER, "stock").await.unwrap();
    assert_eq!(stock, Some(3));
}

/// And the others are told that it is in progress.
pub async fn of_many_who_begin_an_execution_one_does(home: Home) {
    let other = home.instance("b").await;
    let (here, there) = (checkouts(home.fleet()), checkouts(&other));
    for round in 0..10 {
        let execution = format!("order-{round}");
        let begin = |number: usize| {
            let checkouts = [&here, &there][number % 2];
            checkouts.begin(&execution)
        };
        let begun = join_all((0..16).map(begin)).await;
        let new = begun
            .iter()
            .filter(|begun| *begun.as_ref().unwrap() == Begun::New);
        assert_eq!(new.count(), 1);
    }
}

/// Those of other ids, other names and other namespaces.
pub async fn executions_are_apart(home: Home) {
    let fleet = home.fleet();
    let elsewhere = fleet.namespaced("elsewhere").unwrap();
    let all = [
        (fleet.executions("checkout"), "a"),
        (fleet.executions("checkout"), "ab"),
        (fleet.executions("checkout"), "a:b"),
        (fleet.executions("checkout"), "}{a%7D"),
        (fleet.executions("checkout"), "%7D{a}"),
        (fleet.executions("refund"), "a"),
        (elsewhere.executions("checkout"), "a"),
    ];
    for (number, (executions, id)) in all.iter().enumerate() {
        assert_eq!(executions.begin(id).await.unwrap(), Begun::New, "{id}");
        let committed = executions.commit_result(id, "number", &number).await;
        assert_eq!(committed.unwrap(), Committed::Stored, "{id}");
    }
    for (number, (executions, id)) in all.iter().enumerate() {
        let result = executions.result::<usize>(id, "number").await.unwrap();
        assert_eq!(result, Some(number), "{id}");
    }
    assert!(all[0].0.dispose("a").await.unwrap());
    for (executions, id) in &all[1..] {
        assert!(executions.is_in_progress(id).await.unwrap(), "{id}");
    }
}
