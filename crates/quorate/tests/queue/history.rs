//! Ten thousand jobs, and everything that breaks: workers that are killed and stopped, jobs that kill their workers, connections
//! that are cut, a server that stands still and one that starts again. Workers write down each delivery elsewhere, and what was written
//! is checked: nothing is lost, each job is settled once, and none is delivered more often than it may be. Some of the jobs leave groups of
//! others, in another queue, and meanwhile a schedule runs on all workers: each group is over with what belongs to it, counted once, and
//! each time of the schedule has one job.

mod checks;
mod jobs;

use std::collections::BTreeMap;
use std::env;
use std::process::{Child, Command};
use std::time::Duration;

use quorate::queue::{JobId, QueueStats};
use quorate::{Fleet, FleetBuilder};
use quorate_testing::proxy::{Direction, Proxy};
use quorate_testing::servers::{Server, ServerKind};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::jobs::{NUMBERS, PARTS, work_for_ever};

const NAME: &str = "history::fault_no_job_is_lost_whatever_breaks";
/// In a process that works: where the queue is, and where it writes down what it does.
const QUEUE: &str = "QUORATE_TEST_QUEUE_AT";
const HISTORY_AT: &str = "QUORATE_TEST_HISTORY_AT";
/// How many jobs, where many are to be tried.
const JOBS: &str = "QUORATE_HISTORY_JOBS";
/// The same faults again.
const SEED: &str = "QUORATE_HISTORY_SEED";

const WORKERS: usize = 3;
const PATIENCE: Duration = Duration::from_secs(100);

/// Quick to notice and quick to come back, so that this takes no longer than it must.
fn brisk(url: String) -> FleetBuilder {
    Fleet::builder()
        .url(url)
        .command_timeout(Duration::from_millis(500))
        .retry_delay(Duration::from_millis(50))
        .max_reconnect_delay(Duration::from_millis(100))
        .ping_interval(Duration::from_millis(500))
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

#[test]
fn fault_no_job_is_lost_whatever_breaks() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if let (Ok(queue), Ok(history)) = (env::var(QUEUE), env::var(HISTORY_AT)) {
        runtime.block_on(work_for_ever(brisk(queue), brisk(history)));
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
    loop {
        if pushed.is_none() {
            scene.break_something().await;
        }
        scene.revive();
        tokio::select! {
            Some(all) = pushing.join_next() => {
                eprintln!("all are pushed after {:?}", begin.elapsed());
                pushed = Some(all.unwrap());
            }
            () = tokio::time::sleep(Duration::from_millis(50)) => {}
        }
        let (numbers, parts) = (fleet.queue(&NUMBERS), fleet.queue(&PARTS));
        let (Ok(first), Ok(second)) = (numbers.stats().await, parts.stats().await) else {
            continue;
        };
        let open = |it: &QueueStats| it.ready + it.due + it.active + it.open_groups + it.effects;
        if pushed.is_some() && open(&first) + open(&second) == 0 {
            break;
        }
        assert!(
            begin.elapsed() < PATIENCE,
            "they never end: {first:?}, {second:?}"
        );
    }
    eprintln!("all are over after {:?}", begin.elapsed());
    drop(scene.workers);

    let pushed = pushed.unwrap();
    let history = brisk(written.url()).build().await.unwrap().redis().unwrap();
    let deliveries = checks::deliveries(&history).await;
    checks::numbers(&fleet, &pushed, &deliveries, jobs).await;
    checks::groups(&fleet, &deliveries).await;
    checks::times(&fleet).await;
    let redelivered: usize = deliveries.values().map(|it| it.leases.len() - 1).sum();
    eprintln!("{redelivered} delivered again");
}
