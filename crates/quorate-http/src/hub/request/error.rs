//! Why a handler could not do what was asked.

use std::any::Any;
use std::error::Error;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use crate::hub::access::Denied;
use crate::problem::{Code, Problem};

/// Why a handler did not do what was asked: what the client is told.
///
/// Any error becomes one, so that `?` works: a [`quorate::Error`] with the code that fits it, anything else as
/// `INTERNAL`, with its text in the log and not in the answer.
///
/// # Example
/// ```
/// use quorate_http::{Code, HandlerError};
/// use serde_json::json;
/// use std::time::Duration;
///
/// let taken = HandlerError::new(Code::AlreadyExists, "name is taken").with_details(json!({"name": "ada"}));
/// let busy = HandlerError::new(Code::Unavailable, "try again").with_retry_after(Duration::from_secs(2));
/// assert_eq!((taken.code(), busy.code()), (Code::AlreadyExists, Code::Unavailable));
///
/// fn load() -> Result<String, HandlerError> {
///     Ok(std::fs::read_to_string("/no/such/file")?)
/// }
/// assert_eq!(load().unwrap_err().code(), Code::Internal);
/// ```
#[derive(Debug)]
pub struct HandlerError {
    problem: Problem,
    /// What is logged and not sent.
    cause: Option<Box<dyn Error + Send + Sync>>,
}

impl HandlerError {
    /// An error with this code. The message is sent: it must hold no secret.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Problem::new(code, message).into()
    }

    /// What programs may want to know, as `details` of the answer. What JSON does not have is left out, and
    /// logged.
    #[must_use]
    pub fn with_details(mut self, details: impl Serialize) -> Self {
        match serde_json::to_value(details) {
            Ok(Value::Null) => {}
            Ok(details) => self.problem = self.problem.with_member("details", details),
            Err(error) => tracing::warn!(%error, "details of an answer cannot be JSON"),
        }
        self
    }

    /// When the client may ask again. Left out where asking again helps nothing: only
    /// `DEADLINE_EXCEEDED`, `RESOURCE_EXHAUSTED`, `UNAVAILABLE` and `ABORTED` are temporary.
    #[must_use]
    pub fn with_retry_after(mut self, after: Duration) -> Self {
        if self.problem.is_retryable() {
            self.problem = self.problem.with_retry_after(after);
        }
        self
    }

    /// Keeps why, for the log.
    #[must_use]
    pub fn with_cause(mut self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// The code that is sent.
    #[must_use]
    pub const fn code(&self) -> Code {
        self.problem.code()
    }

    /// The message that is sent.
    #[must_use]
    pub fn message(&self) -> &str {
        self.problem.detail()
    }

    /// What the client is told. What it is not told is logged.
    pub(super) fn into_problem(self, kind: &'static str, client: &str) -> Problem {
        let Self { problem, cause } = self;
        let code = problem.code().as_str();
        match cause {
            Some(error) if problem.code() == Code::Internal => {
                tracing::error!(kind, client, code, error = &*error, "a request failed");
            }
            Some(error) => {
                tracing::debug!(kind, client, code, error = &*error, "a request failed");
            }
            None => {}
        }
        problem
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for HandlerError {
    fn from(error: E) -> Self {
        let problem = match (&error as &dyn Any).downcast_ref::<quorate::Error>() {
            Some(error) => Problem::from(error),
            None => Problem::new(Code::Internal, "the request failed"),
        };
        Self {
            problem,
            cause: Some(Box::new(error)),
        }
    }
}

impl From<Problem> for HandlerError {
    fn from(problem: Problem) -> Self {
        let cause = None;
        Self { problem, cause }
    }
}

/// So that a handler can ask the same functions as the hooks.
impl From<Denied> for HandlerError {
    fn from(denied: Denied) -> Self {
        denied.into_problem("handler").into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate::ErrorKind;

    #[test]
    fn when_to_ask_again_is_said_only_where_that_helps() {
        for (code, temporary) in [
            (Code::Unauthenticated, false),
            (Code::PermissionDenied, false),
            (Code::InvalidArgument, false),
            (Code::FailedPrecondition, false),
            (Code::NotFound, false),
            (Code::AlreadyExists, false),
            (Code::Unimplemented, false),
            (Code::Cancelled, false),
            (Code::DeadlineExceeded, true),
            (Code::ResourceExhausted, true),
            (Code::Unavailable, true),
            (Code::Aborted, true),
            (Code::Internal, false),
        ] {
            let error = HandlerError::new(code, "x").with_retry_after(Duration::from_secs(1));
            assert_eq!(error.problem.retry_after().is_some(), temporary, "{code:?}");
        }
    }

    #[test]
    fn errors_keep_their_insides_unless_they_are_ours() {
        let error = HandlerError::from(std::io::Error::other("insides"));
        assert_eq!(error.code(), Code::Internal);
        assert!(!error.message().contains("insides"));
        let error = HandlerError::from(quorate::Error::new(ErrorKind::Disconnected));
        assert_eq!(error.code(), Code::Unavailable);
        let error = HandlerError::from(Denied::permission("no"));
        assert_eq!(
            (error.code(), error.message()),
            (Code::PermissionDenied, "no")
        );
        let error = HandlerError::new(Code::NotFound, "x").with_details([1]);
        assert_eq!(error.problem.member("details").unwrap()[0], 1);
    }
}
