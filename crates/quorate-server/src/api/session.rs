//! Logging in with the token, for browsers.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use quorate_http::{Code, Problem, Rejection};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::document::Document;
use crate::app::App;

/// The token.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogIn {
    token: String,
}

/// Who is asking.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Session {
    /// Whether this server wants a token.
    required: bool,
    /// Whether this client may come in.
    authenticated: bool,
    /// Where the state is kept; only for those who may come in.
    backend: Option<String>,
    /// The prefix of keys and channels; only for those who may come in.
    namespace: Option<String>,
    version: &'static str,
}

/// Says whether a token is wanted, and whether this client has shown it.
#[utoipa::path(get, path = "/v1/session", responses((status = 200, body = Session)), tag = "session")]
pub(crate) async fn show(State(app): State<App>, headers: HeaderMap) -> Json<Session> {
    let authenticated = app.auth.admits(&headers);
    Json(Session {
        required: app.auth.is_required(),
        authenticated,
        backend: authenticated.then(|| app.backend.to_string()),
        namespace: authenticated.then(|| app.fleet.namespace().to_string()),
        version: env!("CARGO_PKG_VERSION"),
    })
}

/// Gives a cookie for the token.
#[utoipa::path(
    post,
    path = "/v1/session",
    request_body = LogIn,
    responses(
        (status = 204, description = "Logged in for 12 hours"),
        (status = 401, description = "Not the token"),
    ),
    tag = "session",
)]
pub(crate) async fn log_in(
    State(app): State<App>,
    headers: HeaderMap,
    body: Result<Document<LogIn>, Rejection>,
) -> Result<Response, Rejection> {
    let Document(body) = body?;
    if !app.auth.is_required() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let cookie = app
        .auth
        .log_in(&body.token, over_tls(&headers))
        .ok_or_else(|| Problem::new(Code::Unauthenticated, "token is not the right one"))?;
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response())
}

/// Forgets the cookie.
#[utoipa::path(delete, path = "/v1/session", responses((status = 204)), tag = "session")]
pub(crate) async fn log_out(State(app): State<App>, headers: HeaderMap) -> Response {
    let cookie = app.auth.log_out(over_tls(&headers));
    (StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response()
}

/// Whether the browser sees TLS, also where a proxy ends it before us. Pages say so with `Origin`.
fn over_tls(headers: &HeaderMap) -> bool {
    headers
        .get(header::ORIGIN)
        .is_some_and(|origin| origin.as_bytes().starts_with(b"https://"))
}
