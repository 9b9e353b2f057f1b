//! What makes of several pushes one job.

use std::time::Duration;

use bytes::Bytes;
use quorate::queue::{JobEnd, MAX_UNIQUE, NewJob, Pushed, Settlement, Unique, UniqueScope};

use super::{HOUR, MINUTE, Queue, SECOND, ended, failed, inputs, job, succeeded};
use crate::harness::Home;

/// One with the longest key there is.
fn unique(input: &'static str, scope: UniqueScope) -> NewJob {
    NewJob {
        unique: Some(Unique {
            key: "é".repeat(MAX_UNIQUE / 2),
            scope,
        }),
        ..job(input)
    }
}

async fn push(queue: &Queue, it: &NewJob) -> Pushed {
    queue.push(std::slice::from_ref(it)).await[0]
}

/// However many push at once; and whoever repeats a push is answered as the first time.
pub async fn of_many_producers_one_queues_a_unique_job(home: Home) {
    let queue = Queue::new(&home);
    let jobs: Vec<_> = (0..20)
        .map(|_| unique("a", UniqueScope::UntilEnded))
        .collect();
    let pushed = futures_util::future::join_all(jobs.iter().map(|it| push(&queue, it))).await;
    let first = pushed.iter().position(|it| *it == Pushed::New).unwrap();
    for (nth, it) in jobs.iter().enumerate() {
        if nth != first {
            assert_eq!(pushed[nth], Pushed::Same(jobs[first].id));
            assert_eq!(push(&queue, it).await, pushed[nth]);
        }
    }
    assert_eq!(push(&queue, &jobs[first]).await, Pushed::Known);
    let taken = queue.take(1, 1, 9).await;
    assert_eq!(taken.len(), 1);
    assert_eq!(taken[0].id, jobs[first].id);
    // Also while somebody has it.
    assert_eq!(
        push(&queue, &unique("b", UniqueScope::UntilEnded)).await,
        Pushed::Same(taken[0].id)
    );
}

/// Whichever way: done, dead, out of attempts, cancelled while it waits or runs, or not begun in time.
pub async fn a_unique_key_is_free_when_its_job_has_ended(home: Home) {
    let queue = Queue::new(&home);
    let mut number = 0;
    for way in 0..6 {
        let first = NewJob {
            attempts: 1,
            expires: (way == 5).then_some(MINUTE),
            ..unique("a", UniqueScope::UntilEnded)
        };
        assert_eq!(push(&queue, &first).await, Pushed::New, "{way}");
        if way == 4 {
            queue.cancel(first.id).await;
        } else if way == 5 {
            home.elapse(2 * MINUTE).await;
            assert_eq!(
                push(&queue, &unique("b", UniqueScope::UntilEnded)).await,
                Pushed::Same(first.id)
            );
        }
        let taken = queue.take(1, number + 1, 1).await;
        assert_eq!(taken.len(), usize::from(way < 4), "{way}");
        if let Some(it) = taken.first() {
            let settlement = match way {
                0 => succeeded(),
                1 => Settlement::Dead("never".to_owned()),
                2 => failed(HOUR),
                _ => {
                    queue.cancel(it.id).await;
                    Settlement::Deferred(HOUR)
                }
            };
            assert!(queue.settle(1, number + 2, it, settlement).await);
        }
        number += 2;
    }
    // Another one may be queued whose lease runs out.
    let last = NewJob {
        attempts: 1,
        ..unique("a", UniqueScope::UntilEnded)
    };
    assert_eq!(push(&queue, &last).await, Pushed::New);
    queue.take(2, 1, 1).await;
    home.elapse(MINUTE + SECOND).await;
    queue.take(2, 2, 0).await;
    assert_eq!(
        push(&queue, &unique("a", UniqueScope::UntilEnded)).await,
        Pushed::New
    );
}

/// So that who comes again gets what the first one got.
pub async fn an_idempotency_key_lasts_as_long_as_the_result(home: Home) {
    let queue = Queue::new(&home);
    let idempotent = || unique("a", UniqueScope::UntilForgotten);
    let first = idempotent();
    assert_eq!(push(&queue, &first).await, Pushed::New);
    assert_eq!(push(&queue, &idempotent()).await, Pushed::Same(first.id));
    let taken = queue.take(1, 1, 1).await;
    assert!(queue.settle(1, 2, &taken[0], succeeded()).await);
    home.elapse(HOUR - MINUTE).await;
    assert_eq!(push(&queue, &idempotent()).await, Pushed::Same(first.id));
    let end = JobEnd::Succeeded(Bytes::from_static(b"sent"));
    assert_eq!(queue.look(first.id).await, ended(end));
    home.elapse(2 * MINUTE).await;
    let second = NewJob {
        keep: Duration::ZERO,
        ..idempotent()
    };
    assert_eq!(push(&queue, &second).await, Pushed::New);
    // Of which nothing is kept.
    queue.cancel(second.id).await;
    assert_eq!(push(&queue, &idempotent()).await, Pushed::New);
}

/// From the first push, whatever becomes of the job.
pub async fn a_throttled_key_lasts_its_time(home: Home) {
    let queue = Queue::new(&home);
    let throttled = || NewJob {
        keep: Duration::ZERO,
        ..unique("a", UniqueScope::Throttle(HOUR))
    };
    let first = throttled();
    assert_eq!(push(&queue, &first).await, Pushed::New);
    queue.cancel(first.id).await;
    assert_eq!(
        push(&queue, &first).await,
        Pushed::Known,
        "also when it is forgotten"
    );
    home.elapse(HOUR - MINUTE).await;
    queue.take(1, 1, 1).await;
    assert_eq!(push(&queue, &throttled()).await, Pushed::Same(first.id));
    home.elapse(2 * MINUTE).await;
    let second = throttled();
    assert_eq!(push(&queue, &second).await, Pushed::New);
    home.elapse(2 * HOUR).await;
    assert_eq!(queue.take(1, 2, 1).await[0].id, second.id);
    // It is not over, but its time is.
    assert_eq!(push(&queue, &throttled()).await, Pushed::New);
}

/// Input, delay and expiry; and a delay begins anew.
pub async fn a_debounced_job_is_done_as_was_said_last(home: Home) {
    let queue = Queue::new(&home);
    let debounced = |input, delay| NewJob {
        delay,
        ..unique(input, UniqueScope::Debounce)
    };
    let first = debounced("a", HOUR);
    assert_eq!(push(&queue, &first).await, Pushed::New);
    for input in ["b", "c"] {
        home.elapse(HOUR - MINUTE).await;
        assert_eq!(
            push(&queue, &debounced(input, HOUR)).await,
            Pushed::Same(first.id)
        );
        assert_eq!(queue.take(1, 1, 0).await, []);
    }
    home.elapse(HOUR - MINUTE).await;
    let soon = NewJob {
        expires: Some(HOUR),
        ..debounced("d", Duration::ZERO)
    };
    assert_eq!(push(&queue, &soon).await, Pushed::Same(first.id));
    assert_eq!(
        push(&queue, &debounced("e", Duration::ZERO)).await,
        Pushed::Same(first.id)
    );
    home.elapse(2 * HOUR).await;
    let taken = queue.take(1, 2, 9).await;
    assert_eq!((inputs(&taken), taken[0].id), (vec!["e"], first.id));
    assert_eq!(queue.look(soon.id).await, None);
}

/// It has what the active one did not hear of.
pub async fn a_debounced_job_is_queued_behind_an_active_one(home: Home) {
    let queue = Queue::new(&home);
    let debounced = |input| unique(input, UniqueScope::Debounce);
    assert_eq!(push(&queue, &debounced("a")).await, Pushed::New);
    let taken = queue.take(1, 1, 1).await;
    let second = debounced("b");
    assert_eq!(push(&queue, &second).await, Pushed::New);
    // The first one's end does not free the key.
    assert!(queue.settle(1, 2, &taken[0], succeeded()).await);
    assert_eq!(push(&queue, &debounced("c")).await, Pushed::Same(second.id));
    assert_eq!(inputs(&queue.take(1, 3, 9).await), ["c"]);
}

/// Whatever their scopes.
pub async fn unique_jobs_of_one_batch_are_one(home: Home) {
    let queue = Queue::new(&home);
    let jobs = [
        unique("a", UniqueScope::UntilForgotten),
        unique("b", UniqueScope::UntilEnded),
        job("c"),
        unique("d", UniqueScope::Debounce),
        unique("e", UniqueScope::Throttle(HOUR)),
    ];
    let same = Pushed::Same(jobs[0].id);
    assert_eq!(
        queue.push(&jobs).await,
        [Pushed::New, same, Pushed::New, same, same]
    );
    assert_eq!(inputs(&queue.take(1, 1, 9).await), ["d", "c"]);
}
