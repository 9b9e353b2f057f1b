//! Dates of header fields.

use std::time::{Duration, SystemTime};

use axum::http::{HeaderMap, HeaderName, HeaderValue};

/// The system's time: dates of header fields are compared with those of other machines.
pub(super) fn now() -> SystemTime {
    jiff::Timestamp::now().into()
}

/// The date that a field says, if it is one.
pub(super) fn of(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok()
}

/// A date as a field says it.
pub(super) fn field(time: SystemTime) -> HeaderValue {
    let text = httpdate::fmt_http_date(time);
    HeaderValue::try_from(text).expect("a date is visible ASCII")
}

/// From `earlier` to `later`; nothing if it is the other way round.
pub(super) fn between(earlier: SystemTime, later: SystemTime) -> Duration {
    later.duration_since(earlier).unwrap_or_default()
}
