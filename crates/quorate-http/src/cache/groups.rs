//! Cache groups (RFC 9875): responses of one origin that end together.

use axum::http::HeaderName;

use super::key::digest;

/// To which groups a response belongs.
pub(super) const CACHE_GROUPS: HeaderName = HeaderName::from_static("cache-groups");
/// Which groups a response ends.
pub(super) const INVALIDATION: HeaderName = HeaderName::from_static("cache-group-invalidation");

/// The tag of a group of an origin: others cannot end it.
pub(super) fn tag(origin: &str, group: &str) -> String {
    let tag = format!("http-group:{origin} {group}");
    if tag.len() <= 200 && !tag.chars().any(char::is_control) {
        return tag;
    }
    format!("http-group:{}", digest(tag.as_bytes()))
}
