//! Why a step, or a run, did not succeed.

use std::error::Error as StdError;
use std::fmt;
use std::ops::Deref;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::queue::{MAX_ERROR, shorten, tell};

/// What is kept of a run that failed begins so.
const FAILED: &str = "failed";

/// How much may be put beside the text, in bytes of JSON.
const MAX_DATA: usize = 16 * 1024;

/// What stands before what was put beside the text.
const DATA: &str = "\n\u{2}";

/// Why a step, or a run, did not succeed: kept in the journal, so that it is the same when the function is replayed.
///
/// Any error becomes one with `?`, with the text of its causes, and means for a step: try again, as often as it may be. What must not be
/// tried again is [`fatal`](Self::fatal).
///
/// It is no [`Error`](StdError) itself: otherwise `?` could not turn any error into one.
///
/// # Example
/// ```
/// use quorate::Failure;
///
/// fn parse(port: &str) -> Result<u16, Failure> {
///     if port.is_empty() {
///         return Err(Failure::fatal("there is no port")); // will be wrong again
///     }
///     Ok(port.parse()?)
/// }
/// assert_eq!(parse("x").unwrap_err().message(), "invalid digit found in string");
/// assert!(parse("").unwrap_err().is_fatal());
/// ```
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Failure(Box<Details>);

#[derive(Clone, PartialEq, Serialize, Deserialize)]
struct Details {
    kind: FailureKind,
    message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data: Option<Value>,
}

/// What kind of failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum FailureKind {
    /// It may succeed when it is tried again.
    Error,
    /// It will be wrong again.
    Fatal,
    /// It took longer than it may.
    TimedOut,
    /// The run was asked to stop.
    Cancelled,
}

impl Failure {
    /// It may succeed when it is tried again; for a text, or an error that has not been turned into one with `?`.
    #[must_use]
    pub fn error(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::new(FailureKind::Error, tell(&*error.into()))
    }

    /// It will be wrong again: a step that fails so is not tried again.
    #[must_use]
    pub fn fatal(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::new(FailureKind::Fatal, tell(&*error.into()))
    }

    pub(super) fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self(Box::new(Details {
            kind,
            message: message.into(),
            data: None,
        }))
    }

    /// With something that is JSON, of at most 16 KiB, for whoever looks into it, beside the text. What is no JSON, or more than that, is left
    /// out.
    #[must_use]
    pub fn with_data<T: Serialize + ?Sized>(mut self, data: &T) -> Self {
        let data = serde_json::to_value(data).ok();
        self.0.data = data.filter(|data| data.to_string().len() <= MAX_DATA);
        self
    }

    /// The same, which says more.
    pub(super) fn and(mut self, more: &str) -> Self {
        self.0.message.push_str("; ");
        self.0.message.push_str(more);
        self
    }

    /// What kind of failure it is.
    #[must_use]
    pub const fn kind(&self) -> FailureKind {
        self.0.kind
    }

    /// What it says, with its causes.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What was [put beside](Self::with_data) the text, if it is of this type.
    #[must_use]
    pub fn data<T: DeserializeOwned>(&self) -> Option<T> {
        T::deserialize(self.0.data.as_ref()?).ok()
    }

    /// Whether the run was asked to stop.
    #[must_use]
    pub const fn is_cancelled(&self) -> bool {
        matches!(self.0.kind, FailureKind::Cancelled)
    }

    /// Whether something took longer than it may.
    #[must_use]
    pub const fn is_timeout(&self) -> bool {
        matches!(self.0.kind, FailureKind::TimedOut)
    }

    /// Whether it will be wrong again.
    #[must_use]
    pub const fn is_fatal(&self) -> bool {
        matches!(self.0.kind, FailureKind::Fatal)
    }

    /// As it is kept of a run: `failed: why`, `failed (kind): why`, and what was put beside it on a line of its own, if there is room.
    pub(super) fn write(&self) -> String {
        let mut text = match self.kind() {
            FailureKind::Error => format!("{FAILED}: {self}"),
            kind => format!("{FAILED} ({}): {self}", kind.as_str()),
        };
        if let Some(data) = &self.0.data {
            let data = data.to_string();
            if text.len() + data.len() < MAX_ERROR {
                text.push_str(DATA);
                text.push_str(&data);
            }
        }
        shorten(text)
    }

    /// Reads the form that `write` writes; anything else is a failure that says that.
    pub(super) fn read(text: &str) -> Self {
        let plain = || Self::new(FailureKind::Error, text);
        let Some(rest) = text.strip_prefix(FAILED) else {
            return plain();
        };
        let kinds = [
            (": ", FailureKind::Error),
            (" (fatal): ", FailureKind::Fatal),
            (" (timed-out): ", FailureKind::TimedOut),
            (" (cancelled): ", FailureKind::Cancelled),
        ];
        let told = |(prefix, kind)| Some((rest.strip_prefix(prefix)?, kind));
        let Some((message, kind)) = kinds.into_iter().find_map(told) else {
            return plain();
        };
        if let Some((message, data)) = message.rsplit_once(DATA)
            && let Ok(data) = serde_json::from_str::<Value>(data)
        {
            return Self::new(kind, message).with_data(&data);
        }
        Self::new(kind, message)
    }

    pub(super) const fn may_be_tried_again(&self) -> bool {
        matches!(self.0.kind, FailureKind::Error | FailureKind::TimedOut)
    }
}

/// Why a run failed, for whoever waits for its result: a [`Failure`] that is an [`Error`](StdError), so that `?` hands it on as any other.
#[derive(Clone, PartialEq)]
pub struct RunFailure(Failure);

impl RunFailure {
    pub(super) const fn new(failure: Failure) -> Self {
        Self(failure)
    }

    /// What the function ended with.
    #[must_use]
    pub fn into_failure(self) -> Failure {
        self.0
    }
}

impl Deref for RunFailure {
    type Target = Failure;

    fn deref(&self) -> &Failure {
        &self.0
    }
}

impl fmt::Display for RunFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the run failed: {}", self.0)
    }
}

impl fmt::Debug for RunFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl StdError for RunFailure {}

impl FailureKind {
    /// The name used in journals, on the wire and in messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Fatal => "fatal",
            Self::TimedOut => "timed-out",
            Self::Cancelled => "cancelled",
        }
    }
}

impl<E: StdError + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::new(FailureKind::Error, tell(&error))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.kind.as_str(), self.0.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_failure_reads_back_what_it_writes() {
        let timed_out = Failure::new(FailureKind::TimedOut, "no signal\nat all");
        for (it, text) in [
            (Failure::error("card refused"), "failed: card refused"),
            (timed_out, "failed (timed-out): no signal\nat all"),
            (Failure::fatal(""), "failed (fatal): "),
        ] {
            assert_eq!(it.write(), text);
            assert_eq!(Failure::read(text), it);
        }
        let with_data = Failure::error("card refused").with_data(&json!({"code": 7}));
        assert_eq!(Failure::read(&with_data.write()), with_data);
        assert_eq!(
            Failure::read("its lease ran out").message(),
            "its lease ran out"
        );
    }

    #[test]
    fn a_long_failure_is_shortened() {
        let long = Failure::error("x".repeat(10_000)).with_data(&"y".repeat(10_000));
        assert!(long.write().len() <= MAX_ERROR);
        assert_eq!(Failure::read(&long.write()).data::<Value>(), None);
    }
}
