//! Queues as a whole.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use futures_util::{StreamExt, TryStreamExt, stream};
use quorate::store::ScanCursor;
use quorate_http::Rejection;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use utoipa::ToSchema;

use super::documents::{QueueDocument, StrayDocument};
use super::{Queue, queue};
use crate::api::document::Document;
use crate::api::values::{LOOKS_FOR, PageQuery};
use crate::app::App;

/// Queues that are looked at together: they share a connection, and so a round trip.
const TOGETHER: usize = 64;

/// Some of the queues.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QueueList {
    /// By name within the page.
    queues: Vec<QueueDocument>,
    /// Where the next page begins (`from`); `null` on the last.
    next: Option<String>,
}

/// Which queues are asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct QueuesQuery {
    prefix: String,
    limit: Option<usize>,
    from: Option<String>,
}

/// Lists the queues that have jobs, or had within the last week, in numbers. Looks at every key of the server's database: for people,
/// not for programs.
#[utoipa::path(
    get,
    path = "/v1/queues",
    operation_id = "list_queues",
    params(
        ("prefix" = Option<String>, Query, description = "What their names begin with. Default: anything"),
        ("limit" = Option<usize>, Query, description = "About how many, from 1 to 1 000. Default 100"),
        ("from" = Option<String>, Query, description = "The `next` of the page before"),
    ),
    responses(
        (status = 200, description = "Some of the queues", body = QueueList),
        (status = 400, description = "An argument breaks a rule"),
        (status = 503, description = "The backend cannot be reached"),
    ),
    tag = "queues",
)]
pub(crate) async fn list(
    State(app): State<App>,
    query: Result<Query<QueuesQuery>, QueryRejection>,
) -> Result<Json<QueueList>, Rejection> {
    let Query(query) = query?;
    let asked = PageQuery::new(query.limit, query.from.as_deref())?;
    let all = app.fleet.queues();
    let mut scan = all.scan(&query.prefix);
    if let Some(from) = asked.from.clone() {
        scan = scan.after(from);
    }
    let ends = Instant::now() + LOOKS_FOR;
    let (mut queues, mut next) = (Vec::new(), None);
    while let Some(page) = scan.next_page().await? {
        let looks = page.names.into_iter().map(async |name| {
            let stats = all.of(&name)?.stats().await?;
            Ok::<_, quorate::Error>(QueueDocument::new(name, &stats))
        });
        let looked = stream::iter(looks).buffered(TOGETHER);
        queues.extend(looked.try_collect::<Vec<_>>().await?);
        next = page.next;
        if queues.len() >= asked.limit() || Instant::now() >= ends {
            break;
        }
    }
    queues.sort_unstable_by(|one, other| one.queue.cmp(&other.queue));
    let next = next.map(|next| next.as_str().to_owned());
    Ok(Json(QueueList { queues, next }))
}

/// Shows a queue in numbers, also one that nobody has pushed to.
#[utoipa::path(
    get,
    path = "/v1/queues/{queue}",
    operation_id = "show_queue",
    params(("queue" = String, Path, description = "The queue; a slash in it is written %2F")),
    responses(
        (status = 200, description = "The queue", body = QueueDocument),
        (status = 400, description = "The name breaks a rule"),
        (status = 503, description = "The backend cannot be reached"),
    ),
    tag = "queues",
)]
pub(crate) async fn show(
    State(app): State<App>,
    path: Queue,
) -> Result<Json<QueueDocument>, Rejection> {
    let Path(name) = path?;
    let stats = queue(&app, &name)?.stats().await?;
    Ok(Json(QueueDocument::new(name, &stats)))
}

/// Delivers nothing more, anywhere, until the queue is resumed. Workers go on with what they have.
#[utoipa::path(
    post,
    path = "/v1/queues/{queue}/pause",
    operation_id = "pause_queue",
    params(("queue" = String, Path)),
    responses(
        (status = 204, description = "It is paused"),
        (status = 400, description = "The name breaks a rule"),
        (status = 503, description = "The backend cannot be reached"),
    ),
    tag = "queues",
)]
pub(crate) async fn pause(State(app): State<App>, path: Queue) -> Result<StatusCode, Rejection> {
    let Path(name) = path?;
    queue(&app, &name)?.pause().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Delivers again.
#[utoipa::path(
    post,
    path = "/v1/queues/{queue}/resume",
    operation_id = "resume_queue",
    params(("queue" = String, Path)),
    responses(
        (status = 204, description = "It is not paused"),
        (status = 400, description = "The name breaks a rule"),
        (status = 503, description = "The backend cannot be reached"),
    ),
    tag = "queues",
)]
pub(crate) async fn resume(State(app): State<App>, path: Queue) -> Result<StatusCode, Rejection> {
    let Path(name) = path?;
    queue(&app, &name)?.resume().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// How a queue is checked.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct FsckBody {
    /// Whether what is found is put right.
    repair: bool,
    /// The `next` of the page before.
    from: Option<String>,
}

/// What was found of some of a queue.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FsckDocument {
    /// How much was looked at.
    checked: u64,
    strays: Vec<StrayDocument>,
    /// Where the next page begins (`from`); `null` on the last.
    next: Option<String>,
}

/// Looks at some of a queue for what does not belong together, while it goes on.
#[utoipa::path(
    post,
    path = "/v1/queues/{queue}/fsck",
    operation_id = "fsck_queue",
    params(("queue" = String, Path)),
    request_body = FsckBody,
    responses(
        (status = 200, description = "What was found; page by page until `next` is `null`", body = FsckDocument),
        (status = 400, description = "An argument breaks a rule"),
        (status = 503, description = "The backend cannot be reached"),
    ),
    tag = "queues",
)]
pub(crate) async fn fsck(
    State(app): State<App>,
    path: Queue,
    body: Result<Document<FsckBody>, Rejection>,
) -> Result<Json<FsckDocument>, Rejection> {
    let (Path(name), Document(body)) = (path?, body?);
    let mut fsck = queue(&app, &name)?.fsck();
    if body.repair {
        fsck = fsck.repair();
    }
    if let Some(from) = body.from {
        fsck = fsck.after(ScanCursor::new(from));
    }
    let page = fsck.next_page().await?.unwrap_or_default();
    Ok(Json(FsckDocument {
        checked: page.checked,
        strays: page.strays.iter().map(Into::into).collect(),
        next: page.next.map(|next| next.as_str().to_owned()),
    }))
}
