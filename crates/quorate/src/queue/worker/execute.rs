//! How handlers are called: one for each job, or one for many, each in a task of its own.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::super::job::Delivered;
use super::super::work::{Job, JobError};
use super::shop::{Run, Running, Shop, told};

/// How a handler that was called ended, or did not.
struct Supervised<T> {
    ended: Option<Result<T, Box<dyn Any + Send>>>,
    /// Its time was up before that.
    timed_out: bool,
}

/// Runs a handler for one job.
pub(super) async fn one<I, O, H, F>(
    shop: Arc<Shop<I, O>>,
    handler: Arc<H>,
    it: Delivered,
    stop: CancellationToken,
) where
    H: Fn(Job<I>) -> F + Send + Sync,
    F: Future<Output = Result<O, JobError>> + Send,
{
    let Some((job, running)) = shop.begin(it, stop) else {
        return;
    };
    let began = Instant::now();
    // The handler itself may panic before it returns its future.
    let run = async move { handler(job).await };
    let told = running.stop.cancelled();
    let supervised = supervise(run, running.timeout, told, shop.grace, || {
        running.stop.cancel()
    });
    let supervised = supervised.await;
    shop.meters.seconds.record(began.elapsed());
    shop.end(supervised.run(running.timeout), &running);
}

/// Runs a handler for many jobs, whose results are in the order of the jobs.
pub(super) async fn many<I, O, H, F>(
    shop: Arc<Shop<I, O>>,
    handler: Arc<H>,
    begun: Vec<(Job<I>, Running)>,
) where
    H: Fn(Vec<Job<I>>) -> F + Send + Sync,
    F: Future<Output = Vec<Result<O, JobError>>> + Send,
{
    let (jobs, running): (Vec<_>, Vec<_>) = begun.into_iter().unzip();
    let (began, count) = (Instant::now(), running.len());
    let run = async move { handler(jobs).await };
    // All together take as long as the one that may take longest.
    let timeouts = running.iter().map(|it| it.timeout);
    let timeout = timeouts
        .reduce(|one, other| Some(one?.max(other?)))
        .flatten();
    // One that is told to stop does not end the others.
    let told = async {
        join_all(running.iter().map(|it| it.stop.cancelled())).await;
    };
    let stop = || running.iter().for_each(|it| it.stop.cancel());
    let supervised = supervise(run, timeout, told, shop.grace, stop).await;
    shop.meters.seconds.record(began.elapsed());
    for (ran, running) in supervised.runs(count, timeout).into_iter().zip(&running) {
        shop.end(ran, running);
    }
}

/// Runs a handler until it ends, or its time is up or it is told to stop, and then for a while longer.
async fn supervise<T>(
    run: impl Future<Output = T>,
    timeout: Option<Duration>,
    told: impl Future<Output = ()>,
    grace: Duration,
    stop: impl Fn(),
) -> Supervised<T> {
    let mut run = pin!(AssertUnwindSafe(run).catch_unwind());
    let time = async {
        match timeout {
            Some(timeout) => tokio::time::sleep(timeout).await,
            None => std::future::pending().await,
        }
    };
    let timed_out = tokio::select! {
        biased;
        ended = &mut run => return Supervised { ended: Some(ended), timed_out: false },
        () = told => false,
        () = time => true,
    };
    stop();
    let ended = tokio::time::timeout(grace, run).await.ok();
    Supervised { ended, timed_out }
}

impl<O> Supervised<Result<O, JobError>> {
    fn run(self, timeout: Option<Duration>) -> Run<O> {
        match self.ended {
            // What it returns in time counts, though it was late.
            Some(Ok(Ok(value))) => Run::Returned(Ok(value)),
            _ if self.timed_out => Run::TimedOut(timeout.unwrap_or_default()),
            Some(Ok(Err(error))) => Run::Returned(Err(error)),
            Some(Err(panic)) => Run::Panicked(told(&*panic)),
            None => Run::Dropped,
        }
    }
}

impl<O> Supervised<Vec<Result<O, JobError>>> {
    /// For each of so many jobs.
    fn runs(self, count: usize, timeout: Option<Duration>) -> Vec<Run<O>> {
        let timed_out = self.timed_out;
        let each = |ended: fn() -> Option<Result<O, JobError>>| {
            let one = move |_| {
                Supervised {
                    ended: ended().map(Ok),
                    timed_out,
                }
                .run(timeout)
            };
            (0..count).map(one).collect()
        };
        match self.ended {
            Some(Ok(results)) if results.len() == count => {
                let one = |result| {
                    Supervised {
                        ended: Some(Ok(result)),
                        timed_out,
                    }
                    .run(timeout)
                };
                results.into_iter().map(one).collect()
            }
            Some(Ok(results)) => {
                let wrong = format!(
                    "its handler returned {} results for {count} jobs",
                    results.len()
                );
                let wrong = |_| Run::Returned(Err(JobError::retry(wrong.clone())));
                (0..count).map(wrong).collect()
            }
            Some(Err(panic)) => {
                let told = told(&*panic);
                (0..count).map(|_| Run::Panicked(told.clone())).collect()
            }
            None => each(|| None),
        }
    }
}
