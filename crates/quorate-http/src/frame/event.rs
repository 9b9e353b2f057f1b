//! Events as clients see them, in both transports.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use quorate::events::Undecodable;
use quorate::{Event, Gap, Message};
use serde::Serialize;
use serde_json::value::RawValue;

use super::control::to_json;

/// What is told about an event of a subscription.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum EventFrame<'a> {
    Message(MessageFrame<'a>),
    Gap {
        /// What was subscribed to.
        topic: &'a str,
        reason: &'static str,
        /// How many, where that is known.
        missed: Option<u64>,
        /// After which a kept topic goes on.
        #[serde(skip_serializing_if = "Option::is_none")]
        position: Option<String>,
    },
    Undecodable {
        subscription: &'a str,
        topic: &'a str,
        error: String,
    },
}

#[derive(Debug, Serialize)]
pub(crate) struct MessageFrame<'a> {
    subscription: &'a str,
    topic: &'a str,
    #[serde(rename = "type")]
    event_type: Option<&'a str>,
    #[serde(flatten)]
    data: Data<'a>,
    id: Option<String>,
    source: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    /// RFC 3339, by the publisher's clock.
    timestamp: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<&'a str>,
    content_type: Option<&'a str>,
    /// Its place in the history of its topic, if that is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<String>,
}

/// A payload: JSON as it is, text as a string, anything else as base64.
#[derive(Debug, Serialize)]
enum Data<'a> {
    #[serde(rename = "data")]
    Json(&'a RawValue),
    #[serde(rename = "data")]
    Text(&'a str),
    #[serde(rename = "data_base64")]
    Base64(String),
}

impl<'a> Data<'a> {
    fn of(bytes: &'a [u8], content_type: Option<&str>) -> Self {
        let media = content_type.unwrap_or_default();
        let media = media.split(';').next().unwrap_or_default().trim();
        if is_json(media) {
            if let Ok(json) = serde_json::from_slice(bytes) {
                return Self::Json(json);
            }
        } else if media.starts_with("text/")
            && let Ok(text) = std::str::from_utf8(bytes)
        {
            return Self::Text(text);
        }
        Self::Base64(STANDARD.encode(bytes))
    }
}

/// Whether a media type, without its parameters, is JSON.
pub(crate) fn is_json(media: &str) -> bool {
    media.eq_ignore_ascii_case("application/json") || media.ends_with("+json")
}

impl<'a> EventFrame<'a> {
    /// `None` for a kind of event this version does not know.
    pub(crate) fn of(subscription: &'a str, event: &'a Event<Bytes>) -> Option<Self> {
        match event {
            Event::Message(message) => Some(Self::message(subscription, message)),
            Event::Gap(gap) => Some(Self::gap(subscription, gap)),
            Event::Undecodable(undecodable) => Some(Self::undecodable(subscription, undecodable)),
            _ => None,
        }
    }

    fn message(subscription: &'a str, message: &'a Message<Bytes>) -> Self {
        let data = Data::of(message.bytes(), message.content_type());
        Self::with_data(subscription, message, data)
    }

    /// A message of a declared event: its data as JSON, whatever it was carried as.
    pub(crate) fn as_json<T>(
        subscription: &'a str,
        message: &'a Message<T>,
        data: &'a RawValue,
    ) -> Self {
        Self::with_data(subscription, message, Data::Json(data))
    }

    fn with_data<T>(subscription: &'a str, message: &'a Message<T>, data: Data<'a>) -> Self {
        let timestamp = message
            .timestamp()
            .and_then(|at| jiff::Timestamp::try_from(at).ok());
        Self::Message(MessageFrame {
            subscription,
            topic: message.topic(),
            event_type: message.event_type(),
            data,
            id: message.id().map(|id| id.to_string()),
            source: message.source(),
            key: message.key(),
            timestamp: timestamp.map(|at| at.to_string()),
            correlation_id: message.correlation_id(),
            content_type: message.content_type(),
            position: message.position().map(|position| position.to_string()),
        })
    }

    pub(crate) fn gap(topic: &'a str, gap: &Gap) -> Self {
        Self::Gap {
            topic,
            reason: gap.reason.as_str(),
            missed: gap.missed,
            position: gap.position.map(|position| position.to_string()),
        }
    }

    fn undecodable(subscription: &'a str, undecodable: &'a Undecodable) -> Self {
        Self::Undecodable {
            subscription,
            topic: undecodable.topic(),
            error: undecodable.error().to_string(),
        }
    }

    /// As one line of JSON.
    pub(crate) fn to_line(&self) -> String {
        let mut line = to_json(self);
        if line.contains(['\n', '\r']) {
            // Only between tokens of somebody's pretty-printed payload: inside of strings JSON has them
            // escaped. One line, because a line is what SSE frames are made of.
            line = line.replace(['\n', '\r'], " ");
        }
        line
    }
}

/// An event of the subscription to `subscription` as clients see it: one line of JSON, in the form that
/// `docs/protocol.md` describes. `None` for a kind of event that this version of the protocol does not
/// know.
#[must_use]
pub fn event_line(subscription: &str, event: &Event<Bytes>) -> Option<String> {
    Some(EventFrame::of(subscription, event)?.to_line())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_payload_is_shown_as_what_it_is() {
        for (bytes, content_type, expected) in [
            (
                &br#"{"a":1}"#[..],
                Some("application/json"),
                json!({"data": {"a": 1}}),
            ),
            (
                b"[1]",
                Some("application/geo+json; v=1"),
                json!({"data": [1]}),
            ),
            (
                b"hi",
                Some("text/plain; charset=utf-8"),
                json!({"data": "hi"}),
            ),
            (b"\xff", Some("text/plain"), json!({"data_base64": "/w=="})),
            (
                b"not json",
                Some("application/json"),
                json!({"data_base64": "bm90IGpzb24="}),
            ),
            (b"\x00", None, json!({"data_base64": "AA=="})),
        ] {
            let shown = serde_json::to_value(Data::of(bytes, content_type)).unwrap();
            assert_eq!(shown, expected, "{content_type:?}");
        }
    }
}
