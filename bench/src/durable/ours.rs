//! Ours, and a channel of the runtime's.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use parking_lot::Mutex;
use quorate::{CancellationToken, Cx, DurableRuns, Failure, Fleet, Signal, Workflow};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

const STEPS: Workflow<u32, u32> = Workflow::new("steps").keep(Duration::from_secs(60));
const WAITS: Workflow<u32, u32> = Workflow::new("waits").keep(Duration::from_secs(60));
const TIMES: Workflow<u32, u32> = Workflow::new("times").keep(Duration::from_secs(60));
const GO: Signal<u32> = Signal::new("go");
/// Nobody waits so long, unless a run was lost.
const PATIENCE: Duration = Duration::from_secs(120);

/// With every default, but that results are kept for a minute.
#[derive(Clone)]
pub(super) struct Ours {
    runs: DurableRuns,
    /// Steps that are over.
    done: Arc<AtomicU64>,
    /// How long each step of a run took.
    times: Arc<Mutex<Vec<f64>>>,
    /// When a run that waited went on.
    went_on: Arc<Mutex<Option<Instant>>>,
}

/// So many steps that do nothing.
async fn steps(cx: &Cx, number: u32, done: &AtomicU64) -> Result<u32, Failure> {
    let mut last = 0;
    for nth in 0..number {
        last = cx.step("step", async || Ok::<_, Failure>(nth)).await?;
        done.fetch_add(1, Ordering::Relaxed);
    }
    Ok(last)
}

impl Ours {
    pub(super) fn new(fleet: &Fleet) -> Result<Self> {
        let (done, times) = (Arc::<AtomicU64>::default(), Arc::<Mutex<Vec<f64>>>::default());
        let went_on = Arc::<Mutex<Option<Instant>>>::default();
        let (counted, timed, woken) = (done.clone(), times.clone(), went_on.clone());
        let counts = counted.clone();
        let durable = fleet
            .durable()
            .register(&STEPS, move |cx: Cx, number| {
                let done = counted.clone();
                async move { steps(&cx, number, &done).await }
            })
            .register(&WAITS, move |cx: Cx, number| {
                let (done, woken) = (counts.clone(), woken.clone());
                async move {
                    steps(&cx, number, &done).await?;
                    let number = cx.signal(&GO).await?;
                    *woken.lock() = Some(Instant::now());
                    Ok(number)
                }
            })
            .register(&TIMES, move |cx: Cx, number: u32| {
                let times = timed.clone();
                async move {
                    let mut all = Vec::new();
                    for nth in 0..number {
                        let began = Instant::now();
                        cx.step("step", async || Ok::<_, Failure>(nth)).await?;
                        all.push(began.elapsed().as_secs_f64() * 1e6);
                    }
                    *times.lock() = all;
                    Ok(number)
                }
            });
        Ok(Self {
            runs: durable.build()?,
            done,
            times,
            went_on,
        })
    }

    /// Steps per second of so many runs at a time.
    pub(super) async fn window(self, tasks: usize, number: u32, length: Duration) -> Result<f64> {
        let (stop, mut working) = self.work();
        let before = self.done.load(Ordering::Relaxed);
        let (begin, mut running) = (Instant::now(), JoinSet::new());
        for _ in 0..tasks {
            let runs = self.runs.clone();
            running.spawn(async move {
                while begin.elapsed() < length {
                    let run = runs.start(&STEPS, name(), &number).await?;
                    run.result().timeout(PATIENCE).await??;
                }
                Ok::<_, anyhow::Error>(())
            });
        }
        while let Some(some) = running.join_next().await {
            some??;
        }
        let (elapsed, done) = (begin.elapsed(), self.done.load(Ordering::Relaxed) - before);
        stop.cancel();
        while let Some(some) = working.join_next().await {
            some??;
        }
        Ok(f64::from(u32::try_from(done)?) / elapsed.as_secs_f64())
    }

    /// Microseconds from the start of a run to its result, one after the other.
    pub(super) async fn latencies(self, number: u32, length: Duration) -> Result<Vec<f64>> {
        let (stop, mut working) = self.work();
        let (begin, mut times) = (Instant::now(), Vec::new());
        while begin.elapsed() < length {
            let began = Instant::now();
            let run = self.runs.start(&STEPS, name(), &number).await?;
            run.result().timeout(PATIENCE).await??;
            times.push(began.elapsed().as_secs_f64() * 1e6);
        }
        stop.cancel();
        while let Some(some) = working.join_next().await {
            some??;
        }
        Ok(times)
    }

    /// Milliseconds from a signal until a run has gone through so many steps again, and on.
    pub(super) async fn wake(&self, number: u32) -> Result<f64> {
        let (stop, mut working) = self.work();
        let run = self.runs.start(&WAITS, name(), &number).await?;
        let waits = async {
            while !matches!(run.state().await?, Some(quorate::RunState::Waiting(_))) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Ok::<_, anyhow::Error>(())
        };
        tokio::time::timeout(PATIENCE, waits).await??;
        let told = Instant::now();
        ensure!(run.signal(&GO, &1).await?, "the run waits");
        run.result().timeout(PATIENCE).await??;
        let went_on = self.went_on.lock().take().context("the run went on")?;
        stop.cancel();
        while let Some(some) = working.join_next().await {
            some??;
        }
        Ok(went_on.saturating_duration_since(told).as_secs_f64() * 1e3)
    }

    /// Microseconds of each step of a run of so many.
    pub(super) async fn times(&self, number: u32) -> Result<Vec<f64>> {
        let (stop, mut working) = self.work();
        let run = self.runs.start(&TIMES, name(), &number).await?;
        run.result().timeout(PATIENCE).await??;
        stop.cancel();
        while let Some(some) = working.join_next().await {
            some??;
        }
        Ok(std::mem::take(&mut self.times.lock()))
    }

    fn work(&self) -> (CancellationToken, JoinSet<quorate::Result<()>>) {
        let (stop, mut working) = (CancellationToken::new(), JoinSet::new());
        working.spawn(self.runs.work(stop.clone()));
        (stop, working)
    }
}

/// One that no other run has.
fn name() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("run-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Steps per second, if each were nothing but a message to a task and back.
pub(super) async fn channel(tasks: usize, length: Duration) -> Result<f64> {
    let (send, mut requests) = mpsc::unbounded_channel::<(String, oneshot::Sender<usize>)>();
    let mut writer = JoinSet::new();
    writer.spawn(async move {
        while let Some((entry, done)) = requests.recv().await {
            // Whoever asked waits.
            let _ = done.send(entry.len());
        }
    });
    let (begin, mut running) = (Instant::now(), JoinSet::new());
    for _ in 0..tasks {
        let send = send.clone();
        running.spawn(async move {
            let mut steps = 0_u32;
            while begin.elapsed() < length {
                let (done, answer) = oneshot::channel();
                send.send((format!("entry {steps}"), done))?;
                answer.await?;
                steps += 1;
            }
            Ok::<_, anyhow::Error>(steps)
        });
    }
    let mut steps = 0;
    while let Some(some) = running.join_next().await {
        steps += some??;
    }
    Ok(f64::from(steps) / begin.elapsed().as_secs_f64())
}
