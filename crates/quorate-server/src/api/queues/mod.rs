//! Queues by hand: jobs are pushed, waited for and operated, and a worker in any language takes, renews and settles them.

pub(crate) mod change;
mod documents;
pub(crate) mod events;
pub(crate) mod groups;
pub(crate) mod jobs;
pub(crate) mod leave;
pub(crate) mod list;
pub(crate) mod listen;
mod options;
pub(crate) mod push;
mod raw;
pub(crate) mod result;
pub(crate) mod schedules;
pub(crate) mod settle;
pub(crate) mod work;

use std::time::Duration;

use axum::Router;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::routing::{delete, get, post};
use quorate::JobId;
use quorate_http::{Problem, Rejection};

pub(crate) use self::documents::{JobDocument, Place, QueueDocument, StrayDocument, state_word};
pub(crate) use self::groups::{GroupDocument, wait_for};
pub(crate) use self::listen::EventDocument;
pub(crate) use self::options::PushBody;
pub(crate) use self::raw::{RawInput, RawQueue, open};
pub(crate) use self::schedules::ScheduleDocument;
use super::values::{invalid, max_bytes};
use crate::app::App;

/// How many jobs are named in one request.
const MOST_IDS: usize = 1_000;

type Queue = Result<Path<String>, PathRejection>;
type Job = Result<Path<(String, String)>, PathRejection>;

/// All of it.
pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/v1/queues", get(list::list))
        .route("/v1/queues/{queue}", get(list::show))
        .route("/v1/queues/{queue}/events", get(listen::listen))
        .route("/v1/queues/{queue}/pause", post(list::pause))
        .route("/v1/queues/{queue}/resume", post(list::resume))
        .route("/v1/queues/{queue}/fsck", post(list::fsck))
        .route("/v1/queues/{queue}/jobs", get(jobs::list).post(push::push))
        .route("/v1/queues/{queue}/jobs/many", post(push::push_many))
        .route(
            "/v1/queues/{queue}/jobs/{id}",
            get(jobs::show).delete(change::remove_one),
        )
        .route(
            "/v1/queues/{queue}/jobs/{id}/input",
            get(jobs::input).put(change::edit),
        )
        .route(
            "/v1/queues/{queue}/jobs/{id}/cancel",
            post(change::cancel_one),
        )
        .route("/v1/queues/{queue}/jobs/{id}/result", get(result::show))
        .route("/v1/queues/{queue}/jobs/{id}/events", get(events::watch))
        .route("/v1/queues/{queue}/cancel", post(change::cancel))
        .route("/v1/queues/{queue}/redrive", post(change::redrive))
        .route("/v1/queues/{queue}/remove", post(change::remove))
        .route("/v1/queues/{queue}/purge", post(change::purge))
        .route("/v1/queues/{queue}/claim", post(work::claim))
        .route("/v1/queues/{queue}/renew", post(work::renew))
        .route("/v1/queues/{queue}/note", post(work::note))
        .route("/v1/queues/{queue}/settle", post(settle::settle))
        .route("/v1/queues/{queue}/groups/{id}", get(groups::show))
        .route("/v1/queues/{queue}/schedules", get(schedules::list))
        .route(
            "/v1/queues/{queue}/schedules/{schedule}",
            delete(schedules::forget),
        )
}

fn queue(app: &App, name: &str) -> quorate::Result<RawQueue> {
    open(&app.fleet, name, max_bytes(app))
}

fn job_id(field: &str, text: &str) -> Result<JobId, Problem> {
    JobId::parse(text)
        .ok_or_else(|| invalid(format!("{field} must be 32 hexadecimal digits, small ones")))
}

fn job_ids(ids: &[String]) -> Result<Vec<JobId>, Problem> {
    if ids.is_empty() || ids.len() > MOST_IDS {
        return Err(invalid(format!("ids must be from 1 to {MOST_IDS}")));
    }
    ids.iter().map(|id| job_id("ids", id)).collect()
}

fn no_job(queue: &str, id: JobId) -> Rejection {
    let detail = format!("the queue `{queue}` has no job {id}, or not any more");
    Problem::new(quorate_http::Code::NotFound, detail).into()
}

/// How long a client may wait: its answer must still come in time.
fn waits(app: &App, wait: Option<Duration>) -> Result<Duration, Problem> {
    let wait = wait.unwrap_or_default();
    if wait > app.max_wait {
        return Err(invalid(format!("wait must be at most {:?}", app.max_wait)));
    }
    Ok(wait)
}
