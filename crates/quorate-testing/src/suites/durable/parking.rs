//! Code that has changed.

use quorate::{CancellationToken, Cx, ErrorKind, Failure, RunState, Signal, Workflow};

use super::{Count, HOUR, TEXT, Told, result, starter, until, until_it_waits, work};
use crate::harness::Home;

const GO: Signal<u32> = Signal::new("go");

/// What a run does up to where it waits, and behind that.
type Steps = [&'static [&'static str]; 2];

/// A function that does these steps, with a signal between.
async fn steps(cx: Cx, told: Told, steps: Steps) -> Result<String, Failure> {
    for name in steps[0] {
        cx.step(*name, || told.step(*name)).await?;
    }
    let number = cx.signal(&GO).await?;
    for name in steps[1] {
        cx.step(*name, || told.step(*name)).await?;
    }
    Ok(number.to_string())
}

/// A run that waits, of which others do the rest.
async fn begun(home: &Home, told: &Told, first: Steps) -> quorate::RunHandle<String> {
    let done = told.clone();
    let function = move |cx: Cx, _| steps(cx, done.clone(), first);
    let working = work(
        home.fleet()
            .durable()
            .register(&TEXT, function)
            .build()
            .unwrap(),
    );
    let run = working.runs.start(&TEXT, "run", &0).await.unwrap();
    until_it_waits(&run).await;
    working.stop().await;
    assert!(run.signal(&GO, &7).await.unwrap());
    run
}

/// What the rest comes to with other code.
async fn parked(home: &Home, run: &quorate::RunHandle<String>, told: &Told, then: Steps) -> String {
    let done = told.clone();
    let function = move |cx: Cx, _| steps(cx, done.clone(), then);
    let working = work(
        home.fleet()
            .durable()
            .register(&TEXT, function)
            .build()
            .unwrap(),
    );
    let state = until(run, |state| matches!(state, RunState::Parked(_))).await;
    let error = run.result().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::JobFailed);
    working.stop().await;
    match state {
        RunState::Parked(why) => why,
        other => panic!("{other:?}"),
    }
}

/// With the difference, for people; nothing is done that the journal does not agree with.
pub async fn a_run_whose_code_has_changed_is_parked(home: Home) {
    let told = Told::default();
    let run = begun(&home, &told, [&["charge", "reserve"], &["ship"]]).await;
    let why = parked(
        &home,
        &run,
        &told,
        [&["charge", "ask", "reserve"], &["ship"]],
    )
    .await;
    assert_eq!(
        why,
        "code and journal disagree at operation 2: the code has `ask`, the journal has `reserve` (a step)"
    );
    assert_eq!(told.all(), ["charge", "reserve"]);
}

/// With the steps that are over.
pub async fn a_parked_run_goes_on_with_the_right_code(home: Home) {
    let told = Told::default();
    let run = begun(&home, &told, [&["charge", "reserve"], &["ship"]]).await;
    parked(&home, &run, &told, [&["reserve", "charge"], &["ship"]]).await;
    let done = told.clone();
    let function = move |cx: Cx, _| steps(cx, done.clone(), [&["charge", "reserve"], &["fly"]]);
    let working = work(
        home.fleet()
            .durable()
            .register(&TEXT, function)
            .build()
            .unwrap(),
    );
    assert!(run.retry().await.unwrap());
    assert_eq!(result(&run).await, "7");
    assert_eq!(told.all(), ["charge", "reserve", "fly"]);
    working.stop().await;
}

/// What it gave belongs to something else.
pub async fn a_step_with_another_input_parks_the_run(home: Home) {
    let input = Count::default();
    let inputs = input.clone();
    let working = home.fleet().durable().register(&TEXT, move |cx: Cx, _| {
        let input = inputs.get();
        async move {
            let step = cx.step("charge", async || Ok::<_, Failure>(()));
            step.input(&("order", input)).await?;
            Ok(cx.signal(&GO).await?.to_string())
        }
    });
    let working = work(working.build().unwrap());
    let same = working.runs.start(&TEXT, "same", &0).await.unwrap();
    until_it_waits(&same).await;
    assert!(same.signal(&GO, &7).await.unwrap());
    assert_eq!(result(&same).await, "7");
    let other = working.runs.start(&TEXT, "other", &0).await.unwrap();
    until_it_waits(&other).await;
    input.more();
    assert!(other.signal(&GO, &7).await.unwrap());
    let state = until(&other, |state| matches!(state, RunState::Parked(_))).await;
    let why = format!("{state:?}");
    assert!(
        why.contains("the code has `charge` with another input"),
        "{why}"
    );
    working.stop().await;
}

/// Also if the function comes to its end without it.
pub async fn what_is_left_out_parks_the_run(home: Home) {
    let told = Told::default();
    let run = begun(&home, &told, [&["charge", "reserve"], &[]]).await;
    let function = async |_, _| Ok("nothing to do".to_owned());
    let working = work(
        home.fleet()
            .durable()
            .register(&TEXT, function)
            .build()
            .unwrap(),
    );
    let state = until(&run, |state| matches!(state, RunState::Parked(_))).await;
    let wanted = "code and journal disagree at operation 1: the code has ended, the journal has `charge` (a step)";
    assert_eq!(state, RunState::Parked(wanted.to_owned()));
    working.stop().await;
}

/// Those that come after it do what is new.
pub async fn a_mark_lets_old_runs_go_on_as_they_were(home: Home) {
    let told = Told::default();
    let old = begun(&home, &told, [&["weigh"], &["ship"]]).await;
    let (done, died) = (told.clone(), Count::default());
    let working = home.fleet().durable().register(&TEXT, move |cx: Cx, _| {
        let (told, died) = (done.clone(), died.clone());
        async move {
            if cx.patched("measure first").await? {
                cx.step("measure", || told.step("measure")).await?;
            }
            cx.step("weigh", || told.step("weigh")).await?;
            let number = cx.signal(&GO).await?;
            if cx.patched("fly").await? {
                cx.step("fly", || told.step("fly")).await?;
            } else {
                cx.step("ship", || told.step("ship")).await?;
            }
            assert!(died.more() % 2 == 0, "it dies");
            Ok(number.to_string())
        }
    });
    let working = work(working.build().unwrap());
    assert_eq!(result(&old).await, "7");
    assert_eq!(told.all(), ["weigh", "fly"]);
    let new = working.runs.start(&TEXT, "new", &0).await.unwrap();
    assert!(new.signal(&GO, &8).await.unwrap());
    assert_eq!(result(&new).await, "8");
    assert_eq!(told.all(), ["weigh", "fly", "measure", "weigh", "fly"]);
    working.stop().await;
}

/// It waits for an instance that has a function of that version.
pub async fn a_run_keeps_its_version(home: Home) {
    const SECOND_TEXT: Workflow<u32, String> = Workflow::new("text").version(2);
    let runs = starter(home.fleet());
    let first = runs.start(&TEXT, "first", &0).await.unwrap();
    let second = runs.start(&SECOND_TEXT, "second", &0).await.unwrap();
    let there = home.instance("there").await;
    let only_second = there.durable().register(&SECOND_TEXT, async |cx: Cx, _| {
        Ok(format!("second {}", cx.version()))
    });
    let only_second = work(only_second.build().unwrap());
    assert_eq!(result(&second).await, "second 2");
    // Whoever declines it has it for a moment.
    until(&first, |state| *state == RunState::Queued).await;
    let both = home
        .fleet()
        .durable()
        .register(&SECOND_TEXT, async |_, _| Ok(String::new()));
    let both = both.register(&TEXT, async |cx: Cx, _| {
        Ok(format!("first {}", cx.version()))
    });
    let both = work(both.build().unwrap());
    assert_eq!(result(&first).await, "first 1");
    both.stop().await;
    only_second.stop().await;
}

/// Before anything is touched.
pub async fn what_breaks_a_rule_is_refused(home: Home) {
    let runs = starter(home.fleet());
    for name in [String::new(), "x".repeat(513)] {
        let error = runs.start(&TEXT, name.clone(), &0).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(
            error.to_string().contains("run must have 1 to 512 bytes"),
            "{error}"
        );
        assert!(runs.run(&TEXT, name).is_err());
    }
    let late = runs.start(&TEXT, "late", &0).delay(HOUR * 24 * 36_501);
    assert_eq!(late.await.unwrap_err().kind(), ErrorKind::InvalidInput);
    let kept = runs
        .start(&TEXT, "kept", &0)
        .keep(HOUR / 3600)
        .await
        .unwrap_err();
    assert!(kept.to_string().contains("keep_result"), "{kept}");
    assert_eq!(
        runs.run(&TEXT, "late").unwrap().state().await.unwrap(),
        None
    );
    let error = runs.work(CancellationToken::new()).await.unwrap_err();
    assert!(
        error.to_string().contains("function must be registered"),
        "{error}"
    );
    let twice = home
        .fleet()
        .durable()
        .register(&TEXT, async |_, _| Ok(String::new()));
    let twice = twice.register(&TEXT, async |_, _| Ok(String::new()));
    let error = twice.build().unwrap_err();
    assert!(
        error
            .to_string()
            .contains("`text` of version 1 is registered twice"),
        "{error}"
    );
    assert!(Workflow::<(), ()>::try_new("no spaces").is_err());
    assert!(Workflow::<(), ()>::try_new("x".repeat(121)).is_err());
    assert!(Signal::<()>::try_new("").is_err());
    // The name of a step is found out when it is begun.
    let function = async |cx: Cx, _| {
        cx.step("", async || Ok::<_, Failure>(())).await?;
        Ok(String::new())
    };
    let working = work(
        home.fleet()
            .durable()
            .register(&TEXT, function)
            .build()
            .unwrap(),
    );
    let run = working.runs.start(&TEXT, "nameless", &0).await.unwrap();
    let state = until(&run, |state| matches!(state, RunState::Parked(_))).await;
    let why = format!("{state:?}");
    assert!(
        why.contains("the name of a step must have 1 to 200 bytes"),
        "{why}"
    );
    working.stop().await;
}
