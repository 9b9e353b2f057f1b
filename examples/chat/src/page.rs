//! The page: three files, in the binary.

use axum::Router;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;

/// Nothing but what this service itself serves may run or be loaded, and nobody may frame it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// `GET /` and what belongs to it.
pub(crate) fn routes() -> Router {
    Router::new()
        .route(
            "/",
            get(async || asset("text/html", include_str!("../page/index.html"))),
        )
        .route(
            "/style.css",
            get(async || asset("text/css", include_str!("../page/style.css"))),
        )
        .route(
            "/chat.js",
            get(async || asset("text/javascript", include_str!("../page/chat.js"))),
        )
}

fn asset(kind: &'static str, text: &'static str) -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, format!("{kind}; charset=utf-8")),
        (header::CONTENT_SECURITY_POLICY, POLICY.to_owned()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (header::REFERRER_POLICY, "no-referrer".to_owned()),
        (header::CACHE_CONTROL, "no-cache".to_owned()),
    ];
    (headers, text)
}
