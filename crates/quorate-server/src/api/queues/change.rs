//! What operators change of jobs.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use futures_util::{StreamExt, TryStreamExt, stream};
use quorate::queue::Removed;
use quorate_http::{Code, Problem, Rejection};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::documents::{Place, StateWord, state_word};
use super::options::bytes_of;
use super::{Job, Queue, job_id, job_ids, no_job, queue};
use crate::api::document::{Document, present};
use crate::api::values::invalid;
use crate::app::App;

/// Jobs that are cancelled together: they share a connection, and so a round trip.
const TOGETHER: usize = 64;

/// Which jobs are meant.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct IdsBody {
    /// From 1 to 1000.
    ids: Vec<String>,
}

/// What became of each job.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChangedJobs {
    /// In the order of the request.
    jobs: Vec<ChangedJob>,
}

/// What became of a job.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChangedJob {
    id: String,
    /// Where it is then; `null`: there is none, or not any more.
    state: Option<StateWord>,
}

/// Cancels jobs: who waits ends at once, and who has one is asked to stop.
#[utoipa::path(
    post,
    path = "/v1/queues/{queue}/cancel",
    operation_id = "cancel_jobs",
    params(("queue" = String, Path, description = "The queue; a slash in it is written %2F")),
    request_body = IdsBody,
    responses(
        (status = 200, description = "Where they are then", body = ChangedJobs),
        (status = 400, description = "An argument breaks a rule"),
        (status = 503, description = "The backend cannot be reached; some may be cancelled"),
    ),
    tag = "queues",
)]
pub(crate) async fn cancel(
    State(app): State<App>,
    path: Queue,
    body: Result<Document<IdsBody>, Rejection>,
) -> Result<Json<ChangedJobs>, Rejection> {
    let (Path(name), Document(body)) = (path?, body?);
    let (ids, queue) = (job_ids(&body.ids)?, queue(&app, &name)?);
    let cancels = ids.into_iter().map(async |id| {
        let state = queue.job(id).cancel().await?;
        Ok::<_, quorate::Error>(ChangedJob {
            id: id.to_string(),
            state: state.as_ref().map(state_word),
        })
    });
    let cancelled = stream::iter(cancels).buffered(TOGETHER);
    let jobs = cancelled.try_collect().await?;
    Ok(Json(ChangedJobs { jobs }))
}

/// Cancels a job: it ends at once if nobody has it, and whoever has it is asked to stop.
#[utoipa::path(
    post,
    path = "/v1/queues/{queue}/jobs/{id}/cancel",
    operation_id = "cancel_job",
    params(("queue" = String, Path), ("id" = String, Path)),
    responses(
        (status = 200, description = "Where it is then", body = ChangedJob),
        (status = 400, description = "An argument breaks a rule"),
        (status = 404, description = "There is no such job, or not any more"),
        (status = 503, description = "The backend cannot be reached"),
    ),
    tag = "queues",
)]
pub(crate) async fn cancel_one(
    State(app): State<App>,
    path: Job,
) -> Result<Json<ChangedJob>, Rejection> {
    let Path((name, id)) = path?;
    let id = job_id("id", &id)?;
    let state = queue(&app, &name)?.job(id).cancel().await?;
    let state = state.ok_or_else(|| no_job(&name, id))?;
    Ok(Json(ChangedJob {
        id: id.to_string(),
        state: Some(state_word(&state)),
    }))
}

/// Which dead jobs are made ready again: one of both.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RedriveBody {
    /// These, from 1 to 1000.
    ids: Option<Vec<String>>,
    /// Those that died first, so many at most, from 1 to 1000.
    most: Option<usize>,
}

/// What was made ready again.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Redriven {
    /// How many.
    redriven: usize,
    /// Those of the request that were not dead.
    not_dead: Vec<String>,
}

/// Makes dead jobs ready again, with all their attempts and their last checkpoint.
#[utoipa::path(
    post,
    path = "/v1/queues/{queue}/redrive",
    operation_id = "redrive_jobs",
    params(("queue" = String, Path)),
    request_body = RedriveBody,
    responses(
        (status = 200, description = "What was", body = Redriven),
        (status = 400, description = "An argument breaks a rule"),
        (status = 503, description = "The backend cannot be reached"),
    ),
    tag = "queues",
)]
pub(crate) async fn redrive(
    State(app): State<App>,
    path: Queue,
    body: Result<Document<RedriveBody>, Rejection>,
) -> Result<Json<Redriven>, Rejection> {
    let (Path(name), Document(body)) = (path?, body?);
    let queue = queue(&app, &name)?;
    let redriven = match (body.ids, body.most) {
        (Some(ids), None) => {
            let ids = job_ids(&ids)?;
            let done = queue.redrive(&ids).await?;
            let not = ids.iter().zip(&done).filter(|(_, done)| !**done);
            Redriven {
                redriven: done.iter().filter(|done| **done).count(),
                not_dead: not.map(|(id, _)| id.to_string()).collect(),
            }
        }
        (None, Some(most)) => Redriven {
            redriven: queue.redrive_dead(most).await?,
            not_dead: Vec::new(),
        },
        _ => return Err(invalid("ids or most must be given, and not both").into()),
    };
    Ok(Json(redriven))
}

/// What was taken away.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RemovedJobs {
    /// How many.
    removed: usize,
    /// Those of the request that somebody has, which are still there.
    active: Vec<String>,
    /// Those of the request that are not there, or not any more.
    unknown: Vec<String>,
}

/// Takes jobs away that nobody has, with all that is known of them.
#[utoipa::path(
    post,
    path = "/v1/queues/{queue}/remove",
    operation_id = "remove_jobs",
    params(("queue" = String, Path)),
    request_body = IdsBody,
    responses(
        (status = 200, description = "What became of them", body = RemovedJobs),
        (status = 400, description = "An argument breaks a rule"),
        (status = 503, description = "The backend cannot be reached"),
    ),
    tag = "queues",
)]
pub(crate) async fn remove(
    State(app): State<App>,
    path: Queue,
    body: Result<Document<IdsBody>, Rejection>,
) -> Result<Json<RemovedJobs>, Rejection> {
    let (Path(name), Document(body)) = (path?, body?);
    let ids = job_ids(&body.ids)?;
    let done = queue(&app, &name)?.remove(&ids).await?;
    let those = |what: Removed| {
        let those = ids.iter().zip(&done).filter(|(_, done)| **done == what);
        those.map(|(id, _)| id.to_string()).collect::<Vec<_>>()
    };
    Ok(Json(RemovedJobs {
        removed: those(Removed::Gone).len(),
        active: those(Removed::Active),
        unknown: those(Removed::Unknown),
    }))
}

/// Takes a job away that nobody has, with all that is known of it.
#[utoipa::path(
    delete,
    path = "/v1/queues/{queue}/jobs/{id}",
    operation_id = "remove_job",
    params(("queue" = String, Path), ("id" = String, Path)),
    responses(
        (status = 204, description = "It is gone"),
        (status = 400, description = "An argument breaks a rule"),
        (status = 404, description = "There is no such job, or not any more"),
        (status = 409, description = "Somebody has it: cancel it first"),
        (status = 503, description = "The backend cannot be reached"),
    ),
    tag = "queues",
)]
pub(crate) async fn remove_one(State(app): State<App>, path: Job) -> Result<StatusCode, Rejection> {
    let Path((name, id)) = path?;
    let id = job_id("id", &id)?;
    match queue(&app, &name)?.remove(&[id]).await?.first() {
        Some(Removed::Gone) => Ok(StatusCode::NO_CONTENT),
        Some(Removed::Active) => {
            let detail = format!("somebody has the job {id}: cancel it first");
            Err(Problem::new(Code::FailedPrecondition, detail).into())
        }
        _ => Err(no_job(&name, id)),
    }
}

/// What is taken away of a place.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PurgeBody {
    /// Any but `active`.
    place: Place,
    /// So many at most, from 1 to 1000.
    most: usize,
}

/// How much was taken away.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Purged {
    removed: usize,
}

/// Takes the first jobs of a place away, with all that is known of them.
#[utoipa::path(
    post,
    path = "/v1/queues/{queue}/purge",
    operation_id = "purge_queue",
    params(("queue" = String, Path)),
    request_body = PurgeBody,
    responses(
        (status = 200, description = "How many; none are left when that is 0", body = Purged),
        (status = 400, description = "An argument breaks a rule"),
        (status = 503, description = "The backend cannot be reached"),
    ),
    tag = "queues",
)]
pub(crate) async fn purge(
    State(app): State<App>,
    path: Queue,
    body: Result<Document<PurgeBody>, Rejection>,
) -> Result<Json<Purged>, Rejection> {
    let (Path(name), Document(body)) = (path?, body?);
    let queue = queue(&app, &name)?;
    let removed = queue.purge(body.place.into(), body.most).await?;
    Ok(Json(Purged { removed }))
}

/// Another input: one of both.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct EditBody {
    /// Any JSON.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Option<Object>)]
    input: Option<Box<RawValue>>,
    /// For a queue whose inputs are not JSON: its bytes, in base64.
    input_base64: Option<String>,
}

/// Gives a job another input that waits or is dead. What else was said of it at its push stays.
#[utoipa::path(
    put,
    path = "/v1/queues/{queue}/jobs/{id}/input",
    operation_id = "edit_job",
    params(("queue" = String, Path), ("id" = String, Path)),
    request_body = EditBody,
    responses(
        (status = 204, description = "It has"),
        (status = 400, description = "An argument breaks a rule"),
        (status = 409, description = "There is no such job that waits or is dead"),
        (status = 503, description = "The backend cannot be reached"),
    ),
    tag = "queues",
)]
pub(crate) async fn edit(
    State(app): State<App>,
    path: Job,
    body: Result<Document<EditBody>, Rejection>,
) -> Result<StatusCode, Rejection> {
    let (Path((name, id)), Document(body)) = (path?, body?);
    let id = job_id("id", &id)?;
    let (json, base64) = (body.input.as_deref(), body.input_base64.as_deref());
    let input = bytes_of("input", json, base64).map_err(invalid)?;
    let input = input.ok_or_else(|| invalid("input must be given, or input_base64"))?;
    if queue(&app, &name)?.edit(id, &input.into()).await? {
        return Ok(StatusCode::NO_CONTENT);
    }
    let detail = format!("the queue `{name}` has no job {id} that waits or is dead");
    Err(Problem::new(Code::FailedPrecondition, detail).into())
}
