//! A job as its producer holds it, and what became of it.

use std::fmt;
use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::handle::Queue;
use super::job::{JobEnd, JobId, JobState};
use super::job_group::JobGroup;
use super::queues::{CANCEL, LOOK, Queues};
use super::state::AWAITED;
use crate::backoff::Backoff;
use crate::clock::after;
use crate::codec::Codec;
use crate::context::{Operation, Repeat};
use crate::error::{Error, ErrorKind, Result};
use crate::key::Key;

static RESULT: Operation = Operation::new("queue.result", "queue", "result", Repeat::Harmless);

/// How long to wait for the end of a job, unless told otherwise.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// How often to ask where the end is announced, in case that was lost; soon enough that it goes on being announced.
pub(super) const RECHECK: Backoff = Backoff {
    initial: AWAITED.checked_div(2).expect("two is not none"),
    factor: 1.0,
    max: AWAITED,
    jitter: 0.3,
};

/// How often to ask where nothing is announced, or not yet.
pub(super) const POLL: Backoff = Backoff {
    initial: Duration::from_millis(20),
    factor: 1.5,
    max: Duration::from_secs(1),
    jitter: 0.3,
};

/// A job that was queued: what becomes of it, from any instance.
///
/// # Clone
/// Clones are the same job. Dropping one does nothing to the job.
pub struct JobHandle<O = ()> {
    shared: Arc<Queues>,
    key: std::result::Result<Key, Arc<Error>>,
    name: Arc<str>,
    output: Codec<O>,
    id: JobId,
    is_new: bool,
    /// The group it was left in.
    group: Option<JobGroup>,
}

/// What became of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ended<O> {
    /// It is done; what its handler returned.
    Succeeded(O),
    /// It failed for good: why, at last.
    Dead(String),
    /// It was cancelled.
    Cancelled,
    /// Nobody began it in time.
    Expired,
    /// There is no such job: what became of it is not kept any longer, or it never was.
    Forgotten,
}

impl<O> JobHandle<O> {
    pub(super) fn new<I>(queue: &Queue<I, O>, id: JobId, is_new: bool) -> Self {
        Self {
            shared: queue.shared.clone(),
            key: queue.key(&LOOK).cloned().map_err(Arc::new),
            name: queue.name().into(),
            output: queue.spec.output,
            id,
            is_new,
            group: None,
        }
    }

    /// The same of a job that belongs to a group.
    pub(super) fn in_group(mut self, group: JobGroup) -> Self {
        self.group = Some(group);
        self
    }

    /// By which it is found again, with [`Queue::job`].
    #[must_use]
    pub const fn id(&self) -> JobId {
        self.id
    }

    /// Whether the push that gave this handle queued a job, or found one.
    #[must_use]
    pub const fn is_new(&self) -> bool {
        self.is_new
    }

    /// The group that begins with it; if a handler [left](super::Leaves::leave) it, the group that it was left in.
    #[must_use]
    pub fn group(&self) -> JobGroup {
        let own = || JobGroup::new(self.shared.clone(), self.key.clone(), self.id);
        self.group.clone().unwrap_or_else(own)
    }

    /// Waits for what the handler returned.
    pub fn result(&self) -> JobResult<O> {
        JobResult(self.ended())
    }

    /// Waits until the job is over, whichever way.
    pub fn ended(&self) -> JobEnded<O> {
        JobEnded {
            job: self.clone(),
            timeout: PATIENCE,
        }
    }

    /// Where it is; `None` if there is no such job, or not any more.
    ///
    /// # Errors
    /// Those of the backend.
    ///
    /// # Cancel safety
    /// Yes.
    pub async fn state(&self) -> Result<Option<JobState>> {
        let key = self.key(&LOOK)?;
        self.shared.look(key, self.id, false).await
    }

    /// Cancels it: it ends at once if nobody has it, and whoever has it is asked to stop. Returns where it is then; `None` if
    /// there is no such job, or not any more.
    ///
    /// A handler that has been asked and succeeds all the same has done the job.
    ///
    /// # Errors
    /// Those of the backend.
    ///
    /// # Cancel safety
    /// When the future is dropped, the job may or may not be cancelled.
    pub async fn cancel(&self) -> Result<Option<JobState>> {
        self.shared.cancel(self.key(&CANCEL)?, self.id).await
    }

    fn key(&self, operation: &Operation) -> Result<&Key> {
        self.key.as_ref().map_err(|error| {
            Error::new(error.kind())
                .with_message(error.message().unwrap_or_default())
                .with_operation(operation.name)
        })
    }

    /// `None` if it is not over by then.
    async fn wait(&self, timeout: Duration) -> Result<Option<Ended<O>>> {
        let key = self.key(&RESULT)?;
        let waiter = self.shared.wait_for(key, self.id);
        let (deadline, mut asked) = (after(Instant::now(), timeout), 0);
        loop {
            match self.shared.look(key, self.id, true).await? {
                Some(JobState::Ended(end)) => return self.read(end).map(Some),
                Some(_) => {}
                None => return Ok(Some(Ended::Forgotten)),
            }
            asked += 1;
            let pause = if waiter.hears() {
                RECHECK.delay(1)
            } else {
                POLL.delay(asked)
            };
            let next = (Instant::now() + pause).min(deadline);
            tokio::select! {
                () = waiter.news.notified() => {}
                () = tokio::time::sleep_until(next) => if next == deadline {
                    return Ok(None);
                },
                () = self.shared.context.closed().cancelled() => {
                    return Err(Error::closed("the fleet"));
                }
            }
        }
    }

    fn read(&self, end: JobEnd) -> Result<Ended<O>> {
        Ok(match end {
            JobEnd::Succeeded(bytes) => Ended::Succeeded(self.decode(&bytes)?),
            JobEnd::Dead(why) => Ended::Dead(why),
            JobEnd::Cancelled => Ended::Cancelled,
            JobEnd::Expired => Ended::Expired,
        })
    }

    fn decode(&self, bytes: &Bytes) -> Result<O> {
        self.output
            .decode(bytes)
            .map_err(|error| Error::new(ErrorKind::Decode).with_source(error))
    }

    fn named(&self, error: Error) -> Error {
        error
            .with_operation(RESULT.name)
            .with_target(format!("{}/{}", self.name, self.id))
    }
}

/// The end of a job, waited for: options, then `.await`.
///
/// # Errors
/// `Timeout` if it is not over in time (the job goes on), `Decode` for a result of another type, and those of the backend.
///
/// # Cancel safety
/// Yes.
#[must_use = "nothing is waited for without `.await`"]
#[derive(Debug)]
pub struct JobEnded<O = ()> {
    job: JobHandle<O>,
    timeout: Duration,
}

impl<O> JobEnded<O> {
    /// How long to wait at most. Default a minute.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    async fn wait(self) -> Result<Ended<O>> {
        let waited = self.job.wait(self.timeout).await;
        let ended = waited.and_then(|ended| {
            ended.ok_or_else(|| {
                Error::new(ErrorKind::Timeout).with_message("the job is not over yet")
            })
        });
        ended.map_err(|error| self.job.named(error))
    }
}

impl<O: Send + Sync + 'static> IntoFuture for JobEnded<O> {
    type Output = Result<Ended<O>>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.wait())
    }
}

/// The result of a job, waited for: options, then `.await`.
///
/// # Errors
/// `JobFailed` if it failed for good, was cancelled, expired, or is forgotten: [`JobHandle::ended`] tells them apart. And those
/// of [`JobEnded`].
///
/// # Cancel safety
/// Yes.
#[must_use = "nothing is waited for without `.await`"]
#[derive(Debug)]
pub struct JobResult<O = ()>(JobEnded<O>);

impl<O> JobResult<O> {
    /// How long to wait at most. Default a minute.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.0.timeout = timeout;
        self
    }
}

impl<O: Send + Sync + 'static> IntoFuture for JobResult<O> {
    type Output = Result<O>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let job = self.0.job.clone();
            let failed = |why: String| {
                let error = Error::new(ErrorKind::JobFailed).with_message(why);
                Err(job.named(error))
            };
            match self.0.wait().await? {
                Ended::Succeeded(result) => Ok(result),
                Ended::Dead(why) => failed(why),
                Ended::Cancelled => failed("it was cancelled".to_owned()),
                Ended::Expired => failed("nobody began it in time".to_owned()),
                Ended::Forgotten => failed("what became of it is not kept any longer".to_owned()),
            }
        })
    }
}

// Not derived: results need not be `Clone` or `Debug`.
impl<O> Clone for JobHandle<O> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
            key: self.key.clone(),
            name: self.name.clone(),
            output: self.output,
            id: self.id,
            is_new: self.is_new,
            group: self.group.clone(),
        }
    }
}

impl<O> fmt::Debug for JobHandle<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobHandle")
            .field("queue", &self.name)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
