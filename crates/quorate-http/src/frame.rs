//! What goes over the wire, in both transports; see `docs/protocol.md`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use quorate::events::Undecodable;
use quorate::{ConnectionStatus, Event, Gap, Message};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::problem::{Code, Problem};

/// The version of the protocol, as in the WebSocket subprotocol `quorate.v1`.
pub const PROTOCOL: u32 = 1;

/// Longest text a client may use as an id.
const MAX_ID: usize = 64;

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
        let timestamp = message
            .timestamp()
            .and_then(|at| jiff::Timestamp::try_from(at).ok());
        Self::Message(MessageFrame {
            subscription,
            topic: message.topic(),
            event_type: message.event_type(),
            data: Data::of(message.bytes(), message.content_type()),
            id: message.id().map(|id| id.to_string()),
            source: message.source(),
            key: message.key(),
            timestamp: timestamp.map(|at| at.to_string()),
            correlation_id: message.correlation_id(),
            content_type: message.content_type(),
        })
    }

    fn gap(topic: &'a str, gap: &Gap) -> Self {
        Self::Gap {
            topic,
            reason: gap.reason.as_str(),
            missed: gap.missed,
        }
    }

    fn undecodable(subscription: &'a str, undecodable: &'a Undecodable) -> Self {
        Self::Undecodable {
            subscription,
            topic: undecodable.topic(),
            error: undecodable.error().to_string(),
        }
    }

    /// The name of the kind of event, as an SSE event is called.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Message(_) => "message",
            Self::Gap { .. } => "gap",
            Self::Undecodable { .. } => "undecodable",
        }
    }

    /// The message's id.
    pub(crate) fn id(&self) -> Option<&str> {
        match self {
            Self::Message(message) => message.id.as_deref(),
            _ => None,
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

/// What else the server says over a WebSocket.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum ControlFrame<'a> {
    Hello {
        event: &'static str,
        protocol: u32,
        heartbeat_ms: u64,
        max_subscriptions: usize,
        max_frame_bytes: usize,
    },
    State {
        event: &'static str,
        state: &'static str,
        reason: &'a str,
        epoch: u64,
    },
    Closing {
        event: &'static str,
        reason: &'static str,
        retry_after_ms: u64,
    },
    Ok {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a Value>,
        ok: bool,
        topic: &'a str,
    },
    Error {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a Value>,
        error: FrameError<'a>,
    },
    Pong {
        pong: bool,
    },
}

#[derive(Debug, Serialize)]
pub(crate) struct FrameError<'a> {
    code: &'static str,
    message: &'a str,
    retryable: bool,
}

impl<'a> ControlFrame<'a> {
    pub(crate) fn state(status: &'a ConnectionStatus) -> Self {
        Self::State {
            event: "state",
            state: status.state.as_str(),
            reason: &status.reason,
            epoch: status.epoch,
        }
    }

    pub(crate) fn error(id: Option<&'a Value>, problem: &'a Problem) -> Self {
        let error = FrameError {
            code: problem.code().as_str(),
            message: problem.detail(),
            retryable: problem.is_retryable(),
        };
        Self::Error { id, error }
    }

    pub(crate) fn to_text(&self) -> String {
        to_json(self)
    }
}

fn to_json<T: Serialize>(frame: &T) -> String {
    serde_json::to_string(frame).expect("frames are made of what JSON has")
}

/// What a client asks for.
#[derive(Debug, PartialEq)]
pub(crate) enum Request {
    Subscribe {
        topic: String,
        /// The key of the topic, as with a publish.
        params: Option<Value>,
    },
    Unsubscribe {
        topic: String,
        params: Option<Value>,
    },
    Ping,
}

/// The members of a client's frame, but for its id.
#[derive(Default)]
struct ClientFrame {
    subscribe: Option<String>,
    unsubscribe: Option<String>,
    params: Option<Value>,
    ping: Option<bool>,
}

impl ClientFrame {
    /// Member by member, so that errors name the one that is wrong. `null` is as good as absent.
    fn read(members: Map<String, Value>) -> Result<Self, String> {
        let mut frame = Self::default();
        for (name, value) in members {
            match (name.as_str(), value) {
                // The id was read before, so that errors can carry it.
                ("id", _) | ("subscribe" | "unsubscribe" | "params" | "ping", Value::Null) => {}
                ("subscribe", Value::String(topic)) => frame.subscribe = Some(topic),
                ("unsubscribe", Value::String(topic)) => frame.unsubscribe = Some(topic),
                ("params", params) => frame.params = Some(params),
                ("ping", Value::Bool(ping)) => frame.ping = Some(ping),
                ("subscribe" | "unsubscribe", _) => return Err(format!("{name} must be text")),
                ("ping", _) => return Err("ping must be true".to_owned()),
                _ => return Err(format!("`{name}` is not a member of a frame")),
            }
        }
        Ok(frame)
    }
}

/// Reads a client's frame: the id to answer with, and what it asks for.
pub(crate) fn read_request(text: &str) -> (Option<Value>, Result<Request, Problem>) {
    let invalid = |message: String| Err(Problem::new(Code::InvalidArgument, message));
    let value: Value = match serde_json::from_str(text) {
        Ok(value) => value,
        Err(error) => return (None, invalid(format!("frame must be JSON: {error}"))),
    };
    let Value::Object(members) = value else {
        return (None, invalid("frame must be a JSON object".to_owned()));
    };
    let id = match members.get("id") {
        None | Some(Value::Null) => None,
        Some(id @ Value::Number(_)) => Some(id.clone()),
        Some(Value::String(id)) if id.len() <= MAX_ID => Some(Value::String(id.clone())),
        Some(_) => {
            let rule = format!("id must be a number, or text of at most {MAX_ID} bytes");
            return (None, invalid(rule));
        }
    };
    let request = match ClientFrame::read(members) {
        Err(rule) => invalid(rule),
        Ok(frame) => match (frame.subscribe, frame.unsubscribe, frame.ping) {
            (Some(topic), None, None) => Ok(Request::Subscribe {
                topic,
                params: frame.params,
            }),
            (None, Some(topic), None) => Ok(Request::Unsubscribe {
                topic,
                params: frame.params,
            }),
            (None, None, Some(true)) if frame.params.is_none() => Ok(Request::Ping),
            _ => invalid(
                "frame must have exactly one of `subscribe`, `unsubscribe` and `\"ping\":true`"
                    .to_owned(),
            ),
        },
    };
    (id, request)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn requests_are_read_and_wrong_ones_answered_with_their_id() {
        let subscribe = Request::Subscribe {
            topic: "orders:*".to_owned(),
            params: None,
        };
        assert_eq!(
            read_request(r#"{"id":1,"subscribe":"orders:*"}"#)
                .1
                .unwrap(),
            subscribe
        );
        assert_eq!(read_request(r#"{"ping":true}"#).1.unwrap(), Request::Ping);
        for (text, id, says) in [
            ("{", None, "JSON"),
            ("[]", None, "JSON object"),
            (r#"[1,"orders",null,null,null]"#, None, "JSON object"),
            (r#""orders""#, None, "JSON object"),
            (r#"{"id":7,"ping":1}"#, Some(json!(7)), "ping must"),
            (r#"{"id":7}"#, Some(json!(7)), "exactly one"),
            (
                r#"{"id":"a","subscribe":"x","ping":true}"#,
                Some(json!("a")),
                "exactly one",
            ),
            (
                r#"{"id":7,"subscribe":5}"#,
                Some(json!(7)),
                "subscribe must be",
            ),
            (
                r#"{"id":7,"subscribe":"x","colour":1}"#,
                Some(json!(7)),
                "colour",
            ),
            (r#"{"id":{},"ping":true}"#, None, "id must"),
            (r#"{"ping":false}"#, None, "exactly one"),
        ] {
            let (found, result) = read_request(text);
            let problem = result.unwrap_err();
            assert_eq!(found, id, "{text}");
            assert_eq!(problem.code(), Code::InvalidArgument);
            assert!(
                problem.detail().contains(says),
                "{text}: {}",
                problem.detail()
            );
        }
    }

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

    proptest! {
        #[test]
        fn no_text_makes_reading_panic(text in ".*") {
            let _ = read_request(&text);
        }
    }
}
