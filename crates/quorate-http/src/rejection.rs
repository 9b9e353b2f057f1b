//! `quorate::Error` and axum's rejections as responses.

use std::error::Error;

use axum::extract::path::ErrorKind;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::problem::{Code, Problem};

/// What a handler returns instead of an answer.
///
/// `?` turns a [`quorate::Error`] into one, which the orphan rule would not allow for the error
/// itself, and axum's own rejections too.
///
/// # Example
/// ```
/// use axum::extract::State;
/// use quorate::Fleet;
/// use quorate_http::Rejection;
///
/// async fn free(State(fleet): State<Fleet>) -> Result<String, Rejection> {
///     let report = fleet.lock("report").try_acquire().await?;
///     Ok(report.is_acquired().to_string())
/// }
/// # let _: axum::Router<Fleet> = axum::Router::new().route("/", axum::routing::get(free));
/// ```
#[derive(Debug)]
pub struct Rejection(Problem);

impl Rejection {
    /// The document.
    #[must_use]
    pub fn problem(&self) -> &Problem {
        &self.0
    }
}

impl From<Problem> for Rejection {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl From<quorate::Error> for Rejection {
    fn from(error: quorate::Error) -> Self {
        Problem::from(&error).into()
    }
}

/// Axum's status says what is wrong with the request's form; its text is for people.
fn refused(status: StatusCode, text: String) -> Rejection {
    Problem::new(Code::InvalidArgument, text)
        .with_status(status)
        .into()
}

/// What the parser said, without the framework's introduction.
fn innermost(error: &dyn Error) -> &dyn Error {
    let mut innermost = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    innermost
}

impl From<JsonRejection> for Rejection {
    fn from(rejection: JsonRejection) -> Self {
        let status = rejection.status();
        let text = match &rejection {
            JsonRejection::MissingJsonContentType(_) => {
                "content-type must be application/json".to_owned()
            }
            JsonRejection::BytesRejection(_) if status == StatusCode::PAYLOAD_TOO_LARGE => {
                "body is larger than this server takes".to_owned()
            }
            JsonRejection::BytesRejection(_) => "body must arrive as a whole".to_owned(),
            _ => format!("body: {}", innermost(&rejection)),
        };
        refused(status, text)
    }
}

impl From<PathRejection> for Rejection {
    fn from(rejection: PathRejection) -> Self {
        let text = match &rejection {
            PathRejection::FailedToDeserializePathParams(failed) => match failed.kind() {
                ErrorKind::InvalidUtf8InPathParam { key } => {
                    format!("`{key}` must be UTF-8, percent-encoded in the path")
                }
                kind => format!("path: {kind}"),
            },
            _ => format!("path: {}", innermost(&rejection)),
        };
        refused(rejection.status(), text)
    }
}

impl From<QueryRejection> for Rejection {
    fn from(rejection: QueryRejection) -> Self {
        let text = innermost(&rejection).to_string();
        let unknown = text
            .split_once("unknown field ")
            .and_then(|(_, rest)| rest.split_once(", expected "));
        let text = match unknown {
            Some((name, expected)) => {
                format!("{name} is not a parameter of the query, which may have {expected}")
            }
            None => format!("query: {text}"),
        };
        refused(rejection.status(), text)
    }
}

impl From<WebSocketUpgradeRejection> for Rejection {
    fn from(rejection: WebSocketUpgradeRejection) -> Self {
        use WebSocketUpgradeRejection as R;
        let text = match &rejection {
            R::MethodNotGet(_) => "a WebSocket must be asked for with GET",
            R::InvalidConnectionHeader(_) => {
                "this path speaks WebSocket: the request must have `connection: upgrade`"
            }
            R::InvalidUpgradeHeader(_) => {
                "this path speaks WebSocket: the request must have `upgrade: websocket`"
            }
            R::InvalidWebSocketVersionHeader(_) => "sec-websocket-version must be 13",
            R::WebSocketKeyHeaderMissing(_) => "sec-websocket-key must be given",
            _ => "this connection cannot become a WebSocket; it must be HTTP/1.1",
        };
        refused(rejection.status(), text.to_owned())
    }
}

impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}
