//! What a durable function is: its name, its types, and what holds for its runs.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::path::first_bytes;
use crate::backoff::Backoff;
use crate::entry_key::check_area;
use crate::error::{Error, Result};
use crate::queue::{JobId, QueueSpec};

/// How often a run is delivered without getting any further, unless the workflow says otherwise.
const ATTEMPTS: u32 = 5;

/// How long is kept what became of a run, unless the workflow says otherwise.
const KEEP: Duration = Duration::from_secs(24 * 3600);

/// The largest input and result of a run, in bytes of JSON: with what stands around it, it is an entry of a journal.
const MAX_BYTES: usize = 1020 * 1024;

/// What the queues of runs are called before the name of their function.
pub(super) const QUEUES: &str = "runs/";

/// The longest name of a workflow, in bytes.
const MAX_NAME: usize = 120;

/// The longest name of a run, in bytes.
pub const MAX_RUN_ID: usize = 512;

/// The name of a durable function, the types of what its runs get and return, and what holds for them: a `const` that is shared by who
/// starts runs and who does them.
///
/// # Example
/// ```
/// use quorate::Workflow;
/// use std::time::Duration;
///
/// const CHECKOUT: Workflow<u64, String> = Workflow::new("checkout")
///     .keep(Duration::from_secs(7 * 24 * 3600));
/// # let _ = CHECKOUT;
/// ```
pub struct Workflow<I, O = ()> {
    name: Cow<'static, str>,
    version: u32,
    keep: Duration,
    max_attempts: u32,
    backoff: Option<Backoff>,
    types: PhantomData<fn(I) -> O>,
}

/// What the job of a run has as its input.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct RunInput {
    /// What the run is called.
    pub(super) run: String,
    /// Of which version of the function it is.
    pub(super) version: u32,
    pub(super) input: Box<RawValue>,
    /// Who started it, and waits for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) parent: Option<Parent>,
}

/// What the job of a run has as its result.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct RunOutput {
    /// What the run is called.
    pub(super) run: String,
    pub(super) value: Box<RawValue>,
}

/// A run that waits for another.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Parent {
    /// The name of the queue that has it.
    pub(super) queue: String,
    /// Its job.
    pub(super) job: JobId,
}

impl<I, O> Workflow<I, O> {
    /// A function called `name`, of version 1, whose inputs and results are JSON.
    ///
    /// A name has 1 to 120 letters, digits and `_ . / -`. It is a part of every key.
    ///
    /// # Panics
    /// If the name breaks that rule; in a `const` this is a compile error. For names known only at run time there is
    /// [`try_new`](Self::try_new).
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        if let Err(rule) = check_name(name) {
            panic!("{}", rule);
        }
        Self::unchecked(Cow::Borrowed(name))
    }

    /// A function whose name is known at run time.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if the name breaks the rule of [`new`](Self::new).
    pub fn try_new(name: impl Into<String>) -> Result<Self> {
        let name = name.into();
        check_name(&name).map_err(|rule| Error::invalid("workflow", rule))?;
        Ok(Self::unchecked(Cow::Owned(name)))
    }

    const fn unchecked(name: Cow<'static, str>) -> Self {
        Self {
            name,
            version: 1,
            keep: KEEP,
            max_attempts: ATTEMPTS,
            backoff: None,
            types: PhantomData,
        }
    }

    /// Of which version of the function runs are that are started with this. A run keeps its version, and goes on where a function of
    /// that version is [registered](super::DurableBuilder::register). Default 1.
    #[must_use]
    pub const fn version(mut self, version: u32) -> Self {
        self.version = version;
        self
    }

    /// How long is kept what became of a run, and its journal, once it is over: a minute at least, and so long starting the same again
    /// finds it. What failed is kept for 30 days, whatever is said here. Default a day.
    #[must_use]
    pub const fn keep(mut self, time: Duration) -> Self {
        self.keep = time;
        self
    }

    /// How often a run is taken up without getting any further, before it has failed: because whoever has it dies of it each time. A step that
    /// is over begins the count anew. Default 5.
    #[must_use]
    pub const fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = attempts;
        self
    }

    /// How long to wait before a run is taken up again after whoever had it died of it. Default 1 s, doubling, at most 10 minutes.
    #[must_use]
    pub const fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = Some(backoff);
        self
    }

    /// The function's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn shared_name(&self) -> Cow<'static, str> {
        self.name.clone()
    }

    pub(super) const fn number(&self) -> u32 {
        self.version
    }

    /// The queue of its runs.
    pub(super) fn queue(&self) -> Result<QueueSpec<RunInput, RunOutput>> {
        let spec = QueueSpec::try_new(format!("{QUEUES}{}", self.name))?;
        let spec = spec.max_attempts(self.max_attempts).keep_result(self.keep);
        let spec = match self.backoff {
            Some(backoff) => spec.backoff(backoff),
            None => spec,
        };
        // With what stands around them.
        Ok(spec.max_bytes(MAX_BYTES + 2 * MAX_RUN_ID + 256))
    }

    /// The job of a run.
    pub(super) fn job(&self, run: &str) -> Result<JobId> {
        if run.is_empty() || run.len() > MAX_RUN_ID {
            let rule = format_args!("must have 1 to {MAX_RUN_ID} bytes");
            return Err(Error::invalid("run", rule));
        }
        let mut hash = Sha256::new();
        hash.update((self.name.len() as u64).to_le_bytes());
        hash.update(self.name.as_bytes());
        hash.update(run);
        Ok(JobId::from_bytes(first_bytes(&hash.finalize())))
    }
}

const fn check_name(name: &str) -> std::result::Result<(), &'static str> {
    if name.len() > MAX_NAME {
        return Err("must be at most 120 bytes");
    }
    check_area(name.as_bytes())
}

// Not derived: the types need not be `Clone` or `Debug`.
impl<I, O> Clone for Workflow<I, O> {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            types: PhantomData,
            ..*self
        }
    }
}

impl<I, O> fmt::Debug for Workflow<I, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workflow")
            .field("name", &self.name)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}
