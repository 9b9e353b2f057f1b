//! A queue as producers, workers and operators hold it.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use super::job::JobId;
use super::job_group::JobGroup;
use super::push::{PushJob, PushJobs};
use super::queues::{PAUSE, Queues};
use super::result::JobHandle;
use super::spec::QueueSpec;
use super::work::{Job, JobError};
use super::worker::{Each, Together, Worker};
use crate::context::Operation;
use crate::error::{Error, Result};
use crate::key::{Key, Namespace};

/// A queue of jobs: work that survives the instance that took it.
///
/// A job is delivered to one worker at a time, again and again until a delivery succeeds, it has been delivered as often as it
/// may, it is cancelled, or nobody began it in time. So its handler may run more than once for a job, and ought to do no harm then.
///
/// # Clone
/// Clones are the same queue.
///
/// # Example
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> quorate::Result<()> {
/// use quorate::{CancellationToken, Fleet, Job, JobError, QueueSpec};
/// use std::time::Duration;
///
/// const SQUARES: QueueSpec<u64, u64> = QueueSpec::new("squares");
///
/// async fn square(job: Job<u64>) -> Result<u64, JobError> {
///     Ok(job.input * job.input)
/// }
///
/// let fleet = Fleet::embedded();
/// let squares = fleet.queue(&SQUARES);
/// let stop = CancellationToken::new();
/// let worker = tokio::spawn(squares.worker(square).concurrency(16).run(stop.clone()));
///
/// let job = squares.push(&7).await?;
/// assert_eq!(job.result().timeout(Duration::from_secs(5)).await?, 49);
///
/// stop.cancel();
/// worker.await.unwrap()?;
/// # Ok(()) }
/// ```
pub struct Queue<I, O = ()> {
    pub(super) shared: Arc<Queues>,
    // Kept as an error until it is used: naming a queue is not a place to fail.
    key: std::result::Result<Key, Arc<Error>>,
    pub(super) spec: QueueSpec<I, O>,
}

impl<I, O> Queue<I, O> {
    pub(crate) fn new(shared: Arc<Queues>, namespace: &Namespace, spec: &QueueSpec<I, O>) -> Self {
        Self {
            shared,
            key: Key::new(namespace, spec.name()).map_err(Arc::new),
            spec: spec.clone(),
        }
    }

    /// The queue's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.spec.name()
    }

    /// Queues a job.
    pub fn push(&self, input: &I) -> PushJob<I, O> {
        PushJob::new(self, input)
    }

    /// Queues jobs, all of them or none: at most 1 000, and 32 MiB of inputs.
    pub fn push_many<'a>(&self, inputs: impl IntoIterator<Item = &'a I>) -> PushJobs<I, O>
    where
        I: 'a,
    {
        PushJobs::new(self, inputs)
    }

    /// A job that was pushed before, here or elsewhere.
    #[must_use]
    pub fn job(&self, id: JobId) -> JobHandle<O> {
        JobHandle::new(self, id, false)
    }

    /// The group that began with a job of this queue: see [`Leaves::leave`](super::Leaves::leave).
    #[must_use]
    pub fn group(&self, id: JobId) -> JobGroup {
        self.job(id).group()
    }

    /// Does what is queued with `handler`, once it [runs](Worker::run).
    pub fn worker<H, F>(&self, handler: H) -> Worker<I, O, Each<H>>
    where
        H: Fn(Job<I>) -> F + Send + Sync + 'static,
        F: Future<Output = Result<O, JobError>> + Send + 'static,
    {
        Worker::each(self.clone(), handler)
    }

    /// Does what is queued with a `handler` that takes many jobs together, such as for one statement of a database. What it returns
    /// is in the order of the jobs, one for each: each is settled, and tried again, by itself.
    ///
    /// # Example
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> quorate::Result<()> {
    /// use quorate::{CancellationToken, Fleet, Job, JobError, QueueSpec};
    ///
    /// const ROWS: QueueSpec<u32, u32> = QueueSpec::new("rows");
    ///
    /// async fn insert(rows: Vec<Job<u32>>) -> Vec<Result<u32, JobError>> {
    ///     rows.iter().map(|row| Ok(row.input + 1)).collect()
    /// }
    ///
    /// let fleet = Fleet::embedded();
    /// let rows = fleet.queue(&ROWS);
    /// let stop = CancellationToken::new();
    /// let worker = tokio::spawn(rows.batch_worker(insert).size(20).concurrency(40).run(stop.clone()));
    ///
    /// let pushed = rows.push_many(&[1, 2, 3]).await?;
    /// assert_eq!(pushed[2].result().await?, 4);
    ///
    /// stop.cancel();
    /// worker.await.unwrap()?;
    /// # Ok(()) }
    /// ```
    pub fn batch_worker<H, F>(&self, handler: H) -> Worker<I, O, Together<H>>
    where
        H: Fn(Vec<Job<I>>) -> F + Send + Sync + 'static,
        F: Future<Output = Vec<Result<O, JobError>>> + Send + 'static,
    {
        Worker::together(self.clone(), handler)
    }

    /// Delivers nothing more, anywhere, until it is [resumed](Self::resume). Workers go on with what they have, and jobs are
    /// queued as ever.
    ///
    /// # Errors
    /// Those of the backend.
    ///
    /// # Cancel safety
    /// When the future is dropped, the queue may or may not be paused.
    pub async fn pause(&self) -> Result<()> {
        self.shared.pause(self.key(&PAUSE)?, true).await
    }

    /// Delivers again.
    ///
    /// # Errors
    /// Those of the backend.
    ///
    /// # Cancel safety
    /// When the future is dropped, the queue may or may not be resumed.
    pub async fn resume(&self) -> Result<()> {
        self.shared.pause(self.key(&PAUSE)?, false).await
    }

    pub(super) fn key(&self, operation: &Operation) -> Result<&Key> {
        self.key.as_ref().map_err(|error| {
            Error::new(error.kind())
                .with_message(error.message().unwrap_or_default())
                .with_operation(operation.name)
        })
    }
}

// Not derived: the types need not be `Clone` or `Debug`.
impl<I, O> Clone for Queue<I, O> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
            key: self.key.clone(),
            spec: self.spec.clone(),
        }
    }
}

impl<I, O> fmt::Debug for Queue<I, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("name", &self.name())
            .finish_non_exhaustive()
    }
}
