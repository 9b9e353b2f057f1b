//! Jobs that are run together.

use std::time::Duration;

use quorate::{Ended, ErrorKind, Job, JobError};
use tokio::sync::mpsc;

use super::{Count, HOUR, numbers, run_together};
use crate::harness::{Home, within};

/// As many as one batch takes, and what is left.
pub async fn jobs_are_run_together(home: Home) {
    let queue = numbers(home.fleet());
    let (told, mut hears) = mpsc::unbounded_channel();
    let jobs = queue.push_many(&[1, 2, 3, 4, 5]).await.unwrap();
    let worker = queue.batch_worker(move |jobs: Vec<Job<u32>>| {
        let inputs: Vec<_> = jobs.iter().map(|job| job.input).collect();
        told.send(inputs.clone()).unwrap();
        async move { inputs.iter().map(|it| Ok(format!("got {it}"))).collect() }
    });
    let running = run_together(worker.size(3).max_wait(Duration::from_millis(200)));
    for (job, number) in jobs.iter().zip(1..) {
        assert_eq!(job.result().await.unwrap(), format!("got {number}"));
    }
    assert_eq!(hears.recv().await, Some(vec![1, 2, 3]));
    assert_eq!(hears.recv().await, Some(vec![4, 5]));
    running.stop().await;
    for size in [0, 51] {
        let worker = queue.batch_worker(async |_| Vec::new()).size(size);
        let error = worker
            .run(quorate::CancellationToken::new())
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("size must be"), "{error}");
    }
}

/// One may succeed, one be tried again, one be dead.
pub async fn of_a_batch_each_job_is_settled_by_itself(home: Home) {
    let queue = numbers(home.fleet());
    let jobs = queue.push_many(&[1, 2, 3]).await.unwrap();
    let running = run_together(queue.batch_worker(async |jobs: Vec<Job<u32>>| {
        let settle = |job: &Job<u32>| match (job.input, job.attempt()) {
            (2, 1) => Err(JobError::retry("once more")),
            (3, _) => Err(JobError::abort("no such number")),
            (_, attempt) => Ok(format!("attempt {attempt}")),
        };
        jobs.iter().map(settle).collect()
    }));
    assert_eq!(jobs[0].result().await.unwrap(), "attempt 1");
    assert_eq!(jobs[1].result().await.unwrap(), "attempt 2");
    assert_eq!(
        jobs[2].ended().await.unwrap(),
        Ended::Dead("no such number".to_owned())
    );
    running.stop().await;
}

/// Nobody knows whose results they are.
pub async fn a_batch_with_results_that_do_not_fit_has_failed(home: Home) {
    let queue = numbers(home.fleet());
    let ran = Count::default();
    let jobs = queue.push_many(&[1, 2]).await.unwrap();
    let running = run_together(queue.batch_worker(move |jobs: Vec<Job<u32>>| {
        let nth = ran.more();
        async move {
            match nth {
                1 => vec![Ok(String::new())],
                2 => panic!("out of paper"),
                _ => jobs
                    .iter()
                    .map(|job| Err(JobError::abort(format!("attempt {}", job.attempt()))))
                    .collect(),
            }
        }
    }));
    for job in &jobs {
        assert_eq!(
            job.ended().await.unwrap(),
            Ended::Dead("attempt 3".to_owned())
        );
    }
    running.stop().await;
}

/// One job alone is run when its time is up; were it not, this would not end.
pub async fn a_batch_does_not_wait_for_long(home: Home) {
    let queue = numbers(home.fleet());
    let running = run_together(queue.batch_worker(async |jobs: Vec<Job<u32>>| {
        jobs.iter().map(|_| Ok(jobs.len().to_string())).collect()
    }));
    let job = queue.push(&1).timeout(HOUR).await.unwrap();
    assert_eq!(
        within("one job", job.result().into_future()).await.unwrap(),
        "1"
    );
    running.stop().await;
}
