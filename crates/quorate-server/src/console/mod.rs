//! The page at `/`: publish, subscribe, and look at topics, caches, stores, sessions, limits, locks, queues, instances and clients.

use axum::Router;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

/// What the page is made of, by path. Separate files, so that its policy can forbid inline scripts.
const FILES: [(&str, &str, &str); 27] = [
    ("/", HTML, include_str!("index.html")),
    ("/console.css", CSS, include_str!("console.css")),
    ("/console/live.css", CSS, include_str!("live.css")),
    ("/console/values.css", CSS, include_str!("values.css")),
    ("/console.js", SCRIPT, include_str!("console.js")),
    (
        "/console/connection.js",
        SCRIPT,
        include_str!("connection.js"),
    ),
    ("/console/caches.js", SCRIPT, include_str!("caches.js")),
    ("/console/dom.js", SCRIPT, include_str!("dom.js")),
    ("/console/events.js", SCRIPT, include_str!("events.js")),
    ("/console/group.js", SCRIPT, include_str!("group.js")),
    ("/console/happened.js", SCRIPT, include_str!("happened.js")),
    ("/console/history.js", SCRIPT, include_str!("history.js")),
    (
        "/console/instances.js",
        SCRIPT,
        include_str!("instances.js"),
    ),
    ("/console/job.js", SCRIPT, include_str!("job.js")),
    ("/console/jobs.js", SCRIPT, include_str!("jobs.js")),
    ("/console/limits.js", SCRIPT, include_str!("limits.js")),
    ("/console/locks.js", SCRIPT, include_str!("locks.js")),
    ("/console/publish.js", SCRIPT, include_str!("publish.js")),
    ("/console/queues.css", CSS, include_str!("queues.css")),
    ("/console/queues.js", SCRIPT, include_str!("queues.js")),
    (
        "/console/schedules.js",
        SCRIPT,
        include_str!("schedules.js"),
    ),
    ("/console/sessions.js", SCRIPT, include_str!("sessions.js")),
    ("/console/stores.js", SCRIPT, include_str!("stores.js")),
    (
        "/console/subscriptions.js",
        SCRIPT,
        include_str!("subscriptions.js"),
    ),
    ("/console/topics.js", SCRIPT, include_str!("topics.js")),
    ("/console/values.js", SCRIPT, include_str!("values.js")),
    ("/console/views.js", SCRIPT, include_str!("views.js")),
];

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

pub(crate) fn routes() -> Router {
    FILES
        .into_iter()
        .fold(Router::new(), |router, (path, content_type, body)| {
            router.route(path, get(async move || file(content_type, body)))
        })
}

fn file(content_type: &'static str, body: &'static str) -> Response {
    // A new version of the server has a new page: look each time, it is on this machine or near.
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, body).into_response()
}
