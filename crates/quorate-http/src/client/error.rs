//! Why a call of the client failed.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use quorate::Outcome;
use serde::Deserialize;
use serde_json::Value;

use crate::problem::Code;

/// A result with the client's [`ClientError`].
pub type ClientResult<T> = Result<T, ClientError>;

type Source = Arc<dyn StdError + Send + Sync>;

/// Why a call failed, and what is known about its effect.
///
/// Refused by the server or by the client itself, it has one of the codes of the protocol. What was
/// under way when the connection broke, or when its time was up, has [`Outcome::Unknown`]: it may have
/// had its effect, and the client never repeats it by itself.
///
/// # Clone
/// Clones share one error.
///
/// # Example
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use quorate::Outcome;
/// use quorate_http::Code;
/// use quorate_http::client::HubClient;
///
/// let error = HubClient::builder("ftp://example.com").build().unwrap_err();
/// assert_eq!(error.code(), Code::InvalidArgument);
/// assert_eq!(error.outcome(), Outcome::NotApplied);
/// # }
/// ```
#[derive(Clone)]
pub struct ClientError(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    code: Code,
    message: String,
    retryable: bool,
    retry_after: Option<Duration>,
    details: Option<Value>,
    outcome: Outcome,
    source: Option<Source>,
}

impl ClientError {
    /// An error that had no effect; retryable if its code usually is.
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        let retryable = matches!(
            code,
            Code::DeadlineExceeded | Code::ResourceExhausted | Code::Unavailable | Code::Aborted
        );
        Self(Arc::new(Inner {
            code,
            message: message.into(),
            retryable,
            retry_after: None,
            details: None,
            outcome: Outcome::NotApplied,
            source: None,
        }))
    }

    /// An argument named `field` breaks `rule`.
    pub(super) fn invalid(field: &str, rule: impl fmt::Display) -> Self {
        Self::new(Code::InvalidArgument, format!("{field} {rule}"))
    }

    /// The connection broke while the call was under way.
    pub(super) fn broken() -> Self {
        let message = "the connection broke while this was under way";
        Self::new(Code::Unavailable, message).unknown()
    }

    /// The client was closed before the call was made.
    pub(super) fn closed() -> Self {
        Self::new(Code::FailedPrecondition, "the client is closed")
    }

    /// The server said something that this client cannot make sense of.
    pub(super) fn nonsense(what: &str, source: impl StdError + Send + Sync + 'static) -> Self {
        Self::new(Code::Internal, format!("{what} cannot be read")).caused_by(source)
    }

    pub(super) fn unknown(self) -> Self {
        self.with(|inner| inner.outcome = Outcome::Unknown)
    }

    pub(super) fn caused_by(self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.with(|inner| inner.source = Some(Arc::new(source)))
    }

    pub(super) fn caused_by_any(self, source: Box<dyn StdError + Send + Sync>) -> Self {
        self.with(|inner| inner.source = Some(source.into()))
    }

    fn with(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    /// What went wrong, in a word that programs can compare. A code that this version does not know is
    /// [`Code::Internal`].
    #[must_use]
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// What happened, for people. It holds no secret of the client's.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Whether the same call may succeed later. It says nothing about safety: look at
    /// [`outcome`](Self::outcome) before repeating what is not idempotent.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.0.retryable
    }

    /// When the server asks to be called again, counted from its answer.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// What the server's handler said beside the message.
    #[must_use]
    pub fn details(&self) -> Option<&Value> {
        self.0.details.as_ref()
    }

    /// What is known about the effect. A server's refusal is taken as [`Outcome::NotApplied`], but for
    /// its codes `INTERNAL`, `DEADLINE_EXCEEDED` and `CANCELLED`, after which nothing is known.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        self.0.outcome
    }
}

impl From<quorate::Error> for ClientError {
    fn from(error: quorate::Error) -> Self {
        Self::new(Code::InvalidArgument, error.to_string()).caused_by(error)
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.code.as_str(), self.0.message)?;
        if self.0.outcome == Outcome::Unknown {
            write!(f, " ({})", self.0.outcome)?;
        }
        Ok(())
    }
}

impl fmt::Debug for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        f.debug_struct("ClientError")
            .field("code", &inner.code)
            .field("message", &inner.message)
            .field("retryable", &inner.retryable)
            .field("retry_after", &inner.retry_after)
            .field("details", &inner.details)
            .field("outcome", &inner.outcome)
            .field("source", &inner.source)
            .finish()
    }
}

impl StdError for ClientError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        let source: &(dyn StdError + Send + Sync) = self.0.source.as_deref()?;
        Some(source)
    }
}

/// `error` of a frame.
#[derive(Debug, Deserialize)]
pub(super) struct ErrorMember {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
    retryable: Option<bool>,
    retry_after_ms: Option<u64>,
    details: Option<Value>,
}

impl From<ErrorMember> for ClientError {
    fn from(member: ErrorMember) -> Self {
        let code = code_named(&member.code).unwrap_or(Code::Internal);
        let effect_unknown = matches!(
            code,
            Code::Internal | Code::DeadlineExceeded | Code::Cancelled
        );
        Self::new(code, member.message).with(|inner| {
            inner.retryable = member.retryable.unwrap_or(inner.retryable);
            inner.retry_after = member.retry_after_ms.map(Duration::from_millis);
            inner.details = member.details;
            if effect_unknown {
                inner.outcome = Outcome::Unknown;
            }
        })
    }
}

fn code_named(name: &str) -> Option<Code> {
    const ALL: [Code; 13] = [
        Code::Unauthenticated,
        Code::PermissionDenied,
        Code::InvalidArgument,
        Code::FailedPrecondition,
        Code::NotFound,
        Code::AlreadyExists,
        Code::Unimplemented,
        Code::Cancelled,
        Code::DeadlineExceeded,
        Code::ResourceExhausted,
        Code::Unavailable,
        Code::Aborted,
        Code::Internal,
    ];
    ALL.into_iter().find(|code| code.as_str() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_error_keeps_everything_it_said() {
        let text = r#"{"code":"RESOURCE_EXHAUSTED","message":"slow down","retryable":true,"retry_after_ms":250,"details":{"n":1}}"#;
        let member: ErrorMember = serde_json::from_str(text).unwrap();
        let error = ClientError::from(member);
        assert_eq!(error.code(), Code::ResourceExhausted);
        assert_eq!(error.to_string(), "RESOURCE_EXHAUSTED: slow down");
        assert!(error.is_retryable());
        assert_eq!(error.retry_after(), Some(Duration::from_millis(250)));
        assert_eq!(error.details().unwrap()["n"], 1);
        assert_eq!(error.outcome(), Outcome::NotApplied);
    }

    #[test]
    fn a_code_of_a_later_version_is_an_internal_error_of_unknown_outcome() {
        let member: ErrorMember = serde_json::from_str(r#"{"code":"TEAPOT"}"#).unwrap();
        let error = ClientError::from(member);
        assert_eq!(
            (error.code(), error.outcome()),
            (Code::Internal, Outcome::Unknown)
        );
        assert_eq!(ClientError::broken().outcome(), Outcome::Unknown);
    }
}
