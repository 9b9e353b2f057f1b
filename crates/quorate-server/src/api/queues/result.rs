//! What became of a job, waited for.

use std::time::Duration;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use quorate::queue::{JobEnd, JobState};
use quorate::{Ended, ErrorKind, JobHandle, JobId};
use quorate_http::Rejection;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::documents::{StateWord, state_word};
use super::{Job, job_id, no_job, queue, waits};
use crate::api::document::duration;
use crate::app::App;
use crate::json::shown;

/// For how long is waited.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ResultQuery {
    #[serde(deserialize_with = "duration::optional")]
    pub(super) wait: Option<Duration>,
}

/// What became of a job.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ResultDocument {
    id: String,
    state: StateWord,
    /// What its handler returned, if that is JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    result: Option<Box<RawValue>>,
    /// What its handler returned, in base64, if that is no JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    result_base64: Option<String>,
    /// Why it is dead.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Says what became of a job; waits for it if asked to.
#[utoipa::path(
    get,
    path = "/v1/queues/{queue}/jobs/{id}/result",
    operation_id = "job_result",
    params(
        ("queue" = String, Path),
        ("id" = String, Path),
        ("wait" = Option<String>, Query, description = "How long to wait, such as `20s`; at most 0.8 times the server's `request_timeout`. Default: not at all"),
    ),
    responses(
        (status = 200, description = "It is over", body = ResultDocument),
        (status = 202, description = "Not yet: ask again", body = ResultDocument),
        (status = 400, description = "An argument breaks a rule"),
        (status = 404, description = "There is no such job, or what became of it is not kept any longer"),
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
    let state = wait_for(&queue(&app, &name)?.job(id), wait).await?;
    let state = state.ok_or_else(|| no_job(&name, id))?;
    let status = match state {
        JobState::Ended(_) => StatusCode::OK,
        _ => StatusCode::ACCEPTED,
    };
    let headers = [(header::CACHE_CONTROL, "no-store")];
    Ok((status, headers, Json(ResultDocument::new(id, &state))).into_response())
}

/// Where it is when it is over, or when the time is; `None`: there is none.
async fn wait_for(job: &JobHandle<Bytes>, wait: Duration) -> quorate::Result<Option<JobState>> {
    if wait.is_zero() {
        return job.state().await;
    }
    let end = match job.ended().timeout(wait).await {
        Ok(Ended::Succeeded(result)) => JobEnd::Succeeded(result),
        Ok(Ended::Dead(why)) => JobEnd::Dead(why),
        Ok(Ended::Cancelled) => JobEnd::Cancelled,
        Ok(Ended::Expired) => JobEnd::Expired,
        Ok(_) => return Ok(None),
        // It is not over yet; or the backend cannot be reached, and that is told here.
        Err(error) if error.kind() == ErrorKind::Timeout => return job.state().await,
        Err(error) => return Err(error),
    };
    Ok(Some(JobState::Ended(end)))
}

impl ResultDocument {
    fn new(id: JobId, state: &JobState) -> Self {
        let (result, result_base64) = match state {
            JobState::Ended(JobEnd::Succeeded(result)) => shown(result),
            _ => (None, None),
        };
        let error = match state {
            JobState::Ended(JobEnd::Dead(why)) => Some(why.clone()),
            _ => None,
        };
        Self {
            id: id.to_string(),
            state: state_word(state),
            result,
            result_base64,
            error,
        }
    }
}
