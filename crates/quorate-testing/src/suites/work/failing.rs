//! Jobs that fail.

use std::time::Duration;

use quorate::{Codec, Ended, Job, JobError, OrAbort, QueueSpec};
use tokio::sync::mpsc;

use super::{Count, HOUR, SECOND, numbers, run, say};
use crate::harness::{Home, within};

fn no_route() -> std::io::Error {
    std::io::Error::other("no route")
}

/// Any error will do.
pub async fn a_failed_job_is_tried_again(home: Home) {
    let queue = numbers(home.fleet());
    let running = run(queue.worker(async |job: Job<u32>| match job.attempt() {
        1 => Err(no_route())?,
        2 => Err(JobError::retry_in(Duration::from_millis(5), "once more")),
        attempt => Ok(format!("attempt {attempt}")),
    }));
    let job = queue.push(&1).await.unwrap();
    assert_eq!(job.result().await.unwrap(), "attempt 3");
    running.stop().await;
}

/// And says why, at last.
pub async fn a_job_that_always_fails_is_dead(home: Home) {
    let queue = numbers(home.fleet());
    let ran = Count::default();
    let running = {
        let ran = ran.clone();
        run(queue.worker(move |_| {
            let nth = ran.more();
            async move { Err(JobError::retry(format!("failure {nth}"))) }
        }))
    };
    let job = queue.push(&1).max_attempts(3).await.unwrap();
    assert_eq!(
        job.ended().await.unwrap(),
        Ended::Dead("failure 3".to_owned())
    );
    running.stop().await;
    assert_eq!(ran.get(), 3);
}

/// However many attempts it has left.
pub async fn an_aborted_job_is_dead_at_once(home: Home) {
    let queue = numbers(home.fleet());
    let ran = Count::default();
    let running = {
        let ran = ran.clone();
        run(queue.worker(move |_| {
            ran.more();
            async { Err(no_route()).or_abort() }
        }))
    };
    let job = queue.push(&1).await.unwrap();
    assert_eq!(
        job.ended().await.unwrap(),
        Ended::Dead("no route".to_owned())
    );
    running.stop().await;
    assert_eq!(ran.get(), 1);
}

/// However often.
pub async fn a_deferred_job_has_made_no_attempt(home: Home) {
    let queue = numbers(home.fleet());
    let ran = Count::default();
    let running = run(queue.worker(move |job: Job<u32>| {
        let nth = ran.more();
        async move {
            if nth < 4 {
                return Err(JobError::defer(Duration::from_millis(1)));
            }
            Ok(format!("run {nth}, attempt {}", job.attempt()))
        }
    }));
    let job = queue.push(&1).max_attempts(1).await.unwrap();
    assert_eq!(job.result().await.unwrap(), "run 4, attempt 1");
    running.stop().await;
}

/// And the worker goes on.
pub async fn a_panic_is_a_failed_attempt(home: Home) {
    let queue = numbers(home.fleet());
    let running = run(queue.worker(async |job: Job<u32>| {
        assert!(job.input != 1, "one is too few");
        Ok(String::new())
    }));
    let bad = queue.push(&1).max_attempts(2).await.unwrap();
    let why = "its handler panicked: one is too few".to_owned();
    assert_eq!(bad.ended().await.unwrap(), Ended::Dead(why));
    queue.push(&2).await.unwrap().result().await.unwrap();
    running.stop().await;
}

/// It is told, and then dropped.
pub async fn a_job_that_takes_too_long_has_failed(home: Home) {
    let queue = numbers(home.fleet());
    let (told, mut hears) = mpsc::unbounded_channel();
    let worker = queue.worker(move |job: Job<u32>| {
        let told = told.clone();
        async move {
            job.cancelled().cancelled().await;
            told.send(job.attempt()).unwrap();
            std::future::pending().await
        }
    });
    let running = run(worker.grace(Duration::from_millis(10)));
    let push = queue.push(&1).timeout(Duration::from_millis(50));
    let job = push.max_attempts(2).await.unwrap();
    let ended = job.ended().await.unwrap();
    assert_eq!(ended, Ended::Dead("it timed out after 50ms".to_owned()));
    assert_eq!((hears.recv().await, hears.recv().await), (Some(1), Some(2)));
    running.stop().await;
}

/// At once: it would not the next time.
pub async fn an_input_that_does_not_decode_is_dead(home: Home) {
    const TEXTS: QueueSpec<String, String> = QueueSpec::new("numbers");
    let queue = numbers(home.fleet());
    let ran = Count::default();
    let running = {
        let ran = ran.clone();
        run(queue.worker(move |job| {
            ran.more();
            say(job)
        }))
    };
    let bad = home
        .fleet()
        .queue(&TEXTS)
        .push(&"one".to_owned())
        .await
        .unwrap();
    let ended = bad.ended().await.unwrap();
    assert!(
        matches!(&ended, Ended::Dead(why) if why.starts_with("its input does not decode: ")),
        "{ended:?}"
    );
    queue.push(&1).await.unwrap().result().await.unwrap();
    running.stop().await;
    assert_eq!(ran.get(), 1);
}

/// The work is done: doing it again is no cure.
pub async fn a_result_that_does_not_fit_is_dead(home: Home) {
    const SMALL: QueueSpec<u32, String> = QueueSpec::new("small").max_bytes(10);
    let broken = Codec::custom(
        "broken",
        "text/plain",
        |_: &String| Err("no ink".into()),
        |_| Err("no ink".into()),
    );
    let queue = home.fleet().queue(&SMALL);
    let running = run(queue.worker(async |_| Ok("much too long".to_owned())));
    let job = queue.push(&1).await.unwrap();
    let why = "its result must be at most 10 bytes, and is 15".to_owned();
    assert_eq!(job.ended().await.unwrap(), Ended::Dead(why));
    running.stop().await;
    let queue = home.fleet().queue(&QueueSpec::with_codecs(
        "broken",
        Codec::<u32>::json(),
        broken,
    ));
    let running = run(queue.worker(say));
    let job = queue.push(&1).await.unwrap();
    let why = "its result does not encode: no ink".to_owned();
    assert_eq!(job.ended().await.unwrap(), Ended::Dead(why));
    running.stop().await;
}

/// Its handler is told, another worker has the job, and what becomes of it is what that says.
pub async fn a_worker_whose_lease_has_ended_settles_nothing(home: Home) {
    let queue = numbers(home.fleet());
    let (told, mut hears) = mpsc::unbounded_channel();
    let slow = run(queue
        .worker(move |job: Job<u32>| {
            let told = told.clone();
            async move {
                told.send("began").unwrap();
                job.cancelled().cancelled().await;
                told.send("was told").unwrap();
                Ok("too late".to_owned())
            }
        })
        // Nor does it get the job once more.
        .accept(|job| job.attempt() == 1)
        .lease(SECOND));
    let job = queue.push(&1).await.unwrap();
    assert_eq!(
        within("the first delivery", hears.recv()).await,
        Some("began")
    );
    home.elapse(HOUR).await;
    let running = run(queue.worker(async |job: Job<u32>| Ok(format!("attempt {}", job.attempt()))));
    assert_eq!(job.result().await.unwrap(), "attempt 2");
    assert_eq!(within("the loss", hears.recv()).await, Some("was told"));
    slow.stop().await;
    assert_eq!(job.result().await.unwrap(), "attempt 2");
    running.stop().await;
}
