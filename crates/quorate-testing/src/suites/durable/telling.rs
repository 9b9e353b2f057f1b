//! What runs are told to do, and what they tell.

use quorate::{Cx, Failure, RunState, Signal, Workflow};

use super::{Count, HOUR, SECOND, TEXT, Told, ended, result, starter, until, until_it_waits, work};
use crate::harness::{Home, within};

const GO: Signal<u32> = Signal::new("go");
const END: Signal<u32> = Signal::new("end");

/// It goes on where it stopped when it is resumed.
pub async fn a_paused_run_begins_nothing_new(home: Home) {
    let told = Told::default();
    let steps = told.clone();
    let working = home.fleet().durable().register(&TEXT, move |cx: Cx, _| {
        let told = steps.clone();
        async move {
            cx.step("first", || told.step("first")).await?;
            let number = cx.signal(&GO).await?;
            cx.step("second", || told.step("second")).await?;
            Ok(number.to_string())
        }
    });
    let working = work(working.build().unwrap());
    let run = working.runs.start(&TEXT, "run", &0).await.unwrap();
    until_it_waits(&run).await;
    assert!(run.pause().await.unwrap());
    assert!(run.signal(&GO, &7).await.unwrap());
    tokio::time::sleep(SECOND / 5).await;
    until_it_waits(&run).await;
    assert_eq!(told.all(), ["first"]);
    assert!(run.resume().await.unwrap());
    assert_eq!(result(&run).await, "7");
    assert_eq!(told.all(), ["first", "second"]);
    working.stop().await;
}

/// What is under way is dropped, and nothing is begun but what is shielded.
pub async fn a_run_that_is_asked_to_stop_may_undo_what_it_did(home: Home) {
    let (told, begun, died) = (Told::default(), Count::default(), Count::default());
    let (steps, begins) = (told.clone(), begun.clone());
    let working = home.fleet().durable().register(&TEXT, move |cx: Cx, _| {
        let (told, begun, died) = (steps.clone(), begins.clone(), died.clone());
        async move {
            cx.step("charge", || told.step("charge")).await?;
            let ship = cx.step("ship", || {
                begun.more();
                std::future::pending::<Result<(), Failure>>()
            });
            let failure = ship.await.unwrap_err();
            assert!(
                failure.is_cancelled() && failure.message() == "sold out",
                "{failure:?}"
            );
            let mail = cx.step("mail", || told.step("mail")).await;
            assert!(mail.unwrap_err().is_cancelled());
            let undo = cx.shielded();
            undo.step("refund", || told.step("refund")).await?;
            assert!(died.more() > 1, "it dies");
            undo.step("tell", || told.step("tell")).await?;
            Err(failure)
        }
    });
    let working = work(working.build().unwrap());
    let run = working.runs.start(&TEXT, "run", &0).await.unwrap();
    let ships = async {
        while begun.get() == 0 {
            tokio::time::sleep(SECOND / 100).await;
        }
    };
    within("the step under way", ships).await;
    assert!(run.cancel("sold out").await.unwrap());
    assert!(ended(&run).await.unwrap_err().is_cancelled());
    assert_eq!(run.state().await.unwrap(), Some(RunState::Cancelled));
    assert_eq!(told.all(), ["charge", "refund", "tell"]);
    working.stop().await;
}

/// For a time, or for a signal, in memory or not.
pub async fn a_run_that_waits_is_cancelled(home: Home) {
    let working = home
        .fleet()
        .durable()
        .register(&TEXT, async |cx: Cx, number: u32| {
            match number {
                0 => cx.sleep("long", HOUR).await?,
                1 => drop(cx.signal(&GO).await?),
                _ => drop(cx.signal(&GO).timeout(HOUR).await?),
            }
            Ok("not cancelled".to_owned())
        });
    let working = work(working.build().unwrap());
    for number in 0..3 {
        for is_suspended in [false, true] {
            let name = format!("{number} {is_suspended}");
            let run = working.runs.start(&TEXT, name, &number).await.unwrap();
            if is_suspended {
                until_it_waits(&run).await;
            }
            assert!(run.cancel("no").await.unwrap());
            assert!(ended(&run).await.unwrap_err().is_cancelled());
        }
    }
    working.stop().await;
}

/// Also when its time has come by then, or what it waited for, and the function is led through it again.
pub async fn what_was_cancelled_stays_cancelled(home: Home) {
    const CHILD: Workflow<u32, u32> = Workflow::new("child");
    let told = Told::default();
    let steps = told.clone();
    let working = home
        .fleet()
        .durable()
        .register(&TEXT, move |cx: Cx, number: u32| {
            let told = steps.clone();
            async move {
                let waited = match number {
                    0 => cx.sleep("long", HOUR).await,
                    1 => cx.signal(&GO).timeout(HOUR).await.map(drop),
                    _ => cx.run_child(&CHILD, "child", &0).await.map(drop),
                };
                let Err(failure) = waited else {
                    cx.step("go on", || told.step("go on")).await?;
                    return Ok(String::new());
                };
                let undo = cx.shielded();
                undo.step("undo", || told.step("undo")).await?;
                undo.signal(&END).await?;
                Err(failure)
            }
        });
    // A child that succeeds although it is asked to stop.
    let working = working.register(&CHILD, async |cx: Cx, _| {
        cx.shielded().sleep("a little", SECOND * 2).await?;
        Ok(7)
    });
    let working = working.build().unwrap();
    for number in 0..3 {
        let before = work(working.clone());
        let run = before
            .runs
            .start(&TEXT, number.to_string(), &number)
            .await
            .unwrap();
        until_it_waits(&run).await;
        assert!(run.cancel("no").await.unwrap());
        let undone = async {
            while told.all().len() <= number as usize {
                tokio::time::sleep(SECOND / 100).await;
            }
        };
        within("what was to be undone", undone).await;
        until_it_waits(&run).await;
        before.stop().await;
        home.elapse(HOUR + SECOND).await;
        assert!(run.signal(&GO, &7).await.unwrap());
        let behind = work(working.clone());
        if number == 2 {
            let child = behind.runs.run(&CHILD, "child").unwrap();
            assert_eq!(result(&child).await, 7);
        }
        assert!(run.signal(&END, &0).await.unwrap());
        assert!(ended(&run).await.unwrap_err().is_cancelled());
        behind.stop().await;
    }
    assert_eq!(told.all(), ["undo"; 3]);
}

/// Then its function does nothing.
pub async fn a_run_is_cancelled_before_it_begins(home: Home) {
    let told = Told::default();
    let steps = told.clone();
    let run = starter(home.fleet()).start(&TEXT, "run", &0).await.unwrap();
    let later = starter(home.fleet())
        .start(&TEXT, "later", &0)
        .delay(HOUR)
        .await
        .unwrap();
    assert!(run.cancel("no").await.unwrap());
    assert!(later.cancel("no").await.unwrap());
    let working = home.fleet().durable().register(&TEXT, move |cx: Cx, _| {
        let told = steps.clone();
        async move {
            cx.step("first", || told.step("first")).await?;
            Ok(String::new())
        }
    });
    let working = work(working.build().unwrap());
    assert!(ended(&run).await.unwrap_err().is_cancelled());
    home.elapse(HOUR + SECOND).await;
    assert!(ended(&later).await.unwrap_err().is_cancelled());
    assert!(told.all().is_empty(), "{:?}", told.all());
    working.stop().await;
}

/// Nothing is said while the function is led through what it did.
pub async fn a_run_tells_how_far_it_is(home: Home) {
    let working = home.fleet().durable().register(&TEXT, async |cx: Cx, _| {
        for percent in [10_u32, 50] {
            cx.step("on", async || Ok::<_, Failure>(())).await?;
            cx.progress(&percent).await;
        }
        let number = cx.signal(&GO).await?;
        Ok(number.to_string())
    });
    let working = work(working.build().unwrap());
    let run = working.runs.start(&TEXT, "run", &0).await.unwrap();
    until_it_waits(&run).await;
    assert_eq!(run.progress::<u32>().await.unwrap(), Some(50));
    assert!(run.progress::<String>().await.is_err());
    assert!(run.signal(&GO, &7).await.unwrap());
    assert_eq!(result(&run).await, "7");
    assert_eq!(run.progress::<u32>().await.unwrap(), Some(50));
    let none = working.runs.run(&TEXT, "none").unwrap();
    assert_eq!(none.progress::<u32>().await.unwrap(), None);
    working.stop().await;
}

/// Nor is what never was.
pub async fn what_is_over_is_told_nothing(home: Home) {
    let working = home
        .fleet()
        .durable()
        .register(&TEXT, async |_, _| Ok("over".to_owned()));
    let working = work(working.build().unwrap());
    let over = working.runs.start(&TEXT, "over", &0).await.unwrap();
    assert_eq!(result(&over).await, "over");
    let none = working.runs.run(&TEXT, "none").unwrap();
    for run in [&over, &none] {
        assert!(!run.signal(&GO, &7).await.unwrap());
        assert!(!run.cancel("no").await.unwrap());
        assert!(!run.pause().await.unwrap());
        assert!(!run.retry().await.unwrap());
    }
    until(&over, |state| *state == RunState::Succeeded).await;
    working.stop().await;
}
