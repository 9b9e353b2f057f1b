//! What the jobs of the history do, in processes that are killed.

use std::time::{Duration, SystemTime};

use quorate::queue::{Condition, JobId, Timetable};
use quorate::{
    Backoff, CancellationToken, Fleet, FleetBuilder, Job, JobContext, JobError, JobOptions, Queue,
    QueueSpec,
};

/// Where deliveries are written down.
pub(super) const HISTORY: &str = "history";
/// So many that a job which is harmless does not die of the workers that die around it.
pub(super) const ATTEMPTS: u32 = 12;
/// Between the times of the schedule.
pub(super) const STEP: Duration = Duration::from_millis(250);
const LEASE: Duration = Duration::from_secs(1);

const SOON: Backoff = Backoff {
    initial: Duration::from_millis(20),
    factor: 1.0,
    max: Duration::from_millis(20),
    jitter: 0.5,
};

/// A job kills whoever takes it, fails twice, leaves a group, or does nothing.
pub(super) const NUMBERS: QueueSpec<u64, u64> = QueueSpec::new("numbers")
    .max_attempts(ATTEMPTS)
    .backoff(SOON)
    .options(|number| {
        let options = JobOptions::new();
        if is_deadly(*number) {
            options.max_attempts(2)
        } else {
            options
        }
    });

/// Part of a group: its first job, the number of that, and which part it is. Two branches that leave a leaf each, and what is to be done
/// after the branches.
pub(super) type Part = (JobId, u64, u8);
pub(super) const PARTS: QueueSpec<Part, u64> =
    QueueSpec::new("parts").max_attempts(ATTEMPTS).backoff(SOON);
const BRANCHES: [u8; 2] = [0, 1];
const LEAVES: [u8; 2] = [2, 3];
pub(super) const LAST: u8 = 4;

/// The times of the schedule.
pub(super) const TIMES: QueueSpec<SystemTime, SystemTime> =
    QueueSpec::new("times").max_attempts(ATTEMPTS).backoff(SOON);

pub(super) const fn is_deadly(number: u64) -> bool {
    number % 2_500 == 1_234
}

const fn fails_twice(number: u64) -> bool {
    number % 50 == 7
}

/// Early ones, so that nobody waits at the end for what whoever was killed had to bring.
pub(super) const fn leaves_a_group(number: u64) -> bool {
    number % 8 == 3 && number % 10_000 < 2_000
}

/// Whether the second branch never succeeds.
pub(super) const fn has_a_dead_branch(number: u64) -> bool {
    number % 32 == 19
}

/// Writes down that a job is begun, before anything comes of it.
async fn write(job: &JobContext, history: &Fleet, what: String) -> Result<(), JobError> {
    let line = format!(
        "{} {} {} {what}",
        job.id(),
        job.attempt(),
        job.lease().get()
    );
    history.redis()?.command(&["RPUSH", HISTORY, &line]).await?;
    Ok(())
}

async fn do_number(
    job: Job<u64>,
    parts: Queue<Part, u64>,
    history: Fleet,
) -> Result<u64, JobError> {
    let number = job.input;
    write(&job, &history, format!("number {number}")).await?;
    if is_deadly(number) {
        std::process::abort();
    }
    if leaves_a_group(number) {
        let part = |which| (job.id(), number, which);
        let branches = BRANCHES.map(|which| job.leave(&parts, &part(which)));
        let branches = branches.into_iter().collect::<quorate::Result<Vec<_>>>()?;
        let branches = branches.iter().map(|branch| branch.id());
        job.after(Condition::AllSucceeded, branches)
            .leave(&parts, &part(LAST))?;
    }
    if fails_twice(number) && job.attempt() <= 2 {
        return Err(JobError::retry("not yet"));
    }
    tokio::time::sleep(Duration::from_micros(number % 7 * 500)).await;
    Ok(job.lease().get())
}

async fn do_part(job: Job<Part>, parts: Queue<Part, u64>, history: Fleet) -> Result<u64, JobError> {
    let (first, number, which) = job.input;
    write(&job, &history, format!("part {first} {number} {which}")).await?;
    if BRANCHES.contains(&which) {
        let leaf = LEAVES[usize::from(which)];
        job.leave(&parts, &(first, number, leaf))?;
    }
    job.append_group_value(&which)?;
    if which == BRANCHES[1] && has_a_dead_branch(number) {
        return Err(JobError::abort("rotten"));
    }
    Ok(job.lease().get())
}

pub(super) async fn work_for_ever(queues: FleetBuilder, history: FleetBuilder) {
    let (fleet, history) = (
        queues.build().await.unwrap(),
        history.build().await.unwrap(),
    );
    let (parts, times) = (fleet.queue(&PARTS), fleet.queue(&TIMES));
    let numbers = {
        let (parts, history) = (parts.clone(), history.clone());
        let work = move |job| do_number(job, parts.clone(), history.clone());
        fleet
            .queue(&NUMBERS)
            .worker(work)
            .concurrency(32)
            .lease(LEASE)
    };
    let leaving = parts.clone();
    let part = parts
        .worker(move |job| do_part(job, leaving.clone(), history.clone()))
        .concurrency(16)
        .lease(LEASE);
    let time = times
        .worker(|job: Job<SystemTime>| async move { Ok(job.input) })
        .lease(LEASE);
    let often = Timetable::every(STEP).unwrap();
    let schedule = times.schedule("often", often, |time| time);
    let never = CancellationToken::new;
    let ran = tokio::join!(
        numbers.run(never()),
        part.run(never()),
        time.run(never()),
        schedule.run(never()),
    );
    unreachable!("nothing that breaks ends them: {ran:?}");
}
