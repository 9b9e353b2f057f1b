//! Reading what a topic keeps, without subscribing.

use std::fmt;
use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::envelope;
use super::handle::Topic;
use super::kept::PAGE;
use super::mailbox::Item;
use super::message::{Event, Gap};
use super::route::enveloped;
use crate::error::{Error, Result};
use crate::history::{From, PageLimit, Position, Replay};

/// A part of what a topic keeps, as it was when it was read.
///
/// # Example
/// See [`Topic::history`].
#[non_exhaustive]
pub struct History<T> {
    /// Messages, oldest first, without a hole; those that cannot be read stand in their place.
    pub events: Vec<Event<T>>,
    /// After which position a further read, or a subscription, goes on.
    pub position: Position,
    /// Whether nothing newer is kept.
    pub complete: bool,
    /// What was asked for is no longer kept: there are no events, and `position` is the present.
    pub gap: Option<Gap>,
}

/// A read about to be made: optional arguments, then `.await`. Without any, the oldest messages that are
/// kept, up to 256 of them and 1 MiB.
///
/// # Errors
/// `InvalidInput` if a limit is 0 or more than it may be (1 000 messages, 1 MiB), `Closed`, and those of the home.
///
/// # Cancel safety
/// Dropping the future does no harm.
#[must_use = "a history is read by awaiting it"]
pub struct ReadHistory<T> {
    topic: Topic<T>,
    from: From,
    limit: u32,
    bytes: u64,
    deadline: Option<Duration>,
}

/// The most messages of one read.
const MAX_LIMIT: u32 = 1000;

impl<T: Send + Sync + 'static> ReadHistory<T> {
    pub(super) fn new(topic: Topic<T>) -> Self {
        Self {
            topic,
            from: From::Beginning,
            limit: PAGE.messages,
            bytes: PAGE.bytes,
            deadline: None,
        }
    }

    /// What follows this position.
    pub fn after(mut self, position: Position) -> Self {
        self.from = From::After(position);
        self
    }

    /// The last `count` messages; this is also the limit. With 0, only where the present is.
    pub fn latest(mut self, count: u32) -> Self {
        self.from = From::Latest(count);
        self.limit = count.max(1);
        self
    }

    /// Messages to return at most, from 1 to 1 000. Default 256. A read ends earlier after so many
    /// [bytes](Self::limit_bytes).
    pub fn limit(mut self, messages: u32) -> Self {
        self.limit = messages;
        self
    }

    /// Bytes of messages, with their envelopes, to return at most, from 1 to 1 MiB, which is the default.
    /// One message is returned however large it is.
    pub fn limit_bytes(mut self, bytes: u64) -> Self {
        self.bytes = bytes;
        self
    }

    /// Time for the whole call.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    fn page_limit(&self) -> Result<PageLimit> {
        let refused = |field, most| {
            Error::invalid(field, format_args!("must be from 1 to {most}"))
                .with_operation("events.history")
                .with_target(self.topic.name())
        };
        if !(1..=MAX_LIMIT).contains(&self.limit) {
            return Err(refused("limit", MAX_LIMIT.into()));
        }
        if !(1..=PAGE.bytes).contains(&self.bytes) {
            return Err(refused("limit_bytes", PAGE.bytes));
        }
        Ok(PageLimit {
            messages: self.limit,
            bytes: self.bytes,
        })
    }

    async fn read(self) -> Result<History<T>> {
        let topic = &self.topic;
        let limit = self.page_limit()?;
        match topic
            .hub
            .read(&topic.unit, self.from, limit, self.deadline)
            .await?
        {
            Replay::Page {
                messages,
                first,
                top,
            } => Ok(topic.page(&messages, first, top)),
            Replay::Lost { top } => {
                let missed = match self.from {
                    From::After(position) if position.epoch() == top.epoch() => {
                        top.offset().checked_sub(position.offset())
                    }
                    _ => None,
                };
                let missed = missed.filter(|missed| *missed > 0);
                Ok(History {
                    events: Vec::new(),
                    position: top,
                    complete: true,
                    gap: Some(Gap::of_history(missed, top)),
                })
            }
        }
    }
}

impl<T: Send + Sync + 'static> Topic<T> {
    fn page(&self, messages: &[bytes::Bytes], first: u64, top: Position) -> History<T> {
        let name: Arc<str> = self.name().into();
        let reading = self.reading();
        // Also past what cannot be read: it would be asked for again and again.
        let mut position = None;
        let open = |(message, offset)| {
            let place = Some((top.epoch(), offset));
            let item = enveloped(name.clone(), message, &envelope::prefix(message), place);
            match item {
                Item::Message(shared) => {
                    position = shared.position();
                    shared.open(&reading.codec, reading.validate, |_| ())
                }
                Item::Undecodable(undecodable) => {
                    position = undecodable.position();
                    Event::Undecodable(undecodable)
                }
                Item::Gap(_) | Item::Skipped(_) => unreachable!("what is read is read as it is"),
            }
        };
        let events = messages.iter().zip(first..).map(open).collect();
        let position = position.unwrap_or(top);
        History {
            events,
            position,
            complete: position.offset() == top.offset(),
            gap: None,
        }
    }
}

impl<T: Send + Sync + 'static> IntoFuture for ReadHistory<T> {
    type Output = Result<History<T>>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.read())
    }
}

impl<T: fmt::Debug> fmt::Debug for History<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("History")
            .field("events", &self.events)
            .field("position", &self.position)
            .field("complete", &self.complete)
            .field("gap", &self.gap)
            .finish()
    }
}

impl<T> fmt::Debug for ReadHistory<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadHistory")
            .field("topic", &self.topic)
            .field("from", &self.from)
            .field("limit", &self.limit)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}
