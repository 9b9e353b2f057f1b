//! What a subscription yields.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use quorate::{GapReason, Position};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::error::ClientError;
use super::roster::ClientPresence;

/// What a subscription yields.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ClientEvent<T> {
    /// A message.
    Message(ClientMessage<T>),
    /// Messages may be, or are, missing here.
    Gap(ClientGap),
    /// Who is there, or who came and left; only with
    /// [`members`](super::SubscribeTo::members).
    Presence(ClientPresence),
    /// A message arrived that cannot be read. The next one is not affected.
    Undecodable(ClientUndecodable),
    /// The last event: the server ended the subscription, or does not let this client have it any more.
    Ended(ClientError),
}

impl<T> ClientEvent<T> {
    /// The message, if it is one.
    #[must_use]
    pub fn message(self) -> Option<ClientMessage<T>> {
        match self {
            Self::Message(message) => Some(message),
            _ => None,
        }
    }
}

/// Messages are missing at this place of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientGap {
    /// Why.
    pub reason: GapReason,
    /// How many, where that is known.
    pub missed: Option<u64>,
    /// Where a kept topic goes on: the next message is the one after this position.
    pub position: Option<Position>,
}

impl ClientGap {
    pub(super) const fn new(reason: GapReason, missed: Option<u64>) -> Self {
        Self {
            reason,
            missed,
            position: None,
        }
    }

    pub(super) const fn at(mut self, position: Option<Position>) -> Self {
        self.position = position;
        self
    }
}

/// A message that cannot be read.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClientUndecodable {
    /// The concrete topic.
    pub topic: String,
    /// Why, for people.
    pub error: String,
}

/// A message: its value and what is known about it.
///
/// Dereferences to the value.
///
/// # Clone
/// Clones share everything but the value.
#[derive(Clone)]
pub struct ClientMessage<T> {
    pub(super) delivery: Arc<Delivery>,
    pub(super) payload: T,
}

/// A message as the server sent it, shared by all who subscribe.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) subscription: Box<str>,
    pub(super) topic: Box<str>,
    pub(super) data: Data,
    pub(super) event_type: Option<Box<str>>,
    pub(super) id: Option<Uuid>,
    pub(super) source: Option<Box<str>>,
    pub(super) key: Option<Box<str>>,
    pub(super) timestamp: Option<SystemTime>,
    pub(super) correlation_id: Option<Box<str>>,
    pub(super) content_type: Option<Box<str>>,
    pub(super) position: Option<Position>,
}

impl Delivery {
    /// Its position, if the stream it is part of can be resumed there: that of a pattern cannot.
    pub(super) fn resumable(&self) -> Option<Position> {
        self.position.filter(|_| self.subscription == self.topic)
    }

    /// What it takes in a buffer.
    pub(super) fn bytes(&self) -> usize {
        match &self.data {
            Data::Json(json) => json.get().len(),
            Data::Bytes(bytes) => bytes.len(),
        }
    }
}

/// A payload as it was sent.
pub(super) enum Data {
    Json(Box<RawValue>),
    Bytes(Bytes),
}

impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The payload stays out of logs: it may hold what must not stand there.
        match self {
            Self::Json(json) => write!(f, "{} bytes of JSON", json.get().len()),
            Self::Bytes(bytes) => write!(f, "{} bytes", bytes.len()),
        }
    }
}

impl<T> ClientMessage<T> {
    /// The value.
    #[must_use]
    pub const fn payload(&self) -> &T {
        &self.payload
    }

    /// The value, taken out.
    #[must_use]
    pub fn into_payload(self) -> T {
        self.payload
    }

    /// The concrete topic, with its key (`room:42`), also under a pattern.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.delivery.topic
    }

    /// The payload as JSON, as it was sent; `None` where it is none.
    #[must_use]
    pub fn json(&self) -> Option<&str> {
        match &self.delivery.data {
            Data::Json(json) => Some(json.get()),
            Data::Bytes(_) => None,
        }
    }

    /// The message's id.
    #[must_use]
    pub fn id(&self) -> Option<Uuid> {
        self.delivery.id
    }

    /// Where it stands in the history of its topic, if that keeps one.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        self.delivery.position
    }

    /// The type given at the publish, or the event's name.
    #[must_use]
    pub fn event_type(&self) -> Option<&str> {
        self.delivery.event_type.as_deref()
    }

    /// Who published: a service's name, or of a client its user or id.
    #[must_use]
    pub fn source(&self) -> Option<&str> {
        self.delivery.source.as_deref()
    }

    /// The key of a keyed topic.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.delivery.key.as_deref()
    }

    /// When it was published, by the publisher's clock, to the millisecond.
    #[must_use]
    pub fn timestamp(&self) -> Option<SystemTime> {
        self.delivery.timestamp
    }

    /// The id that ties the message to a request.
    #[must_use]
    pub fn correlation_id(&self) -> Option<&str> {
        self.delivery.correlation_id.as_deref()
    }

    /// The payload's media type.
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        self.delivery.content_type.as_deref()
    }
}

impl<T> Deref for ClientMessage<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.payload
    }
}

impl<T: fmt::Debug> fmt::Debug for ClientMessage<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientMessage")
            .field("delivery", &self.delivery)
            .field("payload", &self.payload)
            .finish()
    }
}
