//! Engines under fire, judged by what everybody was told: no step that is done is begun again, no attempt is two
//! engines', no result is replaced, and nothing is stuck.

use std::collections::{HashMap, HashSet};
use std::future::{IntoFuture, poll_fn};
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use quorate::execution::{Begun, Committed, TaskBegun};
use quorate::{Executions, Fleet, Outcome, Result};
use quorate_testing::harness::{eventually, within};
use quorate_testing::proxy::Proxy;
use quorate_testing::servers::{Server, ServerKind};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const ENGINES: u64 = 6;
const ORDERS: usize = 40;
const STEPS: usize = 25;
/// Short, so that who died holds nobody up.
const LEASE: Duration = Duration::from_millis(300);

/// A step of an order.
type Step = (usize, usize);

/// What one engine was told.
#[derive(Default)]
struct Told {
    /// Orders that it was the first to begin.
    new: Vec<usize>,
    begun: Vec<(Step, u64)>,
    /// Steps with the values that are their results.
    stored: Vec<(Step, u64)>,
    /// Values that may have been stored: nobody said.
    maybe: Vec<(Step, u64)>,
}

struct Engine {
    checkouts: Executions,
    random: StdRng,
    told: Told,
}

impl Engine {
    fn new(fleet: &Fleet, number: u64) -> Self {
        let deadline = Duration::from_secs(2);
        Self {
            checkouts: fleet.executions("checkout").deadline(deadline),
            random: StdRng::seed_from_u64(number),
            told: Told::default(),
        }
    }

    /// Replays orders, in an order of its own, until all are done.
    async fn run(&mut self, steps: &AtomicU64) {
        let mut left: Vec<usize> = (0..ORDERS).collect();
        while !left.is_empty() {
            let at = self.random.random_range(0..left.len());
            if let Ok(true) = self.replay(left[at], steps).await {
                left.swap_remove(at);
            }
        }
    }

    /// Whether the order is done, as far as it came.
    async fn replay(&mut self, order: usize, steps: &AtomicU64) -> Result<bool> {
        let execution = order.to_string();
        if self.checkouts.begin(&execution).await? == Begun::New {
            self.told.new.push(order);
        }
        let results = self.checkouts.results(&execution).await?;
        for step in 0..STEPS {
            let task = format!("step-{step}");
            if results.contains(&task) {
                continue;
            }
            let begin = self.checkouts.begin_task(&execution, &task).lease(LEASE);
            match begin.await? {
                TaskBegun::Begun { attempt } => {
                    self.told.begun.push(((order, step), attempt));
                    if !self.work(&execution, &task, (order, step), attempt).await? {
                        return Ok(false);
                    }
                    steps.fetch_add(1, Ordering::SeqCst);
                }
                TaskBegun::Done => {}
                TaskBegun::InProgress => return Ok(false),
                TaskBegun::Unknown => panic!("an execution was lost"),
            }
        }
        Ok(true)
    }

    /// Now and then it fails, dies, or is too late.
    async fn work(
        &mut self,
        execution: &str,
        task: &str,
        step: Step,
        attempt: u64,
    ) -> Result<bool> {
        match self.random.random_range(0..12) {
            0 => {
                let abandon = self.checkouts.abandon_task(execution, task);
                abandon.attempt(attempt).await?;
                return Ok(false);
            }
            1 => return Ok(false),
            2 => tokio::time::sleep(LEASE).await,
            _ => {}
        }
        let value: u64 = self.random.random();
        let commit = self.checkouts.commit_result(execution, task, &value);
        match commit.await {
            Ok(Committed::Stored) => self.told.stored.push((step, value)),
            Ok(Committed::AlreadyDone) => {}
            Ok(Committed::Unknown) => panic!("an execution was lost"),
            Err(error) => {
                if error.outcome() == Outcome::Unknown {
                    self.told.maybe.push((step, value));
                }
                return Err(error);
            }
        }
        Ok(true)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_engines_repeat_no_step_that_is_done_and_none_is_stuck() {
    let server = Server::builder(ServerKind::Redis)
        .arg("--appendonly", "yes")
        .arg("--appendfsync", "always")
        .start()
        .await
        .unwrap();
    let proxy = Proxy::start(server.addr()).await.unwrap();
    let mut engines = Vec::new();
    for number in 0..ENGINES {
        let builder = Fleet::builder()
            .url(proxy.url())
            .command_timeout(Duration::from_secs(1))
            .retry_delay(Duration::from_millis(20))
            .max_reconnect_delay(Duration::from_millis(50));
        engines.push(Engine::new(&builder.build().await.unwrap(), number));
    }
    let (steps, ended) = (AtomicU64::new(0), AtomicU64::new(0));
    let run = engines.iter_mut().map(async |engine| {
        engine.run(&steps).await;
        ended.fetch_add(1, Ordering::SeqCst);
    });
    let trouble = async {
        for round in 0..20_u64 {
            let connections = proxy.stats().accepted;
            match round {
                7 | 14 => {
                    server.kill();
                    server.restart().await.unwrap();
                }
                _ if round % 3 == 0 => proxy.cut().await,
                _ => proxy.cut_before_reply(),
            }
            proxy.wait_connections(connections + 1).await;
            let done = steps.load(Ordering::SeqCst);
            eventually("some steps", async || {
                steps.load(Ordering::SeqCst) > done + 15 || ended.load(Ordering::SeqCst) == ENGINES
            })
            .await;
        }
    };
    tokio::join!(join_all(run), trouble);
    let told = engines.into_iter().map(|engine| engine.told).collect();
    let fleet = Fleet::connect(&server.url()).await.unwrap();
    within("the results", judge(&fleet.executions("checkout"), told)).await;
}

async fn judge(checkouts: &Executions, told: Vec<Told>) {
    let mut results = HashMap::new();
    for order in 0..ORDERS {
        let found = checkouts.results(&order.to_string()).await.unwrap();
        assert_eq!(found.len(), STEPS);
        for step in 0..STEPS {
            let result = found.get::<u64>(&format!("step-{step}")).unwrap();
            results.insert((order, step), result.unwrap());
        }
    }
    let (mut new, mut attempts, mut stored) = (HashSet::new(), HashSet::new(), HashSet::new());
    let mut maybe = HashSet::new();
    for told in told {
        for order in told.new {
            assert!(new.insert(order), "{order} began twice");
        }
        for attempt in told.begun {
            assert!(attempts.insert(attempt), "{attempt:?} is two engines'");
        }
        for (step, value) in told.stored {
            assert!(stored.insert(step), "{step:?} was stored twice");
            assert_eq!(results[&step], value, "{step:?} was replaced");
        }
        maybe.extend(told.maybe);
    }
    for (step, value) in results {
        let is_known = stored.contains(&step) || maybe.contains(&(step, value));
        assert!(is_known, "nobody committed what {step:?} came to");
    }
}

/// Wherever the beginning of a task is broken off, it is begun again once it was abandoned.
#[tokio::test(flavor = "multi_thread")]
async fn fault_a_task_whose_beginning_is_dropped_is_begun_again() {
    let server = Server::start(ServerKind::Redis).await.unwrap();
    let fleet = Fleet::connect(&server.url()).await.unwrap();
    let checkouts = fleet.executions("checkout");
    checkouts.begin("order").await.unwrap();
    let mut dropped = 0;
    for number in 0..40 {
        let task = format!("step-{number}");
        let begin = checkouts.begin_task("order", &task).into_future();
        if polled(begin, 1 + number % 4).await.is_none() {
            dropped += 1;
            // What was sent before comes first.
            let _ = checkouts.is_task_in_progress("order", &task).await.unwrap();
            checkouts.abandon_task("order", &task).await.unwrap();
            let again = checkouts.begin_task("order", &task).await.unwrap();
            let begun = matches!(again, TaskBegun::Begun { attempt: 1 | 2 });
            assert!(begun, "{again:?}");
        }
    }
    assert!(dropped > 0, "none was dropped");
    fleet.close().await;
}

/// What a future gives that is dropped when it was polled so often.
async fn polled<F: Future + Unpin>(mut future: F, most: usize) -> Option<F::Output> {
    let mut polls = 0;
    poll_fn(|cx| {
        polls += 1;
        match future.poll_unpin(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if polls == most => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}
