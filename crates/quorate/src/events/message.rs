//! What a subscription yields.

use std::fmt;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use uuid::Uuid;

use super::envelope::{EnvelopeError, ReadHeader};
use super::spec::Validate;
use crate::codec::{Codec, CodecError};
use crate::history::{Position, Settle, Settlement, TakeId};

/// What a subscription yields.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<T> {
    /// A message.
    Message(Message<T>),
    /// Messages may be, or are, missing here.
    Gap(Gap),
    /// A message arrived that this subscription cannot read.
    Undecodable(Undecodable),
}

// Not derived: messages are shared, so `T` need not be `Clone`.
impl<T> Clone for Event<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Message(message) => Self::Message(message.clone()),
            Self::Gap(gap) => Self::Gap(gap.clone()),
            Self::Undecodable(undecodable) => Self::Undecodable(undecodable.clone()),
        }
    }
}

impl<T> Event<T> {
    /// The message, if it is one.
    #[must_use]
    pub fn message(self) -> Option<Message<T>> {
        match self {
            Self::Message(message) => Some(message),
            _ => None,
        }
    }
}

/// Why messages are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GapReason {
    /// A publisher's numbering has a hole: the transport lost messages, or they were never sent.
    Lost,
    /// The connection was interrupted; whatever was published meanwhile is gone.
    Reconnected,
    /// This subscription's buffer was full, and its policy dropped messages.
    BufferFull,
    /// The topic keeps its messages, but no longer those that are missing.
    History,
}

impl GapReason {
    /// The name used in metrics and documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Reconnected => "reconnected",
            Self::BufferFull => "buffer_full",
            Self::History => "history",
        }
    }
}

/// Messages are missing at this place of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gap {
    /// Why.
    pub reason: GapReason,
    /// How many, where that is known.
    pub missed: Option<u64>,
    /// Where a kept topic goes on: the next message is the one after this position.
    pub position: Option<Position>,
}

impl Gap {
    pub(crate) const fn new(reason: GapReason, missed: Option<u64>) -> Self {
        Self {
            reason,
            missed,
            position: None,
        }
    }

    /// Of a kept topic: what is missing is no longer there, and the stream goes on at `position`.
    pub(crate) const fn of_history(missed: Option<u64>, position: Position) -> Self {
        Self {
            reason: GapReason::History,
            missed,
            position: Some(position),
        }
    }
}

/// A message that could not be read.
#[derive(Clone)]
pub struct Undecodable(Arc<UndecodableParts>);

struct UndecodableParts {
    topic: Arc<str>,
    bytes: Bytes,
    position: Option<Position>,
    error: UndecodableError,
}

/// Why a message could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UndecodableError {
    /// What was received is not a message of this library.
    #[error(transparent)]
    Envelope(EnvelopeError),
    /// The codec refused the payload.
    #[error("the {codec} codec refused the payload")]
    Codec {
        /// The codec's name.
        codec: &'static str,
        /// Its error.
        source: CodecError,
    },
    /// The topic's `validate` refused the value.
    #[error("refused by validate: {0}")]
    Invalid(String),
    /// The codec or `validate` panicked.
    #[error("the codec or validate panicked")]
    Panicked,
}

impl Undecodable {
    pub(crate) fn new(
        topic: Arc<str>,
        bytes: Bytes,
        position: Option<Position>,
        error: UndecodableError,
    ) -> Self {
        Self(Arc::new(UndecodableParts {
            topic,
            bytes,
            position,
            error,
        }))
    }

    /// The concrete topic or channel.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.0.topic
    }

    /// What was received: the payload, or the whole message if its envelope could not be read.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.0.bytes
    }

    /// Where it stands in its topic's history, if that is kept.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        self.0.position
    }

    /// Why it could not be read.
    #[must_use]
    pub fn error(&self) -> &UndecodableError {
        &self.0.error
    }
}

impl fmt::Display for Undecodable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.error.fmt(f)
    }
}

/// The cause is [`error`](Undecodable::error).
impl std::error::Error for Undecodable {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.error.source()
    }
}

impl fmt::Debug for Undecodable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The payload stays out of logs: it may hold what must not stand there.
        f.debug_struct("Undecodable")
            .field("topic", &self.0.topic)
            .field("bytes", &self.0.bytes.len())
            .field("error", &self.0.error)
            .finish()
    }
}

/// A message: its value and what is known about it.
///
/// Dereferences to the value. The message is decoded once per process and shared by every
/// subscription.
///
/// # Clone
/// Clones share one message.
pub struct Message<T>(Arc<Shared<T>>);

/// A message on its way to subscriptions of one type, decoded when the first of them looks at it.
///
/// The task that reads the connection only puts it into buffers: a slow or panicking codec delays the
/// subscription that asks, and nobody else.
pub(crate) struct Shared<T> {
    pub(crate) topic: Arc<str>,
    pub(crate) header: Option<ReadHeader>,
    /// Epoch and offset, if the topic is kept.
    pub(crate) place: Option<(u64, u64)>,
    /// Which delivery it is, if it came through a consumer group.
    pub(crate) delivered: Option<Delivered>,
    pub(crate) payload: Bytes,
    pub(crate) decoded: OnceLock<Result<T, Undecodable>>,
}

/// One delivery of a consumer group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Delivered {
    pub(crate) offset: u64,
    pub(crate) attempt: u32,
    pub(crate) take: TakeId,
}

impl Delivered {
    /// What tells it from every other.
    pub(crate) const fn tag(self) -> (u64, TakeId) {
        (self.offset, self.take)
    }

    pub(crate) const fn settled(self, settle: Settle) -> Settlement {
        Settlement {
            offset: self.offset,
            take: self.take,
            settle,
        }
    }
}

impl<T> Shared<T> {
    /// Where the message stands in its topic's history.
    pub(crate) fn position(&self) -> Option<Position> {
        let (epoch, offset) = self.place?;
        let id = self.header.as_ref()?.at.id;
        Some(Position::of(epoch, offset, id.into_bytes()))
    }

    /// The message if it can be read; `fresh` is called with the error the first time it cannot.
    pub(crate) fn open(
        self: Arc<Self>,
        codec: &Codec<T>,
        validate: Option<Validate<T>>,
        fresh: impl FnOnce(&Undecodable),
    ) -> Event<T> {
        let mut first = false;
        let decoded = self.decoded.get_or_init(|| {
            first = true;
            decode(&self.payload, codec, validate).map_err(|error| {
                let (topic, payload) = (self.topic.clone(), self.payload.clone());
                Undecodable::new(topic, payload, self.position(), error)
            })
        });
        if let Err(undecodable) = decoded {
            let undecodable = undecodable.clone();
            if first {
                fresh(&undecodable);
            }
            return Event::Undecodable(undecodable);
        }
        Event::Message(Message(self))
    }
}

fn decode<T>(
    payload: &Bytes,
    codec: &Codec<T>,
    validate: Option<Validate<T>>,
) -> Result<T, UndecodableError> {
    let attempt = || {
        let value = codec
            .decode(payload)
            .map_err(|source| UndecodableError::Codec {
                codec: codec.name(),
                source,
            })?;
        if let Some(validate) = validate {
            validate(&value).map_err(UndecodableError::Invalid)?;
        }
        Ok(value)
    };
    catch_unwind(AssertUnwindSafe(attempt)).unwrap_or(Err(UndecodableError::Panicked))
}

impl<T> Message<T> {
    /// The value.
    ///
    /// # Panics
    /// Never: a message is only made once its value was decoded.
    #[must_use]
    pub fn payload(&self) -> &T {
        let Some(Ok(value)) = self.0.decoded.get() else {
            unreachable!("a message is only made once its value was decoded")
        };
        value
    }

    /// The concrete topic, with its key (`orders:42`), also under a pattern; for a raw channel its name.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.0.topic
    }

    /// The payload's bytes as they were sent.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.0.payload
    }

    /// The message's id; `None` for raw channels, as for everything below.
    #[must_use]
    pub fn id(&self) -> Option<Uuid> {
        self.0.header.as_ref().map(|header| header.at.id)
    }

    /// The type given at the publish, or the topic's name.
    #[must_use]
    pub fn event_type(&self) -> Option<&str> {
        let header = self.0.header.as_ref()?;
        header.text(header.at.event_type)
    }

    /// The key of a keyed topic.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        let header = self.0.header.as_ref()?;
        header.text(header.at.key)
    }

    /// Who published: the service's name unless the publish said otherwise.
    #[must_use]
    pub fn source(&self) -> Option<&str> {
        let header = self.0.header.as_ref()?;
        header.text(header.at.source)
    }

    /// The id that ties the message to a request.
    #[must_use]
    pub fn correlation_id(&self) -> Option<&str> {
        let header = self.0.header.as_ref()?;
        header.text(header.at.correlation_id)
    }

    /// The payload's media type.
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        let header = self.0.header.as_ref()?;
        header.text(header.at.content_type)
    }

    /// A receiver that is to be left out, as the publisher named it: for whoever passes messages on.
    #[must_use]
    pub fn except(&self) -> Option<&str> {
        let header = self.0.header.as_ref()?;
        header.text(header.at.except)
    }

    /// Where it stands in the history of its topic, if that keeps one.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        self.0.position()
    }

    /// How many times its consumer group handed it out by now, from 1; 1 for what came through a
    /// subscription.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.0.delivered.map_or(1, |delivered| delivered.attempt)
    }

    /// Which delivery it is, if it came through a consumer group.
    pub(super) fn delivered(&self) -> Option<Delivered> {
        self.0.delivered
    }

    /// When it was published, by the publisher's clock, to the millisecond.
    #[must_use]
    pub fn timestamp(&self) -> Option<SystemTime> {
        let header = self.0.header.as_ref()?;
        UNIX_EPOCH.checked_add(Duration::from_millis(header.at.timestamp_ms))
    }
}

impl<T> Deref for Message<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.payload()
    }
}

impl<T> Clone for Message<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: fmt::Debug> fmt::Debug for Message<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("topic", &self.0.topic)
            .field("header", &self.0.header)
            .field("payload", self.payload())
            .finish()
    }
}
