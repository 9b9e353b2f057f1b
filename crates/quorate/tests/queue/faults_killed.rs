//! Processes that work on groups are killed at any moment: all that belongs to a group is done, and it is over once.

#![expect(
    clippy::disallowed_methods,
    reason = "a test ends before its runtime does"
)]

use std::env;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use quorate::queue::{Condition, JobGroup};
use quorate::{CancellationToken, Fleet, Job, JobError, JobId, Queue, QueueSpec};
use quorate_testing::harness::{file_url, namespace, within};
use quorate_testing::servers::{ServerKind, shared};
use tokio::task::JoinHandle;

// A delivery counts that dies with its process.
const TREES: QueueSpec<u32> = QueueSpec::new("trees").max_attempts(99);
const LEAVES: QueueSpec<u32> = QueueSpec::new("leaves").max_attempts(99);
const LEASE: Duration = Duration::from_secs(2);
/// In the process that will be killed: its home, and the namespace there.
const HOME: &str = "QUORATE_TEST_GROUPS_IN";
const NAMESPACE: &str = "QUORATE_TEST_GROUPS_NAMESPACE";
const DONE: &str = "done ";
const GROUPS: u32 = 12;
const EACH: u32 = 4;
const KILLS: usize = 5;

async fn open(url: &str, namespace: &str) -> Fleet {
    let builder = Fleet::builder().url(url).namespace(namespace.to_owned());
    builder.build().await.unwrap()
}

/// Leaves some, and one more tree that waits for those, until there are no more to be grown.
fn grow(job: &Job<u32>, trees: &Queue<u32>, leaves: &Queue<u32>) -> Result<(), JobError> {
    let left = (0..EACH).map(|number| job.leave(leaves, &number));
    let left = left.collect::<quorate::Result<Vec<_>>>()?;
    if job.input > 0 {
        let left = left.iter().map(|it| it.id());
        job.after(Condition::AllSucceeded, left)
            .leave(trees, &(job.input - 1))?;
    }
    job.append_group_value(&job.id().to_string())?;
    Ok(())
}

/// Works on both, and says so of each that is begun.
fn work(fleet: &Fleet, stop: &CancellationToken) -> Vec<JoinHandle<quorate::Result<()>>> {
    let (trees, leaves) = (fleet.queue(&TREES), fleet.queue(&LEAVES));
    let (to_trees, to_leaves) = (trees.clone(), leaves.clone());
    let grows = trees.worker(move |job: Job<u32>| {
        println!("{DONE}tree");
        let grown = grow(&job, &to_trees, &to_leaves);
        async { grown }
    });
    let falls = leaves.worker(|job: Job<u32>| async move {
        println!("{DONE}leaf");
        job.append_group_value(&job.id().to_string())?;
        Ok(())
    });
    vec![
        tokio::spawn(grows.lease(LEASE).run(stop.clone())),
        tokio::spawn(falls.lease(LEASE).run(stop.clone())),
    ]
}

/// Starts this test again in a process of its own, and kills that after so many jobs.
fn kill_after(jobs: usize, test: &str, url: &str, namespace: &str) {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(HOME, url)
        .env(NAMESPACE, namespace)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let done = lines.filter(|line| line.as_ref().unwrap().contains(DONE));
    // Where all is done there are no more, and it ends by itself.
    let _ = done.take(jobs).count();
    child.kill().unwrap();
    child.wait().unwrap();
}

/// As a process that will be killed: works until that, or until there has been nothing to do for a while.
async fn work_until_killed(url: &str) {
    let fleet = open(url, &env::var(NAMESPACE).unwrap()).await;
    let _workers = work(&fleet, &CancellationToken::new());
    tokio::time::sleep(Duration::from_secs(15)).await;
}

async fn survive(test: &'static str, url: String, namespace: String) {
    if let Ok(url) = env::var(HOME) {
        return work_until_killed(&url).await;
    }
    let fleet = open(&url, &namespace).await;
    let inputs: Vec<_> = (0..GROUPS).map(|number| number % 3).collect();
    let pushed = fleet.queue(&TREES).push_many(&inputs).await.unwrap();
    let ids: Vec<JobId> = pushed.iter().map(|job| job.id()).collect();
    drop(pushed);
    fleet.close().await;
    for round in 1..=KILLS {
        let (url, namespace) = (url.clone(), namespace.clone());
        let kill = move || kill_after(round * 6, test, &url, &namespace);
        tokio::task::spawn_blocking(kill).await.unwrap();
    }
    let (fleet, stop) = (open(&url, &namespace).await, CancellationToken::new());
    let workers = work(&fleet, &stop);
    for (id, input) in ids.iter().zip(inputs) {
        let group: JobGroup = fleet.queue(&TREES).group(*id);
        let over = group.ended().timeout(Duration::from_secs(60)).await;
        let over = over.unwrap().unwrap();
        let jobs = u64::from((input + 1) * (EACH + 1));
        let counts = (over.succeeded, over.dead, over.cancelled, over.expired);
        assert_eq!(counts, (jobs, 0, 0, 0));
        // Each job has said so once, however often it was begun.
        let mut said = over.values_as::<String>().unwrap();
        said.sort();
        said.dedup();
        assert_eq!(said.len() as u64, jobs);
        assert_eq!(over.values.len() as u64, jobs);
    }
    stop.cancel();
    for worker in workers {
        within("the end of a worker", worker)
            .await
            .unwrap()
            .unwrap();
    }
    fleet.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_groups_of_killed_processes_go_on_in_a_file() {
    let place = tempfile::tempdir().unwrap();
    let url = file_url(&place.path().join("home.redb"));
    let test = "faults_killed::fault_groups_of_killed_processes_go_on_in_a_file";
    survive(test, url, "killed".to_owned()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_groups_of_killed_processes_go_on_on_redis() {
    // The process that is killed finds the server by its address.
    let url = match env::var(HOME) {
        Ok(url) => url,
        Err(_) => shared(ServerKind::Redis).await.unwrap().url().to_owned(),
    };
    let test = "faults_killed::fault_groups_of_killed_processes_go_on_on_redis";
    survive(test, url, namespace()).await;
}
