//! Queues that are behind, for who wants to do something about it.

use std::time::Duration;

use quorate::queue::Backlog;
use quorate::{CancellationToken, ErrorKind};
use tokio::sync::mpsc;

use super::{HOUR, SECOND, numbers, run, say};
use crate::harness::{Home, within};

/// To who adds to it, on any instance; whatever it was pushed with.
pub async fn a_queue_that_is_behind_says_so_until_it_has_caught_up(home: Home) {
    let other = home.instance("other").await;
    let queue = numbers(home.fleet());
    let mut backlog = numbers(&other).backlog(SECOND).await.unwrap();
    assert_eq!(*backlog.borrow(), Backlog::default());
    let jobs = queue.push_many(&[1, 2]).await.unwrap();
    // One that is due later waits for nobody.
    queue.push(&3).delay(HOUR).await.unwrap();
    let behind = within("that it is behind", backlog.wait_for(|it| it.is_behind)).await;
    let behind = *behind.unwrap();
    assert!(behind.waited > SECOND && behind.ready == 2, "{behind:?}");
    let running = run(numbers(&other).worker(say));
    for job in jobs {
        job.result().await.unwrap();
    }
    let caught_up = backlog.wait_for(|it| !it.is_behind);
    let caught_up = *within("that it has caught up", caught_up).await.unwrap();
    assert_eq!(caught_up, Backlog::default());
    running.stop().await;
    other.close().await;
    let ended = within("the end", backlog.changed()).await;
    assert!(ended.is_err(), "it ends with the fleet");
}

/// Once, and once more when it has caught up.
pub async fn a_worker_is_told_that_its_queue_is_behind(home: Home) {
    let queue = numbers(home.fleet());
    queue.pause().await.unwrap();
    let (told, mut hears) = mpsc::unbounded_channel();
    let worker = queue.worker(say).on_backlog(SECOND, move |backlog| {
        told.send(backlog).unwrap();
    });
    let running = run(worker);
    let job = queue.push(&1).await.unwrap();
    let behind = within("that it is behind", hears.recv()).await.unwrap();
    assert!(behind.is_behind && behind.ready == 1, "{behind:?}");
    queue.resume().await.unwrap();
    job.result().await.unwrap();
    let caught_up = within("that it has caught up", hears.recv()).await;
    assert_eq!(caught_up, Some(Backlog::default()));
    running.stop().await;
    assert_eq!(
        hears.recv().await,
        None,
        "who is told is gone with the worker"
    );
}

/// Less than a second, more than a day.
pub async fn a_backlog_that_nobody_can_watch_is_refused(home: Home) {
    let queue = numbers(home.fleet());
    for after in [Duration::ZERO, SECOND / 2, 25 * HOUR] {
        let worker = queue.worker(say).on_backlog(after, |_| {});
        for error in [
            queue.backlog(after).await.unwrap_err(),
            worker.run(CancellationToken::new()).await.unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
            let rule = "after must be from 1 s to 24 hours";
            assert!(error.to_string().contains(rule), "{error}");
        }
    }
}
