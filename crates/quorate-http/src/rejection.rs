//! `quorate::Error` and axum's rejections as responses.

use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
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

impl From<JsonRejection> for Rejection {
    fn from(rejection: JsonRejection) -> Self {
        refused(rejection.status(), rejection.body_text())
    }
}

impl From<PathRejection> for Rejection {
    fn from(rejection: PathRejection) -> Self {
        refused(rejection.status(), rejection.body_text())
    }
}

impl From<QueryRejection> for Rejection {
    fn from(rejection: QueryRejection) -> Self {
        refused(rejection.status(), rejection.body_text())
    }
}

impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}
