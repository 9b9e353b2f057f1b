//! Runs about to be started.

use std::fmt;
use std::future::IntoFuture;
use std::marker::PhantomData;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::handle::RunHandle;
use super::workflow::{RunInput, RunOutput, Workflow};
use crate::error::{Error, ErrorKind, Result};
use crate::queue::{JobId, JobOptions, Queue};

/// A run about to be started: options, then `.await`.
///
/// # Errors
/// `InvalidInput` for a name that no run has, and for an option that breaks its rule; `Encode`; and those of the backend. A call that
/// fails with an unknown outcome may have started it: starting it again finds out.
///
/// # Cancel safety
/// When the future is dropped, the run may or may not be started.
#[must_use = "a run is started by awaiting this"]
pub struct StartRun<O> {
    queue: Result<Queue<RunInput, RunOutput>>,
    job: Result<JobId>,
    run: String,
    version: u32,
    input: Result<Box<RawValue>>,
    options: JobOptions,
    gives: PhantomData<fn() -> O>,
}

impl<O> StartRun<O> {
    pub(super) fn new<I: Serialize>(
        queue: Result<Queue<RunInput, RunOutput>>,
        workflow: &Workflow<I, O>,
        run: String,
        input: &I,
    ) -> Self {
        let encoded = |error| Error::new(ErrorKind::Encode).with_source(error);
        Self {
            queue,
            job: workflow.job(&run),
            run,
            version: workflow.number(),
            input: to_raw_value(input).map_err(encoded),
            options: JobOptions::new(),
            gives: PhantomData,
        }
    }

    /// Waits so long before it begins, by the clock of the home. At most 36 500 days.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.options = self.options.delay(delay);
        self
    }

    /// How urgent it is when it is to begin, or to go on, from 0 (the default) to 9.
    pub fn priority(mut self, priority: u8) -> Self {
        self.options = self.options.priority(priority);
        self
    }

    /// With whom it shares what is fair, such as a customer: groups take turns, whatever each of them has started. At most 512 bytes.
    pub fn fairness_group(mut self, group: impl Into<String>) -> Self {
        self.options = self.options.fairness_group(group);
        self
    }

    /// Words to find it by, for people: at most 16, each of at most 64 bytes.
    pub fn tags<T: Into<String>>(mut self, tags: impl IntoIterator<Item = T>) -> Self {
        self.options = self.options.tags(tags);
        self
    }

    /// How long is kept what became of it, in place of what its [workflow](Workflow::keep) says.
    pub fn keep(mut self, time: Duration) -> Self {
        self.options = self.options.keep_result(time);
        self
    }

    async fn start(self) -> Result<RunHandle<O>> {
        let queue = self.queue?;
        let input = RunInput {
            run: self.run,
            version: self.version,
            input: self.input?,
            parent: None,
        };
        let (job, is_new) = queue.push_as(self.job?, &input, self.options).await?;
        Ok(RunHandle::new(queue, job, input.run, is_new))
    }
}

impl<O: Send + 'static> IntoFuture for StartRun<O> {
    type Output = Result<RunHandle<O>>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        self.start().boxed()
    }
}

impl<O> fmt::Debug for StartRun<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StartRun")
            .field("run", &self.run)
            .finish_non_exhaustive()
    }
}
