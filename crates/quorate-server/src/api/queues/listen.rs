//! What happens in a queue, as Server-Sent Events.

use std::convert::Infallible;

use axum::extract::{Path, State};
use axum::response::Response;
use axum::response::sse::Event;
use futures_util::stream::{self, Stream};
use quorate::queue::{JobEvent, JobEventKind, QueueEvent, QueueEvents};
use quorate_http::Rejection;
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use super::documents::time;
use super::events::{event, respond};
use super::{Queue, queue};
use crate::app::App;

/// Something that has become of a job.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct EventDocument {
    /// `queued`, `started`, `progress`, `deferred`, `failed`, `succeeded`, `dead`, `cancelled`, `expired`, `redriven`, `removed` or `group_ended`; and
    /// `missed` where something was lost, of which nothing else is known.
    pub(crate) event: &'static str,
    /// Of which job; of a group, the first one.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// When.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<String>,
    /// When a job is due that was queued, deferred, or failed and is tried again; a job that was queued without it is ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    due_at: Option<String>,
    /// Which attempt was started.
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
    /// Why it failed, or is dead.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// How the jobs of a group ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    jobs: Option<EndsDocument>,
}

/// How the jobs of a group ended.
#[derive(Debug, Serialize, ToSchema)]
struct EndsDocument {
    succeeded: u64,
    dead: u64,
    cancelled: u64,
    expired: u64,
}

impl From<QueueEvent> for EventDocument {
    fn from(event: QueueEvent) -> Self {
        match event {
            QueueEvent::Job(event) => event.into(),
            // Whatever a later version of the library tells is not told here.
            _ => Self {
                event: "missed",
                ..Self::default()
            },
        }
    }
}

impl From<JobEvent> for EventDocument {
    fn from(it: JobEvent) -> Self {
        let mut document = Self {
            id: Some(it.id.to_string()),
            at: Some(time(it.at)),
            ..Self::default()
        };
        document.event = match it.kind {
            JobEventKind::Queued { due } => {
                document.due_at = due.map(time);
                "queued"
            }
            JobEventKind::Started { attempt } => {
                document.attempt = Some(attempt);
                "started"
            }
            JobEventKind::Progress => "progress",
            JobEventKind::Deferred { until } => {
                document.due_at = Some(time(until));
                "deferred"
            }
            JobEventKind::Failed { error, retry } => {
                (document.error, document.due_at) = (Some(error), Some(time(retry)));
                "failed"
            }
            JobEventKind::Succeeded => "succeeded",
            JobEventKind::Dead { error } => {
                document.error = Some(error);
                "dead"
            }
            JobEventKind::Cancelled => "cancelled",
            JobEventKind::Expired => "expired",
            JobEventKind::Redriven => "redriven",
            JobEventKind::Removed => "removed",
            JobEventKind::GroupEnded {
                succeeded,
                dead,
                cancelled,
                expired,
            } => {
                document.jobs = Some(EndsDocument {
                    succeeded,
                    dead,
                    cancelled,
                    expired,
                });
                "group_ended"
            }
            _ => "unknown",
        };
        document
    }
}

/// Streams what happens in a queue from now on, whoever does it.
///
/// Each event is called by what happened, and told at most once; `missed` says that something was lost. `listening` comes first: what
/// happens after it is told.
#[utoipa::path(
    get,
    path = "/v1/queues/{queue}/events",
    operation_id = "watch_queue",
    params(("queue" = String, Path, description = "The queue; a slash in it is written %2F")),
    responses(
        (status = 200, description = "Events `listening`, `missed`, and those of `EventDocument`", content_type = "text/event-stream", body = EventDocument),
        (status = 400, description = "An argument breaks a rule"),
        (status = 503, description = "The backend cannot be reached"),
    ),
    tag = "queues",
)]
pub(crate) async fn listen(State(app): State<App>, name: Queue) -> Result<Response, Rejection> {
    let Path(name) = name?;
    let events = queue(&app, &name)?.events().await?;
    Ok(respond(told(events, app.stopping.clone())))
}

/// Ends when the server stops: browsers come again by themselves.
fn told(
    events: QueueEvents,
    stopping: CancellationToken,
) -> impl Stream<Item = Result<Event, Infallible>> {
    let first = stream::iter([event("listening", &())]);
    let rest = stream::unfold((events, stopping), async |(mut events, stopping)| {
        let next = stopping.run_until_cancelled(events.next()).await??;
        let document = EventDocument::from(next);
        Some((event(document.event, &document), (events, stopping)))
    });
    futures_util::StreamExt::chain(first, rest)
}
