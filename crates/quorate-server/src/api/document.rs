//! Bodies that are JSON objects, and what is wrong with those that are not.

use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use bytes::Bytes;
use mime::Mime;
use quorate_http::{Code, Problem, Rejection};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::app::App;

/// A body of `application/json` that is an object with the members of `T`.
#[derive(Debug)]
pub(crate) struct Document<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<App> for Document<T> {
    type Rejection = Rejection;

    async fn from_request(request: Request, app: &App) -> Result<Self, Rejection> {
        let media = media_type(request.headers())?;
        if !media.as_ref().is_some_and(is_json) {
            return Err(unsupported("content-type must be application/json").into());
        }
        let body = Bytes::from_request(request, app).await;
        let body = body.map_err(|rejection| unreadable(&rejection, app))?;
        parse(&body).map(Self)
    }
}

/// Reads an object. Its text stays as it is where `T` wants it raw.
pub(super) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Rejection> {
    // JSON that begins like an object is one, or is no JSON. Without this a list would be taken for the
    // members in their order.
    let begins = body
        .iter()
        .find(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r'));
    if begins != Some(&b'{') {
        return Err(invalid("body must be a JSON object").into());
    }
    let mut reader = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut reader)
        .map_err(|error| invalid(broken_rule(&error)))?;
    reader
        .end()
        .map_err(|error| invalid(format!("body must be a JSON object: {error}")))?;
    Ok(value)
}

/// Names the member and the rule.
fn broken_rule(error: &serde_path_to_error::Error<serde_json::Error>) -> String {
    let text = error.inner().to_string();
    if !error.inner().is_data() {
        return format!("body must be a JSON object: {text}");
    }
    // The member says better where it is than the line does.
    let rule = text
        .rsplit_once(" at line ")
        .map_or(&*text, |(rule, _)| rule);
    if let Some(name) = rule.strip_prefix("missing field ") {
        return format!("{name} must be given");
    }
    if let Some((name, expected)) = rule
        .strip_prefix("unknown field ")
        .and_then(|rest| rest.split_once(", expected "))
    {
        return format!("{name} is not a member of the body, which may have {expected}");
    }
    let path = error.path().to_string();
    if path == "." {
        return format!("body: {rule}");
    }
    match rule.split_once(", expected ") {
        Some((found, expected)) if found.starts_with("invalid ") => {
            format!("{path} must be {expected}")
        }
        _ if rule.starts_with("must ") => format!("{path} {rule}"),
        _ => format!("{path}: {rule}"),
    }
}

/// The media type of a body, if it says one.
pub(super) fn media_type(headers: &HeaderMap) -> Result<Option<Mime>, Problem> {
    if !headers.contains_key(header::CONTENT_TYPE) {
        return Ok(None);
    }
    content_type(headers)
        .and_then(|text| parse_media_type(&text))
        .map(Some)
        .ok_or_else(|| invalid("content-type must be a media type, such as application/json"))
}

/// The same as it was written.
pub(super) fn content_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?;
    value.to_str().ok().map(str::to_owned)
}

/// A media type; not a range of them.
pub(super) fn parse_media_type(text: &str) -> Option<Mime> {
    let media: Mime = text.parse().ok()?;
    // A subtype may even be empty, for all the parser cares.
    let concrete = |name: mime::Name<'_>| name != mime::STAR && !name.as_str().is_empty();
    (concrete(media.type_()) && concrete(media.subtype())).then_some(media)
}

/// Whether the body is a document.
pub(super) fn is_json(media: &Mime) -> bool {
    media.essence_str() == mime::APPLICATION_JSON.essence_str()
}

/// A body that is too large, or ended before it should have.
pub(super) fn unreadable(rejection: &BytesRejection, app: &App) -> Problem {
    let status = rejection.status();
    let rule = if status == StatusCode::PAYLOAD_TOO_LARGE {
        format!("body must be at most {} bytes", app.max_body)
    } else {
        "body must arrive as a whole".to_owned()
    };
    invalid(rule).with_status(status)
}

/// A media type this server does not take here.
pub(super) fn unsupported(rule: impl Into<String>) -> Problem {
    invalid(rule).with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE)
}

fn invalid(rule: impl Into<String>) -> Problem {
    Problem::new(Code::InvalidArgument, rule)
}

/// A member that may be any JSON: `null` is a value too.
pub(super) fn present<'de, D: Deserializer<'de>>(
    input: D,
) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(input).map(Some)
}

/// Durations as text with a unit.
pub(super) mod duration {
    use std::time::Duration;

    use serde::de::Error;
    use serde::{Deserialize, Deserializer};
    use serde_json::Value;

    const RULE: &str = "must be a duration with its unit, such as `500ms` or `5s`";

    pub(in crate::api) fn deserialize<'de, D: Deserializer<'de>>(
        input: D,
    ) -> Result<Duration, D::Error> {
        match Value::deserialize(input)? {
            Value::String(text) => humantime::parse_duration(&text).ok(),
            _ => None,
        }
        .ok_or_else(|| D::Error::custom(RULE))
    }

    /// `null` is none.
    pub(in crate::api) fn optional<'de, D: Deserializer<'de>>(
        input: D,
    ) -> Result<Option<Duration>, D::Error> {
        #[derive(Deserialize)]
        struct Text(#[serde(deserialize_with = "deserialize")] Duration);
        Ok(Option::<Text>::deserialize(input)?.map(|text| text.0))
    }
}
