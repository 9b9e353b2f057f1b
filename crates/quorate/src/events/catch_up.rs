//! Refilling what a subscription of a kept topic missed.
//!
//! Live messages come through the buffer as on any topic. As soon as something is missing between them
//! (a hole in the offsets, a reconnect, a buffer that overflowed), the rest of the buffer is compared
//! with what the history has: all that follows the last message handed out is read from there, page by
//! page, until the stream has caught up. What the buffer still holds of it is then recognised by its
//! offset. So a hole is filled completely, or shows as a gap and nothing of it is handed out.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use sync_wrapper::SyncWrapper;
use tokio::time::Sleep;

use super::envelope::{self, Prefix};
use super::hub::Hub;
use super::kept::PAGE;
use super::mailbox::Item;
use super::message::Gap;
use super::route::enveloped;
use crate::backoff::Backoff;
use crate::error::{Error, ErrorKind, Result};
use crate::history::{From, Position, Replay};
use crate::hooks::ErrorSource;
use crate::key::Key;
use crate::telemetry;

/// Between reads that fail. The subscription does not give up: it has nothing to hand out that would
/// not hide a loss.
const RETRY: Backoff = Backoff {
    initial: Duration::from_millis(100),
    factor: 2.0,
    max: Duration::from_secs(5),
    jitter: 0.5,
};

/// Where one subscription stands in the history of its topic.
pub(super) struct CatchUp<T> {
    hub: Arc<Hub>,
    key: Key,
    /// As messages show it.
    topic: Arc<str>,
    /// After which position the next event comes.
    cursor: Position,
    state: State<T>,
    failures: u32,
}

enum State<T> {
    /// What the buffer holds comes next.
    Live,
    // Wrapped, because a subscription may be shared though only one task polls it.
    Reading(SyncWrapper<BoxFuture<'static, Result<Replay>>>),
    /// Read, and not yet handed out.
    Page {
        items: VecDeque<Item<T>>,
        top: Position,
    },
    /// A read failed.
    Waiting(Pin<Box<Sleep>>),
}

/// What comes next.
pub(super) enum Next<T> {
    Item(Item<T>),
    /// Take from the buffer, and show it to [`CatchUp::take`].
    Buffer,
    /// The fleet was closed.
    End,
}

impl<T: Send + Sync + 'static> CatchUp<T> {
    /// Begins with what follows `cursor`; reads at once unless that is the present.
    pub(super) fn new(
        hub: Arc<Hub>,
        key: Key,
        topic: Arc<str>,
        cursor: Position,
        read: bool,
    ) -> Self {
        let mut catch_up = Self {
            hub,
            key,
            topic,
            cursor,
            state: State::Live,
            failures: 0,
        };
        if read {
            catch_up.read();
        }
        catch_up
    }

    pub(super) const fn cursor(&self) -> Position {
        self.cursor
    }

    fn read(&mut self) {
        let (hub, key, cursor) = (self.hub.clone(), self.key.clone(), self.cursor);
        let read = async move { hub.read(&key, From::After(cursor), PAGE, None).await };
        self.state = State::Reading(SyncWrapper::new(Box::pin(read)));
    }

    /// What comes next.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Next<T>> {
        loop {
            match &mut self.state {
                State::Live => return Poll::Ready(Next::Buffer),
                State::Waiting(sleep) => {
                    ready!(sleep.as_mut().poll(cx));
                    self.read();
                }
                State::Reading(read) => {
                    let read = ready!(read.get_mut().as_mut().poll(cx));
                    if let Some(next) = self.found(read) {
                        return Poll::Ready(next);
                    }
                }
                State::Page { items, top } => {
                    let Some(item) = items.pop_front() else {
                        let top = *top;
                        self.state = State::Live;
                        if top.offset() > self.cursor.offset() {
                            self.read();
                        }
                        continue;
                    };
                    if let Some(item) = self.advance(item) {
                        return Poll::Ready(Next::Item(item));
                    }
                }
            }
        }
    }

    /// What a read found. `Some` if it is to be handed out at once.
    fn found(&mut self, read: Result<Replay>) -> Option<Next<T>> {
        match read {
            Ok(Replay::Page {
                messages,
                first,
                top,
            }) => {
                self.failures = 0;
                self.counted("complete");
                if messages.is_empty() {
                    // Nothing was missing. A history that has only begun to be looked at is known now.
                    self.cursor = top;
                    self.state = State::Live;
                    return None;
                }
                let item = |(message, offset)| self.item(message, (top.epoch(), offset));
                let items = messages.iter().zip(first..).map(item).collect();
                self.state = State::Page { items, top };
                None
            }
            Ok(Replay::Lost { top }) => {
                self.failures = 0;
                self.counted("lost");
                let same = self.cursor.epoch() == top.epoch();
                let missed = top.offset().checked_sub(self.cursor.offset());
                let gap = Gap::of_history(missed.filter(|missed| same && *missed > 0), top);
                self.cursor = top;
                self.state = State::Live;
                Some(Next::Item(Item::Gap(gap)))
            }
            Err(error) if error.kind() == ErrorKind::Closed => Some(Next::End),
            Err(error) => {
                self.failed(&error);
                None
            }
        }
    }

    fn failed(&mut self, error: &Error) {
        self.failures = self.failures.saturating_add(1);
        self.hub.context.hooks.error(ErrorSource::Subscribe, error);
        let pause = RETRY.delay(self.failures);
        self.state = State::Waiting(Box::pin(tokio::time::sleep(pause)));
    }

    fn counted(&self, result: &'static str) {
        metrics::counter!(telemetry::REFILLS, "result" => result).increment(1);
    }

    /// What an item of the buffer means: something to hand out, or not, because it was handed out
    /// before or because something before it is missing.
    pub(super) fn take(&mut self, item: Item<T>) -> Option<Item<T>> {
        let position = match &item {
            Item::Message(shared) => shared.position(),
            Item::Skipped(position) => Some(*position),
            // Whatever it is about, the history knows what was missed.
            Item::Gap(_) => {
                self.read();
                return None;
            }
            Item::Undecodable(undecodable) => undecodable.position(),
        };
        let Some(position) = position else {
            // Not of the history: published by somebody to whom this topic is not a kept one.
            return Some(item);
        };
        let known = if position.epoch() == self.cursor.epoch() {
            self.cursor.offset()
        } else if self.cursor.is_origin() && position.epoch() > self.cursor.epoch() {
            // There was no history yet: it began with the first message.
            0
        } else {
            self.read();
            return None;
        };
        match position.offset().checked_sub(known) {
            None | Some(0) => None,
            Some(1) => self.advance(item),
            Some(_) => {
                // Dropped here, and read again with what is missing before it.
                self.read();
                None
            }
        }
    }

    /// Moves to an item that follows the last one. `None` if it is not for this subscription.
    fn advance(&mut self, item: Item<T>) -> Option<Item<T>> {
        match item {
            Item::Message(shared) => {
                self.cursor = shared.position().unwrap_or(self.cursor);
                Some(Item::Message(shared))
            }
            Item::Skipped(position) => {
                self.cursor = position;
                None
            }
            Item::Undecodable(undecodable) => {
                self.cursor = undecodable.position().unwrap_or(self.cursor);
                Some(Item::Undecodable(undecodable))
            }
            Item::Gap(_) => Some(item),
        }
    }

    /// A message of the history, as the buffer would hold it.
    fn item(&self, message: &Bytes, place: (u64, u64)) -> Item<T> {
        let prefix = envelope::prefix(message);
        let own = |prefix: &Prefix| prefix.exclude_self && prefix.publisher == self.hub.publisher;
        let excluded = prefix.as_ref().is_ok_and(own);
        match enveloped::<T>(self.topic.clone(), message, &prefix, Some(place)) {
            Item::Message(shared) if excluded => match shared.position() {
                Some(position) => Item::Skipped(position),
                None => Item::Message(shared),
            },
            item => item,
        }
    }
}
