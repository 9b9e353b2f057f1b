//! What a handler says about how its response is kept.

use std::convert::Infallible;
use std::time::Duration;

use axum::response::{IntoResponseParts, ResponseParts};

/// What a handler says about how its response is kept, besides the mode: an extension of the response, and a part of
/// one for axum.
///
/// # Example
/// ```
/// use axum::Json;
/// use axum::response::IntoResponse;
/// use quorate_http::cache::CacheControl;
///
/// async fn user() -> impl IntoResponse {
///     // Ends with `fleet.invalidate_tags(["user:7"])`.
///     (CacheControl::new().tags(["user:7"]), Json("Ann"))
/// }
/// # let _ = user();
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct CacheControl {
    pub(super) no_store: bool,
    pub(super) ttl: Option<Duration>,
    pub(super) tags: Vec<String>,
}

impl CacheControl {
    /// As the mode says.
    pub fn new() -> Self {
        Self::default()
    }

    /// It is not kept, nor given to anybody who waited for it.
    pub const fn no_store(mut self) -> Self {
        self.no_store = true;
        self
    }

    /// How long it is fresh, instead of what the mode or the response says. One of less than a millisecond is not kept;
    /// more than a year is a year.
    pub const fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// What it is about: [`Fleet::invalidate_tags`](quorate::Fleet::invalidate_tags) with one of them ends it. A response
    /// with more than 32 tags, or one that is not of 1 to 255 bytes, is not kept.
    pub fn tags<T: Into<String>>(mut self, tags: impl IntoIterator<Item = T>) -> Self {
        self.tags.extend(tags.into_iter().map(Into::into));
        self
    }

    /// Whether a cache takes its tags.
    pub(super) fn has_good_tags(&self) -> bool {
        let is_good =
            |tag: &String| (1..=255).contains(&tag.len()) && !tag.chars().any(char::is_control);
        self.tags.len() <= 32 && self.tags.iter().all(is_good)
    }
}

impl IntoResponseParts for CacheControl {
    type Error = Infallible;

    fn into_response_parts(self, mut parts: ResponseParts) -> Result<ResponseParts, Infallible> {
        parts.extensions_mut().insert(self);
        Ok(parts)
    }
}
