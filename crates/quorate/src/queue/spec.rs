//! What a queue is: its name, its types, and what holds for its jobs unless a push says otherwise.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::limits::{QueueLimits, StartRate};
use super::options::JobOptions;
use super::work::tell;
use crate::backoff::Backoff;
use crate::codec::Codec;
use crate::entry_key::check_area;
use crate::error::{Error, ErrorKind, Result};

/// How often a job is delivered at most, unless the spec or a push says otherwise.
const ATTEMPTS: u32 = 5;

/// Between attempts: 1 s, doubling, at most 10 minutes, half of it random.
const BACKOFF: Backoff = Backoff {
    initial: Duration::from_secs(1),
    factor: 2.0,
    max: Duration::from_secs(600),
    jitter: 0.5,
};

/// How long is kept what became of a job.
const KEEP: Duration = Duration::from_secs(600);

/// The largest input and result, unless the spec says otherwise.
const MAX_BYTES: usize = 1024 * 1024;

/// The name of a queue, the types of what its jobs get and return, and what holds for them unless a push says otherwise: a
/// `const` that producers and workers share.
///
/// A queue has jobs of one type. What differs by the job is [computed from its input](Self::options) or said at the push.
///
/// # Example
/// ```
/// use quorate::QueueSpec;
/// use serde::{Deserialize, Serialize};
/// use std::time::Duration;
///
/// #[derive(Serialize, Deserialize)]
/// struct Email { to: String, text: String }
///
/// #[derive(Serialize, Deserialize)]
/// struct Sent { message_id: String }
///
/// const EMAILS: QueueSpec<Email, Sent> = QueueSpec::new("emails")
///     .max_attempts(8)
///     .timeout(Duration::from_secs(30));
/// # let _ = EMAILS;
/// ```
pub struct QueueSpec<I, O = ()> {
    pub(super) name: Cow<'static, str>,
    pub(super) input: Codec<I>,
    pub(super) output: Codec<O>,
    pub(super) max_attempts: u32,
    pub(super) backoff: Backoff,
    pub(super) timeout: Option<Duration>,
    pub(super) expires_in: Option<Duration>,
    pub(super) keep_result: Duration,
    pub(super) priority: u8,
    pub(super) max_bytes: usize,
    pub(super) options: Option<fn(&I) -> JobOptions>,
    pub(super) limits: QueueLimits,
}

impl<I, O> QueueSpec<I, O>
where
    I: Serialize + DeserializeOwned,
    O: Serialize + DeserializeOwned,
{
    /// A queue called `name`, whose inputs and results are JSON, which delivers a job at most 5 times, and keeps what became of
    /// it for 10 minutes.
    ///
    /// A name has 1 to 128 letters, digits and `_ . / -`. It is a part of every key.
    ///
    /// # Panics
    /// If the name breaks that rule; in a `const` this is a compile error. For names known only at run time
    /// there is [`try_new`](Self::try_new).
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self::with_codecs(name, Codec::json(), Codec::json())
    }

    /// A queue whose name is known at run time.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if the name breaks the rule of
    /// [`new`](Self::new).
    pub fn try_new(name: impl Into<String>) -> Result<Self> {
        Self::try_with_codecs(name, Codec::json(), Codec::json())
    }
}

impl<I, O> QueueSpec<I, O> {
    /// A queue called `name` with codecs of its own; for types that are not `serde`'s.
    ///
    /// # Panics
    /// If the name breaks the rule of [`new`](QueueSpec::new).
    #[must_use]
    pub const fn with_codecs(name: &'static str, input: Codec<I>, output: Codec<O>) -> Self {
        if let Err(rule) = check_area(name.as_bytes()) {
            panic!("{}", rule);
        }
        Self::unchecked(Cow::Borrowed(name), input, output)
    }

    /// [`with_codecs`](Self::with_codecs) for a name known at run time.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if the name breaks the rule of
    /// [`new`](QueueSpec::new).
    pub fn try_with_codecs(
        name: impl Into<String>,
        input: Codec<I>,
        output: Codec<O>,
    ) -> Result<Self> {
        let name = name.into();
        check_area(name.as_bytes()).map_err(|rule| Error::invalid("queue", rule))?;
        Ok(Self::unchecked(Cow::Owned(name), input, output))
    }

    const fn unchecked(name: Cow<'static, str>, input: Codec<I>, output: Codec<O>) -> Self {
        Self {
            name,
            input,
            output,
            max_attempts: ATTEMPTS,
            backoff: BACKOFF,
            timeout: None,
            expires_in: None,
            keep_result: KEEP,
            priority: 0,
            max_bytes: MAX_BYTES,
            options: None,
            limits: QueueLimits::NONE,
        }
    }

    /// The queue's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How often a job is delivered at most, at least once. Default 5. See [`JobOptions::max_attempts`].
    #[must_use]
    pub const fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = attempts;
        self
    }

    /// How long to wait before the next attempt. Default 1 s, doubling, at most 10 minutes, half of it random.
    #[must_use]
    pub const fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// How long one attempt may take. Default: as long as it takes. See [`JobOptions::timeout`].
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// For how long it is worth beginning a job. Default: for ever. See [`JobOptions::expires_in`].
    #[must_use]
    pub const fn expires_in(mut self, time: Duration) -> Self {
        self.expires_in = Some(time);
        self
    }

    /// How long is kept what became of a job; at least a minute. Default 10 minutes. See [`JobOptions::keep_result`].
    #[must_use]
    pub const fn keep_result(mut self, time: Duration) -> Self {
        self.keep_result = time;
        self
    }

    /// How urgent jobs are, from 0 to 9. Default 0. See [`JobOptions::priority`].
    #[must_use]
    pub const fn priority(mut self, priority: u8) -> Self {
        self.priority = priority;
        self
    }

    /// The largest input and the largest result, encoded. Default 1 MiB. A push of more is refused; a job whose result is
    /// larger is dead.
    #[must_use]
    pub const fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// How many jobs are active at most, over the whole fleet: at least 1. Default: as many as the workers have room for.
    ///
    /// Jobs beyond that wait where they are. The limits of a queue are those of the workers that ask, so while two versions of a
    /// service run, each keeps to its own. They are kept by the home, in the step that gives a worker its jobs: two workers that ask at
    /// once never get more together.
    ///
    /// # Example
    /// ```
    /// use quorate::QueueSpec;
    /// use quorate::queue::StartRate;
    /// use std::time::Duration;
    ///
    /// /// 50 at once and 10 a second, of each customer (its fairness group) 2 at once.
    /// const EXPORTS: QueueSpec<String> = QueueSpec::new("exports")
    ///     .max_active(50)
    ///     .max_active_per_group(2)
    ///     .max_starts(StartRate::new(10, Duration::from_secs(1)));
    /// # let _ = EXPORTS;
    /// ```
    #[must_use]
    pub const fn max_active(mut self, jobs: u32) -> Self {
        self.limits.active = Some(jobs);
        self
    }

    /// How many jobs of each fairness group are active at most, over the whole fleet: at least 1. Default: no limit.
    ///
    /// Others go on while the jobs of a group wait, as [`JobState::Limited`](super::JobState::Limited), in their order. A job without
    /// a [fairness group](JobOptions::fairness_group) does not count. See [`max_active`](Self::max_active).
    #[must_use]
    pub const fn max_active_per_group(mut self, jobs: u32) -> Self {
        self.limits.active_per_group = Some(jobs);
        self
    }

    /// How often a job is begun, over the whole fleet; a delivery counts each time. Default: no limit. See [`max_active`](Self::max_active).
    #[must_use]
    pub const fn max_starts(mut self, rate: StartRate) -> Self {
        self.limits.starts = Some(rate);
        self
    }

    /// How often a job of each fairness group is begun, over the whole fleet. Default: no limit. See
    /// [`max_active_per_group`](Self::max_active_per_group).
    #[must_use]
    pub const fn max_starts_per_group(mut self, rate: StartRate) -> Self {
        self.limits.starts_per_group = Some(rate);
        self
    }

    /// What a job has of its own, computed from its input.
    #[must_use]
    pub const fn options(mut self, options: fn(&I) -> JobOptions) -> Self {
        self.options = Some(options);
        self
    }

    /// An input as it is kept, but for what stands behind it.
    pub(super) fn encode_input(&self, input: &I) -> Result<Vec<u8>> {
        let mut encoded = Vec::with_capacity(128);
        self.input
            .encode_behind(input, &mut encoded)
            .map_err(|error| Error::new(ErrorKind::Encode).with_source(error))?;
        if encoded.len() > self.max_bytes {
            let (size, most) = (encoded.len(), self.max_bytes);
            let rule = format_args!("must be at most {most} bytes, and is {size}");
            return Err(Error::invalid("input", rule));
        }
        Ok(encoded)
    }

    /// A result as it is kept.
    pub(super) fn encode_result(&self, value: &O) -> Result<Bytes> {
        let result = self.output.encode(value).map_err(|error| {
            let told = tell(&*error);
            Error::new(ErrorKind::Encode)
                .with_message(format!("its result does not encode: {told}"))
                .with_source(error)
        })?;
        if result.len() > self.max_bytes {
            let (size, most) = (result.len(), self.max_bytes);
            let rule = format_args!("must be at most {most} bytes, and is {size}");
            return Err(Error::invalid("its result", rule));
        }
        Ok(result)
    }

    /// What holds for a job with this input, unless a push says otherwise.
    pub(super) fn options_of(&self, input: &I) -> JobOptions {
        let computed = self.options.map_or_else(JobOptions::new, |of| of(input));
        let mut options = JobOptions::new()
            .priority(self.priority)
            .max_attempts(self.max_attempts)
            .keep_result(self.keep_result);
        // The rest of what holds for all is known to the worker, and need not be kept with each job.
        options.expires_in = self.expires_in;
        computed.or(options)
    }
}

// Not derived: the types need not be `Clone` or `Debug`.
impl<I, O> Clone for QueueSpec<I, O> {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            input: self.input,
            output: self.output,
            ..*self
        }
    }
}

impl<I, O> fmt::Debug for QueueSpec<I, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueSpec")
            .field("name", &self.name)
            .field("input", &self.input)
            .field("output", &self.output)
            .finish_non_exhaustive()
    }
}
