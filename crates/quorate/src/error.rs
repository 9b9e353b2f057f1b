//! The one error type of the crate.

use std::error::Error as StdError;
use std::fmt;

/// A result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

type Source = Box<dyn StdError + Send + Sync>;

/// What is known about the effect of an operation that failed.
///
/// It says whether repeating the call could apply the operation twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(
    clippy::exhaustive_enums,
    reason = "an effect happened, did not, or is unknown; there is no fourth"
)]
pub enum Outcome {
    /// The operation certainly had no effect.
    NotApplied,
    /// The operation may or may not have taken effect: a reply was lost, or a script failed midway.
    Unknown,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotApplied => "not applied",
            Self::Unknown => "outcome unknown",
        })
    }
}

/// What went wrong, in the terms of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An argument breaks a rule; the message names the field and the rule. Nothing was touched.
    InvalidInput,
    /// The configuration breaks a rule; the message names the field and the rule.
    Config,
    /// There is no connection, and there was none until the deadline.
    Disconnected,
    /// A bound on work in flight was reached.
    Overloaded,
    /// The deadline passed.
    Timeout,
    /// The connection broke while the operation was under way.
    ConnectionLost,
    /// The server refused the credentials.
    Auth,
    /// The backend answered with an error.
    Backend,
    /// The backend's answer makes no sense; the connection was given up.
    Protocol,
    /// The backend cannot do this.
    Unsupported,
    /// The caller's own function, which was to load a value, failed; its error is the source.
    Load,
    /// A job whose result was waited for failed for good, was cancelled, expired, or is forgotten.
    JobFailed,
    /// A value could not be encoded.
    Encode,
    /// A stored or received value could not be decoded.
    Decode,
    /// The fleet, or the handle, was closed.
    Closed,
}

impl ErrorKind {
    /// The name used in messages, metrics and problem documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidInput => "invalid input",
            Self::Config => "invalid configuration",
            Self::Disconnected => "disconnected",
            Self::Overloaded => "overloaded",
            Self::Timeout => "timeout",
            Self::ConnectionLost => "connection lost",
            Self::Auth => "authentication refused",
            Self::Backend => "backend error",
            Self::Protocol => "protocol error",
            Self::Unsupported => "unsupported",
            Self::Load => "load failed",
            Self::JobFailed => "job failed",
            Self::Encode => "encode",
            Self::Decode => "decode",
            Self::Closed => "closed",
        }
    }
}

/// Why an operation failed, and what is known about its effect.
///
/// `Display` is one line that never contains a secret; the cause is kept as
/// [`source`](std::error::Error::source).
///
/// # Example
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use quorate::{ErrorKind, Fleet, Outcome};
///
/// let error = Fleet::embedded().lock("").try_acquire().await.unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::InvalidInput);
/// assert_eq!(error.outcome(), Outcome::NotApplied);
/// assert_eq!(error.to_string(), "lock.try_acquire: invalid input: name must not be empty");
/// # }
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    outcome: Outcome,
    retryable: bool,
    operation: Option<&'static str>,
    target: Option<String>,
    message: Option<String>,
    code: Option<String>,
    source: Option<Source>,
}

impl Error {
    /// An error of `kind` that had no effect and that repeating would not cure.
    ///
    /// Backends build theirs from this and the `with_` methods.
    #[must_use]
    pub fn new(kind: ErrorKind) -> Self {
        Self(Box::new(Inner {
            kind,
            outcome: Outcome::NotApplied,
            retryable: matches!(
                kind,
                ErrorKind::Disconnected
                    | ErrorKind::Overloaded
                    | ErrorKind::Timeout
                    | ErrorKind::ConnectionLost
            ),
            operation: None,
            target: None,
            message: None,
            code: None,
            source: None,
        }))
    }

    /// An argument named `field` breaks `rule`.
    #[must_use]
    pub fn invalid(field: &str, rule: impl fmt::Display) -> Self {
        Self::new(ErrorKind::InvalidInput).with_message(format!("{field} {rule}"))
    }

    /// An option named `field` breaks `rule`.
    #[must_use]
    pub fn config(field: &str, rule: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Config).with_message(format!("{field} {rule}"))
    }

    /// The fleet or handle was closed.
    #[must_use]
    pub fn closed(what: &str) -> Self {
        Self::new(ErrorKind::Closed).with_message(format!("{what} is closed"))
    }

    /// Says what is known about the effect.
    #[must_use]
    pub fn with_outcome(mut self, outcome: Outcome) -> Self {
        self.0.outcome = outcome;
        self
    }

    /// Says whether the same call may succeed later.
    #[must_use]
    pub fn with_retryable(mut self, retryable: bool) -> Self {
        self.0.retryable = retryable;
        self
    }

    /// Names the operation, such as `events.publish`. The first name given stays.
    #[must_use]
    pub fn with_operation(mut self, operation: &'static str) -> Self {
        self.0.operation.get_or_insert(operation);
        self
    }

    /// Names the key, topic or lock concerned. The first name given stays.
    #[must_use]
    pub fn with_target(mut self, target: impl Into<String>) -> Self {
        if self.0.target.is_none() {
            self.0.target = Some(target.into());
        }
        self
    }

    /// Adds the human part of the message. It must hold no secret.
    #[must_use]
    pub fn with_message(mut self, message: impl Into<String>) -> Self {
        self.0.message = Some(message.into());
        self
    }

    /// Adds the backend's own error code, such as `READONLY`.
    #[must_use]
    pub fn with_code(mut self, code: impl Into<String>) -> Self {
        self.0.code = Some(code.into());
        self
    }

    /// Keeps the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Source>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Kind, message and cause, for who has several callers to tell.
    pub(crate) fn into_parts(self) -> (ErrorKind, Option<String>, Option<Source>) {
        (self.0.kind, self.0.message, self.0.source)
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What is known about the effect of the operation.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        self.0.outcome
    }

    /// Whether the same call may succeed later.
    ///
    /// It says nothing about safety: look at [`outcome`](Self::outcome) before repeating what is not
    /// idempotent.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.0.retryable
    }

    /// The operation, such as `lock.acquire`.
    #[must_use]
    pub fn operation(&self) -> Option<&'static str> {
        self.0.operation
    }

    /// The key, topic or lock concerned.
    #[must_use]
    pub fn target(&self) -> Option<&str> {
        self.0.target.as_deref()
    }

    /// The backend's own error code, such as `READONLY`, where it gave one.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        self.0.code.as_deref()
    }

    /// The part of the message that names the field and the rule, or quotes the backend.
    #[must_use]
    pub fn message(&self) -> Option<&str> {
        self.0.message.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        if let Some(operation) = inner.operation {
            f.write_str(operation)?;
            if let Some(target) = &inner.target {
                write!(f, " `{}`", target.escape_debug())?;
            }
            f.write_str(": ")?;
        }
        f.write_str(inner.kind.as_str())?;
        if let Some(message) = &inner.message {
            write!(f, ": {message}")?;
        }
        if inner.outcome == Outcome::Unknown {
            write!(f, " ({})", inner.outcome)?;
        }
        Ok(())
    }
}

/// `{:?}` is what a person reads when `main` returns the error: the message, and the causes that add to
/// it. `{:#?}` shows the fields.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        if f.alternate() {
            return f
                .debug_struct("Error")
                .field("kind", &inner.kind)
                .field("outcome", &inner.outcome)
                .field("retryable", &inner.retryable)
                .field("operation", &inner.operation)
                .field("target", &inner.target)
                .field("message", &inner.message)
                .field("code", &inner.code)
                .field("source", &inner.source)
                .finish();
        }
        let mut said = self.to_string();
        f.write_str(&said)?;
        let mut cause = self.source();
        while let Some(error) = cause {
            let text = error.to_string();
            // A layer often repeats what the one below it said.
            if !said.contains(&text) && !text.contains(&said) {
                write!(f, "\n  caused by: {text}")?;
                said.push_str(&text);
            }
            cause = error.source();
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0
            .source
            .as_deref()
            .map(|source| source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_is_readable_and_repeats_nothing() {
        let refused = std::io::Error::other("connection refused");
        let error = Error::new(ErrorKind::Disconnected)
            .with_operation("connect")
            .with_message("no connection in time")
            .with_source(refused);
        let expected =
            "connect: disconnected: no connection in time\n  caused by: connection refused";
        assert_eq!(format!("{error:?}"), expected);
        let repeated = Error::new(ErrorKind::Disconnected)
            .with_message("connection refused")
            .with_source(std::io::Error::other("connection refused"));
        assert_eq!(format!("{repeated:?}"), "disconnected: connection refused");
        assert!(format!("{repeated:#?}").starts_with("Error {"));
    }
}
