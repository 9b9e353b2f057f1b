//! First attempts that are made in the process that pushes.

use std::future::IntoFuture;
use std::time::Duration;

use futures_util::future::join_all;
use quorate::queue::JobState;
use quorate::{Ended, Job, JobError};
use tokio::sync::mpsc;

use super::{AT_ONCE, Count, HOUR, NUMBERS, SECOND, numbers, run, say};
use crate::harness::{Home, eventually, within};

async fn said_here(job: Job<u32>) -> Result<String, JobError> {
    if job.input == 0 && job.attempt() == 1 {
        return Err(JobError::retry("not the first time"));
    }
    Ok(format!("here {} {}", job.input, job.attempt()))
}

/// Whoever else waits for work, unless the worker is just asking for more: so not each must be, but many in a row, where ordinary pushes
/// would go to who has waited for longest. And what fails comes again as every job does.
pub async fn a_job_is_done_in_the_process_that_pushed_it(home: Home) {
    let other = home.instance("other").await;
    let there = run(numbers(&other).worker(say));
    let queue = numbers(home.fleet());
    let here = run(queue.worker(said_here));
    let mut in_a_row = 0;
    for number in 1..1_000 {
        let job = queue.push(&number).in_process().await.unwrap();
        assert!(job.is_new());
        let is_here = job.result().await.unwrap() == format!("here {number} 1");
        in_a_row = if is_here { in_a_row + 1 } else { 0 };
        if in_a_row == 20 {
            break;
        }
    }
    assert_eq!(in_a_row, 20);
    there.stop().await;
    let job = queue.push(&0).in_process().await.unwrap();
    assert_eq!(job.result().await.unwrap(), "here 0 2");
    here.stop().await;
}

/// As every other: without a worker, without room, with a delay, while the queue is paused.
pub async fn what_cannot_be_done_here_is_done_elsewhere(home: Home) {
    let other = home.instance("other").await;
    let queue = numbers(home.fleet());
    let job = queue.push(&1).in_process().await.unwrap();
    assert_eq!(job.state().await.unwrap(), Some(JobState::Ready));
    let there = run(numbers(&other).worker(say));
    assert_eq!(job.result().await.unwrap(), "got 1");
    let (begun, mut begins) = mpsc::unbounded_channel();
    let (open, gate) = tokio::sync::watch::channel(false);
    let busy = queue.worker(move |job: Job<u32>| {
        let (begun, mut gate) = (begun.clone(), gate.clone());
        async move {
            begun.send(job.input).unwrap();
            gate.wait_for(|open| *open).await.unwrap();
            Ok(format!("here {}", job.input))
        }
    });
    let here = run(busy.concurrency(1));
    there.stop().await;
    let held = queue.push(&2).in_process().await.unwrap();
    assert_eq!(within("the first", begins.recv()).await, Some(2));
    let waits = queue.push(&3).in_process().await.unwrap();
    assert_eq!(waits.state().await.unwrap(), Some(JobState::Ready));
    let late = queue.push(&4).delay(HOUR).in_process().await.unwrap();
    assert!(matches!(
        late.state().await.unwrap(),
        Some(JobState::Due(_))
    ));
    let there = run(numbers(&other).worker(say));
    assert_eq!(waits.result().await.unwrap(), "got 3");
    open.send(true).unwrap();
    assert_eq!(held.result().await.unwrap(), "here 2");
    queue.pause().await.unwrap();
    let paused = queue.push(&5).in_process().await.unwrap();
    assert_eq!(paused.state().await.unwrap(), Some(JobState::Ready));
    queue.resume().await.unwrap();
    paused.result().await.unwrap();
    here.stop().await;
    there.stop().await;
    let job = queue.push(&6).in_process().await.unwrap();
    assert_eq!(job.state().await.unwrap(), Some(JobState::Ready));
}

/// What may begin is decided where everything that is active is known.
pub async fn a_worker_with_limits_takes_nothing_at_once(home: Home) {
    let queue = home.fleet().queue(&NUMBERS.max_active(1));
    let (begun, mut begins) = mpsc::unbounded_channel();
    let (open, gate) = tokio::sync::watch::channel(false);
    let here = run(queue.worker(move |job: Job<u32>| {
        let (begun, mut gate) = (begun.clone(), gate.clone());
        async move {
            begun.send(job.input).unwrap();
            gate.wait_for(|open| *open).await.unwrap();
            Ok(format!("here {}", job.input))
        }
    }));
    let first = queue.push(&1).in_process().await.unwrap();
    assert_eq!(within("the first", begins.recv()).await, Some(1));
    let second = queue.push(&2).in_process().await.unwrap();
    assert_eq!(second.state().await.unwrap(), Some(JobState::Ready));
    open.send(true).unwrap();
    assert_eq!(first.result().await.unwrap(), "here 1");
    assert_eq!(second.result().await.unwrap(), "here 2");
    here.stop().await;
}

/// Whoever gave up on the push.
pub async fn a_dropped_push_does_not_keep_a_job_from_being_done(home: Home) {
    let queue = numbers(home.fleet());
    let here = run(queue.worker(said_here));
    // One that waits for room queues nothing, and one that finds none is pushed.
    eventually("a push", async || {
        let mut push = queue.push(&1).in_process().into_future();
        let _ = futures_util::poll!(&mut push);
        drop(push);
        queue.stats().await.unwrap().totals.pushed > 0
    })
    .await;
    eventually("its end", async || {
        let totals = queue.stats().await.unwrap().totals;
        totals.succeeded == totals.pushed
    })
    .await;
    // No room is kept for it any more: the worker stops at once, and need not wait.
    here.stop().await;
}

/// However many are pushed at once, and whatever is taken from the queue meanwhile.
pub async fn what_is_begun_here_is_no_more_than_there_is_room_for(home: Home) {
    let queue = numbers(home.fleet());
    let (running, most) = (Count::default(), Count::default());
    let (now, peak) = (running.clone(), most.clone());
    let here = run(queue
        .worker(move |job: Job<u32>| {
            let (now, peak) = (now.clone(), peak.clone());
            async move {
                if now.more() > 3 {
                    peak.more();
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
                now.less();
                Ok(job.input.to_string())
            }
        })
        .concurrency(3));
    let pushes = (0..60).map(|number| {
        let queue = queue.clone();
        async move {
            let push = queue.push(&number);
            let job = if number % 3 == 0 {
                push.await
            } else {
                push.in_process().await
            };
            job.unwrap().result().await.unwrap()
        }
    });
    let results = within("all results", join_all(pushes)).await;
    assert_eq!(results.len(), 60);
    assert_eq!((running.get(), most.get()), (0, 0));
    here.stop().await;
}

/// Its lease is renewed, it is cancelled, it is handed back, and has its key: as every other.
pub async fn what_is_begun_here_is_a_job_like_any_other(home: Home) {
    let other = home.instance("other").await;
    let queue = home.fleet().queue(&NUMBERS.backoff(AT_ONCE));
    let (begun, mut begins) = mpsc::unbounded_channel();
    let waits = queue.worker(move |job: Job<u32>| {
        let begun = begun.clone();
        async move {
            begun.send(job.attempt()).unwrap();
            if job.input == 1 {
                // Longer than its first lease, and than the whole.
                tokio::time::sleep(SECOND).await;
                return Ok("done".to_owned());
            }
            job.cancelled().cancelled().await;
            Err(JobError::retry("told to stop"))
        }
    });
    let lease = Duration::from_millis(600);
    let here = run(waits.lease(lease).drain(Duration::ZERO));
    let long = queue.push(&1).in_process().await.unwrap();
    assert_eq!(within("the first", begins.recv()).await, Some(1));
    assert_eq!(long.result().await.unwrap(), "done");
    let one = queue.push(&2).unique("key").in_process().await.unwrap();
    assert_eq!(within("the second", begins.recv()).await, Some(1));
    let same = queue.push(&2).unique("key").in_process().await.unwrap();
    assert_eq!((same.id(), same.is_new()), (one.id(), false));
    let asked = numbers(&other).job(one.id()).cancel().await.unwrap();
    assert_eq!(asked, Some(JobState::Active { cancelled: true }));
    assert_eq!(one.ended().await.unwrap(), Ended::Cancelled);
    let handed = queue.push(&3).in_process().await.unwrap();
    assert_eq!(within("the third", begins.recv()).await, Some(1));
    here.stop().await;
    assert_eq!(handed.state().await.unwrap(), Some(JobState::Ready));
    let there = run(numbers(&other).worker(say));
    assert_eq!(handed.result().await.unwrap(), "got 3");
    there.stop().await;
}
