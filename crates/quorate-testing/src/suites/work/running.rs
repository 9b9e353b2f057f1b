//! Jobs that are run.

use std::sync::Arc;
use std::time::Duration;

use quorate::queue::JobState;
use quorate::{Job, JobError};
use tokio::sync::{Barrier, Semaphore, mpsc};

use super::{Count, numbers, run, say};
use crate::harness::{Home, eventually, within};

/// Beside its input.
pub async fn a_job_knows_what_it_is(home: Home) {
    let queue = numbers(home.fleet());
    let push = queue.push(&1).fairness_group("shop").tags(["a", "b"]);
    let job = push.max_attempts(2).await.unwrap();
    let (told, mut hears) = mpsc::unbounded_channel();
    let running = run(queue.worker(move |job: Job<u32>| {
        told.send(job.split().1).unwrap();
        async { Err(JobError::retry("once more")) }
    }));
    let first = within("the first attempt", hears.recv()).await.unwrap();
    assert_eq!(
        (first.id(), first.attempt(), first.max_attempts()),
        (job.id(), 1, 2)
    );
    assert_eq!(
        (first.fairness_group(), first.tags()),
        ("shop", &["a", "b"].map(String::from)[..])
    );
    assert!(!first.is_last_attempt() && first.parent().is_none());
    let last = within("the last attempt", hears.recv()).await.unwrap();
    assert_eq!((last.id(), last.attempt()), (job.id(), 2));
    assert!(last.is_last_attempt() && last.lease() > first.lease());
    assert_eq!(last.queued_at(), first.queued_at());
    running.stop().await;
}

/// And as many, if there are so many.
pub async fn at_most_so_many_jobs_run_at_a_time(home: Home) {
    let queue = numbers(home.fleet());
    let (now, most) = (Count::default(), Count::default());
    // Each waits until three run.
    let barrier = Arc::new(Barrier::new(3));
    let running = {
        let most = most.clone();
        run(queue
            .worker(move |_| {
                let (now, most, barrier) = (now.clone(), most.clone(), barrier.clone());
                async move {
                    let running = now.more();
                    while most.get() < running {
                        most.more();
                    }
                    barrier.wait().await;
                    now.less();
                    Ok(String::new())
                }
            })
            .concurrency(3))
    };
    let jobs = queue.push_many(&[0; 12]).await.unwrap();
    for job in &jobs {
        job.result().await.unwrap();
    }
    running.stop().await;
    assert_eq!(most.get(), 3);
}

/// Were it not, each of these would wait for it to ask by itself, and all of them for minutes.
pub async fn an_idle_worker_is_woken(home: Home) {
    let other = home.instance("worker").await;
    let running = run(numbers(&other).worker(say));
    let work = async {
        for number in 0..50 {
            let job = numbers(home.fleet()).push(&number).await.unwrap();
            assert_eq!(job.result().await.unwrap(), format!("got {number}"));
        }
    };
    within("fifty jobs, one after the other", work).await;
    running.stop().await;
}

/// For as long as its worker lives.
pub async fn a_job_may_take_longer_than_its_lease(home: Home) {
    let queue = numbers(home.fleet());
    let lease = Duration::from_millis(400);
    let running = run(queue
        .worker(move |job: Job<u32>| async move {
            tokio::time::sleep(lease * 3).await;
            Ok(format!("attempt {}", job.attempt()))
        })
        .lease(lease));
    // Others would take it if they could.
    let others = run(queue
        .worker(async |_| Err(JobError::abort("not ours")))
        .accept(|job| job.attempt() > 1));
    let job = queue.push(&1).await.unwrap();
    assert_eq!(job.result().await.unwrap(), "attempt 1");
    others.stop().await;
    running.stop().await;
}

/// With what that kept; and what is said by who has lost the job is said in vain.
pub async fn the_next_attempt_goes_on_where_the_last_one_stopped(home: Home) {
    let queue = numbers(home.fleet());
    let (told, mut hears) = mpsc::unbounded_channel();
    let running = run(queue.worker(move |job: Job<u32>| {
        told.send((*job).clone()).unwrap();
        async move {
            assert!(job.progress(&0.5).await?);
            assert!(job.log("half of it").await?);
            match job.last_checkpoint::<Vec<u32>>()? {
                None => {
                    assert!(job.checkpoint(&[1, 2, 3]).await?);
                    Err(JobError::retry("out of paper"))
                }
                Some(state) => Ok(format!("{state:?}")),
            }
        }
    }));
    let job = queue.push(&1).await.unwrap();
    assert_eq!(job.result().await.unwrap(), "[1, 2, 3]");
    let first = hears.recv().await.unwrap();
    assert!(!first.progress("all of it").await.unwrap());
    assert!(!first.log("too late").await.unwrap());
    assert!(!first.checkpoint(&()).await.unwrap());
    let second = hears.recv().await.unwrap();
    assert!(
        second.last_checkpoint::<String>().is_err(),
        "it is of another type"
    );
    let long = second.log("x".repeat(5000)).await.unwrap_err();
    assert!(
        long.to_string().contains("line must be at most 4096 bytes"),
        "{long}"
    );
    running.stop().await;
}

/// Which may take it then, and has not lost an attempt.
pub async fn a_declined_job_goes_to_another_instance(home: Home) {
    let queue = numbers(home.fleet());
    let asked = Count::default();
    let picky = {
        let asked = asked.clone();
        run(queue.worker(say).accept(move |_| {
            asked.more();
            false
        }))
    };
    let job = queue.push(&1).await.unwrap();
    eventually("the question", async || asked.get() > 0).await;
    let other = home.instance("other").await;
    let running =
        run(numbers(&other).worker(async |job: Job<u32>| Ok(format!("attempt {}", job.attempt()))));
    assert_eq!(job.result().await.unwrap(), "attempt 1");
    picky.stop().await;
    running.stop().await;
}

/// What runs goes on, and what is pushed is queued.
pub async fn a_paused_queue_waits(home: Home) {
    let queue = numbers(home.fleet());
    let gate = Arc::new(Semaphore::new(0));
    let running = {
        let gate = gate.clone();
        run(queue.worker(move |job: Job<u32>| {
            let gate = gate.clone();
            async move {
                gate.acquire().await.unwrap().forget();
                Ok(format!("got {}", job.input))
            }
        }))
    };
    let first = queue.push(&1).await.unwrap();
    eventually("the first job", async || {
        matches!(first.state().await.unwrap(), Some(JobState::Active { .. }))
    })
    .await;
    queue.pause().await.unwrap();
    let second = queue.push(&2).await.unwrap();
    gate.add_permits(2);
    assert_eq!(first.result().await.unwrap(), "got 1");
    assert_eq!(second.state().await.unwrap(), Some(JobState::Ready));
    queue.resume().await.unwrap();
    assert_eq!(second.result().await.unwrap(), "got 2");
    running.stop().await;
}
