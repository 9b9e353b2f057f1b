//! What becomes of jobs, for who waits, and for who cancels them.

#![expect(
    clippy::disallowed_methods,
    reason = "a clause ends before its runtime does"
)]

use std::time::Duration;

use futures_util::future::join_all;
use quorate::queue::{JobEnd, JobState};
use quorate::{Ended, ErrorKind, Job, JobError, JobId};
use tokio::sync::mpsc;

use super::{HOUR, numbers, run, say};
use crate::harness::{Home, within};

/// On several instances, before and after it is there.
pub async fn a_result_is_waited_for_by_many(home: Home) {
    let other = home.instance("other").await;
    let (here, there) = (numbers(home.fleet()), numbers(&other));
    let job = here.push(&1).await.unwrap();
    let elsewhere = there.job(job.id());
    let waiting = join_all((0..10).map(|nth| {
        let job = if nth % 2 == 0 { &job } else { &elsewhere };
        job.result().into_future()
    }));
    let waiting = tokio::spawn(waiting);
    tokio::task::yield_now().await;
    let running = run(there.worker(say));
    for result in within("ten results", waiting).await.unwrap() {
        assert_eq!(result.unwrap(), "got 1");
    }
    running.stop().await;
}

/// And the job goes on.
pub async fn waiting_for_a_result_ends_in_time(home: Home) {
    let job = numbers(home.fleet()).push(&1).await.unwrap();
    for timeout in [Duration::ZERO, Duration::from_millis(50)] {
        let error = job.result().timeout(timeout).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
        let target = format!("numbers/{}", job.id());
        assert_eq!(error.target(), Some(&*target));
    }
    assert_eq!(job.state().await.unwrap(), Some(JobState::Ready));
}

/// As is one of which nothing is kept any longer.
pub async fn a_job_that_is_not_known_is_forgotten(home: Home) {
    let queue = numbers(home.fleet());
    let unknown = queue.job(JobId::random());
    assert_eq!(unknown.ended().await.unwrap(), Ended::Forgotten);
    assert_eq!(
        (
            unknown.state().await.unwrap(),
            unknown.cancel().await.unwrap()
        ),
        (None, None)
    );
    let running = run(queue.worker(say));
    let job = queue.push(&1).keep_result(HOUR).await.unwrap();
    assert_eq!(job.result().await.unwrap(), "got 1");
    running.stop().await;
    home.elapse(HOUR).await;
    assert_eq!(job.ended().await.unwrap(), Ended::Forgotten);
    let error = job.result().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::JobFailed);
    assert!(error.to_string().contains("not kept any longer"), "{error}");
}

/// With the reason.
pub async fn a_job_that_failed_is_an_error_to_who_wants_its_result(home: Home) {
    let queue = numbers(home.fleet());
    let running = run(queue.worker(async |_| Err(JobError::abort("no such mailbox"))));
    let job = queue.push(&1).await.unwrap();
    let error = job.result().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::JobFailed);
    assert!(error.to_string().contains("no such mailbox"), "{error}");
    running.stop().await;
}

/// It never runs.
pub async fn a_waiting_job_is_cancelled_by_its_producer(home: Home) {
    let queue = numbers(home.fleet());
    for job in [queue.push(&1).await, queue.push(&1).delay(HOUR).await] {
        let job = job.unwrap();
        let cancelled = Some(JobState::Ended(JobEnd::Cancelled));
        assert_eq!(job.cancel().await.unwrap(), cancelled);
        assert_eq!(
            job.cancel().await.unwrap(),
            cancelled,
            "as often as one likes"
        );
        assert_eq!(job.ended().await.unwrap(), Ended::Cancelled);
        assert_eq!(job.result().await.unwrap_err().kind(), ErrorKind::JobFailed);
    }
}

/// From any instance, and what its handler says of it does not count.
pub async fn a_running_job_is_told_that_it_is_cancelled(home: Home) {
    let other = home.instance("other").await;
    let (told, mut hears) = mpsc::unbounded_channel();
    let running = run(numbers(&other).worker(move |job: Job<u32>| {
        let told = told.clone();
        async move {
            told.send(()).unwrap();
            job.cancelled().cancelled().await;
            Err(match job.input {
                1 => JobError::retry("gave up"),
                2 => JobError::abort("gave up"),
                _ => JobError::defer(HOUR),
            })
        }
    }));
    for number in 1..=3 {
        let job = numbers(home.fleet()).push(&number).await.unwrap();
        within("the delivery", hears.recv()).await.unwrap();
        let asked = job.cancel().await.unwrap();
        assert_eq!(asked, Some(JobState::Active { cancelled: true }));
        assert_eq!(job.ended().await.unwrap(), Ended::Cancelled);
    }
    running.stop().await;
}

/// At its next `.await`.
pub async fn a_handler_that_does_not_stop_is_dropped(home: Home) {
    struct Dropped(mpsc::UnboundedSender<&'static str>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.send("dropped").unwrap();
        }
    }
    let queue = numbers(home.fleet());
    let (told, mut hears) = mpsc::unbounded_channel();
    let worker = queue.worker(move |_| {
        let told = Dropped(told.clone());
        async move {
            told.0.send("began").unwrap();
            std::future::pending().await
        }
    });
    let running = run(worker.grace(Duration::from_millis(10)));
    let job = queue.push(&1).await.unwrap();
    assert_eq!(within("the delivery", hears.recv()).await, Some("began"));
    job.cancel().await.unwrap();
    assert_eq!(within("the end", hears.recv()).await, Some("dropped"));
    assert_eq!(job.ended().await.unwrap(), Ended::Cancelled);
    running.stop().await;
}

/// Done is done.
pub async fn a_cancelled_job_may_succeed_all_the_same(home: Home) {
    let queue = numbers(home.fleet());
    let (told, mut hears) = mpsc::unbounded_channel();
    let running = run(queue.worker(move |job: Job<u32>| {
        let told = told.clone();
        async move {
            told.send(()).unwrap();
            job.cancelled().cancelled().await;
            Ok("done before that".to_owned())
        }
    }));
    let job = queue.push(&1).await.unwrap();
    within("the delivery", hears.recv()).await.unwrap();
    job.cancel().await.unwrap();
    assert_eq!(job.result().await.unwrap(), "done before that");
    running.stop().await;
}
