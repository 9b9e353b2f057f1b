//! Runs that wait, for a time or for a signal.

use std::sync::Arc;
use std::time::Duration;

use quorate::{Cx, Failure, Signal};
use tokio::sync::Notify;

use super::{Count, HOUR, SECOND, TEXT, Told, ended, result, starter, until_it_waits, work};
use crate::harness::{Home, within};

const APPROVED: Signal<u32> = Signal::new("approved");
const OTHER: Signal<String> = Signal::new("other");

/// It goes on where somebody is, when its time has come, and not before.
pub async fn a_run_sleeps_without_its_process(home: Home) {
    let (told, begun) = (Told::default(), Count::default());
    let (steps, begins) = (told.clone(), begun.clone());
    let working = home.fleet().durable().register(&TEXT, move |cx: Cx, _| {
        let (told, begun) = (steps.clone(), begins.clone());
        async move {
            begun.more();
            cx.step("before", || told.step("before")).await?;
            let before = cx.now();
            cx.sleep("cool off", HOUR).await?;
            let passed = cx.now().duration_since(before).unwrap();
            assert!(passed >= HOUR && passed < HOUR + HOUR / 2, "{passed:?}");
            cx.step("behind", || told.step("behind")).await?;
            Ok("cool".to_owned())
        }
    });
    let working = working.build().unwrap();
    let first = work(working.clone());
    let run = first.runs.start(&TEXT, "run", &0).await.unwrap();
    until_it_waits(&run).await;
    first.stop().await;
    home.elapse(HOUR / 2).await;
    let second = work(working);
    tokio::time::sleep(SECOND / 5).await;
    until_it_waits(&run).await;
    assert_eq!(told.all(), ["before"]);
    home.elapse(HOUR / 2 + SECOND).await;
    assert_eq!(result(&run).await, "cool");
    assert_eq!(told.all(), ["before", "behind"]);
    assert_eq!(begun.get(), 2);
    second.stop().await;
}

/// By the clock of the home.
pub async fn a_run_waits_until_a_time(home: Home) {
    let working = home.fleet().durable().register(&TEXT, async |cx: Cx, _| {
        let then = cx.now() + HOUR;
        cx.sleep_until("then", then).await?;
        assert_eq!(cx.now(), then);
        cx.sleep_until("before", then - HOUR).await?;
        Ok("over".to_owned())
    });
    let run = starter(home.fleet()).start(&TEXT, "run", &0).await.unwrap();
    // For a while nobody has it: that counts, too.
    home.elapse(HOUR / 2).await;
    let working = work(working.build().unwrap());
    until_it_waits(&run).await;
    home.elapse(HOUR / 2 + SECOND).await;
    assert_eq!(result(&run).await, "over");
    working.stop().await;
}

/// Although another part of it waits for long.
pub async fn who_stops_hands_over_what_may_go_on(home: Home) {
    let (told, hold) = (Told::default(), Arc::new(Notify::new()));
    let (steps, holds) = (told.clone(), hold.clone());
    let working = home.fleet().durable().register(&TEXT, move |cx: Cx, _| {
        let (told, hold) = (steps.clone(), holds.clone());
        async move {
            let steps = cx.scope("steps", async |cx| {
                let first = cx.step("first", || async {
                    told.step("first").await?;
                    hold.notified().await;
                    Ok::<_, Failure>(())
                });
                first.await?;
                cx.step("second", || told.step("second")).await
            });
            cx.join(steps, cx.sleep("long", HOUR)).await?;
            Ok(String::new())
        }
    });
    let working = working.build().unwrap();
    let first = work(working.clone());
    let run = first.runs.start(&TEXT, "run", &0).await.unwrap();
    let begins = async {
        while told.all().is_empty() {
            tokio::time::sleep(SECOND / 100).await;
        }
    };
    within("the first step", begins).await;
    let stopping = first.stop();
    hold.notify_one();
    stopping.await;
    assert_eq!(told.all(), ["first"]);
    let second = work(working);
    until_it_waits(&run).await;
    assert_eq!(told.all(), ["first", "second"]);
    second.stop().await;
}

/// Also before anybody has the run.
pub async fn a_signal_that_comes_before_the_wait_is_kept(home: Home) {
    let runs = starter(home.fleet());
    let run = runs.start(&TEXT, "run", &0).await.unwrap();
    assert!(run.signal(&APPROVED, &7).await.unwrap());
    assert!(run.signal(&OTHER, &"hello".to_owned()).await.unwrap());
    let working = home.fleet().durable().register(&TEXT, async |cx: Cx, _| {
        cx.step("first", async || Ok::<_, Failure>(())).await?;
        let other = cx.signal(&OTHER).await?;
        let approved = cx.signal(&APPROVED).timeout(HOUR).await?;
        Ok(format!("{approved} {other}"))
    });
    let working = work(working.build().unwrap());
    assert_eq!(result(&run).await, "7 hello");
    working.stop().await;
}

/// In memory or not; on whichever instance.
pub async fn a_signal_wakes_a_run_that_waits(home: Home) {
    let there = home.instance("there").await;
    let function = async |cx: Cx, number: u32| {
        if number == 0 {
            cx.step("first", async || Ok::<_, Failure>(())).await?;
        }
        Ok(cx.signal(&APPROVED).await?.to_string())
    };
    let working = work(there.durable().register(&TEXT, function).build().unwrap());
    let runs = starter(home.fleet());
    // One that did something, and one that waits first of all.
    for number in [0, 1] {
        let run = runs
            .start(&TEXT, format!("waits {number}"), &number)
            .await
            .unwrap();
        until_it_waits(&run).await;
        assert!(run.signal(&OTHER, &String::new()).await.unwrap());
        until_it_waits(&run).await;
        assert!(run.signal(&APPROVED, &number).await.unwrap());
        assert_eq!(result(&run).await, number.to_string());
        let run = runs
            .start(&TEXT, format!("at once {number}"), &number)
            .await
            .unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(run.signal(&APPROVED, &number).await.unwrap());
        assert_eq!(result(&run).await, number.to_string());
    }
    working.stop().await;
}

/// The time goes on while nobody has the run, and is not begun anew.
pub async fn a_signal_is_waited_for_so_long_at_most(home: Home) {
    let working = home.fleet().durable().register(&TEXT, async |cx: Cx, _| {
        let soon = cx.signal(&APPROVED).timeout(SECOND / 50).await;
        assert!(soon.unwrap_err().is_timeout());
        let failure = cx.signal(&APPROVED).timeout(HOUR).await.unwrap_err();
        assert!(failure.is_timeout());
        // It comes too late for those, and not for this.
        Ok(format!("{failure}, {}", cx.signal(&APPROVED).await?))
    });
    let working = working.build().unwrap();
    let first = work(working.clone());
    let run = first.runs.start(&TEXT, "run", &0).await.unwrap();
    until_it_waits(&run).await;
    first.stop().await;
    home.elapse(HOUR / 2).await;
    let second = work(working);
    assert!(run.signal(&OTHER, &String::new()).await.unwrap());
    tokio::time::sleep(SECOND / 5).await;
    until_it_waits(&run).await;
    home.elapse(HOUR / 2 + SECOND).await;
    // Not before it timed out.
    tokio::time::sleep(SECOND).await;
    until_it_waits(&run).await;
    assert!(run.signal(&APPROVED, &8).await.unwrap());
    assert_eq!(result(&run).await, "no signal `approved` came in time, 8");
    second.stop().await;
}

/// Also when the function is led through them again.
pub async fn signals_are_taken_in_order_once_each(home: Home) {
    let died = Count::default();
    let working = home
        .fleet()
        .durable()
        .register(&TEXT, move |cx: Cx, number: u32| {
            let died = died.clone();
            async move {
                let mut all = Vec::new();
                for nth in 0..number {
                    all.push(cx.signal(&APPROVED).await?);
                    assert!(died.more() > nth, "it dies");
                }
                Ok(format!("{all:?}"))
            }
        });
    let working = work(working.build().unwrap());
    let run = working.runs.start(&TEXT, "run", &5).await.unwrap();
    for number in 0..3 {
        assert!(run.signal(&APPROVED, &number).await.unwrap());
    }
    until_it_waits(&run).await;
    for number in [3, 4] {
        assert!(run.signal(&APPROVED, &number).await.unwrap());
    }
    // It may be over by then.
    run.signal(&APPROVED, &5).await.unwrap();
    assert_eq!(ended(&run).await.unwrap(), "[0, 1, 2, 3, 4]");
    working.stop().await;
}
