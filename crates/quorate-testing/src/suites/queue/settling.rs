//! What becomes of a delivery.

use std::time::Duration;

use bytes::Bytes;
use quorate::queue::{Ask, JobEnd, JobState, LeaseNumber, Pushed, Renewed, Settlement};

use super::{
    HOUR, MINUTE, Queue, SECOND, ask, ended, failed, inputs, job, options, settled, succeeded,
};
use crate::harness::Home;

/// The first word counts, in one batch as well.
pub async fn a_delivery_is_settled_once(home: Home) {
    let queue = Queue::new(&home);
    queue.push(&[job("a")]).await;
    let taken = queue.take(1, 1, 1).await;
    let settled = vec![settled(&taken[0], succeeded()); 2];
    let ask = Ask {
        settled,
        ..ask(1, 2, 1)
    };
    assert_eq!(queue.turn(&ask).await.settled, [true, false]);
    assert!(!queue.settle(1, 3, &taken[0], failed(SECOND)).await);
    let end = JobEnd::Succeeded(Bytes::from_static(b"sent"));
    assert_eq!(queue.look(taken[0].id).await, ended(end));
}

/// By its number, whoever says it.
pub async fn a_delivery_is_settled_by_who_has_it(home: Home) {
    let queue = Queue::new(&home);
    queue.push(&[job("a")]).await;
    let mut guessed = queue.take(1, 1, 1).await.remove(0);
    guessed.lease = LeaseNumber::new(guessed.lease.get() + 1);
    assert!(!queue.settle(1, 2, &guessed, succeeded()).await);
    let held = [(guessed.id, guessed.lease)];
    let renewed = queue.port.renew(&queue.key, &held, HOUR, options()).await;
    assert_eq!(renewed.unwrap(), [Renewed::Lost]);
    assert!(matches!(
        queue.look(guessed.id).await,
        Some(JobState::Active { cancelled: false })
    ));
}

/// The handler goes on beyond its lease: each delivery counts, the next one has its own number, and of all of them one settles.
pub async fn defect_9_a_lease_that_runs_out_counts_and_its_worker_settles_nothing(home: Home) {
    let queue = Queue::new(&home);
    queue.push(&[job("a")]).await;
    let slow = queue.take(1, 1, 1).await;
    home.elapse(MINUTE + SECOND).await;
    let next = queue.take(2, 1, 1).await;
    assert_eq!((slow[0].attempt, next[0].attempt), (1, 2));
    assert!(next[0].lease > slow[0].lease);
    assert!(!queue.settle(1, 2, &slow[0], failed(Duration::ZERO)).await);
    assert!(!queue.settle(1, 3, &slow[0], succeeded()).await);
    assert!(queue.settle(2, 2, &next[0], succeeded()).await);
    assert_eq!(queue.take(3, 1, 1).await, []);
}

/// However its workers end.
pub async fn defect_10_a_job_that_never_settles_is_dead_after_its_attempts(home: Home) {
    let queue = Queue::new(&home);
    let poison = job("a");
    queue.push(std::slice::from_ref(&poison)).await;
    for worker in 1..=2 {
        assert_eq!(queue.take(worker, 1, 9).await.len(), 1);
        home.elapse(MINUTE + SECOND).await;
    }
    for worker in 3..=5 {
        assert_eq!(queue.take(worker, 1, 9).await, []);
        home.elapse(MINUTE + SECOND).await;
    }
    match queue.look(poison.id).await {
        Some(JobState::Ended(JobEnd::Dead(why))) => assert_eq!(why, "its lease ran out"),
        other => panic!("{other:?}"),
    }
}

/// Until it was delivered as often as it may.
pub async fn a_failed_job_is_tried_again_after_a_while(home: Home) {
    let queue = Queue::new(&home);
    queue.push(&[job("a"), job("b")]).await;
    let taken = queue.take(1, 1, 1).await;
    assert!(queue.settle(1, 2, &taken[0], failed(HOUR)).await);
    assert_eq!(inputs(&queue.take(1, 3, 9).await), ["b"]);
    home.elapse(HOUR + SECOND).await;
    let again = queue.take(2, 1, 9).await;
    let again = again.iter().find(|it| it.id == taken[0].id).unwrap();
    assert_eq!(again.attempt, 2);
    assert!(queue.settle(2, 2, again, failed(HOUR)).await);
    let end = JobEnd::Dead("no such mailbox".to_owned());
    assert_eq!(queue.look(again.id).await, ended(end));
}

/// However often.
pub async fn what_is_deferred_is_no_attempt(home: Home) {
    let queue = Queue::new(&home);
    queue.push(&[job("a")]).await;
    for number in 0..4 {
        let taken = queue.take(1, number * 2 + 1, 1).await;
        assert_eq!(taken[0].attempt, 1);
        let deferred = Settlement::Deferred(HOUR);
        assert!(queue.settle(1, number * 2 + 2, &taken[0], deferred).await);
        home.elapse(HOUR + SECOND).await;
    }
}

/// From each renewal on, and others end.
pub async fn a_renewed_lease_lasts(home: Home) {
    let queue = Queue::new(&home);
    queue.push(&[job("a"), job("b")]).await;
    let taken = queue.take(1, 1, 2).await;
    let held = [(taken[0].id, taken[0].lease)];
    let renew = || async {
        let renewed = queue.port.renew(&queue.key, &held, MINUTE, options());
        renewed.await.unwrap()
    };
    for _ in 0..3 {
        home.elapse(MINUTE / 2).await;
        assert_eq!(renew().await, [Renewed::Held]);
    }
    assert!(!queue.settle(1, 2, &taken[1], succeeded()).await);
    assert!(queue.settle(1, 3, &taken[0], succeeded()).await);
    assert_eq!(renew().await, [Renewed::Lost]);
}

/// Also when nothing of the queue is left in between.
pub async fn lease_numbers_grow(home: Home) {
    let queue = Queue::new(&home);
    let mut last = LeaseNumber::new(0);
    for round in 0..4 {
        queue.push(&[job("a"), job("b")]).await;
        let taken = queue.take(1, round * 2 + 1, 2).await;
        for it in &taken {
            assert!(it.lease > last);
            last = it.lease;
        }
        let settled = taken.iter().map(|it| settled(it, succeeded()));
        let settled = settled.collect();
        queue
            .turn(&Ask {
                settled,
                ..ask(1, round * 2 + 2, 0)
            })
            .await;
        home.elapse(HOUR * 24 * 10).await;
    }
}

/// As much as may be done at once.
pub async fn a_batch_is_settled_together(home: Home) {
    let queue = Queue::new(&home);
    let jobs: Vec<_> = (0..1_000).map(|_| job("a")).collect();
    assert!(
        queue
            .push(&jobs)
            .await
            .into_iter()
            .all(|it| it == Pushed::New)
    );
    let taken = queue.take(1, 1, 1_000).await;
    assert_eq!(taken.len(), 1_000);
    let how = |nth: usize| match nth % 4 {
        0 => failed(Duration::ZERO),
        1 => failed(HOUR),
        2 => Settlement::Dead("never".to_owned()),
        _ => succeeded(),
    };
    let said = taken.iter().enumerate();
    let settled = said.map(|(nth, it)| settled(it, how(nth))).collect();
    let turn = queue
        .turn(&Ask {
            settled,
            ..ask(1, 2, 1_000)
        })
        .await;
    assert_eq!(turn.settled, vec![true; 1_000]);
    assert_eq!(turn.delivered.len(), 250);
    assert!(turn.delivered.iter().all(|it| it.attempt == 2));
    let dead = JobEnd::Dead("never".to_owned());
    assert_eq!(queue.look(taken[2].id).await, ended(dead));
}
