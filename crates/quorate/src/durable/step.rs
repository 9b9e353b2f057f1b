//! Steps: what is done once, and known from then on.

use std::any::Any;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::to_raw_value;
use sha2::{Digest, Sha256};
use sync_wrapper::SyncWrapper;
use tokio::time::Instant;

use super::entry::{Did, Outcome, StepDone};
use super::failure::{Failure, FailureKind};
use super::path::first_bytes;
use super::replay::Divergence;
use super::running::Halt;
use super::scope::Op;
use crate::backoff::Backoff;
use crate::clock::{Micros, whole_micros};
use crate::queue::{MAX_TIME, told};

/// How often a step is tried, unless it says otherwise.
const ATTEMPTS: u32 = 3;

/// Between attempts: 1 s, doubling, at most 10 minutes, half of it random.
const BACKOFF: Backoff = Backoff {
    initial: Duration::from_secs(1),
    factor: 2.0,
    max: Duration::from_secs(600),
    jitter: 0.5,
};

/// The largest value that a step may give, in bytes of JSON.
pub const MAX_STEP_VALUE: usize = 900 * 1024;

// Nobody calls it by two: this is so that others may look at the step meanwhile.
type Body<'a, T> =
    SyncWrapper<Box<dyn FnMut(StepContext) -> BoxFuture<'a, Result<T, Failure>> + Send + 'a>>;

/// A step about to be done: options, then `.await`.
///
/// It gives what its body gave when it succeeded: in this delivery of the run, or in one before, when the body is not called. What it
/// gives is written down before the function goes on, so a step that is over is never done again; one that is under way when its
/// process dies is.
///
/// A body that fails is called again, [so often](Self::max_attempts), with [pauses](Self::backoff) that outlive the process; the
/// last failure is what the step gives, and is written down as well.
///
/// # Errors
/// The last [`Failure`] of the body; one that [is cancelled](Failure::is_cancelled) if the run was asked to stop; one that [is
/// fatal](Failure::is_fatal) for a value that is no JSON, or more than [`MAX_STEP_VALUE`].
///
/// # Cancel safety
/// When the future is dropped, the body may have been called, and is called again when the step is replayed.
#[must_use = "a step is done by awaiting it"]
pub struct Step<'a, T> {
    op: Op,
    body: Body<'a, T>,
    attempts: u32,
    backoff: Backoff,
    timeout: Option<Duration>,
    input: Option<String>,
}

/// What the body of a step may want to know.
#[derive(Clone, Debug)]
pub struct StepContext {
    key: String,
    attempt: u32,
}

impl StepContext {
    /// 32 hexadecimal digits that no other step of any run has, the same in each attempt: for whoever does what the body asks, to
    /// recognise that it was asked before.
    #[must_use]
    pub fn idempotency_key(&self) -> &str {
        &self.key
    }

    /// Which attempt this is, from 1. Those that ended with their process do not count.
    #[must_use]
    pub const fn attempt(&self) -> u32 {
        self.attempt
    }
}

impl<'a, T> Step<'a, T> {
    pub(super) fn new<F, Fut, E>(op: Op, mut body: F) -> Self
    where
        F: FnMut(StepContext) -> Fut + Send + 'a,
        Fut: Future<Output = Result<T, E>> + Send + 'a,
        E: Into<Failure>,
    {
        Self {
            op,
            body: SyncWrapper::new(Box::new(move |context| {
                let body = body(context);
                async move { body.await.map_err(Into::into) }.boxed()
            })),
            attempts: ATTEMPTS,
            backoff: BACKOFF,
            timeout: None,
            input: None,
        }
    }

    /// How often the body is called at most, at least once. Default 3.
    pub const fn max_attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts;
        self
    }

    /// How long to wait before the next attempt after one that failed. Default 1 s, doubling, at most 10 minutes.
    pub const fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// How long one attempt may take: after that the body is dropped, and the attempt has failed.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// What the step depends on: its hash is kept, and where a replay comes with another the run is put aside, instead of going on
    /// with what belongs to something else.
    pub fn input<I: Serialize + ?Sized>(mut self, input: &I) -> Self {
        // What cannot be written down has no hash that could change; the body will say what is wrong with it.
        if let Ok(json) = serde_json::to_vec(input) {
            let hash = first_bytes(&Sha256::digest(json));
            self.input = Some(format!("{:032x}", u128::from_be_bytes(hash)));
        }
        self
    }
}

impl<T: Serialize + DeserializeOwned + Send> Step<'_, T> {
    async fn run(mut self) -> Result<T, Failure> {
        self.op.ready().await;
        let (mut attempt, mut pause) = (0, None);
        for (when, did) in self.op.take_records() {
            match did {
                Did::Step(done) => return self.replay(when, done).await,
                Did::Retry {
                    attempt: nth,
                    after,
                    ..
                } => {
                    attempt = nth;
                    pause = Some(when.plus(Duration::from_micros(after)));
                }
                other => return self.op.diverge(&other, "a step").await,
            }
        }
        loop {
            if let Some(until) = pause.take() {
                let is_shielded = self.op.scope.is_shielded;
                self.op.run().sleep(until, is_shielded).await?;
            }
            self.op.run().gate(self.op.scope.is_shielded).await?;
            attempt += 1;
            let _busy = self.op.run().activity.busy();
            let began = Instant::now();
            let failure = match self.attempt(attempt).await {
                Ok(value) => match to_raw_value(&value) {
                    Ok(json) if json.get().len() <= MAX_STEP_VALUE => {
                        self.end(attempt, began, Outcome::Ok(json)).await;
                        return Ok(value);
                    }
                    Ok(json) => Failure::fatal(format!(
                        "the value of a step must be at most {MAX_STEP_VALUE} bytes of JSON, and has {}",
                        json.get().len()
                    )),
                    Err(error) => Failure::fatal(format!("its value is no JSON: {error}")),
                },
                // It does not count: nothing is written down, and whoever replays it is told the same.
                Err(failure) if failure.is_cancelled() && self.op.is_stopped() => {
                    return Err(failure);
                }
                Err(failure) => failure,
            };
            if attempt >= self.attempts || !failure.may_be_tried_again() {
                self.end(attempt, began, Outcome::Err(failure.clone()))
                    .await;
                return Err(failure);
            }
            let after = self.backoff.delay(attempt).min(MAX_TIME);
            let retry = Did::Retry {
                attempt,
                error: failure,
                after: whole_micros(after),
            };
            pause = Some(self.op.record(&retry).await.plus(after));
        }
    }

    /// Calls the body once.
    async fn attempt(&mut self, attempt: u32) -> Result<T, Failure> {
        let context = StepContext {
            key: self.op.key(),
            attempt,
        };
        let body = self.body.get_mut();
        // A body may panic before it returns its future.
        let body = AssertUnwindSafe(async move { body(context).await }).catch_unwind();
        let timeout = self.timeout;
        let in_time = async {
            match timeout {
                Some(time) => tokio::time::timeout(time, body)
                    .await
                    .map_err(|_| Failure::new(FailureKind::TimedOut, timed_out(time)))?,
                None => body.await,
            }
            .unwrap_or_else(|panic| Err(panicked(&*panic)))
        };
        tokio::select! {
            biased;
            failure = self.op.run().stopped(self.op.scope.is_shielded) => Err(failure),
            ended = in_time => ended,
        }
    }

    async fn end(&self, attempt: u32, began: Instant, outcome: Outcome) {
        let done = StepDone {
            outcome,
            attempt,
            took: whole_micros(began.elapsed()),
            input: self.input.clone().map(Into::into),
        };
        self.op.record(&Did::Step(done)).await;
    }

    async fn replay(&self, when: Micros, done: StepDone) -> Result<T, Failure> {
        let is_other = match (&self.input, &done.input) {
            (Some(code), Some(journal)) => code != journal,
            _ => false,
        };
        if is_other {
            let divergence = Divergence {
                at: self.op.path.clone(),
                code: Some(format!("`{}` with another input", self.op.name())),
                journal: "one with the input that it was done with".to_owned(),
            };
            return self.op.run().halt(Halt::Diverged(divergence)).await;
        }
        self.op.passed(when);
        match done.outcome {
            Outcome::Ok(value) => Ok(self.op.read(&value).await),
            Outcome::Err(failure) => Err(failure),
        }
    }
}

fn timed_out(time: Duration) -> String {
    format!("it timed out after {time:?}")
}

fn panicked(panic: &(dyn Any + Send)) -> Failure {
    Failure::new(FailureKind::Error, format!("it panicked: {}", told(panic)))
}

impl<'a, T: Serialize + DeserializeOwned + Send + 'a> IntoFuture for Step<'a, T> {
    type Output = Result<T, Failure>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        self.run().boxed()
    }
}

impl<T> fmt::Debug for Step<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Step")
            .field("path", &self.op.path)
            .finish_non_exhaustive()
    }
}
