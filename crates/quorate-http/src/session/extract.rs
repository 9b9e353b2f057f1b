//! How handlers get at the session of their request.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::current::CurrentSession;
use crate::problem::{Code, Problem};
use crate::rejection::Rejection;

/// Who is logged in. A request of nobody is answered with 401.
///
/// # Example
/// ```
/// use quorate_http::session::SessionUser;
///
/// async fn account(SessionUser(user): SessionUser) -> String {
///     format!("{user}'s account")
/// }
/// # let _: axum::Router = axum::Router::new().route("/", axum::routing::get(account));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "it is taken apart")]
pub struct SessionUser(pub String);

impl<S: Send + Sync> FromRequestParts<S> for CurrentSession {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Rejection> {
        let session = parts.extensions.get::<Self>().cloned();
        session.ok_or_else(|| {
            let detail = "no session layer stands in front of this handler";
            Problem::new(Code::Internal, detail).into()
        })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for SessionUser {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Rejection> {
        let session = CurrentSession::from_request_parts(parts, state).await?;
        match session.user().await? {
            Some(user) => Ok(Self(user)),
            None => Err(Problem::new(Code::Unauthenticated, "log in first").into()),
        }
    }
}
