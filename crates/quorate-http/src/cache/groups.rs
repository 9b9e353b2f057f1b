//! Cache groups (RFC 9875): responses of one origin that end together.

use axum::http::HeaderName;
use axum::http::request::Parts;

use super::key::{digest, host};

/// To which groups a response belongs.
pub(super) const CACHE_GROUPS: HeaderName = HeaderName::from_static("cache-groups");
/// Which groups a response ends.
pub(super) const INVALIDATION: HeaderName = HeaderName::from_static("cache-group-invalidation");

/// The tag of a group of the origin that a request asked: others cannot end it.
pub(super) fn tag(request: &Parts, group: &str) -> String {
    let host = host(request).to_ascii_lowercase();
    let tag = format!("http-group:{host} {group}");
    if tag.len() <= 200 && !tag.chars().any(char::is_control) {
        return tag;
    }
    format!("http-group:{}", digest(tag.as_bytes()))
}
