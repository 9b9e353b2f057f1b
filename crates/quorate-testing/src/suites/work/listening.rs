//! What happens in a queue, for who looks on.

use futures_util::FutureExt;
use futures_util::future::join_all;
use quorate::queue::{EventBatch, JobEvent, JobEventKind, QueueEvent, QueueEvents};
use quorate::{ErrorKind, JobError, JobId};

use super::{numbers, run, say};
use crate::harness::{Home, eventually, within};

async fn next(events: &mut QueueEvents) -> QueueEvent {
    within("an event", events.next()).await.unwrap()
}

/// The next one, which is one of a job.
async fn of_job(events: &mut QueueEvents) -> JobEvent {
    match next(events).await {
        QueueEvent::Job(event) => event,
        other => panic!("{other:?}"),
    }
}

/// Up to the end of this job.
async fn until_end(events: &mut QueueEvents, id: JobId) -> Vec<JobEventKind> {
    let mut kinds = Vec::new();
    loop {
        let event = of_job(events).await;
        assert_eq!(event.id, id);
        let is_end = matches!(
            event.kind,
            JobEventKind::Succeeded | JobEventKind::Dead { .. }
        );
        kinds.push(event.kind);
        if is_end {
            return kinds;
        }
    }
}

/// Whoever pushes, works and listens.
pub async fn what_happens_is_heard_on_every_instance(home: Home) {
    let (here, there) = (home.instance("here").await, home.instance("there").await);
    let queue = numbers(home.fleet());
    let mut listening = [
        numbers(&here).events().await.unwrap(),
        numbers(&there).events().await.unwrap(),
    ];
    let job = queue.push(&1).await.unwrap();
    let running = run(numbers(&there).worker(say));
    for events in &mut listening {
        let kinds = until_end(events, job.id()).await;
        let expected = [
            JobEventKind::Queued { due: None },
            JobEventKind::Started { attempt: 1 },
            JobEventKind::Succeeded,
        ];
        assert_eq!(kinds, expected);
    }
    running.stop().await;
    let fails = run(queue.worker(async |_| Err(JobError::retry("no such number"))));
    let job = queue.push(&2).max_attempts(2).await.unwrap();
    let [here, _] = &mut listening;
    let kinds = until_end(here, job.id()).await;
    let [queued, started, failed, again, dead] = &kinds[..] else {
        panic!("{kinds:?}");
    };
    assert_eq!(queued, &JobEventKind::Queued { due: None });
    assert_eq!(started, &JobEventKind::Started { attempt: 1 });
    assert_eq!(again, &JobEventKind::Started { attempt: 2 });
    for (kind, expected) in [(failed, "Failed"), (dead, "Dead")] {
        let text = format!("{kind:?}");
        assert!(text.starts_with(expected), "{text}");
        assert!(text.contains("no such number"), "{text}");
    }
    fails.stop().await;
}

/// As it does when the home says the next number but one: whatever was not announced, or got lost.
pub async fn what_was_missed_is_told_to_who_listens(home: Home) {
    let queue = numbers(home.fleet());
    let mut events = queue.events().await.unwrap();
    let channel = home.fleet().channel("queue:{numbers}:events").unwrap();
    let channel = channel.sharded();
    let first = queue.push(&1).await.unwrap();
    assert_eq!(of_job(&mut events).await.id, first.id());
    // What nobody can read may have been anything.
    channel.publish("?").await.unwrap();
    assert_eq!(next(&mut events).await, QueueEvent::Missed);
    // A batch that got lost: a listener of its own takes note of the number.
    let number = {
        let key = quorate::Key::new(home.fleet().namespace(), "numbers").unwrap();
        let port = home.fleet().queue_port();
        let number = port.watch(&key, super::super::queue::options());
        number.await.unwrap()
    };
    let second = queue.push(&2).await.unwrap();
    assert_eq!(of_job(&mut events).await.id, second.id());
    let batch = EventBatch {
        number: number + 3,
        events: vec![JobEvent {
            id: first.id(),
            at: quorate::Micros::new(1),
            kind: JobEventKind::Succeeded,
        }],
    };
    channel.publish(batch.encode()).await.unwrap();
    assert_eq!(next(&mut events).await, QueueEvent::Missed);
    assert_eq!(of_job(&mut events).await.kind, JobEventKind::Succeeded);
}

/// And memory has an end: whoever takes nothing is told that something is missing, and goes on with the last.
pub async fn who_takes_no_events_misses_some(home: Home) {
    let queue = numbers(home.fleet());
    let mut events = queue.events().await.unwrap();
    let mut attentive = queue.events().await.unwrap();
    let channel = home.fleet().channel("queue:{numbers}:events").unwrap();
    let channel = channel.sharded();
    let key = quorate::Key::new(home.fleet().namespace(), "numbers").unwrap();
    let port = home.fleet().queue_port();
    let began = port.watch(&key, super::super::queue::options());
    let began = began.await.unwrap();
    for part in 0..3 {
        // As if so much had happened.
        let batches = (1..=400).map(|nth| EventBatch {
            number: began + part * 400 + nth,
            events: vec![JobEvent {
                id: JobId::random(),
                at: quorate::Micros::new(part * 400 + nth),
                kind: JobEventKind::Progress,
            }],
        });
        let published = batches.map(|batch| channel.publish(batch.encode()));
        for receipt in join_all(published).await {
            receipt.unwrap();
        }
        for nth in 1..=400 {
            // What has come to this one has come to the other.
            let at = of_job(&mut attentive).await.at;
            assert_eq!(at, quorate::Micros::new(part * 400 + nth));
        }
    }
    assert_eq!(next(&mut events).await, QueueEvent::Missed);
    let mut heard = 1;
    while of_job(&mut events).await.at != quorate::Micros::new(1_200) {
        heard += 1;
    }
    assert!(heard < 1_200, "{heard}");
}

/// Of who is gone nothing is left, and a stream of a closed fleet ends.
pub async fn who_stops_listening_is_let_go(home: Home) {
    let other = home.instance("other").await;
    let mut events = numbers(&other).events().await.unwrap();
    let dropped = numbers(home.fleet()).events().await.unwrap();
    drop(dropped);
    let channel = home.fleet().channel("queue:{numbers}:events").unwrap();
    let channel = channel.sharded();
    eventually("one who listens", async || {
        channel.publish("?").await.unwrap().receivers != Some(2)
    })
    .await;
    while events.next().now_or_never().flatten().is_some() {}
    other.close().await;
    while let Some(event) = within("the end", events.next()).await {
        assert_eq!(event, QueueEvent::Missed);
    }
    let error = numbers(&other).events().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
}
