//! Changes of sessions: of what they hold, and of their ids.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use quorate::session::{Rotation, SessionChanges};
use quorate::{SessionId, SessionKey};
use quorate_http::{Code, Problem, Rejection};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::document::{Document, duration};
use super::sessions::{Created, within};
use crate::app::App;

/// Fields that are to change, all at once or none.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpdateBody {
    /// The session's id.
    id: String,
    /// Fields with their new values.
    #[serde(default)]
    #[schema(value_type = Object)]
    set: Map<String, Value>,
    /// For how long they have them: text with a unit. Default as long as the session lives.
    #[schema(example = "10m", value_type = Option<String>)]
    #[serde(default, deserialize_with = "duration::optional")]
    set_for: Option<Duration>,
    /// Fields that go.
    #[serde(default)]
    remove: Vec<String>,
}

/// Whether there was such a session.
#[derive(Serialize, ToSchema)]
pub(crate) struct Updated {
    updated: bool,
}

/// A session that is to have a new id.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RotateBody {
    /// Its id.
    id: String,
    /// For how long the old id is good for requests that are under way: text with a unit. Not of who logs in, whose old id ends
    /// at once.
    #[schema(example = "10s", value_type = Option<String>)]
    #[serde(default, deserialize_with = "duration::optional")]
    overlap: Option<Duration>,
    /// Who logs in: the session is this user's from now on, and its times begin anew.
    #[serde(default)]
    user: Option<String>,
    /// Of who logs in: how long it outlives a use. Default 7 days.
    #[schema(example = "1h", value_type = Option<String>)]
    #[serde(default, deserialize_with = "duration::optional")]
    ttl: Option<Duration>,
    /// Of who logs in: how long it lives however much it is used. Default without limit.
    #[schema(example = "30days", value_type = Option<String>)]
    #[serde(default, deserialize_with = "duration::optional")]
    absolute: Option<Duration>,
    /// Of who logs in: the most sessions of the user, 1 to 1000; the oldest go.
    #[serde(default)]
    max_per_user: Option<usize>,
}

/// What became of the id.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    /// There is a new one.
    Rotated,
    /// Another request replaced it a moment ago, and knows the new one.
    Superseded,
    /// There is no such session.
    Gone,
}

/// The session with its new id, if it got one.
#[derive(Serialize, ToSchema)]
pub(crate) struct Rotated {
    outcome: Outcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<Created>,
}

impl UpdateBody {
    fn changes(&self) -> quorate::Result<SessionChanges> {
        let mut changes = SessionChanges::new();
        for (name, value) in &self.set {
            let key = SessionKey::try_new(name.as_str())?;
            match self.set_for {
                None => changes.set(&key, value)?,
                Some(time) => changes.set_for(&key, value, time)?,
            }
        }
        for name in &self.remove {
            changes.remove(&SessionKey::<Value>::try_new(name.as_str())?);
        }
        Ok(changes)
    }
}

impl RotateBody {
    /// Refuses what would mean nothing.
    fn check(&self) -> Result<(), Problem> {
        let of_logins = [
            ("ttl", self.ttl.is_some()),
            ("absolute", self.absolute.is_some()),
            ("max_per_user", self.max_per_user.is_some()),
        ];
        let refused = |rule: String| Err(Problem::new(Code::InvalidArgument, rule));
        match &self.user {
            Some(_) if self.overlap.is_some() => {
                refused("overlap must be left out with user: who logs in has a new id alone".into())
            }
            Some(_) => Ok(()),
            None => match of_logins.iter().find(|(_, is_given)| *is_given) {
                Some((name, _)) => refused(format!("{name} must be left out without user")),
                None => Ok(()),
            },
        }
    }
}

/// Changes fields of a session. Others stay as they are.
#[utoipa::path(
    post,
    path = "/v1/sessions/update",
    request_body = UpdateBody,
    responses(
        (status = 200, description = "Whether there was such a session", body = Updated),
        (status = 400, description = "An argument breaks a rule"),
        (status = 503, description = "The backend cannot be reached"),
    ),
    tag = "sessions",
)]
pub(crate) async fn update(
    State(app): State<App>,
    body: Result<Document<UpdateBody>, Rejection>,
) -> Result<Json<Updated>, Rejection> {
    let Document(body) = body?;
    let changes = body.changes()?;
    let updated = match SessionId::parse(&body.id) {
        None => false,
        Some(id) => app.sessions.update(&id).changes(changes).await?,
    };
    Ok(Json(Updated { updated }))
}

/// Gives a session a new id: because it is time, or because somebody logs in.
///
/// When the reply is lost, there may be a session that nobody knows the id of: it is listed, and ends by itself.
#[utoipa::path(
    post,
    path = "/v1/sessions/rotate",
    request_body = RotateBody,
    responses(
        (status = 200, description = "The new id, or why there is none", body = Rotated),
        (status = 400, description = "An argument breaks a rule"),
        (status = 503, description = "The backend cannot be reached"),
    ),
    tag = "sessions",
)]
pub(crate) async fn rotate(
    State(app): State<App>,
    body: Result<Document<RotateBody>, Rejection>,
) -> Result<Response, Rejection> {
    let Document(body) = body?;
    body.check()?;
    let mut sessions = within(&app.sessions, body.ttl, body.absolute, body.max_per_user);
    if let Some(overlap) = body.overlap {
        sessions = sessions.overlap(overlap);
    }
    let rotation = match SessionId::parse(&body.id) {
        None => Rotation::Gone,
        Some(id) => {
            let rotating = sessions.rotate(&id);
            match &body.user {
                None => rotating.await?,
                Some(user) => rotating.login(user).await?,
            }
        }
    };
    let (outcome, session) = match rotation {
        Rotation::Rotated(made) => (Outcome::Rotated, Some(Created::of(&made))),
        Rotation::Superseded => (Outcome::Superseded, None),
        _ => (Outcome::Gone, None),
    };
    let headers = [(header::CACHE_CONTROL, "no-store")];
    Ok((headers, Json(Rotated { outcome, session })).into_response())
}
