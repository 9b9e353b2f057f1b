//! One job in a task of its own: its handler is run, and what became of it is put on the desk.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::super::envelope::{self, Extras};
use super::super::job::{Delivered, JobId, LeaseNumber, Settlement};
use super::super::spec::QueueSpec;
use super::super::work::{Delivery, Job, JobContext, JobError, What, shorten, tell};
use super::desk::{SharedDesk, Why};
use super::meters::Meters;
use crate::backoff::Backoff;

/// A job that this instance does not want is left to others for about so long.
const DECLINED: Duration = Duration::from_secs(1);

/// What all jobs of a worker share.
pub(super) struct Shop<I, O, H> {
    pub(super) spec: QueueSpec<I, O>,
    pub(super) handler: H,
    pub(super) accept: Option<Accept<I>>,
    /// How long a handler that was told to stop may go on.
    pub(super) grace: Duration,
    pub(super) desk: SharedDesk,
    pub(super) meters: Meters,
}

/// Whether this instance wants a job.
pub(super) type Accept<I> = Box<dyn Fn(&Job<I>) -> bool + Send + Sync>;

/// A job that is run, beside its input.
struct Running {
    id: JobId,
    lease: LeaseNumber,
    attempt: u32,
    keep: Duration,
    backoff: Backoff,
    timeout: Option<Duration>,
    stop: CancellationToken,
}

/// How a handler ended.
enum Run<O> {
    Returned(Result<O, JobError>),
    Panicked(String),
    TimedOut(Duration),
    /// It was told to stop, did not, and was dropped.
    Dropped,
}

impl<I, O, H, F> Shop<I, O, H>
where
    H: Fn(Job<I>) -> F + Send + Sync + 'static,
    F: Future<Output = Result<O, JobError>> + Send + 'static,
{
    /// Runs what was delivered. `stop` fires when it is to end.
    pub(super) async fn execute(self: Arc<Self>, it: Delivered, stop: CancellationToken) {
        let (id, lease) = (it.id, it.lease);
        let settlement = match self.read(it, stop) {
            Err(dead) => Some(dead),
            Ok((job, running)) => self.run(job, &running).await,
        };
        self.meters.count(settlement.as_ref());
        self.desk.leave(id, lease, settlement);
    }

    /// The job as its handler gets it, or why it never will.
    fn read(
        &self,
        it: Delivered,
        stop: CancellationToken,
    ) -> Result<(Job<I>, Running), Settlement> {
        let (extras, input) = envelope::open(&it.input).unwrap_or_else(|| {
            // Written by nobody of us: then it is all input.
            (Extras::default(), it.input.clone())
        });
        let input = self.decode(&input)?;
        let running = Running {
            id: it.id,
            lease: it.lease,
            attempt: it.attempt,
            keep: it.keep,
            backoff: extras.backoff.map_or(self.spec.backoff, Backoff::from),
            timeout: extras.timeout.or(self.spec.timeout),
            stop: stop.clone(),
        };
        let context = JobContext(Arc::new(Delivery {
            id: it.id,
            lease: it.lease,
            attempt: it.attempt,
            attempts: it.attempts,
            queued: it.queued,
            fairness_group: it.group,
            parent: extras.parent,
            tags: extras.tags,
            cancelled: stop,
        }));
        Ok((Job::new(input, context), running))
    }

    /// A codec of the user's may panic: that is as good as an error.
    fn decode(&self, input: &Bytes) -> Result<I, Settlement> {
        let decode = || self.spec.input.decode(input);
        let why = match std::panic::catch_unwind(AssertUnwindSafe(decode)) {
            Ok(Ok(input)) => return Ok(input),
            Ok(Err(error)) => tell(&*error),
            Err(panic) => told(&*panic),
        };
        let why = shorten(format!("its input does not decode: {why}"));
        Err(Settlement::Dead(why))
    }

    async fn run(&self, job: Job<I>, running: &Running) -> Option<Settlement> {
        if self.accept.as_ref().is_some_and(|accept| !accept(&job)) {
            return Some(Settlement::Deferred(spread(DECLINED)));
        }
        let began = Instant::now();
        let ran = self.supervise(job, running).await;
        self.meters.seconds.record(began.elapsed());
        let why = if running.stop.is_cancelled() {
            self.desk.why(running.id, running.lease)
        } else {
            None
        };
        self.settlement(ran, why, running)
    }

    /// The handler, until it ends, or has been told to and did not.
    async fn supervise(&self, job: Job<I>, running: &Running) -> Run<O> {
        // The handler itself may panic before it returns its future.
        let run = AssertUnwindSafe(async move { (self.handler)(job).await });
        let mut run = pin!(run.catch_unwind());
        let ended = |ended: Result<_, Box<dyn Any + Send>>| match ended {
            Ok(returned) => Run::Returned(returned),
            Err(panic) => Run::Panicked(told(&*panic)),
        };
        let timeout = async {
            match running.timeout {
                Some(timeout) => tokio::time::sleep(timeout).await,
                None => std::future::pending().await,
            }
        };
        let timed_out = tokio::select! {
            biased;
            run = &mut run => return ended(run),
            () = running.stop.cancelled() => false,
            () = timeout => true,
        };
        running.stop.cancel();
        match tokio::time::timeout(self.grace, run).await {
            // What it returns in time counts, though it was late.
            Ok(Ok(Ok(value))) => Run::Returned(Ok(value)),
            _ if timed_out => Run::TimedOut(running.timeout.unwrap_or_default()),
            Ok(run) => ended(run),
            Err(_) => Run::Dropped,
        }
    }

    /// What became of a job; `None` where its lease was lost, so that nobody wants to know.
    fn settlement(&self, ran: Run<O>, why: Option<Why>, running: &Running) -> Option<Settlement> {
        let failed = |error: String| {
            let after = running.backoff.delay(running.attempt);
            Settlement::Failed { after, error }
        };
        Some(match (ran, why) {
            (_, Some(Why::Lost)) => return None,
            (Run::Returned(Ok(value)), _) => self.encode(&value, running.keep),
            // The queue knows, and lets it end as cancelled.
            (_, Some(Why::Cancelled)) => failed("it was cancelled".to_owned()),
            (Run::Returned(Err(JobError(What::Abort(error)))), _) => {
                Settlement::Dead(tell(&*error))
            }
            (Run::Returned(Err(JobError(What::Defer(time)))), _) => {
                Settlement::Deferred(time.min(super::super::ask::MAX_TIME))
            }
            // Nobody knows whether it would have succeeded.
            (Run::Dropped | Run::Returned(_), Some(Why::Stopping)) => {
                Settlement::Deferred(Duration::ZERO)
            }
            (Run::Returned(Err(JobError(What::Retry(error)))), _) => failed(tell(&*error)),
            (Run::Returned(Err(JobError(What::RetryIn(after, error)))), _) => Settlement::Failed {
                after: after.min(super::super::ask::MAX_TIME),
                error: tell(&*error),
            },
            (Run::Panicked(text), _) => failed(shorten(format!("its handler panicked: {text}"))),
            (Run::TimedOut(time), _) => failed(format!("it timed out after {time:?}")),
            (Run::Dropped, _) => failed("its handler was dropped".to_owned()),
        })
    }

    fn encode(&self, value: &O, keep: Duration) -> Settlement {
        let most = self.spec.max_bytes;
        let encode = || self.spec.output.encode(value);
        let why = match std::panic::catch_unwind(AssertUnwindSafe(encode)) {
            Ok(Ok(result)) if result.len() <= most => {
                return Settlement::Succeeded { result, keep };
            }
            Ok(Ok(result)) => {
                let size = result.len();
                format!("its result must be at most {most} bytes, and is {size}")
            }
            Ok(Err(error)) => format!("its result does not encode: {}", tell(&*error)),
            Err(panic) => format!("its result does not encode: {}", told(&*panic)),
        };
        // The work is done, so doing it again is no cure.
        Settlement::Dead(shorten(why))
    }
}

/// What a panic said.
fn told(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "for no reason given".to_owned())
}

/// About so long, that not all come back at once.
fn spread(time: Duration) -> Duration {
    time.mul_f64(0.75 + rand::random::<f64>() / 2.0)
}
