//! Ten thousand jobs, and everything that breaks: workers that are killed and stopped, jobs that kill their workers, connections
//! that are cut, a server that stands still and one that starts again. Workers write down each delivery elsewhere, and what was written
//! is checked: nothing is lost, each job is settled once, and none is delivered more often than it may be.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::process::{Child, Command};
use std::time::Duration;

use futures_util::StreamExt;
use quorate::queue::{JobEnd, JobId, JobState};
use quorate::{CancellationToken, Fleet, FleetBuilder, Job, JobError, QueueSpec, RedisCommands};
use quorate_testing::proxy::{Direction, Proxy};
use quorate_testing::servers::{Server, ServerKind};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::task::JoinSet;
use tokio::time::Instant;

const NAME: &str = "history::fault_no_job_is_lost_whatever_breaks";
/// In a process that works: where the queue is, and where it writes down what it does.
const QUEUE: &str = "QUORATE_TEST_QUEUE_AT";
const HISTORY_AT: &str = "QUORATE_TEST_HISTORY_AT";
const HISTORY: &str = "history";
/// How many jobs, where many are to be tried.
const JOBS: &str = "QUORATE_HISTORY_JOBS";
/// The same faults again.
const SEED: &str = "QUORATE_HISTORY_SEED";

const WORKERS: usize = 3;
const LEASE: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(100);
/// So many that a job which is harmless does not die of the workers that die around it.
const ATTEMPTS: u32 = 12;

/// A job kills whoever takes it, fails twice, or does nothing.
const NUMBERS: QueueSpec<u64, u64> = QueueSpec::new("numbers")
    .max_attempts(ATTEMPTS)
    .backoff(quorate::Backoff {
        initial: Duration::from_millis(20),
        factor: 1.0,
        max: Duration::from_millis(20),
        jitter: 0.5,
    })
    .options(|number| {
        let options = quorate::JobOptions::new();
        if is_deadly(*number) {
            options.max_attempts(2)
        } else {
            options
        }
    });

const fn is_deadly(number: u64) -> bool {
    number % 2_500 == 1_234
}

const fn fails_twice(number: u64) -> bool {
    number % 50 == 7
}

/// Quick to notice and quick to come back, so that this takes no longer than it must.
fn brisk(url: String) -> FleetBuilder {
    Fleet::builder()
        .url(url)
        .command_timeout(Duration::from_millis(500))
        .retry_delay(Duration::from_millis(50))
        .max_reconnect_delay(Duration::from_millis(100))
        .ping_interval(Duration::from_millis(500))
}

/// Writes down that a job is begun, before anything comes of it.
async fn work(job: Job<u64>, history: Fleet) -> Result<u64, JobError> {
    let lease = job.lease().get();
    let line = format!("{} {} {lease}", job.id(), job.attempt());
    let written = history.redis()?.command(&["RPUSH", HISTORY, &line]).await;
    written?;
    if is_deadly(job.input) {
        std::process::abort();
    }
    if fails_twice(job.input) && job.attempt() <= 2 {
        return Err(JobError::retry("not yet"));
    }
    tokio::time::sleep(Duration::from_micros(job.input % 7 * 500)).await;
    Ok(lease)
}

async fn work_for_ever(queue: String, history: String) {
    let history = brisk(history).build().await.unwrap();
    let queue = brisk(queue).build().await.unwrap().queue(&NUMBERS);
    let worker = queue.worker(move |job| work(job, history.clone()));
    let never = CancellationToken::new();
    let ran = worker.concurrency(32).lease(LEASE).run(never).await;
    unreachable!("a worker ends for nothing that breaks: {ran:?}");
}

struct Worker {
    process: Child,
    queue: String,
    history: String,
}

impl Worker {
    fn begin(queue: String, history: String) -> Self {
        let process = Command::new(env::current_exe().unwrap())
            .args(["--exact", NAME])
            .env(QUEUE, &queue)
            .env(HISTORY_AT, &history)
            // What it says at its end is no news.
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        Self {
            process,
            queue,
            history,
        }
    }

    fn signal(&self, signal: &str) {
        let process = self.process.id().to_string();
        let sent = Command::new("kill").args([signal, &process]).status();
        assert!(sent.unwrap().success());
    }

    fn is_dead(&mut self) -> bool {
        self.process.try_wait().unwrap().is_some()
    }

    /// Kills it, if it is not dead yet, and begins another.
    fn replace(&mut self) {
        *self = Self::begin(self.queue.clone(), self.history.clone());
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Fails only if it has ended already. It works on a stopped process too.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What may be broken.
struct Scene {
    server: Server,
    proxies: Vec<Proxy>,
    workers: Vec<Worker>,
    random: StdRng,
}

impl Scene {
    /// Breaks something, for a while.
    async fn break_something(&mut self) {
        let nth = self.random.random_range(0..WORKERS);
        let while_broken = Duration::from_millis(self.random.random_range(20..1_500));
        match self.random.random_range(0..10) {
            0..3 => self.workers[nth].replace(),
            3 => {
                self.workers[nth].signal("-STOP");
                tokio::time::sleep(while_broken).await;
                self.workers[nth].signal("-CONT");
            }
            4..6 => {
                self.proxies[nth].cut().await;
                self.proxies[nth].heal().await.unwrap();
            }
            6 => {
                self.proxies[nth].swallow(Direction::Both);
                tokio::time::sleep(while_broken).await;
                self.proxies[nth].heal().await.unwrap();
            }
            7 => self.proxies[nth].drop_next_replies(3),
            8 => {
                self.server.pause().unwrap();
                tokio::time::sleep(while_broken).await;
                self.server.resume().unwrap();
            }
            _ => {
                self.server.kill();
                self.server.restart().await.unwrap();
            }
        }
    }

    /// Jobs kill workers, too.
    fn revive(&mut self) {
        for worker in &mut self.workers {
            if worker.is_dead() {
                worker.replace();
            }
        }
    }
}

/// Pushes so many, and says which of them are known to be there. What a push that failed became is not known.
async fn push(fleet: Fleet, jobs: u64) -> BTreeMap<JobId, u64> {
    let (queue, mut pushed) = (fleet.queue(&NUMBERS), BTreeMap::new());
    let numbers: Vec<_> = (0..jobs).collect();
    for some in numbers.chunks(50) {
        loop {
            // One after the other, so that there is something to do all the time.
            match queue.push_many(some).await {
                Ok(handles) => {
                    pushed.extend(handles.iter().map(|it| it.id()).zip(some.iter().copied()));
                    break;
                }
                Err(_) => fleet.ready().await.unwrap(),
            }
        }
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
    pushed
}

/// Which deliveries of each job were begun: their lease numbers and attempts, in the order in which they were written.
async fn deliveries(history: &RedisCommands) -> BTreeMap<JobId, Vec<(u64, u32)>> {
    let lines = history
        .command(&["LRANGE", HISTORY, "0", "-1"])
        .await
        .unwrap();
    let mut deliveries = BTreeMap::<_, Vec<_>>::new();
    for line in lines.into_array().unwrap() {
        let mut words = line.as_str().unwrap().split(' ');
        let id = JobId::parse(words.next().unwrap()).unwrap();
        let attempt = words.next().unwrap().parse().unwrap();
        let lease = words.next().unwrap().parse().unwrap();
        deliveries.entry(id).or_default().push((lease, attempt));
    }
    deliveries
}

/// What became of each of these, when all of it has.
async fn ends(fleet: &Fleet, jobs: impl Iterator<Item = JobId>) -> BTreeMap<JobId, JobEnd> {
    let queue = fleet.queue(&NUMBERS);
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

/// What was written agrees with what became of a job.
fn check(id: JobId, number: u64, end: &JobEnd, deliveries: &[(u64, u32)]) {
    let most = if is_deadly(number) { 2 } else { ATTEMPTS };
    let mut leases = BTreeMap::new();
    for (lease, attempt) in deliveries {
        // A command whose reply was lost is written twice.
        assert_eq!(
            leases.insert(lease, attempt).unwrap_or(attempt),
            attempt,
            "{id}"
        );
    }
    assert!(leases.len() <= most as usize, "{id}: {leases:?}");
    let attempts: Vec<_> = leases.values().collect();
    assert!(
        attempts.is_sorted_by(|one, next| one < next),
        "{id}: {leases:?}"
    );
    assert!(
        attempts.iter().all(|attempt| **attempt <= &most),
        "{id}: {leases:?}"
    );
    match end {
        JobEnd::Succeeded(result) => {
            let lease = std::str::from_utf8(result).unwrap().parse().unwrap();
            assert!(!is_deadly(number), "{id} killed whoever had it");
            // Nobody was given it once it was settled.
            assert_eq!(leases.keys().max(), Some(&&lease), "{id}");
        }
        JobEnd::Dead(why) => assert!(is_deadly(number), "{id} ({number}) died: {why}, {leases:?}"),
        other => panic!("{id}: {other:?}"),
    }
}

#[test]
fn fault_no_job_is_lost_whatever_breaks() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if let (Ok(queue), Ok(history)) = (env::var(QUEUE), env::var(HISTORY_AT)) {
        runtime.block_on(work_for_ever(queue, history));
    }
    let number = |name| env::var(name).ok().map(|text| text.parse().unwrap());
    let seed = number(SEED).unwrap_or_else(rand::random);
    eprintln!("{SEED}={seed}");
    runtime.block_on(try_everything(number(JOBS).unwrap_or(10_000), seed));
}

async fn try_everything(jobs: u64, seed: u64) {
    let server = Server::builder(ServerKind::Redis)
        .arg("--appendonly", "yes")
        .arg("--appendfsync", "always");
    let server = server.start().await.unwrap();
    let written = Server::start(ServerKind::Redis).await.unwrap();
    let mut proxies = Vec::new();
    for _ in 0..WORKERS {
        proxies.push(Proxy::start(server.addr()).await.unwrap());
    }
    let workers = proxies
        .iter()
        .map(|it| Worker::begin(it.url(), written.url()));
    let workers = workers.collect();
    let fleet = brisk(server.url()).build().await.unwrap();
    let random = StdRng::seed_from_u64(seed);
    let mut scene = Scene {
        server,
        proxies,
        workers,
        random,
    };

    let mut pushing = JoinSet::new();
    pushing.spawn(push(fleet.clone(), jobs));
    let begin = Instant::now();
    let mut pushed = None;
    let stats = loop {
        if pushed.is_none() {
            scene.break_something().await;
        }
        scene.revive();
        tokio::select! {
            Some(all) = pushing.join_next() => pushed = Some(all.unwrap()),
            () = tokio::time::sleep(Duration::from_millis(50)) => {}
        }
        let Ok(stats) = fleet.queue(&NUMBERS).stats().await else {
            continue;
        };
        let open = stats.ready + stats.due + stats.active;
        if pushed.is_some() && open == 0 {
            break stats;
        }
        assert!(begin.elapsed() < PATIENCE, "they never end: {stats:?}");
    };
    drop(scene.workers);

    let pushed = pushed.unwrap();
    let history = brisk(written.url()).build().await.unwrap().redis().unwrap();
    let (ends, deliveries) = (
        ends(&fleet, pushed.keys().copied()).await,
        deliveries(&history).await,
    );
    for (id, end) in &ends {
        check(*id, pushed[id], end, &deliveries[id]);
    }
    let totals = stats.totals;
    assert_eq!(totals.succeeded + totals.dead, totals.pushed, "{totals:?}");
    assert!(totals.pushed >= jobs);
    let known: BTreeSet<_> = deliveries.keys().collect();
    assert_eq!(known.len() as u64, totals.pushed);
    let found = fleet.queue(&NUMBERS).fsck().await.unwrap();
    assert!(found.strays.is_empty(), "{found:?}");
    let redelivered: usize = deliveries.values().map(|it| it.len() - 1).sum();
    eprintln!("{totals:?}, {redelivered} delivered again");
}
