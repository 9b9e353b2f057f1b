//! The client for browsers, as a module that pages import.

use std::fmt::Write as _;
use std::sync::LazyLock;

use axum::extract::RawQuery;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

/// Made from `clients/typescript`; see its `scripts/build.mjs`.
const SCRIPT: &str = include_str!("client.js");

/// Changes with the script.
static TAG: LazyLock<String> = LazyLock::new(|| {
    let digest = Sha256::digest(SCRIPT);
    let mut tag = String::from("\"");
    for byte in &digest[..12] {
        write!(tag, "{byte:02x}").expect("a string takes everything");
    }
    tag.push('"');
    tag
});

/// `GET /client.js`. Browsers keep it, and ask whether it is still the same: an instance of a new version
/// has a new one. With a query, such as `?v=0.1.0`, they need not ask: the page changes the query.
pub(super) async fn route(RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    let caching = if query.is_some_and(|query| !query.is_empty()) {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    let common = [(CACHE_CONTROL, caching), (ETAG, TAG.as_str())];
    if is_known(&headers) {
        return (StatusCode::NOT_MODIFIED, common).into_response();
    }
    let own = [
        (CONTENT_TYPE, "text/javascript; charset=utf-8"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // There is nothing secret in it, and modules of other origins are refused without.
        (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    ];
    (common, own, SCRIPT).into_response()
}

/// Whether the client has this version already.
fn is_known(headers: &HeaderMap) -> bool {
    let tags = headers.get_all(IF_NONE_MATCH).into_iter();
    tags.filter_map(|tags| tags.to_str().ok())
        .flat_map(|tags| tags.split(','))
        .map(str::trim)
        .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == *TAG)
}
