//! Ours, and a channel of the runtime's.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use quorate::{CancellationToken, Fleet, Queue, QueueSpec};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{BACKLOG, BATCH, Counted, Done, counted, reset};
use crate::context::Context;

/// Two that push: one waits for its reply while the other prepares.
const PRODUCERS: usize = 2;
/// Nobody waits so long, unless a job was lost.
const PATIENCE: Duration = Duration::from_secs(60);

/// Under which circumstances.
#[derive(Clone, Copy, Debug)]
pub(super) struct Crowd {
    /// Jobs that wait all the time.
    pub(super) waiting: usize,
    /// Fairness groups.
    pub(super) groups: usize,
}

impl Default for Crowd {
    fn default() -> Self {
        Self {
            waiting: 0,
            groups: 1,
        }
    }
}

/// With every default.
#[derive(Clone)]
pub(super) struct Ours {
    fleet: Fleet,
    queue: Queue<String>,
    crowd: Crowd,
}

impl Ours {
    pub(super) fn new(fleet: &Fleet, crowd: Crowd) -> Self {
        let name = format!("bench-{}-{}", crowd.waiting, crowd.groups);
        let spec = QueueSpec::try_new(name).expect("letters, digits and -");
        Self {
            fleet: fleet.clone(),
            queue: fleet.queue(&spec),
            crowd,
        }
    }

    /// Queues what is to wait all the time.
    pub(super) async fn fill(&self, context: &Context) -> Result<()> {
        let inputs = vec![input(); 1_000];
        for thousand in 0..self.crowd.waiting / 1_000 {
            if thousand % 100 == 0 {
                context.say(&format!("{}000 of {} wait", thousand, self.crowd.waiting));
            }
            self.queue.push_many(&inputs).await?;
        }
        if self.crowd.waiting > 0 {
            let info = self.fleet.redis()?.command(&["INFO", "memory"]).await?;
            let used = info.as_str().and_then(|info| {
                let line = info.lines().find_map(|line| line.strip_prefix("used_memory:"));
                line?.trim().parse::<u64>().ok()
            });
            let used = used.context("the server says how much memory it uses")?;
            context.say(&format!(
                "{} wait, in {} MB of the server's memory",
                self.crowd.waiting,
                used / 1_000_000
            ));
        }
        Ok(())
    }

    pub(super) async fn window(self, concurrency: usize, length: Duration) -> Result<Done> {
        let (done, stop) = (Arc::new(AtomicU64::new(0)), CancellationToken::new());
        let room = Arc::new(Semaphore::new(BACKLOG));
        let worker = {
            let (done, room) = (done.clone(), room.clone());
            self.queue.worker(move |_| {
                done.fetch_add(1, Ordering::Relaxed);
                room.add_permits(1);
                std::future::ready(Ok(()))
            })
        };
        let mut running = JoinSet::new();
        reset(&self.fleet).await?;
        let begin = Instant::now();
        running.spawn(worker.concurrency(concurrency).run(stop.clone()));
        let mut producing = JoinSet::new();
        for nth in 0..PRODUCERS {
            let ours = self.clone();
            let room = room.clone();
            producing.spawn(async move { ours.produce(nth, &room, begin + length).await });
        }
        let mut pushed = 0;
        while let Some(some) = producing.join_next().await {
            pushed += some??;
        }
        let all = room.acquire_many(u32::try_from(BACKLOG)?);
        tokio::time::timeout(PATIENCE, all).await??.forget();
        let (elapsed, jobs) = (begin.elapsed(), done.load(Ordering::Relaxed));
        stop.cancel();
        while let Some(worker) = running.join_next().await {
            worker??;
        }
        ensure!(jobs >= pushed, "{pushed} were pushed, {jobs} are done");
        let Counted(calls, micros) = counted(&self.fleet).await?;
        let jobs = f64::from(u32::try_from(jobs)?);
        Ok(Done {
            rate: jobs / elapsed.as_secs_f64(),
            commands: calls / jobs,
            server: micros / jobs,
        })
    }

    /// Only claims and settlements are counted: as many are pushed before each, so that as many wait.
    pub(super) async fn claims(self, most: usize, length: Duration) -> Result<Done> {
        let (begin, inputs) = (Instant::now(), vec![input(); most]);
        let (mut jobs, mut calls, mut micros) = (0.0, 0.0, 0.0);
        while begin.elapsed() < length {
            self.queue.push_many(&inputs).await?;
            reset(&self.fleet).await?;
            let claimed = self.queue.claim(most).await?;
            ensure!(claimed.len() == most, "there are enough");
            let settled = claimed.into_iter().map(|it| (it.receipt, Ok(())));
            let settled = self.queue.settle(settled).await?;
            ensure!(settled.iter().all(|it| *it), "nobody else has them");
            let Counted(of_these, took) = counted(&self.fleet).await?;
            (calls, micros) = (calls + of_these, micros + took);
            jobs += f64::from(u32::try_from(most)?);
        }
        Ok(Done {
            rate: jobs / begin.elapsed().as_secs_f64(),
            commands: calls / jobs,
            server: micros / jobs,
        })
    }

    async fn produce(&self, nth: usize, room: &Semaphore, until: Instant) -> Result<u64> {
        let (inputs, mut pushed) = (vec![input(); BATCH], 0);
        while Instant::now() < until {
            room.acquire_many(u32::try_from(BATCH)?).await?.forget();
            let push = self.queue.push_many(&inputs);
            if self.crowd.groups > 1 {
                let group = (nth + PRODUCERS * usize::try_from(pushed)? / BATCH) % self.crowd.groups;
                push.fairness_group(group.to_string()).await?;
            } else {
                push.await?;
            }
            pushed += BATCH as u64;
        }
        Ok(pushed)
    }
}

/// A hundred bytes.
pub(super) fn input() -> String {
    "x".repeat(98)
}

/// A channel, and a task for each job.
pub(super) struct Channel;

impl Channel {
    pub(super) async fn window(concurrency: usize, length: Duration) -> Result<Done> {
        let (send, mut receive) = mpsc::channel::<String>(BACKLOG);
        let (free, done) = (Arc::new(Semaphore::new(concurrency)), Arc::new(AtomicU64::new(0)));
        let begin = Instant::now();
        let mut producing = JoinSet::new();
        for _ in 0..PRODUCERS {
            let send = send.clone();
            producing.spawn(async move {
                while begin.elapsed() < length {
                    for _ in 0..BATCH {
                        send.send(input()).await?;
                    }
                }
                Ok::<_, anyhow::Error>(())
            });
        }
        drop(send);
        let mut running = JoinSet::new();
        while let Some(job) = receive.recv().await {
            let permit = free.clone().acquire_owned().await?;
            let done = done.clone();
            running.spawn(async move {
                drop((job, permit));
                done.fetch_add(1, Ordering::Relaxed);
            });
            while running.try_join_next().is_some() {}
        }
        while running.join_next().await.is_some() {}
        while let Some(producer) = producing.join_next().await {
            producer??;
        }
        let jobs = f64::from(u32::try_from(done.load(Ordering::Relaxed))?);
        Ok(Done {
            rate: jobs / begin.elapsed().as_secs_f64(),
            commands: 0.0,
            server: 0.0,
        })
    }
}
