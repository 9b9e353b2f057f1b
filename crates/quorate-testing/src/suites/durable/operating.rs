//! Runs as who operates them sees them.

use quorate::durable::{RunHistory, RunPlace};
use quorate::{Cx, ErrorKind, Failure, RunState, Signal, Workflow};

use super::{Count, TEXT, Told, ended, result, until_it_waits, work};
use crate::harness::Home;

const GO: Signal<u32> = Signal::new("go");

/// From the beginning to the end, also of a run that is over; and as text it can be kept.
pub async fn what_is_written_down_of_a_run_is_read(home: Home) {
    let died = Count::default();
    let working = home
        .fleet()
        .durable()
        .register(&TEXT, move |cx: Cx, number: u32| {
            let died = died.clone();
            async move {
                let number = cx
                    .step("add", async || Ok::<_, Failure>(number + 1))
                    .await?;
                let more = cx.scope("wait", async |cx| cx.signal(&GO).await).await?;
                assert!(died.more() > 1, "it dies");
                Ok((number + more).to_string())
            }
        });
    let working = work(working.build().unwrap());
    let run = working.runs.start(&TEXT, "run", &1).await.unwrap();
    until_it_waits(&run).await;
    let history = run.history().await.unwrap().unwrap();
    assert!(matches!(history.state, RunState::Waiting(_)));
    assert!(history.started.is_some() && history.messages.is_empty());
    assert!(run.signal(&GO, &5).await.unwrap());
    assert_eq!(result(&run).await, "7");
    let history = run.history().await.unwrap().unwrap();
    let text = serde_json::to_string(&history).unwrap();
    let history: RunHistory = serde_json::from_str(&text).unwrap();
    assert_eq!(history.workflow, "text");
    assert_eq!(
        (history.run.as_deref(), history.version),
        (Some("run"), Some(1))
    );
    assert_eq!(history.input.unwrap().get(), "1");
    assert_eq!(history.result.unwrap().get(), r#""7""#);
    assert_eq!(history.state, RunState::Succeeded);
    let entries: Vec<_> = history.entries.iter().map(|it| it.what.get()).collect();
    assert_eq!(entries.len(), 3);
    assert_eq!(
        entries[0],
        r#"{"at":[],"did":{"begun":{"run":"run","version":1,"input":1}}}"#
    );
    assert!(
        entries[1].starts_with(r#"{"at":[["add",0]],"did":{"step":{"outcome":{"ok":2},"took":"#)
    );
    let signal = r#"{"at":[["wait",1],["go",0]],"did":{"signal":{"message":0,"value":5}}}"#;
    assert_eq!(entries[2], signal);
    assert!(history.entries[1].when <= history.entries[2].when);
    assert!(
        history.messages[0]
            .what
            .get()
            .ends_with(r#""says":{"signal":{"name":"go","value":5}}}"#)
    );
    let none = working.runs.run(&TEXT, "none").unwrap();
    assert!(none.history().await.unwrap().is_none());
    working.stop().await;
}

/// With their names, by how they do, page by page.
pub async fn runs_are_listed_and_counted(home: Home) {
    const WAITS: Workflow<u32, String> = Workflow::new("waits");
    let working =
        home.fleet()
            .durable()
            .register(&WAITS, async |cx: Cx, number: u32| match number {
                0 => Ok("over".to_owned()),
                1 => Err(Failure::fatal("one")),
                _ => Ok(cx.signal(&GO).await?.to_string()),
            });
    let working = work(working.build().unwrap());
    let runs = &working.runs;
    let over = runs.start(&WAITS, "over", &0).await.unwrap();
    let failed = runs.start(&WAITS, "failed", &1).await.unwrap();
    assert_eq!(result(&over).await, "over");
    assert_eq!(ended(&failed).await.unwrap_err().message(), "one");
    for number in 2..5 {
        let run = runs
            .start(&WAITS, format!("{number}"), &number)
            .await
            .unwrap();
        until_it_waits(&run).await;
    }
    let counts = runs.count(&WAITS).await.unwrap();
    assert_eq!((counts.queued, counts.waiting, counts.running), (0, 3, 0));
    assert_eq!((counts.over, counts.failed), (1, 1));
    for (place, name) in [(RunPlace::Over, "over"), (RunPlace::Failed, "failed")] {
        let page = runs.list(&WAITS, place, None, 10).await.unwrap();
        assert!(page.next.is_none() && page.runs.len() == 1);
        assert_eq!(page.runs[0].run.as_deref(), Some(name));
    }
    let first = runs.list(&WAITS, RunPlace::Waiting, None, 2).await.unwrap();
    let second = runs
        .list(&WAITS, RunPlace::Waiting, first.next, 2)
        .await
        .unwrap();
    let mut names: Vec<_> = first
        .runs
        .into_iter()
        .chain(second.runs)
        .map(|it| it.run.unwrap())
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["2", "3", "4"]);
    let error = runs
        .list(&WAITS, RunPlace::Over, None, 0)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    // One without a name is found by its job.
    let page = runs.list(&WAITS, RunPlace::Failed, None, 1).await.unwrap();
    let found = runs.run_of(&WAITS, page.runs[0].job).unwrap();
    assert_eq!(ended(&found).await.unwrap_err().message(), "one");
    assert_eq!(runs.workflows().await.unwrap(), ["waits"]);
    working.stop().await;
}

/// What was done before that is known, and the rest is done again.
pub async fn a_run_that_failed_is_tried_again_from_an_earlier_place(home: Home) {
    let told = Told::default();
    let steps = told.clone();
    let working = home.fleet().durable().register(&TEXT, move |cx: Cx, _| {
        let told = steps.clone();
        async move {
            let first = cx.step("first", || told.step("first")).await?;
            let second = cx.step("second", || told.step("second")).await?;
            cx.step("third", || async {
                match told.step("third").await? {
                    3 => Err(Failure::fatal("third")),
                    nth => Ok(nth),
                }
            })
            .await?;
            Ok(format!("{first} {second}"))
        }
    });
    let working = work(working.build().unwrap());
    let run = working.runs.start(&TEXT, "run", &0).await.unwrap();
    assert_eq!(ended(&run).await.unwrap_err().message(), "third");
    // A step that failed is over: the same again.
    assert!(run.retry().await.unwrap());
    assert_eq!(ended(&run).await.unwrap_err().message(), "third");
    assert_eq!(told.all(), ["first", "second", "third"]);
    let history = run.history().await.unwrap().unwrap();
    assert_eq!(history.entries.len(), 4);
    let error = run.retry_from(5).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(run.retry_from(2).await.unwrap());
    assert_eq!(result(&run).await, "1 4");
    assert_eq!(told.all(), ["first", "second", "third", "second", "third"]);
    assert!(!run.retry_from(0).await.unwrap());
    working.stop().await;
}
