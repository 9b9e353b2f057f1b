//! Jobs that are begun where they are pushed.

use std::time::Duration;

use quorate::queue::{
    Delivered, JobEnd, JobState, LeaseNumber, NewJob, Pushed, Started, Unique, UniqueScope,
};

use super::{HOUR, MINUTE, Queue, ask, ended, failed, job, options, settled, succeeded};
use crate::harness::Home;

async fn start(queue: &Queue, job: &NewJob) -> Started {
    let started = queue.port.start(&queue.key, job, MINUTE, options());
    started.await.unwrap()
}

/// As who pushed it has it.
fn delivered(job: &NewJob, lease: LeaseNumber) -> Delivered {
    Delivered {
        id: job.id,
        lease,
        attempt: 1,
        attempts: job.attempts,
        queued: quorate::Micros::default(),
        input: job.input.clone(),
        group: job.group.clone(),
        keep: job.keep,
        member_of: None,
        checkpoint: None,
    }
}

fn with_key(scope: UniqueScope) -> NewJob {
    let key = "order-42".to_owned();
    NewJob {
        unique: Some(Unique { key, scope }),
        ..job("unique")
    }
}

/// In one step, and ahead of what waits.
pub async fn a_job_is_begun_where_it_is_pushed(home: Home) {
    let queue = Queue::new(&home);
    let (waits, first) = (job("waits"), job("first"));
    queue.push(std::slice::from_ref(&waits)).await;
    let started = start(&queue, &first).await;
    assert_eq!(started.pushed, Pushed::New);
    let it = delivered(&first, started.lease.unwrap());
    let active = Some(JobState::Active { cancelled: false });
    assert_eq!(queue.look(first.id).await, active);
    let stats = queue.port.stats(&queue.key, options()).await.unwrap();
    assert_eq!((stats.ready, stats.active, stats.totals.pushed), (1, 1, 2));
    // Whoever works has nothing of it.
    let taken = queue.take(1, 1, 9).await;
    assert_eq!(taken.len(), 1);
    assert_eq!(taken[0].id, waits.id);
    assert!(taken[0].lease > it.lease, "lease numbers grow");
    assert!(queue.settle(2, 1, &it, failed(Duration::ZERO)).await);
    let again = queue.take(1, 2, 1).await.remove(0);
    assert_eq!((again.id, again.attempt), (first.id, 2));
    assert!(queue.settle(1, 3, &again, succeeded()).await);
    assert_eq!(
        queue.look(first.id).await,
        ended(JobEnd::Succeeded("sent".into()))
    );
}

/// Of who lost the reply, or died: when the lease has ended, and that was an attempt.
pub async fn what_was_begun_where_it_was_pushed_comes_again(home: Home) {
    let queue = Queue::new(&home);
    let lost = job("lost");
    let started = start(&queue, &lost).await;
    let again = start(&queue, &lost).await;
    assert_eq!((again.pushed, again.lease), (Pushed::Known, None));
    assert_eq!(queue.take(1, 1, 1).await, []);
    home.elapse(MINUTE).await;
    let taken = queue.take(1, 2, 1).await.remove(0);
    assert_eq!((taken.id, taken.attempt), (lost.id, 2));
    let late = delivered(&lost, started.lease.unwrap());
    assert!(!queue.settle(2, 1, &late, succeeded()).await);
    // One that may be tried once is dead then.
    let once = NewJob {
        attempts: 1,
        ..job("once")
    };
    assert!(start(&queue, &once).await.lease.is_some());
    home.elapse(MINUTE).await;
    let turn = queue.turn(&ask(1, 3, 0)).await;
    assert_eq!(turn.delivered, []);
    let why = "its lease ran out".to_owned();
    assert_eq!(queue.look(once.id).await, ended(JobEnd::Dead(why)));
}

/// It is delivered as others are.
pub async fn what_cannot_be_begun_at_once_is_pushed(home: Home) {
    let queue = Queue::new(&home);
    let late = NewJob {
        delay: HOUR,
        ..job("late")
    };
    let started = start(&queue, &late).await;
    assert_eq!((started.pushed, started.lease), (Pushed::New, None));
    assert!(matches!(queue.look(late.id).await, Some(JobState::Due(_))));
    queue.pause(true).await;
    let paused = job("paused");
    let started = start(&queue, &paused).await;
    assert_eq!((started.pushed, started.lease), (Pushed::New, None));
    assert_eq!(queue.look(paused.id).await, Some(JobState::Ready));
    queue.pause(false).await;
    assert_eq!(queue.take(1, 1, 9).await[0].id, paused.id);
}

/// It has its key, as every job has, until it has ended.
pub async fn a_job_that_is_begun_where_it_is_pushed_is_unique(home: Home) {
    let queue = Queue::new(&home);
    let (one, other) = (
        with_key(UniqueScope::UntilEnded),
        with_key(UniqueScope::UntilEnded),
    );
    let started = start(&queue, &one).await;
    let same = start(&queue, &other).await;
    assert_eq!((same.pushed, same.lease), (Pushed::Same(one.id), None));
    assert_eq!(queue.look(other.id).await, None);
    let it = delivered(&one, started.lease.unwrap());
    let done = quorate::queue::Ask {
        settled: vec![settled(&it, succeeded())],
        ..ask(1, 1, 0)
    };
    assert_eq!(queue.turn(&done).await.settled, [true]);
    assert!(start(&queue, &other).await.lease.is_some());

    let debounced = with_key(UniqueScope::Debounce);
    let refused = queue
        .port
        .start(&queue.key, &debounced, MINUTE, options())
        .await;
    let error = refused.unwrap_err().to_string();
    assert!(error.contains("unique must not be debounced"), "{error}");
    let nothing = queue
        .port
        .start(&queue.key, &job("a"), Duration::ZERO, options())
        .await;
    let error = nothing.unwrap_err().to_string();
    assert!(error.contains("lease must be longer"), "{error}");
}
