//! Job groups, looked at and waited for.

use std::time::Duration;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use quorate::queue::{GroupView, JobGroup};
use quorate::{ErrorKind, JobId};
use quorate_http::{Code, Problem, Rejection};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::result::ResultQuery;
use super::{Job, job_id, queue, waits};
use crate::app::App;

/// A job group: a job, and what grows out of it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GroupDocument {
    /// That of its first job.
    id: String,
    /// Whether none of its jobs is left to be done. Then it does not change any more.
    over: bool,
    /// How many of its jobs are still to be done.
    open: u64,
    /// How many are done.
    succeeded: u64,
    /// How many failed for good.
    dead: u64,
    /// How many were cancelled, or waited for what could not come any more.
    cancelled: u64,
    /// How many nobody began in time.
    expired: u64,
    /// Its value, which is a list.
    #[schema(value_type = Vec<Object>)]
    values: Vec<Box<RawValue>>,
    /// Whether that does not change any more.
    fixed: bool,
    /// How many values were too many to be kept.
    dropped: u64,
}

impl GroupDocument {
    /// # Errors
    /// `Decode` if a value is no JSON.
    pub(crate) fn new(id: JobId, view: &GroupView) -> quorate::Result<Self> {
        Ok(Self {
            id: id.to_string(),
            over: view.is_over(),
            open: view.open,
            succeeded: view.succeeded,
            dead: view.dead,
            cancelled: view.cancelled,
            expired: view.expired,
            values: view.values_as()?,
            fixed: view.is_fixed,
            dropped: view.dropped,
        })
    }
}

/// Says how it stands with a group; waits for its end if asked to. A job that has left nothing is a group of one.
#[utoipa::path(
    get,
    path = "/v1/queues/{queue}/groups/{id}",
    operation_id = "show_group",
    params(
        ("queue" = String, Path, description = "The queue of its first job; a slash in it is written %2F"),
        ("id" = String, Path, description = "The id of its first job"),
        ("wait" = Option<String>, Query, description = "How long to wait, such as `20s`; at most 0.8 times the server's `request_timeout`. Default: not at all"),
    ),
    responses(
        (status = 200, description = "It is over", body = GroupDocument),
        (status = 202, description = "Not yet: ask again", body = GroupDocument),
        (status = 400, description = "An argument breaks a rule"),
        (status = 404, description = "There is no such group, or it is not kept any longer"),
        (status = 503, description = "The backend cannot be reached"),
    ),
    tag = "queues",
)]
pub(crate) async fn show(
    State(app): State<App>,
    path: Job,
    query: Result<Query<ResultQuery>, QueryRejection>,
) -> Result<Response, Rejection> {
    let (Path((name, id)), Query(query)) = (path?, query?);
    let (id, wait) = (job_id("id", &id)?, waits(&app, query.wait)?);
    let view = wait_for(&queue(&app, &name)?.group(id), wait).await?;
    let view = view.ok_or_else(|| {
        let detail = format!("the queue `{name}` has no group {id}, or not any more");
        Problem::new(Code::NotFound, detail)
    })?;
    let status = if view.is_over() {
        StatusCode::OK
    } else {
        StatusCode::ACCEPTED
    };
    let headers = [(header::CACHE_CONTROL, "no-store")];
    Ok((status, headers, Json(GroupDocument::new(id, &view)?)).into_response())
}

/// How it stands when it is over, or when the time is; `None`: there is none.
pub(crate) async fn wait_for(
    group: &JobGroup,
    wait: Duration,
) -> quorate::Result<Option<GroupView>> {
    if wait.is_zero() {
        // Who only looks is not waited for: somebody else is to be told of its end.
        return group.state().await;
    }
    match group.ended().timeout(wait).await {
        // It is not over yet; or the backend cannot be reached, and that is told here.
        Err(error) if error.kind() == ErrorKind::Timeout => group.state().await,
        over => over,
    }
}
