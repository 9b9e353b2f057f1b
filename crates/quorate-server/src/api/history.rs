//! What kept topics hold.

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use quorate::Position;
use quorate_http::{Code, Problem, Rejection, TopicPath, event_line};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::app::App;

/// The most messages of one answer.
const MOST: u32 = 1_000;
/// Messages of an answer unless asked otherwise.
const USUAL: u32 = 100;

/// Which part is asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HistoryQuery {
    /// The key of the topic. With it, the path is the topic's name alone.
    params: Option<String>,
    /// A position: what follows it. Without it, the latest, unless `from` says otherwise.
    after: Option<String>,
    /// `beginning`: the oldest that is kept. Not together with `after`.
    from: Option<Begin>,
    /// Messages at most, from 1 to 1 000. Default 100.
    limit: Option<u32>,
}

/// Where to begin.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Begin {
    Beginning,
}

/// A part of a topic's history.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HistoryPage {
    /// The topic with its key.
    topic: String,
    /// Events `message` and `undecodable` as subscribers receive them, oldest first, without a hole.
    #[schema(value_type = Vec<Object>)]
    messages: Vec<Box<RawValue>>,
    /// After which a further read, or a subscription, goes on.
    position: String,
    /// Whether nothing newer is kept.
    complete: bool,
    /// What follows `after` is no longer kept as a whole: there are no messages, and `position` is the
    /// present.
    #[serde(skip_serializing_if = "Option::is_none")]
    gap: Option<HistoryGap>,
}

/// What is missing.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HistoryGap {
    /// How many messages, where that is known.
    missed: Option<u64>,
}

/// Reads what a topic keeps.
///
/// Topics are kept that the configuration names.
#[utoipa::path(
    get,
    path = "/v1/history/{topic}",
    params(
        ("topic" = String, Path, description = "`name`, or `name:key`. Slashes may stand as they are."),
        ("params" = Option<String>, Query, description = "The key of the topic. With it, the path is the topic's name alone."),
        ("after" = Option<String>, Query, description = "A position: what follows it. Without it, the latest, unless `from` says otherwise."),
        ("from" = Option<Begin>, Query, description = "`beginning`: the oldest that is kept. Not together with `after`."),
        ("limit" = Option<u32>, Query, description = "Messages at most, from 1 to 1 000. Default 100."),
    ),
    responses(
        (status = 200, description = "A part of the history", body = HistoryPage),
        (status = 400, description = "The topic or an argument breaks a rule"),
        (status = 409, description = "The topic is not kept"),
        (status = 503, description = "The backend cannot be reached"),
    ),
    tag = "events",
)]
pub(crate) async fn read(
    State(app): State<App>,
    path: Result<Path<String>, PathRejection>,
    query: Result<Query<HistoryQuery>, QueryRejection>,
) -> Result<Json<HistoryPage>, Rejection> {
    let Path(topic) = path?;
    let Query(query) = query?;
    let path = match query.params {
        None => TopicPath::parse(&topic)?,
        Some(params) => TopicPath::with_params(&topic, &Value::String(params))?,
    };
    let limit = query.limit.unwrap_or(USUAL);
    if !(1..=MOST).contains(&limit) {
        let rule = format!("limit must be from 1 to {MOST}");
        return Err(Problem::new(Code::InvalidArgument, rule).into());
    }
    let after = query.after.as_deref().map(str::parse::<Position>);
    let after = after.transpose().map_err(|_| {
        let rule = "after must be a position as it was handed out";
        Problem::new(Code::InvalidArgument, rule)
    })?;
    if !app.keeps(&path) {
        let rule = format!("`{}` is not kept; see `[topics]`", path.name());
        return Err(Problem::new(Code::FailedPrecondition, rule).into());
    }
    let topic = app.topic(&path)?;
    let history = match (after, query.from) {
        (Some(_), Some(Begin::Beginning)) => {
            let rule = "after and from must not be given together";
            return Err(Problem::new(Code::InvalidArgument, rule).into());
        }
        (Some(position), None) => topic.history().after(position).limit(limit).await?,
        (None, Some(Begin::Beginning)) => topic.history().limit(limit).await?,
        (None, None) => topic.history().latest(limit).await?,
    };
    let name = path.to_string();
    let lines = history
        .events
        .iter()
        .filter_map(|event| event_line(&name, event));
    let messages = lines
        .map(RawValue::from_string)
        .collect::<Result<_, _>>()
        .expect("event lines are JSON");
    Ok(Json(HistoryPage {
        topic: name,
        messages,
        position: history.position.to_string(),
        complete: history.complete,
        gap: history.gap.map(|gap| HistoryGap { missed: gap.missed }),
    }))
}
