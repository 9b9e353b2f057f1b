//! Publishing.

use axum::Json;
use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use quorate_http::{Code, Problem, Rejection, TopicPath};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::api::document::{self, present, unsupported};
use crate::app::App;

/// What is published, as JSON.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PublishBody {
    /// The key of the topic: text as it is, anything else as canonical JSON. With it, the path is the
    /// topic's name alone.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    params: Value,
    /// The payload, any JSON. Exactly one of `data` and `data_base64` is given.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<Object>)]
    data: Option<Box<RawValue>>,
    /// The payload as base64, for what is not JSON.
    data_base64: Option<String>,
    /// The media type of `data_base64`. Default `application/octet-stream`.
    content_type: Option<String>,
    /// The message's type. Default: the topic's name.
    #[serde(rename = "type")]
    event_type: Option<String>,
    /// An id that ties the message to a request.
    correlation_id: Option<String>,
}

/// The same, beside a body of bytes.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PublishQuery {
    /// The key of the topic. With it, the path is the topic's name alone.
    params: Option<String>,
    /// The message's type. Default: the topic's name.
    #[serde(rename = "type")]
    event_type: Option<String>,
    /// An id that ties the message to a request.
    correlation_id: Option<String>,
}

/// What became of a publish.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Published {
    /// The topic with its key.
    topic: String,
    /// How many subscriptions of instances received it, where the backend knows.
    receivers: Option<u64>,
    /// Where it stands, if the topic is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<String>,
}

struct Draft {
    params: Value,
    payload: Bytes,
    content_type: String,
    event_type: Option<String>,
    correlation_id: Option<String>,
}

fn invalid(rule: impl Into<String>) -> Rejection {
    Problem::new(Code::InvalidArgument, rule).into()
}

/// Publishes an event.
///
/// A body of `application/json` is a document with the payload in it; a body of any other media type is
/// the payload itself, and `params`, `type` and `correlation_id` stand in the query.
#[utoipa::path(
    post,
    path = "/v1/events/{topic}",
    params(
        ("topic" = String, Path, description = "`name`, or `name:key`. Slashes may stand as they are."),
        ("params" = Option<String>, Query, description = "The key of the topic. With it, the path is the topic's name alone."),
        ("type" = Option<String>, Query, description = "The message's type. Default: the topic's name."),
        ("correlation_id" = Option<String>, Query, description = "An id that ties the message to a request."),
    ),
    request_body(content(
        (PublishBody = "application/json"),
        (Vec<u8> = "application/octet-stream"),
    )),
    responses(
        (status = 200, description = "Published", body = Published),
        (status = 400, description = "The topic, the body or an argument breaks a rule"),
        (status = 413, description = "The body or the payload is too large"),
        (status = 415, description = "The body has no media type, or that of a form"),
        (status = 503, description = "The backend cannot be reached"),
        (status = 504, description = "The time was up"),
    ),
    tag = "events",
)]
pub(crate) async fn publish(
    State(app): State<App>,
    path: Result<Path<String>, PathRejection>,
    query: Result<Query<PublishQuery>, QueryRejection>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Published>, Rejection> {
    let Path(topic) = path?;
    let Query(query) = query?;
    let body = body.map_err(|rejection| document::unreadable(&rejection, &app))?;
    let draft = read(&headers, query, body)?;
    let path = if draft.params.is_null() {
        TopicPath::parse(&topic)?
    } else {
        TopicPath::with_params(&topic, &draft.params)?
    };
    let limit = app.max_payload;
    if draft.payload.len() as u64 > limit {
        let rule = format!(
            "payload must be at most {limit} bytes, and has {}",
            draft.payload.len()
        );
        return Err(Problem::new(Code::InvalidArgument, rule)
            .with_status(StatusCode::PAYLOAD_TOO_LARGE)
            .into());
    }
    let topic = app.topic(&path)?;
    let mut publish = topic
        .publish(&draft.payload)
        .content_type(&draft.content_type);
    if let Some(event_type) = &draft.event_type {
        publish = publish.event_type(event_type);
    }
    if let Some(id) = &draft.correlation_id {
        publish = publish.correlation_id(id);
    }
    let receipt = publish.await?;
    Ok(Json(Published {
        topic: path.to_string(),
        receivers: receipt.receivers,
        position: receipt.position.map(|position| position.to_string()),
    }))
}

fn read(headers: &HeaderMap, query: PublishQuery, body: Bytes) -> Result<Draft, Rejection> {
    let media = document::media_type(headers)?.ok_or_else(|| {
        unsupported("content-type must be given: application/json, or that of the payload")
    })?;
    if media.essence_str() == mime::APPLICATION_WWW_FORM_URLENCODED.essence_str() {
        // What curl says of any body unless it is told better: nobody means it.
        return Err(unsupported(
            "content-type must not be that of a form: say application/json for a document (with \
             curl: --json), or the media type of the payload",
        )
        .into());
    }
    if !document::is_json(&media) {
        return Ok(Draft {
            params: query.params.map_or(Value::Null, Value::String),
            payload: body,
            // As it was written.
            content_type: document::content_type(headers).unwrap_or_default(),
            event_type: query.event_type,
            correlation_id: query.correlation_id,
        });
    }
    if query.params.is_some() || query.event_type.is_some() || query.correlation_id.is_some() {
        return Err(invalid(
            "params, type and correlation_id stand in the body when it is application/json",
        ));
    }
    let body: PublishBody = document::parse(&body)?;
    let (payload, content_type) = match (body.data, body.data_base64) {
        (Some(json), None) => {
            if body.content_type.is_some() {
                return Err(invalid("content_type belongs to data_base64; data is JSON"));
            }
            // The text as it came: numbers keep their digits.
            let json = Box::<str>::from(json).into_boxed_bytes();
            (Bytes::from(json), "application/json".to_owned())
        }
        (None, Some(text)) => {
            let bytes = STANDARD
                .decode(text)
                .map_err(|error| invalid(format!("data_base64 must be base64: {error}")))?;
            let content_type = body
                .content_type
                .unwrap_or_else(|| "application/octet-stream".to_owned());
            if document::parse_media_type(&content_type).is_none() {
                return Err(invalid(
                    "content_type must be a media type, such as image/png",
                ));
            }
            (bytes.into(), content_type)
        }
        _ => {
            return Err(invalid(
                "body must have exactly one of `data` and `data_base64`",
            ));
        }
    };
    Ok(Draft {
        params: body.params,
        payload,
        content_type,
        event_type: body.event_type,
        correlation_id: body.correlation_id,
    })
}
