//! Who is on a topic, and which instances there are.

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use quorate_http::{Rejection, TopicPath};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::app::App;
use crate::instances::{self, About};

/// Of more members only the number is told.
const MOST_NAMED: u64 = 500;

/// Which key is asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PresenceQuery {
    /// The key of the topic. With it, the path is the topic's name alone.
    params: Option<String>,
}

/// Who is on a topic, over all instances.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PresenceView {
    /// The topic with its key.
    topic: String,
    /// How many clients.
    count: u64,
    /// Who they are; left out where they are more than 500.
    #[serde(skip_serializing_if = "Option::is_none")]
    members: Option<Vec<MemberView>>,
}

/// A client that is on a topic.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MemberView {
    /// The client's id.
    client: String,
    /// Who it is, where it said so.
    user: Option<String>,
    /// What the service shows of the user.
    #[schema(value_type = Option<Object>)]
    info: Option<Value>,
    /// The instance it is connected to.
    instance: String,
}

/// What hubs write about a member.
#[derive(Debug, Default, Deserialize)]
struct Info {
    user: Option<String>,
    info: Option<Value>,
}

/// Shows who is on a topic whose clients are present there.
///
/// Those are the topics for which the configuration, or a service of the fleet, says so.
#[utoipa::path(
    get,
    path = "/v1/presence/{topic}",
    params(
        ("topic" = String, Path, description = "`name`, or `name:key`. Slashes may stand as they are."),
        ("params" = Option<String>, Query, description = "The key of the topic. With it, the path is the topic's name alone."),
    ),
    responses(
        (status = 200, description = "Who is there", body = PresenceView),
        (status = 400, description = "The topic or an argument breaks a rule"),
        (status = 503, description = "The backend cannot be reached"),
    ),
    tag = "events",
)]
pub(crate) async fn show(
    State(app): State<App>,
    path: Result<Path<String>, PathRejection>,
    query: Result<Query<PresenceQuery>, QueryRejection>,
) -> Result<Json<PresenceView>, Rejection> {
    let Path(topic) = path?;
    let Query(query) = query?;
    let path = match query.params {
        None => TopicPath::parse(&topic)?,
        Some(params) => TopicPath::with_params(&topic, &Value::String(params))?,
    };
    let topic = path.to_string();
    let roster = app.fleet.presence(&format!("hub:{topic}"));
    let count = roster.count().await?;
    if count > MOST_NAMED {
        return Ok(Json(PresenceView {
            topic,
            count,
            members: None,
        }));
    }
    let roster = roster.members().await?;
    let members = roster.members.into_iter().map(|member| {
        // Of a client whose hub writes it in another way only the id is known.
        let Info { user, info } = serde_json::from_slice(&member.info).unwrap_or_default();
        MemberView {
            client: member.id,
            user,
            info,
            instance: member.instance.to_string(),
        }
    });
    Ok(Json(PresenceView {
        topic,
        count: roster.count,
        members: Some(members.collect()),
    }))
}

/// The instances of the fleet.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct InstanceList {
    instances: Vec<InstanceView>,
}

/// An instance of `quorate serve`, as it said a few seconds ago.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct InstanceView {
    /// Changes with every start.
    id: String,
    /// Whether it is the one that answers.
    own: bool,
    #[serde(flatten)]
    about: About,
}

/// Lists the instances of `quorate serve` on this backend and namespace.
///
/// One that dies is gone from it within a lease (`fleet.presence_lease`).
#[utoipa::path(
    get,
    path = "/v1/instances",
    responses(
        (status = 200, description = "All of them", body = InstanceList),
        (status = 503, description = "The backend cannot be reached"),
    ),
    tag = "hub",
)]
pub(crate) async fn instances(State(app): State<App>) -> Result<Json<InstanceList>, Rejection> {
    let own = instances::roster(&app.fleet).instance();
    let known = instances::known(&app.fleet).await?;
    let mut instances: Vec<_> = known
        .into_iter()
        .map(|(id, about)| InstanceView {
            id: id.to_string(),
            own: id == own,
            about,
        })
        .collect();
    let name = |it: &InstanceView| (it.about.name(), it.id.clone());
    instances.sort_by_cached_key(name);
    Ok(Json(InstanceList { instances }))
}
