//! Workers that stop.

use std::sync::Arc;
use std::time::Duration;

use quorate::queue::JobState;
use quorate::{Ended, Job, WorkerStatus};
use tokio::sync::{Semaphore, mpsc};

use super::{HOUR, numbers, run};
use crate::harness::{Home, within};

const SHORT: Duration = Duration::from_millis(10);

/// And takes no others.
pub async fn a_stopping_worker_lets_its_jobs_end(home: Home) {
    let queue = numbers(home.fleet());
    let gate = Arc::new(Semaphore::new(0));
    let (told, mut hears) = mpsc::unbounded_channel();
    let (status, running) = {
        let gate = gate.clone();
        let worker = queue.worker(move |job: Job<u32>| {
            let (gate, told) = (gate.clone(), told.clone());
            async move {
                told.send(()).unwrap();
                gate.acquire().await.unwrap().forget();
                Ok(format!("got {}", job.input))
            }
        });
        let worker = worker.concurrency(1).drain(HOUR);
        (worker.status(), run(worker))
    };
    let jobs = queue.push_many(&[1, 2]).await.unwrap();
    within("the delivery", hears.recv()).await.unwrap();
    running.stop.cancel();
    let mut seen = status.clone();
    let draining = seen.wait_for(|it| *it == WorkerStatus::Draining);
    within("that it stops", draining).await.unwrap();
    gate.add_permits(2);
    running.ended().await;
    assert_eq!(*status.borrow(), WorkerStatus::Stopped);
    assert_eq!(jobs[0].result().await.unwrap(), "got 1");
    assert_eq!(jobs[1].state().await.unwrap(), Some(JobState::Ready));
}

/// At once, and that was no attempt.
pub async fn a_stopping_worker_hands_back_what_does_not_end(home: Home) {
    let queue = numbers(home.fleet());
    let (told, mut hears) = mpsc::unbounded_channel();
    let worker = queue.worker(move |_| {
        told.send(()).unwrap();
        std::future::pending()
    });
    let running = run(worker.drain(SHORT).grace(SHORT));
    let job = queue.push(&1).max_attempts(1).await.unwrap();
    within("the delivery", hears.recv()).await.unwrap();
    running.stop().await;
    assert_eq!(job.state().await.unwrap(), Some(JobState::Ready));
    let other = home.instance("other").await;
    let running =
        run(numbers(&other).worker(async |job: Job<u32>| Ok(format!("attempt {}", job.attempt()))));
    assert_eq!(job.result().await.unwrap(), "attempt 1");
    running.stop().await;
}

/// In the background, as if it had been told to.
pub async fn a_dropped_worker_stops(home: Home) {
    let queue = numbers(home.fleet());
    let (told, mut hears) = mpsc::unbounded_channel();
    let worker = queue.worker(move |_| {
        told.send(()).unwrap();
        std::future::pending()
    });
    let worker = worker.drain(SHORT).grace(SHORT);
    let mut status = worker.status();
    let running = run(worker);
    let job = queue.push(&1).max_attempts(1).await.unwrap();
    within("the delivery", hears.recv()).await.unwrap();
    running.drop();
    let stopped = status.wait_for(|it| *it == WorkerStatus::Stopped);
    within("the end", stopped).await.unwrap();
    assert_eq!(job.state().await.unwrap(), Some(JobState::Ready));
}

/// Before it is closed.
pub async fn a_closing_fleet_hands_its_jobs_back(home: Home) {
    let other = home.instance("other").await;
    let (told, mut hears) = mpsc::unbounded_channel();
    let worker = numbers(&other).worker(move |job: Job<u32>| {
        let told = told.clone();
        async move {
            told.send(()).unwrap();
            if job.input == 1 {
                std::future::pending().await
            }
            job.cancelled().cancelled().await;
            Ok("in time".to_owned())
        }
    });
    let running = run(worker.grace(SHORT));
    let jobs = numbers(home.fleet()).push_many(&[1, 2]).await.unwrap();
    within("the deliveries", async {
        (hears.recv().await, hears.recv().await)
    })
    .await;
    within("the close", other.close()).await;
    running.ended().await;
    assert_eq!(jobs[0].state().await.unwrap(), Some(JobState::Ready));
    assert_eq!(
        jobs[1].ended().await.unwrap(),
        Ended::Succeeded("in time".to_owned())
    );
}
