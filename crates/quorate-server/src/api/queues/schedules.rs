//! Schedules of a queue, looked at and forgotten. Instances run them: here is only how far each has come.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use jiff::Timestamp;
use quorate::queue::ScheduleView;
use quorate_http::{Code, Problem, Rejection};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Queue, queue};
use crate::app::App;

/// The schedules of a queue.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ScheduleList {
    /// In the order of their names.
    schedules: Vec<ScheduleDocument>,
}

/// How far a schedule has come.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ScheduleDocument {
    schedule: String,
    /// The last time for which it has queued a job, or since when it is there.
    last: String,
}

impl From<ScheduleView> for ScheduleDocument {
    fn from(view: ScheduleView) -> Self {
        let last = Timestamp::try_from(view.last).unwrap_or(Timestamp::MAX);
        Self {
            schedule: view.name,
            last: format!("{last:.3}"),
        }
    }
}

/// Lists the schedules of a queue that have run.
#[utoipa::path(
    get,
    path = "/v1/queues/{queue}/schedules",
    operation_id = "list_schedules",
    params(("queue" = String, Path, description = "The queue; a slash in it is written %2F")),
    responses(
        (status = 200, description = "They", body = ScheduleList),
        (status = 400, description = "An argument breaks a rule"),
        (status = 503, description = "The backend cannot be reached"),
    ),
    tag = "queues",
)]
pub(crate) async fn list(
    State(app): State<App>,
    path: Queue,
) -> Result<Json<ScheduleList>, Rejection> {
    let Path(name) = path?;
    let schedules = queue(&app, &name)?.schedules().await?;
    let schedules = schedules.into_iter().map(Into::into).collect();
    Ok(Json(ScheduleList { schedules }))
}

/// Forgets a schedule that nobody runs any more. One that does run begins anew, and makes up for nothing.
#[utoipa::path(
    delete,
    path = "/v1/queues/{queue}/schedules/{schedule}",
    operation_id = "forget_schedule",
    params(
        ("queue" = String, Path),
        ("schedule" = String, Path, description = "Its name; a slash in it is written %2F"),
    ),
    responses(
        (status = 204, description = "It is forgotten"),
        (status = 400, description = "An argument breaks a rule"),
        (status = 404, description = "There is no such schedule"),
        (status = 503, description = "The backend cannot be reached"),
    ),
    tag = "queues",
)]
pub(crate) async fn forget(
    State(app): State<App>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<StatusCode, Rejection> {
    let Path((name, schedule)) = path?;
    if !queue(&app, &name)?.unschedule(&schedule).await? {
        let detail = format!("the queue `{name}` has no schedule `{schedule}`");
        return Err(Problem::new(Code::NotFound, detail).into());
    }
    Ok(StatusCode::NO_CONTENT)
}
