//! Jobs pushed.

use std::time::Duration;

use quorate::queue::JobState;
use quorate::{Ended, ErrorKind, JobId, JobOptions, QueueSpec};

use super::{Count, HOUR, NUMBERS, SECOND, numbers, run, say};
use crate::harness::Home;

/// Whichever instance pushes, and whichever works.
pub async fn a_job_is_done_by_another_instance(home: Home) {
    let other = home.instance("worker").await;
    let running = run(numbers(&other).worker(say));
    let job = numbers(home.fleet()).push(&7).await.unwrap();
    assert!(job.is_new());
    assert_eq!(job.result().await.unwrap(), "got 7");
    // From anywhere, by its id, which can be written down.
    let again = JobId::parse(&job.id().to_string()).unwrap();
    assert_eq!(numbers(&other).job(again).result().await.unwrap(), "got 7");
    running.stop().await;
}

/// A thousand at most.
pub async fn jobs_are_pushed_together_or_not_at_all(home: Home) {
    let queue = numbers(home.fleet());
    assert!(queue.push_many([]).await.unwrap().is_empty());
    let jobs = queue.push_many(&[3, 1, 2]).await.unwrap();
    let running = run(queue.worker(say).concurrency(1));
    for (job, number) in jobs.iter().zip([3, 1, 2]) {
        assert_eq!(job.result().await.unwrap(), format!("got {number}"));
    }
    running.stop().await;
    let many = vec![7; 1001];
    let error = queue.push_many(&many).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(
        error.to_string().contains("inputs must be at most 1000"),
        "{error}"
    );
    let small: QueueSpec<String> = QueueSpec::new("small").max_bytes(10);
    let queue = home.fleet().queue(&small);
    let long = "much too long".to_owned();
    let error = queue
        .push_many([&"short".to_owned(), &long])
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("input must be at most 10 bytes"),
        "{error}"
    );
    let ran = Count::default();
    let running = {
        let ran = ran.clone();
        run(queue.worker(move |_| {
            ran.more();
            async { Ok(()) }
        }))
    };
    queue
        .push(&"short".to_owned())
        .await
        .unwrap()
        .result()
        .await
        .unwrap();
    running.stop().await;
    assert_eq!(ran.get(), 1, "none of the others was queued");
}

/// Then what is computed from the input, then what the spec says.
pub async fn what_is_said_at_the_push_comes_first(home: Home) {
    const SPEC: QueueSpec<u32, u32> =
        QueueSpec::new("options")
            .max_attempts(2)
            .options(|input| match input {
                1 => JobOptions::new().max_attempts(3).tags(["one"]),
                _ => JobOptions::new(),
            });
    let queue = home.fleet().queue(&SPEC);
    let running = run(queue.worker(async |job: quorate::Job<u32>| {
        assert_eq!(job.tags(), if job.input == 1 { &["one"][..] } else { &[] });
        Ok(job.max_attempts())
    }));
    let attempts = async |job: quorate::JobHandle<u32>| job.result().await.unwrap();
    assert_eq!(attempts(queue.push(&0).await.unwrap()).await, 2);
    assert_eq!(attempts(queue.push(&1).await.unwrap()).await, 3);
    assert_eq!(
        attempts(queue.push(&1).max_attempts(4).await.unwrap()).await,
        4
    );
    let options = JobOptions::new().max_attempts(5);
    assert_eq!(
        attempts(queue.push(&1).options(options).await.unwrap()).await,
        5
    );
    running.stop().await;
    // When, as well.
    let late = queue.push(&0).delay(HOUR).await.unwrap();
    assert!(matches!(
        late.state().await.unwrap(),
        Some(JobState::Due(_))
    ));
    let past = std::time::SystemTime::UNIX_EPOCH;
    let now = queue.push(&0).run_at(past).await.unwrap();
    assert_eq!(now.state().await.unwrap(), Some(JobState::Ready));
    let soon = queue.push(&0).expires_in(SECOND).await.unwrap();
    home.elapse(2 * SECOND).await;
    let running = run(queue.worker(async |_| Ok(0)));
    assert_eq!(soon.ended().await.unwrap(), Ended::Expired);
    running.stop().await;
}

/// By whoever, and for as long as each way of saying so has it.
pub async fn pushes_with_one_key_are_one_job(home: Home) {
    let (queue, other) = (numbers(home.fleet()), home.instance("other").await);
    let waiting = queue.push(&1).unique("order-42").await.unwrap();
    let again = numbers(&other).push(&2).unique("order-42").await.unwrap();
    assert!(waiting.is_new() && !again.is_new() && waiting.id() == again.id());
    let debounced = queue.push(&3).debounce("mail").delay(HOUR).await.unwrap();
    let later = queue.push(&4).debounce("mail").await.unwrap();
    assert_eq!(debounced.id(), later.id());
    let throttled = queue.push(&5).throttle("report", HOUR).await.unwrap();
    let kept = queue.push(&6).idempotency_key("request-7").await.unwrap();
    let running = run(queue.worker(say));
    assert_eq!(again.result().await.unwrap(), "got 1");
    assert_eq!(debounced.result().await.unwrap(), "got 4");
    assert_eq!(throttled.result().await.unwrap(), "got 5");
    assert_eq!(kept.result().await.unwrap(), "got 6");
    // Afterwards.
    let new = queue.push(&7).unique("order-42").await.unwrap();
    assert!(new.is_new() && new.id() != waiting.id());
    let repeated = queue.push(&8).idempotency_key("request-7").await.unwrap();
    assert_eq!((repeated.id(), repeated.is_new()), (kept.id(), false));
    assert_eq!(repeated.result().await.unwrap(), "got 6");
    let soon = queue.push(&9).throttle("report", HOUR).await.unwrap();
    assert_eq!(soon.id(), throttled.id());
    running.stop().await;
    home.elapse(HOUR).await;
    let next = queue.push(&9).throttle("report", HOUR).await.unwrap();
    assert!(next.is_new());
}

/// Before anything is queued.
pub async fn bad_options_are_refused_with_the_rule(home: Home) {
    let queue = numbers(home.fleet());
    let pushed = [
        (queue.push(&1).priority(10), "priority must be from 0 to 9"),
        (
            queue.push(&1).max_attempts(0),
            "max_attempts must be at least 1",
        ),
        (
            queue.push(&1).keep_result(SECOND),
            "keep_result must be at least a minute",
        ),
        (
            queue.push(&1).delay(Duration::MAX),
            "delay must be at most 36500 days",
        ),
        (queue.push(&1).tags(["x"; 17]), "tags must be at most 16"),
    ];
    for (push, rule) in pushed {
        let error = push.await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(error.operation(), Some("queue.push"));
        assert!(error.to_string().contains(rule), "{error}");
    }
    let workers = [
        (
            queue.worker(say).concurrency(0),
            "concurrency must be from 1 to 100000",
        ),
        (
            queue.worker(say).lease(Duration::ZERO),
            "lease must be from 100 ms",
        ),
        (
            queue.worker(say).lease(24 * HOUR),
            "lease must be from 100 ms to 12 hours",
        ),
    ];
    for (worker, rule) in workers {
        let error = worker.run(quorate::CancellationToken::new()).await;
        let error = error.unwrap_err();
        assert!(error.to_string().contains(rule), "{error}");
    }
    let named = QueueSpec::<u32>::try_new("no spaces").unwrap_err();
    assert!(named.to_string().contains("queue"), "{named}");
    assert_eq!(NUMBERS.name(), "numbers");
}
