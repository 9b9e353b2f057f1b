//! Jobs, to be looked at.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use quorate::store::ScanCursor;
use quorate_http::Rejection;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::documents::{JobDocument, Place};
use super::{Job, Queue, job_id, no_job, queue};
use crate::api::values::answer;
use crate::app::App;

/// Jobs of a page unless asked otherwise.
const USUAL: usize = 100;

/// Some of the jobs of a place.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JobList {
    /// In the order of the place, without their logs.
    jobs: Vec<JobDocument>,
    /// Where the next page begins (`from`); `null` on the last.
    next: Option<String>,
}

/// Which jobs are asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct JobsQuery {
    place: Place,
    limit: Option<usize>,
    from: Option<String>,
}

/// Lists the jobs of a place.
#[utoipa::path(
    get,
    path = "/v1/queues/{queue}/jobs",
    operation_id = "list_jobs",
    params(
        ("queue" = String, Path, description = "The queue; a slash in it is written %2F"),
        ("place" = Place, Query, description = "Which jobs"),
        ("limit" = Option<usize>, Query, description = "How many at most, from 1 to 1 000; fewer where they are large. Default 100"),
        ("from" = Option<String>, Query, description = "The `next` of the page before"),
    ),
    responses(
        (status = 200, description = "Some of the jobs", body = JobList),
        (status = 400, description = "An argument breaks a rule"),
        (status = 503, description = "The backend cannot be reached"),
    ),
    tag = "queues",
)]
pub(crate) async fn list(
    State(app): State<App>,
    path: Queue,
    query: Result<Query<JobsQuery>, QueryRejection>,
) -> Result<Json<JobList>, Rejection> {
    let (Path(name), Query(query)) = (path?, query?);
    let list = queue(&app, &name)?.list(query.place.into());
    let mut list = list.limit(query.limit.unwrap_or(USUAL));
    if let Some(from) = query.from {
        list = list.after(ScanCursor::new(from));
    }
    let Some(page) = list.next_page().await? else {
        return Ok(Json(JobList {
            jobs: Vec::new(),
            next: None,
        }));
    };
    Ok(Json(JobList {
        jobs: page.jobs.iter().map(Into::into).collect(),
        next: page.next.map(|next| next.as_str().to_owned()),
    }))
}

/// Shows a job with all that is known of it.
#[utoipa::path(
    get,
    path = "/v1/queues/{queue}/jobs/{id}",
    operation_id = "show_job",
    params(("queue" = String, Path), ("id" = String, Path)),
    responses(
        (status = 200, description = "The job", body = JobDocument),
        (status = 400, description = "An argument breaks a rule"),
        (status = 404, description = "There is no such job, or not any more"),
        (status = 503, description = "The backend cannot be reached"),
    ),
    tag = "queues",
)]
pub(crate) async fn show(
    State(app): State<App>,
    path: Job,
) -> Result<Json<JobDocument>, Rejection> {
    let Path((name, id)) = path?;
    let id = job_id("id", &id)?;
    let job = queue(&app, &name)?.inspect(id).await?;
    let job = job.ok_or_else(|| no_job(&name, id))?;
    Ok(Json((&job).into()))
}

/// Shows what the handler of a job gets, as it is kept: what is changed with `PUT`.
#[utoipa::path(
    get,
    path = "/v1/queues/{queue}/jobs/{id}/input",
    operation_id = "job_input",
    params(("queue" = String, Path), ("id" = String, Path)),
    responses(
        (status = 200, description = "The input: JSON, or bytes that are none as application/octet-stream", content_type = "application/json"),
        (status = 400, description = "An argument breaks a rule"),
        (status = 404, description = "There is no such job, or only what became of it is kept"),
        (status = 503, description = "The backend cannot be reached"),
    ),
    tag = "queues",
)]
pub(crate) async fn input(
    State(app): State<App>,
    path: Job,
    headers: HeaderMap,
) -> Result<Response, Rejection> {
    let Path((name, id)) = path?;
    let id = job_id("id", &id)?;
    let job = queue(&app, &name)?.inspect(id).await?;
    let input = job.and_then(|job| job.details.as_ref().map(|it| it.input.clone()));
    let input = input.ok_or_else(|| no_job(&name, id))?;
    Ok(answer(input, &headers, HeaderMap::new()))
}
