//! A process dies that has begun jobs where it pushed them: each is done by others.

#![expect(
    clippy::disallowed_methods,
    reason = "a test ends before its runtime does"
)]

use std::env;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use quorate::queue::WorkerStatus;
use quorate::{CancellationToken, Fleet, Job, JobId, QueueSpec};
use quorate_testing::harness::{file_url, namespace, within};
use quorate_testing::servers::{ServerKind, shared};

/// The attempt that was made.
const ATTEMPTS: QueueSpec<u32, u32> = QueueSpec::new("attempts").max_attempts(2);
const LEASE: Duration = Duration::from_secs(2);
/// In the process that will be killed: its home, and the namespace there.
const HOME: &str = "QUORATE_TEST_STARTED_IN";
const NAMESPACE: &str = "QUORATE_TEST_STARTED_NAMESPACE";
const BEGUN: &str = "begun ";
const JOBS: u32 = 10;

async fn open(url: &str, namespace: &str) -> Fleet {
    let builder = Fleet::builder().url(url).namespace(namespace.to_owned());
    builder.build().await.unwrap()
}

/// As a process that will be killed: begins jobs and ends none.
async fn push_until_killed(url: &str) {
    let fleet = open(url, &env::var(NAMESPACE).unwrap()).await;
    let queue = fleet.queue(&ATTEMPTS);
    let worker = queue.worker(|job: Job<u32>| {
        println!("{BEGUN}{}", job.id());
        std::future::pending()
    });
    let mut status = worker.status();
    let running = worker.lease(LEASE).concurrency(99);
    tokio::spawn(running.run(CancellationToken::new()));
    let begun = status.wait_for(|it| *it == WorkerStatus::Running);
    begun.await.unwrap();
    for number in 0..JOBS {
        queue.push(&number).in_process().await.unwrap();
    }
    std::future::pending().await
}

/// Starts this test again in a process of its own, and kills that when it has begun all. Returns which those are.
fn push_and_kill(test: &str, url: &str, namespace: &str) -> Vec<JobId> {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(HOME, url)
        .env(NAMESPACE, namespace)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let begun = lines.filter_map(|line| {
        let line = line.unwrap();
        let (_, id) = line.split_once(BEGUN)?;
        JobId::parse(id)
    });
    let begun = begun.take(JOBS.try_into().unwrap()).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    begun
}

async fn survive(test: &'static str, url: String, namespace: String) {
    if let Ok(url) = env::var(HOME) {
        return push_until_killed(&url).await;
    }
    let (killed, there) = (url.clone(), namespace.clone());
    let kill = move || push_and_kill(test, &killed, &there);
    let begun = tokio::task::spawn_blocking(kill).await.unwrap();
    assert_eq!(begun.len() as u64, u64::from(JOBS));
    let (fleet, stop) = (open(&url, &namespace).await, CancellationToken::new());
    let queue = fleet.queue(&ATTEMPTS);
    let worker = queue.worker(async |job: Job<u32>| Ok(job.attempt()));
    let running = tokio::spawn(worker.run(stop.clone()));
    for id in begun {
        let attempt = queue
            .job(id)
            .result()
            .timeout(Duration::from_secs(20))
            .await;
        assert_eq!(attempt.unwrap(), 2, "the first died with its process");
    }
    stop.cancel();
    within("the end", running).await.unwrap().unwrap();
    fleet.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_what_a_killed_process_had_begun_is_done_by_others_in_a_file() {
    let place = tempfile::tempdir().unwrap();
    let url = file_url(&place.path().join("home.redb"));
    let test = "faults_started::fault_what_a_killed_process_had_begun_is_done_by_others_in_a_file";
    survive(test, url, "killed".to_owned()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_what_a_killed_process_had_begun_is_done_by_others_on_redis() {
    // The process that is killed finds the server by its address.
    let url = match env::var(HOME) {
        Ok(url) => url,
        Err(_) => shared(ServerKind::Redis).await.unwrap().url().to_owned(),
    };
    let test = "faults_started::fault_what_a_killed_process_had_begun_is_done_by_others_on_redis";
    survive(test, url, namespace()).await;
}
