//! How many jobs may be begun.

use std::time::Duration;

use quorate::queue::{
    Ask, Delivered, JobEnd, JobPlace, JobState, NewJob, QueueLimits, ScanCursor, StartRate,
};

use super::{HOUR, MINUTE, Queue, SECOND, ask, ended, inputs, job, options, settled, succeeded};
use crate::harness::Home;

const NONE: QueueLimits = QueueLimits::NONE;

fn active(most: u32) -> QueueLimits {
    QueueLimits {
        active: Some(most),
        ..NONE
    }
}

fn active_per_group(most: u32) -> QueueLimits {
    QueueLimits {
        active_per_group: Some(most),
        ..NONE
    }
}

fn of(group: &str, input: &'static str) -> NewJob {
    NewJob {
        group: group.to_owned(),
        ..job(input)
    }
}

impl Queue {
    /// What a worker gets within these limits.
    async fn take_within(
        &self,
        limits: QueueLimits,
        worker: u64,
        number: u64,
        want: usize,
    ) -> Vec<Delivered> {
        let ask = Ask {
            limits,
            ..ask(worker, number, want)
        };
        self.turn(&ask).await.delivered
    }

    /// The same, and when there may be more, of one that is done with a job.
    async fn end_and_take(
        &self,
        limits: QueueLimits,
        worker: u64,
        number: u64,
        done: &Delivered,
    ) -> Vec<Delivered> {
        let ask = Ask {
            limits,
            settled: vec![settled(done, succeeded())],
            ..ask(worker, number, 9)
        };
        let turn = self.turn(&ask).await;
        assert_eq!(turn.settled, [true]);
        turn.delivered
    }

    /// In how long it is worth asking again.
    async fn next_within(&self, limits: QueueLimits, worker: u64, number: u64) -> Option<Duration> {
        let ask = Ask {
            limits,
            ..ask(worker, number, 9)
        };
        let turn = self.turn(&ask).await;
        assert_eq!(turn.delivered, []);
        turn.next
    }
}

/// Whoever asks; and nobody is told to come back for what may not begin.
pub async fn no_more_are_active_than_the_limit_says(home: Home) {
    let queue = Queue::new(&home);
    queue.push(&["a", "b", "c", "d"].map(job)).await;
    let first = queue.take_within(active(3), 1, 1, 2).await;
    let second = queue.take_within(active(3), 2, 1, 9).await;
    assert_eq!(
        (inputs(&first), inputs(&second)),
        (vec!["a", "b"], vec!["c"])
    );
    // The first lease that ends may make room.
    let next = queue.next_within(active(3), 3, 1).await.unwrap();
    assert!(next > SECOND && next <= MINUTE, "{next:?}");
    assert_eq!(inputs(&queue.take_within(active(4), 3, 2, 9).await), ["d"]);
}

/// Also if who made it wants nothing: then another is woken.
pub async fn what_ends_makes_room_for_the_next(home: Home) {
    let queue = Queue::new(&home);
    queue.push(&["a", "b", "c"].map(job)).await;
    let taken = queue.take_within(active(1), 1, 1, 9).await;
    assert_eq!(inputs(&taken), ["a"]);
    let taken = queue.end_and_take(active(1), 1, 2, &taken[0]).await;
    assert_eq!(inputs(&taken), ["b"]);
    assert!(queue.settle(1, 3, &taken[0], succeeded()).await);
    assert_eq!(inputs(&queue.take_within(active(1), 2, 1, 9).await), ["c"]);
}

/// Of the queue and of the group.
pub async fn a_lease_that_runs_out_makes_room(home: Home) {
    let queue = Queue::new(&home);
    queue.push(&["a", "b"].map(|input| of("x", input))).await;
    let limits = QueueLimits {
        active_per_group: Some(1),
        ..active(1)
    };
    assert_eq!(inputs(&queue.take_within(limits, 1, 1, 9).await), ["a"]);
    assert_eq!(queue.take_within(limits, 2, 1, 9).await, []);
    home.elapse(MINUTE + SECOND).await;
    // The other one is older now.
    assert_eq!(inputs(&queue.take_within(limits, 2, 2, 9).await), ["b"]);
    assert_eq!(queue.take_within(limits, 1, 2, 9).await, []);
}

/// While others go on, and those without a group are not limited.
pub async fn of_a_group_no_more_are_active_than_its_limit_says(home: Home) {
    let queue = Queue::new(&home);
    queue.push(&["a1", "a2", "a3"].map(|it| of("a", it))).await;
    queue
        .push(&[of("b", "b1"), of("", "c1"), of("", "c2")])
        .await;
    let limits = active_per_group(1);
    let mut taken = queue.take_within(limits, 1, 1, 9).await;
    let mut all = inputs(&taken);
    all.sort_unstable();
    assert_eq!(all, ["a1", "b1", "c1", "c2"]);
    // Another worker finds none, whatever it wants.
    assert_eq!(queue.take_within(limits, 2, 1, 1).await, []);
    taken.sort_by_key(|it| it.input.clone());
    // Who ends one of another group makes no room in this one.
    assert_eq!(queue.end_and_take(limits, 1, 2, &taken[1]).await, []);
    let next = queue.end_and_take(limits, 1, 3, &taken[0]).await;
    assert_eq!(inputs(&next), ["a2"]);
    // Nor does one that was deferred begin beside another.
    let deferred = quorate::queue::Settlement::Deferred(Duration::ZERO);
    assert!(queue.settle(1, 4, &next[0], deferred).await);
    assert_eq!(inputs(&queue.take_within(limits, 2, 2, 9).await), ["a3"]);
    assert_eq!(queue.take_within(limits, 2, 3, 9).await, []);
}

/// Within its group, also beside what came later.
pub async fn what_is_limited_keeps_its_order(home: Home) {
    let queue = Queue::new(&home);
    let limits = active_per_group(1);
    queue.push(&["a", "b", "c"].map(|it| of("x", it))).await;
    let mut taken = queue.take_within(limits, 1, 1, 9).await;
    queue.push(&[of("x", "d")]).await;
    let urgent = NewJob {
        priority: 5,
        ..of("x", "urgent")
    };
    queue.push(&[urgent]).await;
    let mut order = Vec::new();
    for number in 2..7 {
        order.extend(inputs(&taken).into_iter().map(str::to_owned));
        taken = queue.end_and_take(limits, 1, number, &taken[0]).await;
    }
    assert_eq!(order, ["a", "urgent", "b", "c", "d"]);
    assert_eq!(taken, []);
}

/// Counted, listed, edited, removed.
pub async fn a_limited_job_is_seen_and_cancelled_as_any_that_waits(home: Home) {
    let queue = Queue::new(&home);
    let limits = active_per_group(1);
    let jobs = ["a", "b", "c", "d"].map(|it| of("x", it));
    let [_, b, c, d] = jobs.each_ref().map(|it| it.id);
    queue.push(&jobs).await;
    let taken = queue.take_within(limits, 1, 1, 9).await;
    assert_eq!(queue.look(b).await, Some(JobState::Limited));
    let stats = queue.port.stats(&queue.key, options()).await.unwrap();
    assert_eq!((stats.ready, stats.due, stats.limited), (0, 0, 3));
    assert_eq!(stats.next_due, None);
    let list = |place| queue.port.list(&queue.key, place, None, 2, options());
    let page = list(JobPlace::Limited).await.unwrap();
    let listed: Vec<_> = page.jobs.iter().map(|it| (it.id, &it.state)).collect();
    assert_eq!(listed, [(b, &JobState::Limited), (c, &JobState::Limited)]);
    let next = page.next.as_ref();
    let page = queue
        .port
        .list(&queue.key, JobPlace::Limited, next, 2, options());
    assert_eq!(page.await.unwrap().jobs[0].id, d);
    assert_eq!(list(JobPlace::Due).await.unwrap().jobs, []);
    assert_eq!(queue.cancel(b).await, ended(JobEnd::Cancelled));
    let removed = queue.port.remove(&queue.key, &[c], options()).await;
    assert_eq!(removed.unwrap(), [quorate::queue::Removed::Gone]);
    let input = bytes::Bytes::from_static(b"edited");
    assert!(
        queue
            .port
            .edit(&queue.key, d, input, options())
            .await
            .unwrap()
    );
    let last = queue.end_and_take(limits, 1, 2, &taken[0]).await;
    assert_eq!(inputs(&last), ["edited"]);
    let purged = queue
        .port
        .purge(&queue.key, JobPlace::Limited, 9, options());
    assert_eq!(purged.await.unwrap(), 0);
}

/// Whatever somebody writes into a cursor.
pub async fn a_page_of_limited_jobs_has_no_others(home: Home) {
    let queue = Queue::new(&home);
    let late = NewJob {
        delay: HOUR,
        ..job("late")
    };
    queue.push(&["a", "b"].map(|it| of("x", it))).await;
    queue.push(&[late]).await;
    queue.take_within(active_per_group(1), 1, 1, 9).await;
    for (score, expected) in [(i64::MIN, 1), (i64::MAX, 0)] {
        let cursor = ScanCursor::new(format!("{score} 0 {:032x}", 0));
        let page = queue
            .port
            .list(&queue.key, JobPlace::Limited, Some(&cursor), 9, options());
        let states: Vec<_> = page
            .await
            .unwrap()
            .jobs
            .into_iter()
            .map(|it| it.state)
            .collect();
        assert_eq!(states, vec![JobState::Limited; expected], "{score}");
    }
}

/// As many as its burst at once, and who asks too soon is told when to come again.
pub async fn jobs_are_begun_as_often_as_the_rate_says(home: Home) {
    let queue = Queue::new(&home);
    queue.push(&["a", "b", "c", "d", "e"].map(job)).await;
    let limits = QueueLimits {
        starts: Some(StartRate::new(60, HOUR).burst(2)),
        ..NONE
    };
    assert_eq!(queue.take_within(limits, 1, 1, 9).await.len(), 2);
    let next = queue.next_within(limits, 2, 1).await.unwrap();
    assert!(next > MINUTE - 30 * SECOND && next <= MINUTE, "{next:?}");
    home.elapse(MINUTE + SECOND).await;
    // Their leases have run out: what begins again counts again.
    assert_eq!(queue.take_within(limits, 2, 2, 9).await.len(), 1);
    assert_eq!(queue.take_within(limits, 2, 3, 9).await, []);
    home.elapse(HOUR).await;
    assert_eq!(queue.take_within(limits, 2, 4, 9).await.len(), 2);
}

/// While others go on.
pub async fn jobs_of_a_group_are_begun_as_often_as_its_rate_says(home: Home) {
    let queue = Queue::new(&home);
    queue.push(&["a1", "a2", "a3"].map(|it| of("a", it))).await;
    queue.push(&[of("b", "b1")]).await;
    let limits = QueueLimits {
        starts_per_group: Some(StartRate::new(60, HOUR).burst(1)),
        ..NONE
    };
    let mut taken = queue.take_within(limits, 1, 1, 9).await;
    // Which group is first is nobody's promise.
    taken.sort_by_key(|it| it.input.clone());
    assert_eq!(inputs(&taken), ["a1", "b1"]);
    assert_eq!(queue.end_and_take(limits, 1, 2, &taken[0]).await, []);
    assert!(queue.settle(1, 3, &taken[1], succeeded()).await);
    for (number, expected) in [(1, "a2"), (2, "a3")] {
        home.elapse(MINUTE).await;
        let taken = queue.take_within(limits, 2, number * 2, 9).await;
        assert_eq!(inputs(&taken), [expected]);
        assert!(
            queue
                .settle(2, number * 2 + 1, &taken[0], succeeded())
                .await
        );
    }
}

/// When nobody limits groups any more, or less.
pub async fn limits_that_are_lifted_hold_nothing_back(home: Home) {
    let queue = Queue::new(&home);
    queue
        .push(&["a", "b", "c", "d", "e"].map(|it| of("x", it)))
        .await;
    let taken = queue.take_within(active_per_group(1), 1, 1, 9).await;
    home.elapse(6 * SECOND).await;
    assert_eq!(
        inputs(&queue.take_within(active_per_group(2), 1, 2, 9).await),
        ["b"]
    );
    assert!(queue.settle(1, 3, &taken[0], succeeded()).await);
    assert_eq!(
        inputs(&queue.take_within(NONE, 2, 1, 9).await),
        ["c", "d", "e"]
    );
}

/// And what it got is what it gets again.
pub async fn a_repeated_turn_counts_once_for_the_limits(home: Home) {
    let queue = Queue::new(&home);
    queue.push(&["a", "b", "c"].map(|it| of("x", it))).await;
    let limits = QueueLimits {
        active: Some(2),
        active_per_group: Some(2),
        starts: Some(StartRate::new(2, HOUR)),
        starts_per_group: Some(StartRate::new(2, HOUR)),
    };
    let first = queue.take_within(limits, 1, 1, 1).await;
    assert_eq!(queue.take_within(limits, 1, 1, 1).await, first);
    assert_eq!(inputs(&queue.take_within(limits, 1, 2, 9).await), ["b"]);
    assert_eq!(queue.take_within(limits, 1, 3, 9).await, []);
}

/// Before anything is touched.
pub async fn limits_that_cannot_be_kept_are_refused(home: Home) {
    let queue = Queue::new(&home);
    queue.push(&[job("a")]).await;
    let rate = |limit, period| Some(StartRate::new(limit, period));
    for (limits, rule) in [
        (active(0), "max_active must be at least 1"),
        (
            active_per_group(0),
            "max_active_per_group must be at least 1",
        ),
        (
            QueueLimits {
                starts: rate(0, HOUR),
                ..NONE
            },
            "max_starts: limit must be from 1",
        ),
        (
            QueueLimits {
                starts_per_group: rate(1, Duration::ZERO),
                ..NONE
            },
            "max_starts_per_group: window must be from 1 ms",
        ),
    ] {
        let ask = Ask {
            limits,
            ..ask(1, 1, 1)
        };
        let error = queue.port.turn(&queue.key, &ask, options()).await;
        let text = error.unwrap_err().to_string();
        assert!(text.contains(rule), "{text}");
    }
    assert_eq!(inputs(&queue.take(1, 1, 9).await), ["a"]);
}
