//! A job as it goes on, as Server-Sent Events.

use std::convert::Infallible;

use axum::extract::{Path, State};
use axum::http::{HeaderName, HeaderValue};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream::{self, Stream};
use quorate::queue::{JobRecord, JobWatch};
use quorate_http::Rejection;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::documents::{JobDocument, LogDocument};
use super::{Job, RawInput, job_id, no_job, queue};
use crate::app::App;

/// Streams what becomes of a job.
///
/// `state` with the job whenever it is in another place, is tried again or was asked to stop; `progress` with what its handler says of that;
/// `log` with a line of its log; `end` with the job when it is over, and `gone` when it was taken away. After these two nothing
/// comes: close the stream.
#[utoipa::path(
    get,
    path = "/v1/queues/{queue}/jobs/{id}/events",
    operation_id = "watch_job",
    params(
        ("queue" = String, Path, description = "The queue; a slash in it is written %2F"),
        ("id" = String, Path),
    ),
    responses(
        (status = 200, description = "Events `state`, `progress`, `log`, `end`, `gone`", content_type = "text/event-stream"),
        (status = 400, description = "An argument breaks a rule"),
        (status = 404, description = "There is no such job, or not any more"),
        (status = 503, description = "The backend cannot be reached"),
    ),
    tag = "queues",
)]
pub(crate) async fn watch(State(app): State<App>, path: Job) -> Result<Response, Rejection> {
    let Path((name, id)) = path?;
    let id = job_id("id", &id)?;
    let mut watch = queue(&app, &name)?.watch(id);
    let first = watch.next().await?;
    let first = first.ok_or_else(|| no_job(&name, id))?;
    let told = Told {
        watch,
        next: Some(first),
        last: None,
        stopping: app.stopping.clone(),
    };
    Ok(respond(told.events()))
}

/// Answers with a stream of events.
pub(super) fn respond(
    events: impl Stream<Item = Result<Event, Infallible>> + Send + 'static,
) -> Response {
    let mut response = Sse::new(events)
        .keep_alive(KeepAlive::default())
        .into_response();
    // Proxies that buffer would hold events back.
    response.headers_mut().insert(
        HeaderName::from_static("x-accel-buffering"),
        HeaderValue::from_static("no"),
    );
    response
}

/// What was told of a job, and what comes next.
struct Told {
    watch: JobWatch<RawInput, Bytes>,
    /// To be told now.
    next: Option<JobRecord<RawInput, Bytes>>,
    last: Option<JobDocument>,
    stopping: CancellationToken,
}

impl Told {
    /// Ends with the job, when the server stops, and when the backend cannot be asked: browsers come again by themselves, and then see
    /// how it is.
    fn events(self) -> impl Stream<Item = Result<Event, Infallible>> {
        let batches = stream::unfold(Some(self), async |told| {
            let (events, told) = told?.more().await;
            (!events.is_empty()).then_some((stream::iter(events), told))
        });
        futures_util::StreamExt::flatten(batches)
    }

    /// What is to be told next, and who goes on after that; nothing: that was all.
    async fn more(mut self) -> (Vec<Result<Event, Infallible>>, Option<Self>) {
        loop {
            let job = match self.next.take() {
                Some(job) => job,
                None => {
                    let stopping = self.stopping.clone();
                    match stopping.run_until_cancelled(self.watch.next()).await {
                        Some(Ok(Some(job))) => job,
                        Some(Ok(None)) => return (vec![event("gone", &())], None),
                        Some(Err(_)) | None => return (Vec::new(), None),
                    }
                }
            };
            let job = JobDocument::from(&job);
            let events = changes(self.last.as_ref(), &job);
            let is_over = job.state.is_over();
            self.last = Some(job);
            if is_over {
                return (events, None);
            }
            if !events.is_empty() {
                return (events, Some(self));
            }
        }
    }
}

/// What is to be said of a job that was like this before.
fn changes(last: Option<&JobDocument>, job: &JobDocument) -> Vec<Result<Event, Infallible>> {
    let mut events = Vec::new();
    if last.is_none_or(|last| !job.is_where(last)) && !job.state.is_over() {
        events.push(event("state", &job.brief()));
    }
    let told = last.map_or(&[][..], |last| &last.log);
    events.extend(new_lines(told, &job.log).iter().map(|it| event("log", it)));
    let progress = job.progress.as_ref().map(|it| it.get());
    let known = last.and_then(|last| last.progress.as_ref());
    if let Some(progress) = progress.filter(|it| known.is_none_or(|known| known.get() != *it)) {
        events.push(Ok(Event::default().event("progress").data(progress)));
    }
    if job.state.is_over() {
        events.push(event("end", &job.brief()));
    }
    events
}

/// Those behind the last that was told. Only the last lines of a log are kept: if that one is not among them, all are new.
fn new_lines<'l>(told: &[LogDocument], log: &'l [LogDocument]) -> &'l [LogDocument] {
    let Some(last) = told.last() else {
        return log;
    };
    let at = log.iter().rposition(|line| line == last);
    at.map_or(log, |at| &log[at + 1..])
}

pub(super) fn event(name: &str, data: &impl Serialize) -> Result<Event, Infallible> {
    let data = serde_json::to_string(data).expect("documents are made of what JSON has");
    Ok(Event::default().event(name).data(data))
}

#[cfg(test)]
mod tests {
    use quorate::Micros;
    use quorate::queue::LogLine;

    use super::*;

    /// Lines that say the same, and were written at these times.
    fn log(times: impl IntoIterator<Item = u64>) -> Vec<LogDocument> {
        let line = |at| LogLine {
            at: Micros::new(at),
            attempt: 1,
            text: "again".to_owned(),
        };
        times.into_iter().map(|at| (&line(at)).into()).collect()
    }

    #[test]
    fn each_line_of_a_log_is_told_once() {
        assert_eq!(new_lines(&[], &log(0..3)), log(0..3));
        assert_eq!(new_lines(&log(0..3), &log(0..5)), log(3..5));
        assert!(new_lines(&log(0..3), &log(0..3)).is_empty());
        // The first ones are not kept any more; or none of those that were told.
        assert_eq!(new_lines(&log(0..3), &log(2..5)), log(3..5));
        assert_eq!(new_lines(&log(0..3), &log(7..9)), log(7..9));
    }
}
