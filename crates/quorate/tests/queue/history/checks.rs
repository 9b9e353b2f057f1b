//! Whether what was written down agrees with what became of the jobs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use futures_util::{StreamExt, TryStreamExt};
use quorate::queue::{JobEnd, JobId, JobPlace, JobState};
use quorate::{Fleet, Queue, RedisCommands};

use super::jobs::{
    ATTEMPTS, HISTORY, LAST, NUMBERS, PARTS, STEP, TIMES, has_a_dead_branch, is_deadly,
    leaves_a_group,
};

/// What jobs were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Number(u64),
    /// Of the group of this job, which has this number.
    Part(JobId, u64, u8),
}

/// The deliveries of a job that were begun: their lease numbers and attempts, in the order in which they were written.
#[derive(Debug)]
pub(super) struct Deliveries {
    what: What,
    pub(super) leases: Vec<(u64, u32)>,
}

pub(super) async fn deliveries(history: &RedisCommands) -> BTreeMap<JobId, Deliveries> {
    let lines = history.command(&["LRANGE", HISTORY, "0", "-1"]);
    let mut all = BTreeMap::<_, Deliveries>::new();
    for line in lines.await.unwrap().into_array().unwrap() {
        let words: Vec<_> = line.as_str().unwrap().split(' ').collect();
        let number = |nth: usize| words[nth].parse::<u64>().unwrap();
        let id = |nth: usize| JobId::parse(words[nth]).unwrap();
        let what = match words[3] {
            "number" => What::Number(number(4)),
            _ => What::Part(id(4), number(5), words[6].parse().unwrap()),
        };
        let leases = Vec::new();
        let job = all.entry(id(0)).or_insert(Deliveries { what, leases });
        assert_eq!(job.what, what);
        job.leases.push((number(2), words[1].parse().unwrap()));
    }
    all
}

/// What became of each of these, when all of it has.
async fn ends<I: 'static, O: Send + Sync + 'static>(
    queue: &Queue<I, O>,
    jobs: impl Iterator<Item = JobId>,
) -> BTreeMap<JobId, JobEnd> {
    let looks = jobs.map(|id| {
        let job = queue.job(id);
        async move {
            match job.state().await.unwrap() {
                Some(JobState::Ended(end)) => (id, end),
                other => panic!("{id} is lost: {other:?}"),
            }
        }
    });
    futures_util::stream::iter(looks)
        .buffer_unordered(200)
        .collect()
        .await
}

impl Deliveries {
    fn is_part(&self) -> bool {
        matches!(self.what, What::Part(..))
    }

    fn is_to_die(&self) -> bool {
        match self.what {
            What::Number(number) => is_deadly(number),
            What::Part(_, number, which) => which == 1 && has_a_dead_branch(number),
        }
    }

    /// What was written agrees with what became of the job.
    fn check(&self, id: JobId, end: &JobEnd) {
        let most = match self.what {
            What::Number(number) if is_deadly(number) => 2,
            _ => ATTEMPTS,
        };
        let mut leases = BTreeMap::new();
        for (lease, attempt) in &self.leases {
            // A command whose reply was lost is written twice.
            let before = leases.insert(lease, attempt).unwrap_or(attempt);
            assert_eq!(before, attempt, "{id}");
        }
        assert!(leases.len() <= most as usize, "{id}: {leases:?}");
        let attempts: Vec<_> = leases.values().collect();
        let is_growing = attempts.is_sorted_by(|one, next| one < next);
        let is_in_bounds = attempts.iter().all(|attempt| **attempt <= &most);
        assert!(is_growing && is_in_bounds, "{id}: {leases:?}");
        match end {
            JobEnd::Succeeded(result) => {
                let lease = std::str::from_utf8(result).unwrap().parse().unwrap();
                assert!(!self.is_to_die(), "{id} {:?}", self.what);
                // Nobody was given it once it was settled.
                assert_eq!(leases.keys().max(), Some(&&lease), "{id}");
            }
            JobEnd::Dead(why) => {
                assert!(
                    self.is_to_die(),
                    "{id} {:?} died: {why}, {leases:?}",
                    self.what
                );
            }
            other => panic!("{id}: {other:?}"),
        }
    }
}

/// Each is over, of those that are known to be there and of those that may be.
pub(super) async fn numbers(
    fleet: &Fleet,
    pushed: &BTreeMap<JobId, u64>,
    deliveries: &BTreeMap<JobId, Deliveries>,
    jobs: u64,
) {
    let queue = fleet.queue(&NUMBERS);
    for (id, end) in &ends(&queue, pushed.keys().copied()).await {
        assert_eq!(deliveries[id].what, What::Number(pushed[id]));
        deliveries[id].check(*id, end);
    }
    let totals = queue.stats().await.unwrap().totals;
    assert_eq!(totals.succeeded + totals.dead, totals.pushed, "{totals:?}");
    assert!(totals.pushed >= jobs);
    let known = deliveries.values().filter(|it| !it.is_part());
    assert_eq!(known.count() as u64, totals.pushed);
    let found = queue.fsck().await.unwrap();
    assert!(found.strays.is_empty(), "{found:?}");
    eprintln!("{totals:?}");
}

/// Each has what belongs to it, once, and nothing else.
pub(super) async fn groups(fleet: &Fleet, deliveries: &BTreeMap<JobId, Deliveries>) {
    let queue = fleet.queue(&PARTS);
    let parts = || deliveries.iter().filter(|(_, it)| it.is_part());
    for (id, end) in &ends(&queue, parts().map(|(id, _)| *id)).await {
        deliveries[id].check(*id, end);
    }
    let mut roles: BTreeMap<JobId, Vec<u8>> = BTreeMap::new();
    for (_, part) in parts() {
        if let What::Part(first, _, which) = part.what {
            roles.entry(first).or_default().push(which);
        }
    }
    let firsts = deliveries.iter().filter_map(|(id, it)| match it.what {
        What::Number(number) if leaves_a_group(number) => Some((*id, number)),
        _ => None,
    });
    let (mut groups, mut queued) = (0, 0);
    for (first, number) in firsts {
        let is_whole = !has_a_dead_branch(number);
        // What an attempt left that came to nothing was never queued, so each is one job.
        let mut done = roles.remove(&first).unwrap_or_default();
        done.sort_unstable();
        let expected: &[u8] = if is_whole {
            &[0, 1, 2, 3, LAST]
        } else {
            &[0, 1, 2]
        };
        assert_eq!(done, expected, "of {first} ({number})");
        let over = fleet.queue(&NUMBERS).group(first).state().await.unwrap();
        let over = over.unwrap_or_else(|| panic!("the group of {first} is lost"));
        let counted = (over.open, over.succeeded, over.dead, over.cancelled);
        let expected = if is_whole { (0, 6, 0, 0) } else { (0, 3, 1, 1) };
        assert_eq!(counted, expected, "of {first} ({number}): {over:?}");
        let mut values = over.values_as::<u8>().unwrap();
        values.sort_unstable();
        done.retain(|which| is_whole || *which != 1);
        assert_eq!(values, done, "of {first} ({number})");
        (groups, queued) = (groups + 1, queued + if is_whole { 5 } else { 3 });
    }
    assert!(roles.is_empty(), "nobody left them: {roles:?}");
    let totals = queue.stats().await.unwrap().totals;
    assert_eq!(totals.pushed, queued, "{totals:?}");
    let found = queue.fsck().await.unwrap();
    assert!(found.strays.is_empty(), "{found:?}");
    eprintln!("{groups} groups, {totals:?}");
}

/// From the first to the last that came while all of this went on, each has one job.
pub(super) async fn times(fleet: &Fleet) {
    let queue = fleet.queue(&TIMES);
    let mut times = Vec::new();
    for place in [
        JobPlace::Ready,
        JobPlace::Due,
        JobPlace::Active,
        JobPlace::Ended,
    ] {
        let mut jobs = queue.list(place);
        while let Some(job) = jobs.try_next().await.unwrap() {
            let time = job.input().unwrap().or_else(|| job.result().unwrap());
            times.push(time.expect("it waits, or is done"));
        }
    }
    let seen: BTreeSet<_> = times.iter().copied().collect();
    assert_eq!(seen.len(), times.len(), "a time has two jobs: {times:?}");
    let mut expected = *seen.first().expect("the schedule runs");
    for time in &seen {
        assert_eq!(*time, expected, "a time is left out");
        expected += STEP;
    }
    let last = queue.schedules().await.unwrap().remove(0).last;
    assert_eq!(seen.last(), Some(&last));
    let since = |time: SystemTime| time.elapsed().unwrap_or_default();
    eprintln!("{} times, the last {:?} ago", seen.len(), since(last));
}
