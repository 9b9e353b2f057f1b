//! Errors as documents (RFC 9457).

use std::time::Duration;

use axum::Json;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use quorate::{Error, ErrorKind, Outcome};
use serde::Serialize;
use serde_json::{Map, Value};

/// What went wrong, in a word that programs can compare. The same words serve HTTP and WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Code {
    /// Who asks is not known.
    Unauthenticated,
    /// Who asks may not do this.
    PermissionDenied,
    /// An argument breaks a rule; the message names the field and the rule.
    InvalidArgument,
    /// The state does not allow it, and asking again does not change that.
    FailedPrecondition,
    /// There is no such thing.
    NotFound,
    /// There is such a thing already.
    AlreadyExists,
    /// This server, or its backend, cannot do it.
    Unimplemented,
    /// Whoever asked gave up.
    Cancelled,
    /// The time was up.
    DeadlineExceeded,
    /// A limit was reached.
    ResourceExhausted,
    /// The backend cannot be reached at the moment.
    Unavailable,
    /// Somebody else was first.
    Aborted,
    /// A fault of the server's own.
    Internal,
}

impl Code {
    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::PermissionDenied => "PERMISSION_DENIED",
            Self::InvalidArgument => "INVALID_ARGUMENT",
            Self::FailedPrecondition => "FAILED_PRECONDITION",
            Self::NotFound => "NOT_FOUND",
            Self::AlreadyExists => "ALREADY_EXISTS",
            Self::Unimplemented => "UNIMPLEMENTED",
            Self::Cancelled => "CANCELLED",
            Self::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Self::ResourceExhausted => "RESOURCE_EXHAUSTED",
            Self::Unavailable => "UNAVAILABLE",
            Self::Aborted => "ABORTED",
            Self::Internal => "INTERNAL",
        }
    }

    /// The status that usually goes with it.
    const fn status(self) -> StatusCode {
        match self {
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::PermissionDenied => StatusCode::FORBIDDEN,
            Self::InvalidArgument => StatusCode::BAD_REQUEST,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::FailedPrecondition | Self::AlreadyExists | Self::Aborted => StatusCode::CONFLICT,
            Self::Unimplemented => StatusCode::NOT_IMPLEMENTED,
            Self::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
            Self::ResourceExhausted | Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Cancelled | Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Whether the same request may succeed later.
    const fn is_retryable(self) -> bool {
        matches!(
            self,
            Self::DeadlineExceeded | Self::ResourceExhausted | Self::Unavailable | Self::Aborted
        )
    }
}

/// A problem document: `application/problem+json`.
///
/// Beside the members of the RFC it has `code` (see [`Code`]), `outcome` (`not_applied` or
/// `unknown`: whether repeating the request could apply it twice) and `retryable`.
///
/// # Example
/// ```
/// use quorate_http::{Code, Problem};
///
/// let problem = Problem::new(Code::InvalidArgument, "topic must not be empty");
/// assert_eq!(problem.status(), 400);
/// assert_eq!(serde_json::to_value(&problem).unwrap()["code"], "INVALID_ARGUMENT");
/// ```
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct Problem(Box<Document>);

#[derive(Clone, Debug, Serialize)]
struct Document {
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    status: u16,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<String>,
    #[serde(serialize_with = "as_word")]
    code: Code,
    outcome: &'static str,
    retryable: bool,
    #[serde(flatten)]
    members: Map<String, Value>,
    #[serde(skip)]
    retry_after: Option<Duration>,
}

fn as_word<S: serde::Serializer>(code: &Code, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(code.as_str())
}

impl Problem {
    /// A problem with the status that belongs to `code`, that had no effect.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        let document = Document {
            kind: format!("urn:quorate:problem:{}", code.as_str().to_ascii_lowercase()),
            title: "",
            status: 0,
            detail: detail.into(),
            instance: None,
            code,
            outcome: "not_applied",
            retryable: code.is_retryable(),
            members: Map::new(),
            retry_after: None,
        };
        Self(Box::new(document)).with_status(code.status())
    }

    /// Another status than the code's own.
    #[must_use]
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.0.status = status.as_u16();
        self.0.title = status.canonical_reason().unwrap_or("Error");
        self
    }

    /// The path of the request.
    #[must_use]
    pub fn with_instance(mut self, instance: impl Into<String>) -> Self {
        self.0.instance = Some(instance.into());
        self
    }

    /// A member of its own.
    #[must_use]
    pub fn with_member(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.0.members.insert(name.into(), value.into());
        self
    }

    /// When to ask again; rounded up to seconds in the header `Retry-After`.
    #[must_use]
    pub fn with_retry_after(mut self, after: Duration) -> Self {
        self.0.retry_after = Some(after);
        self
    }

    /// What is known about the effect. Default: none.
    #[must_use]
    pub fn with_outcome(mut self, outcome: Outcome) -> Self {
        self.0.outcome = match outcome {
            Outcome::NotApplied => "not_applied",
            Outcome::Unknown => "unknown",
        };
        self
    }

    /// What is known about the effect.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self.0.outcome {
            "unknown" => Outcome::Unknown,
            _ => Outcome::NotApplied,
        }
    }

    /// Its code.
    #[must_use]
    pub const fn code(&self) -> Code {
        self.0.code
    }

    /// Its status.
    #[must_use]
    pub const fn status(&self) -> u16 {
        self.0.status
    }

    /// What happened, for people.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// When to ask again, where that is known.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// A member of its own.
    #[must_use]
    pub fn member(&self, name: &str) -> Option<&Value> {
        self.0.members.get(name)
    }

    /// Whether the same request may succeed later.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        self.0.retryable
    }
}

impl From<&Error> for Problem {
    fn from(error: &Error) -> Self {
        use StatusCode as S;
        let (code, status) = match error.kind() {
            ErrorKind::InvalidInput => (Code::InvalidArgument, S::BAD_REQUEST),
            ErrorKind::Encode => (Code::InvalidArgument, S::UNPROCESSABLE_ENTITY),
            ErrorKind::Overloaded => (Code::ResourceExhausted, S::SERVICE_UNAVAILABLE),
            ErrorKind::Timeout => (Code::DeadlineExceeded, S::GATEWAY_TIMEOUT),
            // The caller's credentials are fine: it is ours that the backend refuses.
            ErrorKind::Auth
            | ErrorKind::Disconnected
            | ErrorKind::ConnectionLost
            | ErrorKind::Closed => (Code::Unavailable, S::SERVICE_UNAVAILABLE),
            ErrorKind::Backend if error.is_retryable() => {
                (Code::Unavailable, S::SERVICE_UNAVAILABLE)
            }
            ErrorKind::Backend | ErrorKind::Protocol => (Code::Internal, S::BAD_GATEWAY),
            ErrorKind::Unsupported => (Code::Unimplemented, S::NOT_IMPLEMENTED),
            _ => (Code::Internal, S::INTERNAL_SERVER_ERROR),
        };
        let mut problem = Self::new(code, error.to_string())
            .with_status(status)
            .with_outcome(error.outcome());
        problem.0.retryable = error.is_retryable() || code == Code::Unavailable;
        if problem.0.retryable {
            problem.0.retry_after = Some(Duration::from_secs(1));
        }
        problem
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry_after = self
            .0
            .retry_after
            .map(|after| after.as_secs() + u64::from(after.subsec_nanos() > 0));
        let mut response = (status, Json(&self)).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"quorate\""),
            );
        }
        // For the middleware that knows the path.
        response.extensions_mut().insert(self);
        response
    }
}

/// Middleware that puts the request's path into problem documents that name no `instance`: what makes
/// them rarely knows it.
///
/// # Example
/// ```
/// use axum::{Router, middleware};
///
/// let app: Router = Router::new().layer(middleware::from_fn(quorate_http::name_instances));
/// # let _ = app;
/// ```
pub async fn name_instances(request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let mut response = next.run(request).await;
    match response.extensions_mut().remove::<Problem>() {
        Some(problem) if problem.0.instance.is_none() => {
            problem.with_instance(path).into_response()
        }
        _ => response,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_error_has_a_status_and_says_whether_to_repeat() {
        for (kind, status, retryable) in [
            (ErrorKind::InvalidInput, 400, false),
            (ErrorKind::Encode, 422, false),
            (ErrorKind::Disconnected, 503, true),
            (ErrorKind::Overloaded, 503, true),
            (ErrorKind::Timeout, 504, true),
            (ErrorKind::ConnectionLost, 503, true),
            (ErrorKind::Auth, 503, true),
            (ErrorKind::Closed, 503, true),
            (ErrorKind::Backend, 502, false),
            (ErrorKind::Protocol, 502, false),
            (ErrorKind::Unsupported, 501, false),
            (ErrorKind::Config, 500, false),
        ] {
            let problem = Problem::from(&Error::new(kind));
            assert_eq!(
                (problem.0.status, problem.0.retryable),
                (status, retryable),
                "{kind:?}"
            );
            let response = problem.into_response();
            assert_eq!(
                response.headers().contains_key(header::RETRY_AFTER),
                retryable,
                "{kind:?}"
            );
        }
    }

    #[test]
    fn the_document_has_every_member() {
        let error = Error::invalid("topic", "must not be empty").with_outcome(Outcome::Unknown);
        let problem = Problem::from(&error)
            .with_instance("/v1/events/")
            .with_member("limit", 5);
        let document = serde_json::to_value(problem).unwrap();
        assert_eq!(
            document,
            serde_json::json!({
                "type": "urn:quorate:problem:invalid_argument",
                "title": "Bad Request",
                "status": 400,
                "detail": "invalid input: topic must not be empty (outcome unknown)",
                "instance": "/v1/events/",
                "code": "INVALID_ARGUMENT",
                "outcome": "unknown",
                "retryable": false,
                "limit": 5,
            })
        );
    }
}
