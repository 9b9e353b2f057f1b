//! Jobs, to be queued.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use quorate::JobHandle;
use quorate_http::Rejection;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{PushBody, Queue, queue};
use crate::api::document::Document;
use crate::api::values::{idempotency_key, invalid};
use crate::app::App;

/// A job that a push came to.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PushedDocument {
    id: String,
    /// Whether it was queued by this; if not, it was there already.
    new: bool,
}

impl<O> From<&JobHandle<O>> for PushedDocument {
    fn from(job: &JobHandle<O>) -> Self {
        Self {
            id: job.id().to_string(),
            new: job.is_new(),
        }
    }
}

/// Queues a job.
///
/// With `Idempotency-Key` the first job's answer is given to whoever pushes again with the same key, as long as it is kept what
/// became of that job.
#[utoipa::path(
    post,
    path = "/v1/queues/{queue}/jobs",
    operation_id = "push_job",
    params(
        ("queue" = String, Path, description = "The queue; a slash in it is written %2F"),
        ("Idempotency-Key" = Option<String>, Header, description = "The same as `idempotency_key` of the body"),
    ),
    request_body = PushBody,
    responses(
        (status = 201, description = "Queued", body = PushedDocument),
        (status = 200, description = "Not queued: another job has its key", body = PushedDocument),
        (status = 400, description = "An argument breaks a rule"),
        (status = 413, description = "The body is too large"),
        (status = 503, description = "The backend cannot be reached"),
    ),
    tag = "queues",
)]
pub(crate) async fn push(
    State(app): State<App>,
    path: Queue,
    headers: HeaderMap,
    body: Result<Document<PushBody>, Rejection>,
) -> Result<(StatusCode, Json<PushedDocument>), Rejection> {
    let Path(name) = path?;
    let once = idempotency_key(&headers)?;
    let Document(mut body) = body?;
    if let Some(key) = once {
        if body.idempotency_key.as_ref().is_some_and(|it| *it != key) {
            return Err(invalid("idempotency_key must be that of the header").into());
        }
        body.idempotency_key = Some(key);
    }
    let input = body.into_input().map_err(invalid)?;
    let job = queue(&app, &name)?.push(&input).await?;
    let status = if job.is_new() {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok((status, Json((&job).into())))
}

/// Jobs to be queued, all of them or none.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PushManyBody {
    /// At most 1000, each with what it has of its own, such as an `idempotency_key`.
    jobs: Vec<PushBody>,
}

/// The jobs that pushes came to.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PushedJobs {
    /// In the order of the request.
    jobs: Vec<PushedDocument>,
}

/// Queues jobs, all of them or none.
#[utoipa::path(
    post,
    path = "/v1/queues/{queue}/jobs/many",
    operation_id = "push_jobs",
    params(("queue" = String, Path)),
    request_body = PushManyBody,
    responses(
        (status = 200, description = "Queued, or there already", body = PushedJobs),
        (status = 400, description = "An argument breaks a rule, and nothing was queued"),
        (status = 413, description = "The body is too large"),
        (status = 503, description = "The backend cannot be reached"),
    ),
    tag = "queues",
)]
pub(crate) async fn push_many(
    State(app): State<App>,
    path: Queue,
    body: Result<Document<PushManyBody>, Rejection>,
) -> Result<Json<PushedJobs>, Rejection> {
    let (Path(name), Document(body)) = (path?, body?);
    let jobs = body.jobs.into_iter().enumerate();
    let inputs = jobs.map(|(at, job)| {
        let input = job.into_input();
        input.map_err(|rule| invalid(format!("jobs[{at}].{rule}")))
    });
    let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
    let pushed = queue(&app, &name)?.push_many(&inputs).await?;
    let jobs = pushed.iter().map(Into::into).collect();
    Ok(Json(PushedJobs { jobs }))
}
