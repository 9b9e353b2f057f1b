//! What the server says about itself, and how it answers.

use std::time::Duration;

use quorate::{ConnectionStatus, Position};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::request::RequestId;
use crate::problem::Problem;

/// The first frame: what a client may rely on.
#[derive(Debug, Serialize)]
pub(crate) struct Hello<'a> {
    pub(crate) event: &'static str,
    pub(crate) protocol: u32,
    pub(crate) client: &'a str,
    pub(crate) instance: &'a str,
    pub(crate) authentication: &'static str,
    pub(crate) heartbeat_ms: u64,
    pub(crate) max_subscriptions: usize,
    pub(crate) max_frame_bytes: usize,
    pub(crate) max_requests: usize,
}

/// The last frame but one: why the connection ends, and when to come back where that helps.
#[derive(Debug, Serialize)]
pub(crate) struct Closing {
    pub(crate) event: &'static str,
    pub(crate) reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) retry_after_ms: Option<u64>,
}

/// What the server did to a subscription by itself.
#[derive(Debug, Serialize)]
pub(crate) struct TopicEvent<'a> {
    pub(crate) event: &'static str,
    pub(crate) topic: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) position: Option<Position>,
}

/// An answer that says yes. What is absent is left out.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Answer<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<&'a RequestId>,
    pub(crate) ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) topic: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) position: Option<Position>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) recovered: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) client: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expires_in_ms: Option<u64>,
    /// Outer `None`: this answer has no data. Inner `None`: the handler returned none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) data: Option<Option<&'a RawValue>>,
}

impl<'a> Answer<'a> {
    /// Yes, to the request with this id.
    pub(crate) fn to(id: Option<&'a RequestId>) -> Self {
        Self {
            id,
            ok: true,
            ..Self::default()
        }
    }

    /// Yes, and the subscription, or the publish, is about this topic.
    pub(crate) fn about(id: Option<&'a RequestId>, topic: &'a str) -> Self {
        Self {
            topic: Some(topic),
            ..Self::to(id)
        }
    }

    pub(crate) fn to_text(&self) -> String {
        to_json(self)
    }
}

/// The answer to a read of a history.
#[derive(Debug, Serialize)]
pub(crate) struct HistoryAnswer<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a RequestId>,
    ok: bool,
    topic: &'a str,
    messages: Vec<&'a RawValue>,
    position: Option<Position>,
    complete: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    gap: Option<LostGap>,
}

#[derive(Debug, Serialize)]
struct LostGap {
    missed: Option<u64>,
    position: Option<Position>,
}

impl<'a> HistoryAnswer<'a> {
    /// `messages` are frames as they are sent to subscribers.
    pub(crate) fn new(
        id: Option<&'a RequestId>,
        topic: &'a str,
        messages: impl Iterator<Item = &'a str>,
    ) -> Self {
        let frame = |text| serde_json::from_str(text).expect("frames are JSON");
        Self {
            id,
            ok: true,
            topic,
            messages: messages.map(frame).collect(),
            position: None,
            complete: true,
            gap: None,
        }
    }

    /// After which position a further read goes on.
    pub(crate) fn at(mut self, position: Position) -> Self {
        self.position = Some(position);
        self
    }

    /// Whether nothing newer is kept.
    pub(crate) fn complete(mut self, complete: bool) -> Self {
        self.complete = complete;
        self
    }

    /// That what was asked for is not there any more: so many messages, where that is known.
    pub(crate) fn lost(mut self, lost: Option<Option<u64>>) -> Self {
        let position = self.position;
        self.gap = lost.map(|missed| LostGap { missed, position });
        self
    }

    pub(crate) fn to_text(&self) -> String {
        to_json(self)
    }
}

/// An answer that says no.
#[derive(Debug, Serialize)]
pub(crate) struct FrameError<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a RequestId>,
    /// Of a request without an id: what it wanted.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'a str>,
    error: ErrorBody<'a>,
}

#[derive(Debug, Serialize)]
struct ErrorBody<'a> {
    code: &'static str,
    message: &'a str,
    retryable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<&'a Value>,
}

impl<'a> FrameError<'a> {
    pub(crate) fn new(
        id: Option<&'a RequestId>,
        kind: Option<&'a str>,
        problem: &'a Problem,
    ) -> Self {
        let retryable = problem.is_retryable();
        Self {
            id,
            kind: kind.filter(|_| id.is_none()),
            error: ErrorBody {
                code: problem.code().as_str(),
                message: problem.detail(),
                retryable,
                // Never with what is final: it would be an invitation.
                retry_after_ms: problem.retry_after().filter(|_| retryable).map(millis),
                details: problem.member("details"),
            },
        }
    }

    pub(crate) fn to_text(&self) -> String {
        to_json(self)
    }
}

impl Hello<'_> {
    pub(crate) fn to_text(&self) -> String {
        to_json(self)
    }
}

impl Closing {
    pub(crate) fn new(reason: &'static str, retry_after: Option<Duration>) -> Self {
        Self {
            event: "closing",
            reason,
            retry_after_ms: retry_after.map(millis),
        }
    }

    pub(crate) fn to_text(&self) -> String {
        to_json(self)
    }
}

impl<'a> TopicEvent<'a> {
    pub(crate) fn new(event: &'static str, topic: &'a str) -> Self {
        Self {
            event,
            topic,
            reason: None,
            position: None,
        }
    }

    pub(crate) fn at(mut self, position: Option<Position>) -> Self {
        self.position = position;
        self
    }

    pub(crate) fn because(mut self, reason: &'static str) -> Self {
        self.reason = Some(reason);
        self
    }

    pub(crate) fn to_text(&self) -> String {
        to_json(self)
    }
}

/// Messages that a client misses, for a reason of the hub's own.
pub(crate) fn gap_line(
    topic: &str,
    reason: &'static str,
    missed: Option<u64>,
    position: Option<Position>,
) -> String {
    #[derive(Serialize)]
    struct GapFrame<'a> {
        event: &'static str,
        topic: &'a str,
        reason: &'static str,
        missed: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        position: Option<Position>,
    }
    to_json(&GapFrame {
        event: "gap",
        topic,
        reason,
        missed,
        position,
    })
}

/// The state of the fleet's connection to its backend.
pub(crate) fn state_line(status: &ConnectionStatus) -> String {
    #[derive(Serialize)]
    struct StateFrame<'a> {
        event: &'static str,
        state: &'static str,
        reason: &'a str,
        epoch: u64,
    }
    to_json(&StateFrame {
        event: "state",
        state: status.state.as_str(),
        reason: &status.reason,
        epoch: status.epoch,
    })
}

/// Whole milliseconds, as frames have them.
pub(crate) fn millis(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}

pub(super) fn to_json<T: Serialize>(frame: &T) -> String {
    serde_json::to_string(frame).expect("frames are made of what JSON has")
}
