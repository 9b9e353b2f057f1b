//! What becomes of a delivery, whoever runs its handler: the job as the handler gets it, and its settlement.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::super::ask::MAX_TIME;
use super::super::envelope::{self, Extras};
use super::super::group::Work;
use super::super::job::{Delivered, JobId, LeaseNumber, Settlement};
use super::super::spec::QueueSpec;
use super::super::work::{
    Delivery, Job, JobContext, JobError, JobHome, What, settlement_of, shorten, tell,
};
use super::desk::{SharedDesk, Why};
use super::meters::Meters;
use crate::backoff::Backoff;

/// What all jobs of a worker share.
pub(super) struct Shop<I, O> {
    pub(super) spec: QueueSpec<I, O>,
    pub(super) accept: Option<Accept<I>>,
    /// How long a handler that was told to stop may go on.
    pub(super) grace: Duration,
    pub(super) desk: SharedDesk,
    pub(super) home: Arc<JobHome>,
    pub(super) meters: Meters,
}

/// Whether this instance wants a job.
pub(super) type Accept<I> = Box<dyn Fn(&Job<I>) -> bool + Send + Sync>;

/// A job that is run, beside its input.
pub(super) struct Running {
    pub(super) id: JobId,
    pub(super) lease: LeaseNumber,
    pub(super) timeout: Option<Duration>,
    pub(super) stop: CancellationToken,
    attempt: u32,
    keep: Duration,
    backoff: Backoff,
    context: JobContext,
}

/// How a handler ended.
pub(super) enum Run<O> {
    Returned(Result<O, JobError>),
    Panicked(String),
    TimedOut(Duration),
    /// It was told to stop, did not, and was dropped.
    Dropped,
}

impl<I, O> Shop<I, O> {
    /// The job as its handler gets it. `None`: it never will, and that is settled.
    pub(super) fn begin(
        &self,
        it: Delivered,
        stop: CancellationToken,
    ) -> Option<(Job<I>, Running)> {
        let (id, lease) = (it.id, it.lease);
        let settlement = match self.read(it, stop) {
            Ok(begun) if self.accept.as_ref().is_none_or(|accept| accept(&begun.0)) => {
                return Some(begun);
            }
            Ok(_) => {
                self.desk.decline();
                Settlement::Deferred(Duration::ZERO)
            }
            Err(dead) => dead,
        };
        self.leave(id, lease, Some(settlement));
        None
    }

    /// Settles a job whose handler has ended.
    pub(super) fn end(&self, ran: Run<O>, running: &Running) {
        let why = if running.stop.is_cancelled() {
            self.desk.why(running.id, running.lease)
        } else {
            None
        };
        // Whatever becomes of it, it leaves nothing more.
        let work = running.context.close();
        let settlement = self.settlement(ran, why, running, work);
        self.leave(running.id, running.lease, settlement);
    }

    fn leave(&self, id: JobId, lease: LeaseNumber, settlement: Option<Settlement>) {
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
        let (id, lease, attempt, keep) = (it.id, it.lease, it.attempt, it.keep);
        let backoff = extras.backoff.map_or(self.spec.backoff, Backoff::from);
        let timeout = extras.timeout.or(self.spec.timeout);
        let delivery = Delivery::new(it, extras, stop.clone(), self.home.clone());
        let context = JobContext(Arc::new(delivery));
        let running = Running {
            id,
            lease,
            attempt,
            keep,
            backoff,
            timeout,
            stop,
            context: context.clone(),
        };
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

    /// What became of a job; `None` where its lease was lost, so that nobody wants to know.
    fn settlement(
        &self,
        ran: Run<O>,
        why: Option<Why>,
        running: &Running,
        work: Option<Box<Work>>,
    ) -> Option<Settlement> {
        let failed = |error: String| {
            // A queue takes no more, and refuses the whole turn.
            let after = running.backoff.delay(running.attempt).min(MAX_TIME);
            Settlement::Failed { after, error }
        };
        Some(match (ran, why) {
            (_, Some(Why::Lost)) => return None,
            (Run::Returned(Ok(value)), _) => self.encode(&value, running.keep, work),
            // The queue knows, and lets it end as cancelled.
            (_, Some(Why::Cancelled)) => failed("it was cancelled".to_owned()),
            // What it says at last it may have said because it was told to stop.
            (
                Run::Returned(Err(JobError(What::Retry(_) | What::RetryIn(..)))) | Run::Dropped,
                Some(Why::Stopping),
            ) => Settlement::Deferred(Duration::ZERO),
            (Run::Returned(Err(error)), _) => {
                settlement_of(error, || running.backoff.delay(running.attempt))
            }
            (Run::Panicked(text), _) => failed(shorten(format!("its handler panicked: {text}"))),
            (Run::TimedOut(time), _) => failed(format!("it timed out after {time:?}")),
            (Run::Dropped, _) => failed("its handler was dropped".to_owned()),
        })
    }

    fn encode(&self, value: &O, keep: Duration, work: Option<Box<Work>>) -> Settlement {
        let encode = || self.spec.encode_result(value);
        let why = match std::panic::catch_unwind(AssertUnwindSafe(encode)) {
            Ok(Ok(result)) => {
                return Settlement::Succeeded { result, keep, work };
            }
            Ok(Err(error)) => error.message().unwrap_or_default().to_owned(),
            Err(panic) => format!("its result does not encode: {}", told(&*panic)),
        };
        // The work is done, so doing it again is no cure.
        Settlement::Dead(shorten(why))
    }
}

/// What a panic said.
pub(crate) fn told(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "for no reason given".to_owned())
}
