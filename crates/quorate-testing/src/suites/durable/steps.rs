//! Steps, and runs that stop between them.

use std::sync::Arc;

use quorate::{Cx, Failure, RunState, Workflow};
use tokio::sync::Notify;

use super::{
    AT_ONCE, Count, HOUR, SECOND, TEXT, Told, ended, result, starter, until, until_it_waits, work,
};
use crate::harness::{Home, within};

/// Nobody works where it is started.
pub async fn a_run_is_done_by_another_instance(home: Home) {
    let there = home.instance("there").await;
    let working = there
        .durable()
        .register(&TEXT, async |cx: Cx, number: u32| {
            let text = cx
                .step("write", async || Ok::<_, Failure>(format!("got {number}")))
                .await?;
            Ok(format!("{text} in {}", cx.run_id()))
        });
    let working = work(working.build().unwrap());
    let run = starter(home.fleet())
        .start(&TEXT, "order-1", &7)
        .await
        .unwrap();
    assert_eq!(result(&run).await, "got 7 in order-1");
    assert_eq!(run.state().await.unwrap(), Some(RunState::Succeeded));
    working.stop().await;
}

/// Whether it is over or not; what becomes of it is for all who started it.
pub async fn a_run_that_is_started_again_is_the_same(home: Home) {
    let (told, runs) = (Told::default(), starter(home.fleet()));
    let first = runs.start(&TEXT, "same", &1).await.unwrap();
    let again = runs.start(&TEXT, "same", &1).await.unwrap();
    let other = runs.start(&TEXT, "other", &2).await.unwrap();
    assert!(first.is_new() && !again.is_new() && other.is_new());
    let steps = told.clone();
    let working = home
        .fleet()
        .durable()
        .register(&TEXT, move |cx: Cx, number: u32| {
            let told = steps.clone();
            async move {
                cx.step("once", || told.step(format!("{number}"))).await?;
                Ok(number.to_string())
            }
        });
    let working = work(working.build().unwrap());
    assert_eq!(result(&first).await, "1");
    assert_eq!(result(&again).await, "1");
    assert_eq!(result(&other).await, "2");
    let over = working.runs.start(&TEXT, "same", &3).await.unwrap();
    assert!(!over.is_new());
    assert_eq!(result(&over).await, "1");
    let mut all = told.all();
    all.sort();
    assert_eq!(all, ["1", "2"]);
    let found = working.runs.run(&TEXT, "same").unwrap();
    assert_eq!(result(&found).await, "1");
    assert_eq!(
        working
            .runs
            .run(&TEXT, "none")
            .unwrap()
            .state()
            .await
            .unwrap(),
        None
    );
    working.stop().await;
}

/// The function dies of something else twice.
pub async fn a_step_that_is_over_is_not_done_again(home: Home) {
    let (told, died) = (Told::default(), Count::default());
    let steps = told.clone();
    let working = home.fleet().durable().register(&TEXT, move |cx: Cx, _| {
        let (told, died) = (steps.clone(), died.clone());
        async move {
            let first = cx.step("first", || told.step("first")).await?;
            let second = cx.step("second", || told.step("second")).await?;
            assert!(died.more() > 2, "it dies");
            let third = cx.step("third", || told.step("third")).await?;
            Ok(format!("{first} {second} {third}"))
        }
    });
    let working = work(working.build().unwrap());
    let run = working.runs.start(&TEXT, "run", &0).await.unwrap();
    assert_eq!(result(&run).await, "1 2 3");
    assert_eq!(told.all(), ["first", "second", "third"]);
    working.stop().await;
}

/// At least once, and whoever is asked can tell that it was asked before.
pub async fn a_step_in_flight_is_done_again_with_the_same_key(home: Home) {
    let keys = Told::default();
    let steps = keys.clone();
    let working = home.fleet().durable().register(&TEXT, move |cx: Cx, _| {
        let keys = steps.clone();
        async move {
            for name in ["one", "two"] {
                cx.step_with(name, |step| {
                    let keys = keys.clone();
                    async move {
                        let nth = keys.step(step.idempotency_key()).await?;
                        if nth == 2 {
                            std::future::pending::<()>().await;
                        }
                        Ok::<_, Failure>(nth)
                    }
                })
                .await?;
            }
            Ok(String::new())
        }
    });
    let working_here = working.drain(SECOND / 10).build().unwrap();
    let first = work(working_here.clone());
    let run = first.runs.start(&TEXT, "run", &0).await.unwrap();
    let second = async {
        while keys.all().len() < 2 {
            tokio::time::sleep(SECOND / 100).await;
        }
    };
    within("the second step", second).await;
    first.stop().await;
    let second = work(working_here);
    result(&run).await;
    let keys = keys.all();
    assert_eq!(keys.len(), 3);
    assert_eq!(keys[1], keys[2]);
    assert_ne!(keys[0], keys[1]);
    second.stop().await;
}

/// Those that failed count, and what it gives at last is known from then on.
pub async fn a_step_is_tried_as_often_as_it_may_be(home: Home) {
    let (tried, died) = (Count::default(), Count::default());
    let steps = tried.clone();
    let working = home.fleet().durable().register(&TEXT, move |cx: Cx, _| {
        let (tried, died) = (steps.clone(), died.clone());
        async move {
            let step = cx.step_with("third time", |step| {
                let tried = tried.more();
                async move {
                    assert_eq!(step.attempt(), tried);
                    match tried {
                        1 => Err(Failure::error("no")),
                        2 => panic!("it panics"),
                        _ => Ok(tried),
                    }
                }
            });
            let nth = step.max_attempts(5).backoff(AT_ONCE).await?;
            let never = cx.step("never", || {
                tried.more();
                async { Err::<(), _>(std::io::Error::other("out of paper")) }
            });
            let failure = never.max_attempts(2).backoff(AT_ONCE).await.unwrap_err();
            let fatal = cx.step("fatal", || {
                tried.more();
                async { Err::<(), _>(Failure::fatal("no such paper")) }
            });
            let fatal = fatal.backoff(AT_ONCE).await.unwrap_err();
            assert!(died.more() > 1, "it dies");
            Ok(format!("{nth}, {failure}, {fatal:?}"))
        }
    });
    let working = work(working.build().unwrap());
    let run = working.runs.start(&TEXT, "run", &0).await.unwrap();
    assert_eq!(result(&run).await, "3, out of paper, fatal: no such paper");
    assert_eq!(tried.get(), 3 + 2 + 1);
    working.stop().await;
}

/// It is written down when the next attempt is due, and which it is.
pub async fn a_pause_between_attempts_outlives_the_process(home: Home) {
    let tried = Count::default();
    let steps = tried.clone();
    let working = home.fleet().durable().register(&TEXT, move |cx: Cx, _| {
        let tried = steps.clone();
        async move {
            let pause = quorate::Backoff {
                initial: HOUR,
                factor: 1.0,
                max: HOUR,
                jitter: 0.0,
            };
            let step = cx.step_with("again", |step| {
                let tried = tried.more();
                async move {
                    match step.attempt() {
                        2 => Ok(tried),
                        _ => Err(Failure::error("not yet")),
                    }
                }
            });
            Ok(step.backoff(pause).await?.to_string())
        }
    });
    let working = working.build().unwrap();
    let first = work(working.clone());
    let run = first.runs.start(&TEXT, "run", &0).await.unwrap();
    until_it_waits(&run).await;
    first.stop().await;
    assert_eq!(tried.get(), 1);
    let second = work(working);
    home.elapse(HOUR + SECOND).await;
    assert_eq!(result(&run).await, "2");
    second.stop().await;
}

/// What comes behind it is done, and nothing is stuck.
pub async fn a_step_that_failed_for_good_may_be_caught(home: Home) {
    let (told, died) = (Told::default(), Count::default());
    let steps = told.clone();
    let working = home
        .fleet()
        .durable()
        .register(&TEXT, move |cx: Cx, number: u32| {
            let (told, died) = (steps.clone(), died.clone());
            async move {
                let card = cx.step("card", || async {
                    told.step("card").await?;
                    Err::<u32, _>(Failure::fatal("refused").with_data(&7))
                });
                let paid = match card.await {
                    Ok(_) => "by card",
                    Err(failure) if number == 1 => return Err(failure),
                    Err(failure) => {
                        assert_eq!(failure.data::<u32>(), Some(7));
                        cx.step("invoice", || told.step("invoice")).await?;
                        "by invoice"
                    }
                };
                assert!(died.more() > 1, "it dies");
                Ok(paid.to_owned())
            }
        });
    let working = work(working.build().unwrap());
    let run = working.runs.start(&TEXT, "caught", &0).await.unwrap();
    assert_eq!(result(&run).await, "by invoice");
    assert_eq!(told.all(), ["card", "invoice"]);
    let run = working.runs.start(&TEXT, "not caught", &1).await.unwrap();
    let failure = ended(&run).await.unwrap_err();
    assert!(
        failure.is_fatal() && failure.message() == "refused",
        "{failure:?}"
    );
    assert_eq!(failure.data::<u32>(), Some(7));
    assert_eq!(run.state().await.unwrap(), Some(RunState::Failed(failure)));
    working.stop().await;
}

/// The body is dropped, and tried again.
pub async fn a_step_that_takes_too_long_has_failed(home: Home) {
    let tried = Count::default();
    let steps = tried.clone();
    let working = home.fleet().durable().register(&TEXT, move |cx: Cx, _| {
        let tried = steps.clone();
        async move {
            let slow = cx.step("slow", || {
                tried.more();
                std::future::pending::<Result<(), Failure>>()
            });
            let slow = slow.timeout(SECOND / 20).max_attempts(2).backoff(AT_ONCE);
            let failure = slow.await.unwrap_err();
            assert!(failure.is_timeout());
            Ok(failure.to_string())
        }
    });
    let working = work(working.build().unwrap());
    let run = working.runs.start(&TEXT, "run", &0).await.unwrap();
    assert_eq!(result(&run).await, "it timed out after 50ms");
    assert_eq!(tried.get(), 2);
    working.stop().await;
}

/// It is not tried again: it would be as large.
pub async fn a_value_that_is_too_large_is_a_failure(home: Home) {
    let working = home.fleet().durable().register(&TEXT, async |cx: Cx, _| {
        let large = cx.step("large", async || Ok::<_, Failure>("x".repeat(1 << 20)));
        let failure = large.await.unwrap_err();
        assert!(failure.is_fatal());
        Ok(failure.to_string())
    });
    let working = work(working.build().unwrap());
    let run = working.runs.start(&TEXT, "run", &0).await.unwrap();
    let why = result(&run).await;
    assert!(why.contains("must be at most 921600 bytes"), "{why}");
    working.stop().await;
}

/// Attempts count deliveries in which nothing was done.
pub async fn a_run_that_gets_nowhere_has_failed(home: Home) {
    const BRITTLE: Workflow<u32, String> =
        Workflow::new("brittle").max_attempts(3).backoff(AT_ONCE);
    let died = Count::default();
    let deaths = died.clone();
    let working = home
        .fleet()
        .durable()
        .register(&BRITTLE, move |cx: Cx, steps: u32| {
            let died = deaths.clone();
            async move {
                for nth in 0..steps {
                    let begun = cx.step("on", async || Ok::<_, Failure>(nth)).await?;
                    if died.get() == begun && begun + 1 < steps {
                        died.more();
                        panic!("it dies of step {begun}");
                    }
                }
                if steps == 0 {
                    died.more();
                    panic!("it dies of nothing");
                }
                Ok("over".to_owned())
            }
        });
    let working = work(working.build().unwrap());
    // Each time it gets a step further, so that it may die more often than three times.
    let run = working.runs.start(&BRITTLE, "on", &6).await.unwrap();
    assert_eq!(result(&run).await, "over");
    assert_eq!(died.get(), 5);
    let run = working.runs.start(&BRITTLE, "nowhere", &0).await.unwrap();
    let failure = ended(&run).await.unwrap_err();
    assert!(
        failure.message().contains("it dies of nothing"),
        "{failure}"
    );
    assert_eq!(died.get(), 5 + 3);
    until(&run, |state| matches!(state, RunState::Failed(_))).await;
    working.stop().await;
}

/// Its function does not go on, although it knows nothing of that; whoever has the run then does the rest.
pub async fn who_has_lost_a_run_writes_nothing_more(home: Home) {
    let (told, begun) = (Told::default(), Count::default());
    let hold = Arc::new(Notify::new());
    let there = home.instance("there").await;
    let (steps, begins, holds) = (told.clone(), begun.clone(), hold.clone());
    let function = move |cx: Cx, _: u32| {
        let (told, begun, hold) = (steps.clone(), begins.clone(), holds.clone());
        async move {
            let step = cx.step("step", || async {
                let nth = begun.more();
                if nth == 1 {
                    hold.notified().await;
                }
                Ok::<_, Failure>(nth)
            });
            let nth = step.await?;
            told.step(format!("{nth} goes on")).await?;
            Ok(nth.to_string())
        }
    };
    let first = home.fleet().durable().register(&TEXT, function.clone());
    let first = work(first.build().unwrap());
    let run = first.runs.start(&TEXT, "run", &0).await.unwrap();
    let begins = async {
        while begun.get() == 0 {
            tokio::time::sleep(SECOND / 100).await;
        }
    };
    within("the first step", begins).await;
    // By the clock of the home, nobody has it any more.
    home.elapse(SECOND * 31).await;
    let second = work(there.durable().register(&TEXT, function).build().unwrap());
    assert_eq!(result(&run).await, "2");
    hold.notify_one();
    first.stop().await;
    assert_eq!(told.all(), ["2 goes on"]);
    second.stop().await;
}
