//! What handlers leave to others, and what becomes of all of it together.

use std::time::Duration;

use quorate::queue::{Condition, JobGroup, MAX_VALUE};
use quorate::{ErrorKind, Fleet, Job, JobError, JobId, JobOptions, Queue, QueueSpec, Worker};
use tokio::sync::mpsc;

use super::{AT_ONCE, Count, HOUR, Running, numbers, run, say};
use crate::harness::{Home, within};

/// Leaves as many parts as its input says, and something to be done after those.
const WHOLES: QueueSpec<u32> = QueueSpec::new("wholes").backoff(AT_ONCE);
const PARTS: QueueSpec<u32, u32> = QueueSpec::new("parts").backoff(AT_ONCE);
const SUMS: QueueSpec<u32, u32> = QueueSpec::new("sums");

#[derive(Clone)]
struct Queues {
    wholes: Queue<u32>,
    parts: Queue<u32, u32>,
    sums: Queue<u32, u32>,
}

impl Queues {
    fn of(fleet: &Fleet) -> Self {
        Self {
            wholes: fleet.queue(&WHOLES),
            parts: fleet.queue(&PARTS),
            sums: fleet.queue(&SUMS),
        }
    }

    fn wholes(&self) -> Running {
        let queues = self.clone();
        run(self.wholes.worker(move |job: Job<u32>| {
            let queues = queues.clone();
            async move { queues.divide(&job) }
        }))
    }

    fn divide(&self, job: &Job<u32>) -> Result<(), JobError> {
        let parts = (0..job.input).map(|part| job.leave(&self.parts, &part));
        let parts = parts.collect::<quorate::Result<Vec<_>>>()?;
        let parts = parts.iter().map(|part| part.id());
        job.after(Condition::AllSucceeded, parts)
            .leave(&self.sums, &job.input)?;
        Ok(())
    }
}

async fn part(job: Job<u32>) -> Result<u32, JobError> {
    job.append_group_value(&job.input)?;
    Ok(job.input)
}

async fn sum(job: Job<u32>) -> Result<u32, JobError> {
    Ok(job.input)
}

/// In their order, on other instances; and who waits for all of it gets how it ended, and its value.
pub async fn what_a_handler_leaves_is_done_together_with_its_job(home: Home) {
    let other = Queues::of(&home.instance("other").await);
    let here = Queues::of(home.fleet());
    let job = here.wholes.push(&3).await.unwrap();
    let group = job.group();
    let alone = group.state().await.unwrap().unwrap();
    assert_eq!((group.id(), alone.open), (job.id(), 1));
    let waiting = tokio::spawn(group.clone().ended().into_future());
    let (began, mut order) = mpsc::unbounded_channel();
    let workers = [
        here.wholes(),
        run(other
            .parts
            .worker(move |job: Job<u32>| {
                began
                    .send((job.input, job.parent(), job.group().id()))
                    .unwrap();
                part(job)
            })
            .concurrency(1)),
        run(other.sums.worker(sum)),
    ];
    let over = within("the end of the group", waiting).await.unwrap();
    let over = over.unwrap().unwrap();
    assert_eq!((over.open, over.succeeded, over.dead), (0, 5, 0));
    let mut values = over.values_as::<u32>().unwrap();
    assert_eq!(over.value::<u32>().unwrap(), values.last().copied());
    // In the order in which the group was told.
    values.sort_unstable();
    assert_eq!(values, [0, 1, 2]);
    for input in 0..3 {
        assert_eq!(
            order.recv().await.unwrap(),
            (input, Some(job.id()), job.id())
        );
    }
    assert_eq!(
        other.wholes.group(job.id()).ended().await.unwrap(),
        Some(over)
    );
    for worker in workers {
        worker.stop().await;
    }
}

/// And what an attempt left that failed is left by nobody.
pub async fn a_failed_attempt_leaves_nothing(home: Home) {
    let queues = Queues::of(home.fleet());
    let (parts, attempts) = (queues.parts.clone(), Count::default());
    let worker = run(queues.wholes.worker(move |job: Job<u32>| {
        let (parts, attempts) = (parts.clone(), attempts.clone());
        async move {
            job.leave(&parts, &job.attempt())?;
            job.append_group_value(&job.attempt())?;
            if attempts.more() == 1 {
                return Err(JobError::retry("not at first"));
            }
            Ok(())
        }
    }));
    let other = run(queues.parts.worker(sum));
    let job = queues.wholes.push(&0).await.unwrap();
    let over = job.group().ended().await.unwrap().unwrap();
    assert_eq!(
        (over.succeeded, over.values_as::<u32>().unwrap()),
        (2, vec![2])
    );
    assert_eq!(queues.parts.stats().await.unwrap().totals.pushed, 1);
    worker.stop().await;
    other.stop().await;
}

/// Who waits for all of them is cancelled, and that counts as an end.
pub async fn a_group_ends_though_a_job_of_it_dies(home: Home) {
    let queues = Queues::of(home.fleet());
    let workers = [
        queues.wholes(),
        run(queues.parts.worker(|job: Job<u32>| async move {
            if job.input == 1 {
                return Err(JobError::abort("never"));
            }
            job.set_group_value(&"last")?;
            Ok(0)
        })),
        run(queues.sums.worker(sum)),
    ];
    let job = queues.wholes.push(&3).await.unwrap();
    let over = job.group().ended().await.unwrap().unwrap();
    assert_eq!((over.succeeded, over.dead, over.cancelled), (3, 1, 1));
    assert_eq!(over.value::<String>().unwrap().as_deref(), Some("last"));
    assert_eq!(queues.sums.stats().await.unwrap().totals.pushed, 0);
    for worker in workers {
        worker.stop().await;
    }
}

/// Of its own, whichever way that went; and what is not kept any longer is forgotten.
pub async fn a_job_that_leaves_nothing_is_a_group_of_one(home: Home) {
    let queue = numbers(home.fleet());
    let (done, cancelled) = (queue.push(&1).await.unwrap(), queue.push(&2).await.unwrap());
    cancelled.cancel().await.unwrap();
    let late = done
        .group()
        .ended()
        .timeout(Duration::from_millis(20))
        .await;
    assert_eq!(late.unwrap_err().kind(), ErrorKind::Timeout);
    let worker = run(queue.worker(say));
    let over = done.group().ended().await.unwrap().unwrap();
    assert_eq!((over.open, over.succeeded), (0, 1));
    assert_eq!(over.value::<u32>().unwrap(), None);
    let over = cancelled.group().ended().await.unwrap().unwrap();
    assert_eq!((over.open, over.succeeded, over.cancelled), (0, 0, 1));
    assert_eq!(cancelled.group().state().await.unwrap(), Some(over));
    home.elapse(HOUR).await;
    assert_eq!(done.group().ended().await.unwrap(), None);
    assert_eq!(done.group().state().await.unwrap(), None);
    assert_eq!(queue.group(JobId::random()).ended().await.unwrap(), None);
    worker.stop().await;
}

/// By a worker that asked for it; of a group that somebody waits for, nobody else.
pub async fn a_group_that_nobody_waits_for_is_told(home: Home) {
    let queues = Queues::of(home.fleet());
    let (told, mut telling) = mpsc::unbounded_channel();
    let (parts, wholes) = (queues.parts.clone(), queues.wholes.clone());
    let divide = move |job: Job<u32>| {
        let parts = parts.clone();
        async move {
            job.leave(&parts, &job.input)?;
            Ok(())
        }
    };
    let worker: Worker<_, _, _> = wholes.worker(divide).on_group_ended(move |id, view| {
        told.send((id, view.succeeded)).unwrap();
        async { Ok(()) }
    });
    let workers = [run(worker), run(queues.parts.worker(sum))];
    let job = queues.wholes.push(&1).await.unwrap();
    let said = within("the end of a group", telling.recv()).await.unwrap();
    assert_eq!(said, (job.id(), 2));
    for worker in workers {
        worker.stop().await;
    }
    assert!(telling.recv().await.is_none());
}

/// With the rule; and who was refused something leaves the rest.
pub async fn what_cannot_be_left_is_refused(home: Home) {
    let queues = Queues::of(home.fleet());
    let (kept, mut left) = mpsc::unbounded_channel();
    let parts = queues.parts.clone();
    let worker = run(queues.wholes.worker(move |job: Job<u32>| {
        let (parts, kept) = (parts.clone(), kept.clone());
        async move {
            let unique = JobOptions::new().unique("once");
            let unique = job.leave_with(&parts, &1, unique).unwrap_err();
            let many = job.after(Condition::Done(2), [job.id()]);
            let many = many.leave(&parts, &1).unwrap_err();
            let large = job.set_group_value(&"x".repeat(MAX_VALUE)).unwrap_err();
            let rules = [unique, many, large].map(|error| {
                assert_eq!(error.kind(), ErrorKind::InvalidInput);
                error.to_string()
            });
            job.leave_with(&parts, &7, JobOptions::new().priority(3))?;
            let (_, context) = job.split();
            kept.send((rules, context)).unwrap();
            Ok(())
        }
    }));
    let other = run(queues.parts.worker(sum));
    let job = queues.wholes.push(&1).await.unwrap();
    let over = job.group().ended().await.unwrap().unwrap();
    assert_eq!(over.succeeded, 2);
    let (rules, context) = left.recv().await.unwrap();
    for (text, rule) in rules
        .iter()
        .zip(["unique must not", "must not want more", "value must be"])
    {
        assert!(text.contains(rule), "{text}");
    }
    let closed = context.leave(&queues.parts, &1).unwrap_err();
    assert_eq!(closed.kind(), ErrorKind::Closed);
    worker.stop().await;
    queues.wholes.push(&1).await.unwrap();
    let claimed = queues.wholes.claim(1).await.unwrap();
    let closed = claimed[0].job.leave(&queues.parts, &1).unwrap_err();
    assert_eq!(closed.kind(), ErrorKind::Closed);
    other.stop().await;
}

/// In groups within groups, on several instances: each of them is over once, with all that belongs to it.
pub async fn many_groups_go_on_at_once(home: Home) {
    let (here, there) = (
        Queues::of(home.fleet()),
        Queues::of(&home.instance("other").await),
    );
    let mut workers = Vec::new();
    for queues in [&here, &there] {
        workers.push(queues.wholes());
        workers.push(run(queues.parts.worker(part)));
        workers.push(run(queues.sums.worker(sum)));
    }
    let jobs = here
        .wholes
        .push_many(&(0..20).collect::<Vec<u32>>())
        .await
        .unwrap();
    let groups: Vec<JobGroup> = jobs.iter().map(|job| job.group()).collect();
    for (parts, group) in (0..20_u32).zip(groups) {
        let over = within("the end of a group", group.ended().into_future()).await;
        let over = over.unwrap().unwrap();
        assert_eq!((over.succeeded, over.dead), (u64::from(parts) + 2, 0));
        let mut values = over.values_as::<u32>().unwrap();
        values.sort_unstable();
        assert_eq!(values, (0..parts).collect::<Vec<_>>());
    }
    for worker in workers {
        worker.stop().await;
    }
}
