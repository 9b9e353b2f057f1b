//! Jobs claimed by hand.

use std::time::Duration;

use quorate::queue::{Condition, Note, Receipt, Renewed};
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

/// By its receipt, on another instance, and in the group that it belongs to; not when its lease has ended.
pub async fn a_claimed_job_leaves_others_when_it_is_settled(home: Home) {
    const PARTS: QueueSpec<u32, String> = QueueSpec::new("parts");
    let (queue, other) = (numbers(home.fleet()), home.instance("other").await);
    let (parts, there) = (other.queue(&PARTS), numbers(&other));
    let group = queue.push(&0).max_attempts(2).await.unwrap().group();
    let text = |text: &str| text.to_owned();

    let late = queue.claim(1).lease(SECOND).await.unwrap().remove(0);
    home.elapse(HOUR).await;
    let done = queue.done(late.receipt, text("late")).unwrap();
    done.leave(&parts, &0).unwrap();
    done.set_group_value("late").unwrap();
    assert_eq!(queue.settle([done]).await.unwrap(), [false]);

    let claimed = queue.claim(1).await.unwrap().remove(0);
    assert_eq!(claimed.receipt.member_of(), None);
    let receipt: Receipt = claimed.receipt.to_string().parse().unwrap();
    let done = there.done(receipt, text("done")).unwrap();
    assert_eq!(done.group().id(), group.id());
    let left = [1, 2].map(|part| done.leave(&parts, &part).unwrap().id());
    let last = done.after(Condition::AllSucceeded, left);
    let last = last.leave(&parts, &3).unwrap();
    assert_eq!(there.settle([done]).await.unwrap(), [true]);

    let mut order = Vec::new();
    for _ in 0..4 {
        let claim = parts.claim(1).wait(HOUR).into_future();
        let claimed = within("a part", claim).await.unwrap().remove(0);
        let receipt: Receipt = claimed.receipt.to_string().parse().unwrap();
        assert_eq!(receipt.member_of().unwrap().group, group.id());
        let (part, parent) = (claimed.job.input, claimed.job.parent().unwrap());
        assert_eq!(parent, if part == 4 { left[0] } else { group.id() });
        order.push(part);
        let done = parts.done(receipt, text("part")).unwrap();
        done.append_group_value(&part).unwrap();
        if part == 1 {
            done.leave(&parts, &4).unwrap();
        }
        assert_eq!(parts.settle([done]).await.unwrap(), [true]);
    }
    assert_eq!(last.result().await.unwrap(), "part");
    let over = group.ended().await.unwrap().unwrap();
    assert_eq!((over.open, over.succeeded, over.dead), (0, 5, 0));
    let mut values = over.values_as::<u32>().unwrap();
    values.sort_unstable();
    assert_eq!(values, [1, 2, 3, 4]);
    let place = |part| order.iter().position(|it| *it == part);
    assert!(place(3) > place(1) && place(3) > place(2), "{order:?}");
    // Nothing was left twice, nor by who was late.
    assert_eq!(parts.stats().await.unwrap().totals.pushed, 4);
    let elsewhere = parts.done(claimed.receipt, text("done")).unwrap();
    let error = queue.settle([elsewhere]).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("receipt must be of a job of this queue"),
        "{error}"
    );
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
