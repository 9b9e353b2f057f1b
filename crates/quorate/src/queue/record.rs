//! A job as who operates its queue sees it, with its types.

use std::fmt;
use std::ops::Deref;
use std::time::Duration;

use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::envelope::{self, Extras};
use super::job::{JobEnd, JobId, JobState};
use super::queues::INSPECT;
use super::spec::QueueSpec;
use super::view::JobView;
use crate::codec::{Codec, CodecError};
use crate::error::{Error, ErrorKind, Result};

/// A job, as it is seen by who operates its queue: where it is, and all that is known of it, which stands in [`JobView`].
///
/// Its input and its result are there as bytes in any case, and decoded when they are asked for: what nobody can read can still
/// be looked at.
pub struct JobRecord<I, O = ()> {
    view: JobView,
    extras: Extras,
    input: Codec<I>,
    output: Codec<O>,
}

impl<I, O> JobRecord<I, O> {
    pub(super) fn new(mut view: JobView, spec: &QueueSpec<I, O>) -> Self {
        let mut extras = Extras::default();
        if let Some(details) = &mut view.details
            && let Some(opened) = envelope::open(&details.input)
        {
            (extras, details.input) = opened;
        }
        Self {
            view,
            extras,
            input: spec.input,
            output: spec.output,
        }
    }

    /// What was pushed; `None` if only what became of the job is kept.
    ///
    /// # Errors
    /// `Decode` if it is of another type.
    pub fn input(&self) -> Result<Option<I>> {
        let details = self.view.details.as_ref();
        let input = details.map(|it| self.input.decode(&it.input));
        input.transpose().map_err(|error| self.unread(error))
    }

    /// What its handler returned; `None` if none has, or not yet.
    ///
    /// # Errors
    /// `Decode` if it is of another type.
    pub fn result(&self) -> Result<Option<O>> {
        let result = self.result_bytes().map(|it| self.output.decode(it));
        result.transpose().map_err(|error| self.unread(error))
    }

    /// What its handler returned, as it is kept; `None` if none has, or not yet.
    #[must_use]
    pub const fn result_bytes(&self) -> Option<&Bytes> {
        match &self.view.state {
            JobState::Ended(JobEnd::Succeeded(result)) => Some(result),
            _ => None,
        }
    }

    /// How far it is, or was; `None` if that was never said.
    ///
    /// # Errors
    /// `Decode` if it is of another type.
    pub fn progress_as<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        let progress = self.view.progress.as_ref();
        let progress = progress.map(|it| serde_json::from_slice(it));
        progress
            .transpose()
            .map_err(|error| self.unread(error.into()))
    }

    /// Words to find it by.
    #[must_use]
    pub fn tags(&self) -> &[String] {
        &self.extras.tags
    }

    /// How long one attempt may take, if that was said of this one.
    #[must_use]
    pub const fn timeout(&self) -> Option<Duration> {
        self.extras.timeout
    }

    /// Whose handler queued it.
    #[must_use]
    pub const fn parent(&self) -> Option<JobId> {
        self.extras.parent
    }

    /// What is kept in place of its input when that is another one.
    pub(super) fn with_input(&self, mut encoded: Vec<u8>) -> Bytes {
        self.extras.close(&mut encoded);
        encoded.into()
    }

    fn unread(&self, error: CodecError) -> Error {
        Error::new(ErrorKind::Decode)
            .with_operation(INSPECT.name)
            .with_target(self.view.id.to_string())
            .with_source(error)
    }
}

impl<I, O> Deref for JobRecord<I, O> {
    type Target = JobView;

    fn deref(&self) -> &JobView {
        &self.view
    }
}

// Not derived: the types need not be `Clone` or `Debug`.
impl<I, O> Clone for JobRecord<I, O> {
    fn clone(&self) -> Self {
        Self {
            view: self.view.clone(),
            extras: self.extras.clone(),
            input: self.input,
            output: self.output,
        }
    }
}

impl<I, O> fmt::Debug for JobRecord<I, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view.fmt(f)
    }
}
