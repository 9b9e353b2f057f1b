//! Frames of the protocol (`docs/protocol.md`) as the client reads them: a pure function of their text.
//!
//! What this version does not know (events, members, whole frames) is skipped. What it does know and
//! cannot read is an error: a message might be lost in it, so the connection is given up and the
//! streams are resumed on the next.

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use quorate::{GapReason, Position};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::error::{ClientError, ErrorMember};
use super::message::{ClientGap, ClientUndecodable, Data, Delivery};
use super::roster::{ClientMember, PresenceChange};

/// What the server says.
#[derive(Debug)]
pub(super) enum ServerFrame<'a> {
    Hello(Hello),
    Closing(Closing),
    Message(Delivery),
    Gap {
        topic: String,
        gap: ClientGap,
    },
    Undecodable {
        subscription: String,
        undecodable: ClientUndecodable,
    },
    Presence {
        topic: String,
        change: PresenceChange,
    },
    Unsubscribed {
        topic: String,
        reason: String,
    },
    Answer {
        id: u64,
        error: Option<ErrorMember>,
    },
    Progress {
        id: u64,
        value: &'a RawValue,
    },
    /// An error that belongs to no request: the server could not read what it was sent.
    Complaint(ErrorMember),
    /// Nothing this version knows.
    Other,
}

/// What the client may rely on.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Hello {
    #[serde(default)]
    pub(super) client: Option<String>,
    #[serde(default)]
    pub(super) authentication: Option<String>,
    #[serde(default = "Hello::heartbeat_ms")]
    heartbeat_ms: u64,
    #[serde(default = "Hello::max_frame_bytes")]
    pub(super) max_frame_bytes: usize,
    #[serde(default = "Hello::max_requests")]
    pub(super) max_requests: usize,
}

impl Hello {
    // What servers have unless configured; older ones do not name each.
    const fn heartbeat_ms() -> u64 {
        15_000
    }

    const fn max_frame_bytes() -> usize {
        16 * 1024
    }

    const fn max_requests() -> usize {
        32
    }

    /// How often there is a sign of life. A server cannot make the client busy with it.
    pub(super) fn heartbeat(&self) -> Duration {
        Duration::from_millis(self.heartbeat_ms.clamp(10, 3_600_000))
    }
}

/// The server sends the client away.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Closing {
    #[serde(default)]
    pub(super) reason: String,
    #[serde(default)]
    retry_after_ms: Option<u64>,
}

impl Closing {
    /// When to come back. No server can send a client away for longer than a day.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        let most = 24 * 3_600_000;
        self.retry_after_ms
            .map(|after| Duration::from_millis(after.min(most)))
    }
}

/// What every frame is looked at for.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(default)]
    event: Option<String>,
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    progress: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
    #[serde(borrow, default)]
    ok: Option<&'a RawValue>,
}

/// A member that is there, `null` too.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    Deserialize::deserialize(deserializer).map(Some)
}

/// Reads a frame.
pub(super) fn read(text: &str) -> Result<ServerFrame<'_>, serde_json::Error> {
    if !text.trim_start().starts_with('{') {
        // Serde would take an array for the members in their order.
        return Err(serde_json::Error::custom("a frame must be a JSON object"));
    }
    let head: Head<'_> = serde_json::from_str(text)?;
    if let Some(event) = &head.event {
        return read_event(event, text);
    }
    let error: Option<ErrorMember> = match head.error {
        Some(error) => Some(serde_json::from_str(error.get())?),
        None => None,
    };
    // An id that is no number is none of ours.
    let id = head.id.map(|id| serde_json::from_str::<u64>(id.get()));
    Ok(match (id, head.progress, error) {
        (Some(Ok(id)), Some(value), _) => ServerFrame::Progress { id, value },
        (Some(Ok(id)), None, error) if error.is_some() || head.ok.is_some() => {
            ServerFrame::Answer { id, error }
        }
        (None, _, Some(error)) => ServerFrame::Complaint(error),
        _ => ServerFrame::Other,
    })
}

fn read_event<'a>(event: &str, text: &'a str) -> Result<ServerFrame<'a>, serde_json::Error> {
    Ok(match event {
        "hello" => ServerFrame::Hello(serde_json::from_str(text)?),
        "closing" => ServerFrame::Closing(serde_json::from_str(text)?),
        "message" => ServerFrame::Message(read_message(text)?),
        "gap" => {
            let frame: GapFrame = serde_json::from_str(text)?;
            let gap = ClientGap::new(reason(&frame.reason), frame.missed).at(frame.position);
            ServerFrame::Gap {
                topic: frame.topic,
                gap,
            }
        }
        "undecodable" => {
            let frame: UndecodableFrame = serde_json::from_str(text)?;
            let undecodable = ClientUndecodable {
                topic: frame.topic,
                error: frame.error,
            };
            ServerFrame::Undecodable {
                subscription: frame.subscription,
                undecodable,
            }
        }
        "presence" => {
            let topic = serde_json::from_str::<TopicMember>(text)?.topic;
            ServerFrame::Presence {
                topic,
                change: serde_json::from_str(text)?,
            }
        }
        "unsubscribed" => {
            let frame: UnsubscribedFrame = serde_json::from_str(text)?;
            ServerFrame::Unsubscribed {
                topic: frame.topic,
                reason: frame.reason,
            }
        }
        _ => ServerFrame::Other,
    })
}

#[derive(Deserialize)]
struct TopicMember {
    topic: String,
}

#[derive(Deserialize)]
struct GapFrame {
    topic: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    missed: Option<u64>,
    #[serde(default)]
    position: Option<Position>,
}

#[derive(Deserialize)]
struct UndecodableFrame {
    subscription: String,
    #[serde(default)]
    topic: String,
    #[serde(default)]
    error: String,
}

#[derive(Deserialize)]
struct UnsubscribedFrame {
    topic: String,
    #[serde(default)]
    reason: String,
}

fn reason(name: &str) -> GapReason {
    let known = [
        GapReason::Reconnected,
        GapReason::BufferFull,
        GapReason::History,
    ];
    // A reason of a later version is a loss all the same.
    known
        .into_iter()
        .find(|reason| reason.as_str() == name)
        .unwrap_or(GapReason::Lost)
}

#[derive(Deserialize)]
struct MessageFrame<'a> {
    subscription: Box<str>,
    topic: Box<str>,
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    #[serde(default)]
    data_base64: Option<String>,
    #[serde(default, rename = "type")]
    event_type: Option<Box<str>>,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    source: Option<Box<str>>,
    #[serde(default)]
    key: Option<Box<str>>,
    #[serde(default)]
    timestamp: Option<String>,
    #[serde(default)]
    correlation_id: Option<Box<str>>,
    #[serde(default)]
    content_type: Option<Box<str>>,
    #[serde(default)]
    position: Option<Position>,
}

/// Reads a message event, as it stands in a frame or in an answer to `history`.
pub(super) fn read_message(text: &str) -> Result<Delivery, serde_json::Error> {
    let frame: MessageFrame<'_> = serde_json::from_str(text)?;
    let data = match (frame.data, frame.data_base64) {
        (Some(json), _) => Data::Json(json.to_owned()),
        (None, Some(base64)) => {
            let bytes = STANDARD.decode(base64).map_err(serde_json::Error::custom)?;
            Data::Bytes(bytes.into())
        }
        (None, None) => return Err(serde_json::Error::missing_field("data")),
    };
    let timestamp = frame.timestamp.as_deref();
    let timestamp = timestamp.and_then(|text| text.parse::<jiff::Timestamp>().ok());
    Ok(Delivery {
        subscription: frame.subscription,
        topic: frame.topic,
        data,
        event_type: frame.event_type,
        id: frame.id.and_then(|id| id.parse().ok()),
        source: frame.source,
        key: frame.key,
        timestamp: timestamp.map(SystemTime::from),
        correlation_id: frame.correlation_id,
        content_type: frame.content_type,
        position: frame.position,
    })
}

/// What each answer says beside `ok`. One struct for all verbs, with what they share.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct AnswerBody {
    pub(super) topic: Option<String>,
    pub(super) position: Option<Position>,
    pub(super) recovered: Option<bool>,
    pub(super) expires_in_ms: Option<u64>,
    pub(super) client: Option<String>,
}

/// The answer to `presence`.
#[derive(Debug, Deserialize)]
pub(super) struct PresenceBody {
    pub(super) count: u64,
    #[serde(default)]
    pub(super) members: Option<Vec<ClientMember>>,
}

/// The answer to `history`.
#[derive(Debug, Default)]
pub(super) struct HistoryBody {
    pub(super) messages: Vec<Delivery>,
    /// After the last of `messages`.
    pub(super) position: Option<Position>,
    pub(super) complete: bool,
    /// What was asked for is no longer there.
    pub(super) gap: Option<ClientGap>,
}

/// Reads the answer to `history`.
pub(super) fn read_history(text: &str) -> Result<HistoryBody, serde_json::Error> {
    #[derive(Deserialize)]
    struct GapMember {
        #[serde(default)]
        missed: Option<u64>,
        #[serde(default)]
        position: Option<Position>,
    }
    #[derive(Deserialize)]
    struct Raw<'a> {
        #[serde(borrow, default)]
        messages: Vec<&'a RawValue>,
        #[serde(default)]
        position: Option<Position>,
        #[serde(default)]
        complete: Option<bool>,
        #[serde(default)]
        gap: Option<GapMember>,
    }
    let raw: Raw<'_> = serde_json::from_str(text)?;
    let messages = raw.messages.into_iter().map(|it| read_message(it.get()));
    let gap = raw.gap.map(|gap| {
        let position = gap.position.or(raw.position);
        ClientGap::new(GapReason::History, gap.missed).at(position)
    });
    Ok(HistoryBody {
        messages: messages.collect::<Result<_, _>>()?,
        position: raw.position,
        complete: raw.complete.unwrap_or_else(|| gap.is_some()),
        gap,
    })
}

/// Reads an answer that the server gave to a call, in the caller's own task.
pub(super) fn read_body<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, ClientError> {
    serde_json::from_str(text).map_err(|error| ClientError::nonsense("the answer", error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::sample::select;

    #[test]
    fn a_message_is_read_with_everything_it_says() {
        let text = r#"{"event":"message","subscription":"room:42","topic":"room:42","type":"said","data":null,
            "id":"01a1fd25-94b6-713f-84e6-73a14e85aa7b","source":"ada","key":"42","timestamp":"2026-11-21T08:07:40.982Z",
            "content_type":"application/json","position":"64cb8e1f2a3b0-42-9f3e1a07","of_a_later_version":[1]}"#;
        let ServerFrame::Message(message) = read(text).unwrap() else {
            panic!("not a message")
        };
        assert!(matches!(&message.data, Data::Json(json) if json.get() == "null"));
        assert_eq!(message.position.unwrap().offset(), 42);
        assert_eq!(message.resumable(), message.position);
        assert_eq!(message.key.as_deref(), Some("42"));
        assert!(message.id.is_some() && message.timestamp.is_some());
    }

    #[test]
    fn answers_progress_and_complaints_are_told_apart() {
        let is = |text: &str, what: &str| {
            let frame = format!("{:?}", read(text).unwrap());
            assert!(frame.starts_with(what), "{text}: {frame}");
        };
        is(
            r#"{"id":1,"ok":true,"data":null}"#,
            "Answer { id: 1, error: None",
        );
        is(
            r#"{"id":1,"error":{"code":"ABORTED","message":"no"}}"#,
            "Answer { id: 1, error: Some",
        );
        is(r#"{"id":1,"progress":null}"#, "Progress { id: 1");
        is(r#"{"error":{"code":"INVALID_ARGUMENT"}}"#, "Complaint");
        is(r#"{"id":"text","ok":true}"#, "Other");
        is(r#"{"pong":true}"#, "Other");
        is(r#"{"event":"of a later version","topic":7}"#, "Other");
        is(
            r#"{"event":"gap","topic":"a","reason":"of a later version","missed":null}"#,
            "Gap",
        );
        is(r#"{"event":"hello","protocol":1}"#, "Hello");
    }

    #[test]
    fn what_is_known_and_cannot_be_read_is_an_error() {
        for text in [
            "",
            "[]",
            "{",
            r#"{"event":"message","topic":"a","data":1}"#,
            r#"{"event":"message","subscription":"a","topic":"a"}"#,
            r#"{"event":"message","subscription":"a","topic":"a","data_base64":"%"}"#,
            r#"{"event":"gap"}"#,
            r#"{"event":"presence","topic":"a"}"#,
            r#"{"event":"gap","topic":"a","position":"nonsense"}"#,
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_page_of_history_is_read() {
        let text = r#"{"id":7,"ok":true,"topic":"a","messages":[{"event":"message","subscription":"a","topic":"a","data":1,
            "position":"1-5-00000000"}],"position":"1-5-00000000","complete":false}"#;
        let body = read_history(text).unwrap();
        assert_eq!((body.messages.len(), body.complete), (1, false));
        let text =
            r#"{"id":7,"ok":true,"topic":"a","gap":{"missed":17,"position":"1-9-00000000"}}"#;
        let body = read_history(text).unwrap();
        let gap = body.gap.unwrap();
        assert_eq!(
            (gap.missed, gap.position.unwrap().offset(), body.complete),
            (Some(17), 9, true)
        );
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,200}") {
            let _ = read(&text);
        }

        #[test]
        fn no_frame_panics(
            event in select(vec!["hello", "closing", "message", "gap", "presence", "unsubscribed", "undecodable", "x"]),
            member in select(vec!["topic", "subscription", "position", "missed", "count", "members", "id", "error", "progress"]),
            value in select(vec!["null", "0", "-1", "1e400", "\"\"", "[]", "{}", "[null]", "true", "\"1-2-3\""]),
        ) {
            let text = format!(r#"{{"event":"{event}","{member}":{value},"data":1}}"#);
            let _ = read(&text);
            let text = format!(r#"{{"{member}":{value}}}"#);
            let _ = read(&text);
            let _ = read_history(&text);
        }
    }
}
