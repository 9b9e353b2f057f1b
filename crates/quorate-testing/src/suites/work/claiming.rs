//! Jobs claimed by hand.

use std::time::Duration;

use quorate::queue::{Note, Receipt, Renewed};
use quorate::{Ended, ErrorKind, JobError, QueueSpec};

use super::{HOUR, SECOND, numbers, run, say};
use crate::harness::{Home, within};

/// With what is needed to go on with them elsewhere.
pub async fn jobs_are_claimed_by_hand(home: Home) {
    let queue = numbers(home.fleet());
    assert!(queue.claim(2).await.unwrap().is_empty());
    let jobs = queue.push_many(&[1, 2, 3]).await.unwrap();
    let claimed = queue.claim(2).lease(HOUR).await.unwrap();
    let inputs: Vec<_> = claimed.iter().map(|it| it.job.input).collect();
    assert_eq!(inputs, [1, 2]);
    let first = &claimed[0];
    assert_eq!((first.job.id(), first.job.attempt()), (jobs[0].id(), 1));
    // As text, on another instance.
    let other = numbers(&home.instance("other").await);
    let receipt: Receipt = first.receipt.to_string().parse().unwrap();
    assert_eq!(
        (receipt.id(), receipt.lease()),
        (first.job.id(), first.job.lease())
    );
    let settled = other.settle([(receipt.clone(), Ok("by hand".to_owned()))]);
    assert_eq!(settled.await.unwrap(), [true]);
    assert_eq!(jobs[0].result().await.unwrap(), "by hand");
    let again = other.settle([(receipt, Ok("again".to_owned()))]);
    assert_eq!(again.await.unwrap(), [false]);
    // Who is gone is not woken: somebody who works is.
    let running = run(queue.worker(say));
    assert_eq!(jobs[2].result().await.unwrap(), "got 3");
    let job = queue.push(&4).await.unwrap();
    assert_eq!(job.result().await.unwrap(), "got 4");
    running.stop().await;
    for (claim, rule) in [
        (queue.claim(0), "most must be from 1 to 1000"),
        (queue.claim(1001), "most must be from 1 to 1000"),
        (
            queue.claim(1).lease(Duration::ZERO),
            "lease must be from 100 ms to 12 hours",
        ),
    ] {
        let error = claim.await.unwrap_err();
        assert_eq!(
            (error.kind(), error.operation()),
            (ErrorKind::InvalidInput, Some("queue.claim"))
        );
        assert!(error.to_string().contains(rule), "{error}");
    }
    for text in ["", "x", "e30"] {
        let error = text.parse::<Receipt>().unwrap_err();
        assert!(
            error
                .to_string()
                .contains("receipt must be one that came with a job"),
            "{error}"
        );
    }
}

/// Until there is one, or no longer than asked.
pub async fn a_claim_waits_for_a_job(home: Home) {
    let queue = numbers(home.fleet());
    assert!(
        queue
            .claim(1)
            .wait(Duration::from_millis(20))
            .await
            .unwrap()
            .is_empty()
    );
    let other = numbers(&home.instance("other").await);
    for number in 0..20 {
        let claim = queue.claim(1).wait(HOUR).into_future();
        let push = async { other.push(&number).await.unwrap() };
        let (claimed, _) = within("a claim", futures_util::future::join(claim, push)).await;
        assert_eq!(claimed.unwrap()[0].job.input, number);
    }
}

/// Done, again, not now, never.
pub async fn a_claimed_job_is_settled_as_a_handler_would(home: Home) {
    let queue = numbers(home.fleet());
    let jobs = queue.push_many(&[1, 2, 3]).max_attempts(2).await.unwrap();
    let say = [
        JobError::retry("once more"),
        JobError::defer(SECOND),
        JobError::abort("never"),
    ];
    let claimed = queue.claim(9).await.unwrap();
    let settled = claimed
        .into_iter()
        .zip(say)
        .map(|(it, error)| (it.receipt, Err(error)));
    assert_eq!(queue.settle(settled).await.unwrap(), [true; 3]);
    assert_eq!(
        jobs[2].ended().await.unwrap(),
        Ended::Dead("never".to_owned())
    );
    home.elapse(HOUR).await;
    let claimed = queue.claim(9).await.unwrap();
    let mut attempts: Vec<_> = claimed
        .iter()
        .map(|it| (it.job.input, it.job.attempt()))
        .collect();
    attempts.sort_unstable();
    assert_eq!(attempts, [(1, 2), (2, 1)]);
    // What does not decode is dead, and nobody gets it.
    const TEXTS: QueueSpec<String, String> = QueueSpec::new("numbers");
    let bad = home
        .fleet()
        .queue(&TEXTS)
        .push(&"one".to_owned())
        .await
        .unwrap();
    assert!(queue.claim(9).await.unwrap().is_empty());
    assert!(matches!(bad.ended().await.unwrap(), Ended::Dead(_)));
}

/// As long as it is had.
pub async fn a_claimed_job_takes_notes_by_its_receipt(home: Home) {
    let queue = numbers(home.fleet());
    let job = queue.push(&1).timeout(HOUR).await.unwrap();
    let claimed = queue.claim(1).lease(SECOND).await.unwrap();
    assert_eq!(claimed[0].timeout, Some(HOUR));
    let receipt = &claimed[0].receipt;
    let other = numbers(&home.instance("other").await);
    let notes = [
        Note::Progress("0.5".into()),
        Note::Log("half".to_owned()),
        Note::Checkpoint("[1]".into()),
    ];
    for note in notes.clone() {
        assert!(other.note(receipt, note).await.unwrap());
    }
    let seen = queue.inspect(job.id()).await.unwrap().unwrap();
    assert_eq!(seen.progress_as::<f64>().unwrap(), Some(0.5));
    assert_eq!(seen.log[0].text, "half");
    let long = Note::Log("x".repeat(5000));
    let error = other.note(receipt, long).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.operation()),
        (ErrorKind::InvalidInput, Some("queue.note"))
    );
    home.elapse(HOUR).await;
    let again = queue.claim(1).await.unwrap();
    let state = again[0].job.last_checkpoint::<Vec<u32>>().unwrap();
    assert_eq!(state, Some(vec![1]));
    for note in notes {
        assert!(!other.note(receipt, note).await.unwrap());
    }
}

/// And learns that it was cancelled.
pub async fn a_claimed_job_is_renewed_or_lost(home: Home) {
    let queue = numbers(home.fleet());
    let jobs = queue.push_many(&[1, 2]).await.unwrap();
    let claimed = queue.claim(2).lease(10 * SECOND).await.unwrap();
    let receipts: Vec<_> = claimed.iter().map(|it| it.receipt.clone()).collect();
    jobs[1].cancel().await.unwrap();
    let renewed = queue.renew(&receipts, HOUR).await.unwrap();
    assert_eq!(renewed, [Renewed::Held, Renewed::Cancelled]);
    home.elapse(20 * SECOND).await;
    let settled = queue.settle([(receipts[0].clone(), Ok("in time".to_owned()))]);
    assert_eq!(settled.await.unwrap(), [true]);
    home.elapse(HOUR).await;
    let renewed = queue.renew(&receipts, HOUR).await.unwrap();
    assert_eq!(renewed, [Renewed::Lost, Renewed::Lost]);
}
