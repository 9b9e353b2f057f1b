//! What a handler gets, and what it may say of it.

use std::error::Error as StdError;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::ask::{MAX_ERROR, MAX_TIME};
use super::envelope::Extras;
use super::job::{Delivered, JobId, LeaseNumber, Settlement};
use super::leave::Leaves;
use super::options::until;
use super::queues::Queues;
use crate::clock::Micros;
use crate::key::Key;

/// A job, as its handler gets it. What is known of it beside its input stands in [`JobContext`], which this is, too.
#[derive(Debug)]
#[non_exhaustive]
pub struct Job<I> {
    /// What was pushed.
    pub input: I,
    context: JobContext,
}

impl<I> Job<I> {
    pub(super) const fn new(input: I, context: JobContext) -> Self {
        Self { input, context }
    }

    /// The input by itself, and the rest.
    pub fn split(self) -> (I, JobContext) {
        (self.input, self.context)
    }
}

impl<I> Deref for Job<I> {
    type Target = JobContext;

    fn deref(&self) -> &JobContext {
        &self.context
    }
}

/// What is known of a job beside its input.
///
/// # Clone
/// Clones are the same delivery of the same job.
#[derive(Clone, Debug)]
pub struct JobContext(pub(super) Arc<Delivery>);

/// One delivery of a job.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) id: JobId,
    pub(super) lease: LeaseNumber,
    pub(super) attempt: u32,
    pub(super) attempts: u32,
    pub(super) queued: Micros,
    pub(super) fairness_group: String,
    pub(super) parent: Option<JobId>,
    pub(super) tags: Vec<String>,
    pub(super) cancelled: CancellationToken,
    pub(super) checkpoint: Option<Bytes>,
    pub(super) leaves: Leaves,
    pub(super) home: Arc<JobHome>,
}

/// Where a job is kept.
#[derive(Debug)]
pub(super) struct JobHome {
    pub(super) queues: Arc<Queues>,
    pub(super) key: Key,
}

impl Delivery {
    pub(super) fn new(
        it: Delivered,
        extras: Extras,
        cancelled: CancellationToken,
        home: Arc<JobHome>,
    ) -> Self {
        Self {
            id: it.id,
            lease: it.lease,
            attempt: it.attempt,
            attempts: it.attempts,
            queued: it.queued,
            fairness_group: it.group,
            parent: extras.parent,
            tags: extras.tags,
            cancelled,
            checkpoint: it.checkpoint,
            leaves: Leaves::new(home.clone(), it.id, it.member_of),
            home,
        }
    }
}

impl JobContext {
    /// Identifies the job.
    #[must_use]
    pub fn id(&self) -> JobId {
        self.0.id
    }

    /// Which attempt this is, from 1. One whose worker died counts.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.0.attempt
    }

    /// How many attempts there are at most.
    #[must_use]
    pub fn max_attempts(&self) -> u32 {
        self.0.attempts
    }

    /// Whether another attempt follows if this one fails.
    #[must_use]
    pub fn is_last_attempt(&self) -> bool {
        self.0.attempt >= self.0.attempts
    }

    /// A number that grows with every delivery: pass it to whatever the job changes, to be refused where a greater one was
    /// seen. What a worker does that was paused beyond its lease then does no harm.
    #[must_use]
    pub fn lease(&self) -> LeaseNumber {
        self.0.lease
    }

    /// When it was pushed, by the clock of the home.
    #[must_use]
    pub fn queued_at(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_micros(self.0.queued.get())
    }

    /// With whom it shares what is fair; empty if it names nobody.
    #[must_use]
    pub fn fairness_group(&self) -> &str {
        &self.0.fairness_group
    }

    /// Whose handler queued it.
    #[must_use]
    pub fn parent(&self) -> Option<JobId> {
        self.0.parent
    }

    /// Words to find it by.
    #[must_use]
    pub fn tags(&self) -> &[String] {
        &self.0.tags
    }

    /// Fires when the handler ought to stop: the job was cancelled, its lease was lost, its time is up, or the worker stops and
    /// has waited long enough. A handler that goes on is dropped a little later, at its next `.await`.
    #[must_use]
    pub fn cancelled(&self) -> &CancellationToken {
        &self.0.cancelled
    }
}

type Source = Box<dyn StdError + Send + Sync>;

/// Why a handler did not succeed, and what is to become of the job.
///
/// Any error becomes one with `?`, and means: try again, later each time, until there have been as many attempts as the job
/// may have. The rest is said explicitly.
///
/// It is no [`Error`](StdError) itself: otherwise `?` could not turn any error into one.
///
/// # Example
/// ```
/// use quorate::{Job, JobError, OrAbort};
/// use std::time::Duration;
///
/// async fn send(job: Job<String>) -> Result<(), JobError> {
///     let port = job.input.parse::<u16>().or_abort()?; // will be wrong again: dead at once
///     if port < 1024 {
///         return Err(JobError::defer(Duration::from_secs(60))); // not yet; no attempt
///     }
///     std::net::TcpStream::connect(("localhost", port))?; // anything else: again, later
///     Ok(())
/// }
/// ```
pub struct JobError(pub(super) What);

/// What is to become of a job.
pub(super) enum What {
    Retry(Source),
    RetryIn(Duration, Source),
    Defer(Duration),
    Abort(Source),
    /// Not before that time, or a message that was not seen.
    Wait {
        after: Duration,
        seen: u64,
    },
    /// It ends as cancelled.
    Cancel,
}

impl JobError {
    /// Try again, as any error says with `?`; for a text.
    #[must_use]
    pub fn retry(error: impl Into<Source>) -> Self {
        Self(What::Retry(error.into()))
    }

    /// This attempt failed; try again in so long, whatever the backoff says.
    #[must_use]
    pub fn retry_in(time: Duration, error: impl Into<Source>) -> Self {
        Self(What::RetryIn(time, error.into()))
    }

    /// Not now: deliver it again in so long. This was no attempt.
    #[must_use]
    pub const fn defer(time: Duration) -> Self {
        Self(What::Defer(time))
    }

    /// Not before then, by the clock of this process. This was no attempt.
    #[must_use]
    pub fn defer_until(time: SystemTime) -> Self {
        Self::defer(until(time))
    }

    /// Never again: the job is dead, and stays among the dead letters for people to look at.
    #[must_use]
    pub fn abort(error: impl Into<Source>) -> Self {
        Self(What::Abort(error.into()))
    }
}

impl<E: StdError + Send + Sync + 'static> From<E> for JobError {
    fn from(error: E) -> Self {
        Self(What::Retry(error.into()))
    }
}

impl fmt::Debug for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            What::Retry(error) => write!(f, "retry: {error}"),
            What::RetryIn(time, error) => write!(f, "retry in {time:?}: {error}"),
            What::Defer(time) => write!(f, "not before {time:?} from now"),
            What::Abort(error) => write!(f, "abort: {error}"),
            What::Wait { after, .. } => write!(f, "not before {after:?} from now, or a message"),
            What::Cancel => f.write_str("cancelled"),
        }
    }
}

/// Turns an error into [`JobError::abort`].
pub trait OrAbort<T> {
    /// What is there, or the end of the job: it is dead, and is not tried again.
    ///
    /// # Errors
    /// [`JobError::abort`] with the error that was there.
    fn or_abort(self) -> Result<T, JobError>;
}

impl<T, E: Into<Source>> OrAbort<T> for Result<T, E> {
    fn or_abort(self) -> Result<T, JobError> {
        self.map_err(JobError::abort)
    }
}

/// What a handler that did not succeed says of its job; `pause` is how long to wait before the next attempt, unless it says that too.
pub(super) fn settlement_of(error: JobError, pause: impl FnOnce() -> Duration) -> Settlement {
    match error.0 {
        What::Abort(error) => Settlement::Dead(tell(&*error)),
        What::Defer(time) => Settlement::Deferred(time.min(MAX_TIME)),
        What::Wait { after, seen } => Settlement::Waiting {
            after: after.min(MAX_TIME),
            seen,
        },
        What::Cancel => Settlement::Cancelled,
        What::Retry(error) => Settlement::Failed {
            after: pause().min(MAX_TIME),
            error: tell(&*error),
        },
        What::RetryIn(time, error) => Settlement::Failed {
            after: time.min(MAX_TIME),
            error: tell(&*error),
        },
    }
}

/// An error with its causes, as long as it is kept.
pub(crate) fn tell(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Some say in their own text what their cause is.
        let said = error.to_string();
        if !text.ends_with(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = error.source();
    }
    shorten(text)
}

/// A text, as much of it as is kept of an error.
pub(crate) fn shorten(mut text: String) -> String {
    if text.len() > MAX_ERROR {
        let mut end = MAX_ERROR - '…'.len_utf8();
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("could not send")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn an_error_is_told_with_its_causes_once_each() {
        let io = || std::io::Error::other("no route");
        assert_eq!(tell(&Outer(io())), "could not send: no route");
        assert_eq!(tell(&io()), "no route");
    }

    #[test]
    fn a_long_error_is_cut_between_characters() {
        let long = shorten("ü".repeat(MAX_ERROR));
        assert!(long.len() <= MAX_ERROR && long.len() > MAX_ERROR - 5 && long.ends_with("ü…"));
        assert_eq!(shorten("x".repeat(MAX_ERROR)).len(), MAX_ERROR);
    }
}
