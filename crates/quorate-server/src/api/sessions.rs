//! Sessions of a service's users: made, looked at, listed and ended. An id is a secret: it never stands in a URL.

use std::time::Duration;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use quorate::session::{CreatedSession, SessionChanges};
use quorate::{Micros, Session, SessionHandle, SessionId, SessionKey, SessionRef, Sessions};
use quorate_http::{Code, Problem, Rejection};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::document::{Document, duration};
use crate::app::App;

/// A session to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateBody {
    /// Whose it is; without, it is anonymous.
    #[serde(default)]
    user: Option<String>,
    /// How long it outlives a use: text with a unit. Default 7 days.
    #[schema(example = "1h", value_type = Option<String>)]
    #[serde(default, deserialize_with = "duration::optional")]
    ttl: Option<Duration>,
    /// How long it lives however much it is used. Default without limit.
    #[schema(example = "30days", value_type = Option<String>)]
    #[serde(default, deserialize_with = "duration::optional")]
    absolute: Option<Duration>,
    /// The most sessions of the user, 1 to 1000: the oldest go.
    #[serde(default)]
    max_per_user: Option<usize>,
    /// On which device it is made, for lists.
    #[serde(default)]
    device_info: Option<String>,
    /// What its fields hold.
    #[serde(default)]
    #[schema(value_type = Object)]
    fields: Map<String, Value>,
}

/// A session that was made.
#[derive(Serialize, ToSchema)]
pub(crate) struct Created {
    /// The secret that proves it: nobody is told again.
    id: String,
    /// Its public name.
    handle: String,
    expires_in_ms: u64,
    /// Public names of the user's sessions that had to go.
    evicted: Vec<String>,
}

/// Which session is meant.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CheckBody {
    /// Its id.
    id: String,
    /// Whether this is a use, by which it lives on.
    #[serde(default)]
    touch: bool,
}

/// Whether an id proves a session.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Checked {
    valid: bool,
    /// The session, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<SessionView>,
    /// What its fields hold; `null` for what is no JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    fields: Option<Map<String, Value>>,
}

/// A session, without what it holds.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SessionView {
    /// Its public name.
    handle: String,
    /// Whose it is; `null` for an anonymous one.
    user: Option<String>,
    device_info: Option<String>,
    created_at: String,
    /// To a minute, or a twentieth of its time to live.
    seen_at: String,
    expires_in_ms: u64,
    /// How long it outlives a use.
    ttl_ms: u64,
    /// When it ends however much it is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    ends_at_last: Option<String>,
    /// The names of its fields.
    fields: Vec<String>,
}

/// The sessions of a user, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SessionList {
    user: String,
    sessions: Vec<SessionView>,
}

/// How many sessions there are.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Count {
    count: u64,
}

/// How many sessions were ended.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Ended {
    ended: u64,
}

/// Whose sessions.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OfUser {
    /// The user.
    user: String,
}

/// Whose sessions, and which of them stays.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OthersOfUser {
    /// The user.
    user: String,
    /// The public name of the session that stays. Without, none does.
    keep: Option<String>,
}

type Queried<T> = Result<Query<T>, QueryRejection>;

fn millis(time: Duration) -> u64 {
    time.as_millis().try_into().unwrap_or(u64::MAX)
}

/// By the home's clock.
fn moment(at: Micros) -> String {
    let micros = i64::try_from(at.get()).unwrap_or(i64::MAX);
    Timestamp::from_microsecond(micros)
        .unwrap_or(Timestamp::MAX)
        .to_string()
}

fn handle(text: &str) -> Result<SessionHandle, Problem> {
    SessionHandle::parse(text).ok_or_else(|| {
        let rule = "handle must be that of a session, as lists show it";
        Problem::new(Code::InvalidArgument, rule)
    })
}

impl SessionView {
    pub(crate) fn of(session: &Session) -> Self {
        Self {
            handle: session.handle().to_string(),
            user: session.user().map(str::to_owned),
            device_info: session.device_info().map(str::to_owned),
            created_at: moment(session.created_at()),
            seen_at: moment(session.seen_at()),
            expires_in_ms: millis(session.expires_in()),
            ttl_ms: millis(session.ttl()),
            ends_at_last: session.ends_at_last().map(moment),
            fields: session.fields().map(str::to_owned).collect(),
        }
    }
}

impl Created {
    pub(super) fn of(made: &CreatedSession) -> Self {
        Self {
            id: made.id.expose(),
            handle: made.id.handle().to_string(),
            expires_in_ms: millis(made.expires_in),
            evicted: made.evicted.iter().map(ToString::to_string).collect(),
        }
    }
}

/// Sessions that begin with what a body says of their times and number, or with what holds otherwise.
pub(super) fn within(
    sessions: &Sessions,
    ttl: Option<Duration>,
    absolute: Option<Duration>,
    most: Option<usize>,
) -> Sessions {
    let mut sessions = sessions.clone();
    if let Some(ttl) = ttl {
        sessions = sessions.ttl(ttl);
    }
    if let Some(absolute) = absolute {
        sessions = sessions.absolute(absolute);
    }
    if let Some(most) = most {
        sessions = sessions.max_per_user(most);
    }
    sessions
}

impl CreateBody {
    fn changes(&self) -> quorate::Result<SessionChanges> {
        let mut changes = SessionChanges::new();
        for (name, value) in &self.fields {
            changes.set(&SessionKey::try_new(name.as_str())?, value)?;
        }
        Ok(changes)
    }
}

/// Makes a session.
///
/// The answer is the only one that has the id. When the reply is lost, there may be a session that nobody knows the id of: it is
/// listed, and ends by itself.
#[utoipa::path(
    post,
    path = "/v1/sessions",
    request_body = CreateBody,
    responses(
        (status = 201, description = "Made", body = Created),
        (status = 400, description = "An argument breaks a rule"),
        (status = 503, description = "The backend cannot be reached"),
    ),
    tag = "sessions",
)]
pub(crate) async fn create(
    State(app): State<App>,
    body: Result<Document<CreateBody>, Rejection>,
) -> Result<Response, Rejection> {
    let Document(body) = body?;
    let sessions = within(&app.sessions, body.ttl, body.absolute, body.max_per_user);
    let making = match &body.user {
        Some(user) => sessions.create(user),
        None => sessions.create_anonymous(),
    };
    let mut making = making.changes(body.changes()?);
    if let Some(device) = body.device_info {
        making = making.device_info(device);
    }
    let made = making.await?;
    let created = Created::of(&made);
    let headers = [(header::CACHE_CONTROL, "no-store")];
    Ok((StatusCode::CREATED, headers, Json(created)).into_response())
}

/// Looks whether an id proves a session, and which.
///
/// What proves none is a value: the answer is 200 either way.
#[utoipa::path(
    post,
    path = "/v1/sessions/check",
    request_body = CheckBody,
    responses(
        (status = 200, description = "Whether it does", body = Checked),
        (status = 503, description = "The backend cannot be reached"),
    ),
    tag = "sessions",
)]
pub(crate) async fn check(
    State(app): State<App>,
    body: Result<Document<CheckBody>, Rejection>,
) -> Result<Response, Rejection> {
    let Document(body) = body?;
    let session = match SessionId::parse(&body.id) {
        None => None,
        Some(id) if body.touch => app.sessions.get_and_touch(&id).await?,
        Some(id) => app.sessions.get(&id).await?,
    };
    let checked = Checked {
        valid: session.is_some(),
        fields: session.as_ref().map(values),
        session: session.as_ref().map(SessionView::of),
    };
    let headers = [(header::CACHE_CONTROL, "no-store")];
    Ok((headers, Json(checked)).into_response())
}

fn values(session: &Session) -> Map<String, Value> {
    let value = |name: &str| {
        let key = SessionKey::<Value>::try_new(name).ok()?;
        session.get(&key).ok().flatten()
    };
    let fields = session.fields();
    fields
        .map(|name| (name.to_owned(), value(name).unwrap_or(Value::Null)))
        .collect()
}

/// Lists the sessions of a user.
#[utoipa::path(
    get,
    path = "/v1/sessions",
    params(("user" = String, Query, description = "The user")),
    responses(
        (status = 200, description = "All of them, newest first", body = SessionList),
        (status = 400, description = "The user's name breaks a rule"),
        (status = 503, description = "The backend cannot be reached"),
    ),
    tag = "sessions",
)]
pub(crate) async fn list(
    State(app): State<App>,
    query: Queried<OfUser>,
) -> Result<Json<SessionList>, Rejection> {
    let Query(OfUser { user }) = query?;
    let sessions = app.sessions.list(&user).await?;
    let sessions = sessions.iter().map(SessionView::of).collect();
    Ok(Json(SessionList { user, sessions }))
}

/// Counts the sessions of a user.
#[utoipa::path(
    get,
    path = "/v1/sessions/count",
    params(("user" = String, Query, description = "The user")),
    responses(
        (status = 200, description = "How many there are", body = Count),
        (status = 400, description = "The user's name breaks a rule"),
        (status = 503, description = "The backend cannot be reached"),
    ),
    tag = "sessions",
)]
pub(crate) async fn count(
    State(app): State<App>,
    query: Queried<OfUser>,
) -> Result<Json<Count>, Rejection> {
    let Query(OfUser { user }) = query?;
    let count = app.sessions.count(&user).await?;
    Ok(Json(Count { count }))
}

/// Ends all sessions of a user, or all but one.
#[utoipa::path(
    delete,
    path = "/v1/sessions",
    params(
        ("user" = String, Query, description = "The user"),
        ("keep" = Option<String>, Query, description = "The public name of the session that stays. Without, none does."),
    ),
    responses(
        (status = 200, description = "How many there were", body = Ended),
        (status = 400, description = "An argument breaks a rule"),
        (status = 503, description = "The backend cannot be reached"),
    ),
    tag = "sessions",
)]
pub(crate) async fn delete_all(
    State(app): State<App>,
    query: Queried<OthersOfUser>,
) -> Result<Json<Ended>, Rejection> {
    let Query(OthersOfUser { user, keep }) = query?;
    let ended = match keep {
        Some(keep) => app.sessions.delete_others(&user, &handle(&keep)?).await?,
        None => app.sessions.delete_all(&user).await?,
    };
    Ok(Json(Ended { ended }))
}

/// Ends a session by its public name.
#[utoipa::path(
    delete,
    path = "/v1/sessions/{handle}",
    params(("handle" = String, Path, description = "Its public name, as lists show it")),
    responses(
        (status = 200, description = "How many there were: 1 or 0", body = Ended),
        (status = 400, description = "It is no handle"),
        (status = 503, description = "The backend cannot be reached"),
    ),
    tag = "sessions",
)]
pub(crate) async fn delete(
    State(app): State<App>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<Ended>, Rejection> {
    let Path(text) = path?;
    let ended = app.sessions.delete(&handle(&text)?).await?;
    Ok(Json(Ended {
        ended: u64::from(ended),
    }))
}
