//! Runs that start others, and sagas.

use quorate::{Cx, Failure, RunState, Signal, Workflow};

use super::{
    AT_ONCE, Count, SECOND, TEXT, Told, ended, result, starter, until, until_it_waits, work,
};
use crate::harness::Home;

const SQUARE: Workflow<u32, u32> = Workflow::new("square").backoff(AT_ONCE);
const GO: Signal<u32> = Signal::new("go");

/// Each is done once, although who started them dies, wherever they are done.
pub async fn a_run_waits_for_those_that_it_started(home: Home) {
    let (squared, died) = (Count::default(), Count::default());
    let squares = squared.clone();
    let there = home.instance("there").await;
    let children = there
        .durable()
        .register(&SQUARE, move |cx: Cx, number: u32| {
            let squared = squares.clone();
            async move {
                if number == 3 {
                    cx.sleep("takes long", SECOND * 2).await?;
                }
                cx.step("square", || {
                    squared.more();
                    async move {
                        match number {
                            9 => Err(Failure::fatal("nine")),
                            _ => Ok(number * number),
                        }
                    }
                })
                .await
            }
        });
    let children = work(children.build().unwrap());
    let parents = home
        .fleet()
        .durable()
        .register(&TEXT, move |cx: Cx, most: u32| {
            let died = died.clone();
            async move {
                let each = cx.map("square", 0..most, |cx, number| async move {
                    let name = format!("{}-{number}", cx.run_id());
                    cx.run_child(&SQUARE, name, &number).await
                });
                let squares = each.await?;
                assert!(died.more() > 1, "it dies");
                let failure = cx.run_child(&SQUARE, "nine", &9).await.unwrap_err();
                cx.start_child(&SQUARE, "left", &7).await?;
                Ok(format!("{squares:?} {failure:?}"))
            }
        });
    let parents = work(parents.build().unwrap());
    let run = parents.runs.start(&TEXT, "parent", &5).await.unwrap();
    assert_eq!(result(&run).await, "[0, 1, 4, 9, 16] fatal: nine");
    let left = parents.runs.run(&SQUARE, "left").unwrap();
    assert_eq!(result(&left).await, 49);
    assert_eq!(squared.get(), 5 + 2);
    parents.stop().await;
    children.stop().await;
}

/// It need not be in memory, nor told of an end that was before it waited; and whoever else waits for the same is told as well.
pub async fn a_child_that_is_over_is_found(home: Home) {
    let runs = starter(home.fleet());
    let working = home
        .fleet()
        .durable()
        .register(&SQUARE, async |cx: Cx, number: u32| {
            cx.signal(&GO).await?;
            Ok(number * number)
        });
    let working = working.register(&TEXT, async |cx: Cx, number: u32| {
        let square = cx.run_child(&SQUARE, "shared", &number).await?;
        Ok(square.to_string())
    });
    let working = work(working.build().unwrap());
    let first = runs.start(&TEXT, "first", &3).await.unwrap();
    until_it_waits(&first).await;
    let second = runs.start(&TEXT, "second", &4).await.unwrap();
    until_it_waits(&second).await;
    let child = runs.run(&SQUARE, "shared").unwrap();
    until_it_waits(&child).await;
    assert!(child.signal(&GO, &1).await.unwrap());
    assert_eq!(result(&first).await, "9");
    assert_eq!(result(&second).await, "9");
    let third = runs.start(&TEXT, "third", &5).await.unwrap();
    assert_eq!(result(&third).await, "9");
    working.stop().await;
}

/// Nor for one whose result it has no room for.
pub async fn a_run_cannot_wait_for_itself(home: Home) {
    const LARGE: Workflow<u32, String> = Workflow::new("large");
    let working = home
        .fleet()
        .durable()
        .register(&TEXT, async |cx: Cx, number: u32| {
            let failure = cx.run_child(&TEXT, cx.run_id(), &number).await;
            let large = cx.run_child(&LARGE, "large", &number).await;
            Ok(format!(
                "{:?}, {:?}",
                failure.unwrap_err(),
                large.unwrap_err()
            ))
        });
    let working = working.register(&LARGE, async |_, _| Ok("x".repeat(1_000_000)));
    let working = work(working.build().unwrap());
    let run = working.runs.start(&TEXT, "run", &0).await.unwrap();
    let why = result(&run).await;
    assert!(
        why.starts_with(
            "fatal: a run cannot wait for itself, fatal: the result of a child must be at most"
        ),
        "{why}"
    );
    working.stop().await;
}

/// And its failure is theirs, unless they catch it.
pub async fn a_run_that_is_asked_to_stop_asks_its_children(home: Home) {
    let working = home
        .fleet()
        .durable()
        .register(&SQUARE, async |cx: Cx, _: u32| cx.signal(&GO).await);
    let working = working.register(&TEXT, async |cx: Cx, number: u32| {
        Ok(cx.run_child(&SQUARE, "child", &number).await?.to_string())
    });
    let working = work(working.build().unwrap());
    let parent = working.runs.start(&TEXT, "parent", &3).await.unwrap();
    until_it_waits(&parent).await;
    assert!(parent.cancel("no").await.unwrap());
    assert!(ended(&parent).await.unwrap_err().is_cancelled());
    let child = working.runs.run(&SQUARE, "child").unwrap();
    until(&child, |state| *state == RunState::Cancelled).await;
    working.stop().await;
}

/// The last first, once each, although whoever undoes it dies; and what cannot be undone is told.
pub async fn what_was_done_is_undone_if_the_rest_fails(home: Home) {
    let (told, died) = (Told::default(), Count::default());
    let steps = told.clone();
    let working = home
        .fleet()
        .durable()
        .register(&TEXT, move |cx: Cx, number: u32| {
            let (told, died) = (steps.clone(), died.clone());
            async move {
                let order = cx.saga("order", async |cx, undo| {
                    let told = &told;
                    for item in ["flight", "hotel", "car"] {
                        cx.step(item, || told.step(item)).await?;
                        undo.with(format!("undo {item}"), move || async move {
                            told.step(format!("undo {item}")).await?;
                            match (item, number) {
                                ("hotel", 2) => Err(Failure::fatal("no refund")),
                                _ => Ok(()),
                            }
                        });
                    }
                    match number {
                        0 => Ok("booked".to_owned()),
                        3 => cx.signal(&GO).await.map(|it| it.to_string()),
                        _ => Err(Failure::error("no visa")),
                    }
                });
                let order = order.await;
                assert!(died.more() % 2 == 0, "it dies");
                order
            }
        });
    let working = work(working.build().unwrap());
    let done = ["flight", "hotel", "car"];
    let undone = ["undo car", "undo hotel", "undo flight"];
    let run = working.runs.start(&TEXT, "booked", &0).await.unwrap();
    assert_eq!(result(&run).await, "booked");
    assert_eq!(told.all(), done);
    for (number, failure) in [
        (1, "no visa"),
        (2, "no visa; not undone: `undo hotel`: no refund"),
        (3, "changed my mind"),
    ] {
        let before = told.all().len();
        let run = working
            .runs
            .start(&TEXT, format!("{number}"), &number)
            .await
            .unwrap();
        if number == 3 {
            until_it_waits(&run).await;
            assert!(run.cancel("changed my mind").await.unwrap());
            assert!(ended(&run).await.unwrap_err().is_cancelled());
        } else {
            assert_eq!(ended(&run).await.unwrap_err().message(), failure);
        }
        assert_eq!(told.all()[before..], [done, undone].concat());
    }
    working.stop().await;
}
