//! The page at `/`: publish, subscribe, look.

use axum::Router;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

/// What the page is made of, by path. Separate files, so that its policy can forbid inline scripts.
const FILES: [(&str, &str, &str); 3] = [
    ("/", "text/html; charset=utf-8", include_str!("index.html")),
    (
        "/console.css",
        "text/css; charset=utf-8",
        include_str!("console.css"),
    ),
    (
        "/console.js",
        "text/javascript; charset=utf-8",
        include_str!("console.js"),
    ),
];

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
