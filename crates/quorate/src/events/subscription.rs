//! A stream of what is published.

use std::fmt;
use std::future::IntoFuture;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};
use std::time::Duration;

use futures_util::Stream;
use futures_util::future::BoxFuture;

use super::catch_up::{CatchUp, Next};
use super::hub::{Hub, Membership};
use super::mailbox::{Item, Limits, Only, Overflow};
use super::message::Event;
use super::port::Target;
use super::route::Reading;
use crate::error::{Error, ErrorKind, Result};
use crate::history::{From, PageLimit, Position, Replay};
use crate::hooks::ErrorSource;
use crate::key::Key;
use crate::telemetry;

/// Messages a subscription buffers unless told otherwise.
pub const DEFAULT_BUFFER: usize = 1024;
/// Bytes a subscription buffers unless told otherwise: 16 MiB.
pub const DEFAULT_BUFFER_BYTES: usize = 16 * 1024 * 1024;

/// A subscription about to be made: optional arguments, then `.await`.
///
/// Resolves once the backend has acknowledged: whatever is published after that arrives.
#[must_use = "a subscription is made by awaiting it"]
#[derive(Debug)]
pub struct Subscribe<T: Send + Sync + 'static> {
    hub: Arc<Hub>,
    target: Result<Target>,
    reading: Reading<T>,
    limits: Limits,
    deadline: Option<Duration>,
    /// What the topic's history belongs to, and the topic's name.
    history: Option<(Key, Arc<str>)>,
    from: Option<From>,
}

impl<T: Send + Sync + 'static> Subscribe<T> {
    pub(crate) fn new(hub: Arc<Hub>, target: Result<Target>, reading: Reading<T>) -> Self {
        let limits = Limits {
            messages: DEFAULT_BUFFER,
            bytes: DEFAULT_BUFFER_BYTES,
            overflow: Overflow::default(),
            wake_ups: false,
            only: None,
        };
        Self {
            hub,
            target,
            reading,
            limits,
            deadline: None,
            history: None,
            from: None,
        }
    }

    pub(crate) fn with_history(mut self, history: Option<(Key, Arc<str>)>) -> Self {
        self.history = history;
        self
    }

    /// Begins with what follows this position, where the topic is kept. Default: with what is published
    /// from now on.
    pub fn after(mut self, position: Position) -> Self {
        self.from = Some(From::After(position));
        self
    }

    /// Begins with the oldest message that is kept.
    pub fn from_beginning(mut self) -> Self {
        self.from = Some(From::Beginning);
        self
    }

    /// Messages to buffer while the consumer is busy; at least 1. Default 1 024.
    pub fn buffer(mut self, messages: usize) -> Self {
        self.limits.messages = messages;
        self
    }

    /// Bytes of payload to buffer; at least 1. Default 16 MiB. A single larger message still passes.
    pub fn buffer_bytes(mut self, bytes: usize) -> Self {
        self.limits.bytes = bytes;
        self
    }

    /// What to do when the buffer is full. Default: drop the oldest.
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.limits.overflow = overflow;
        self
    }

    /// Hears only of what `is_for` says is for `me`; others wake nobody.
    pub(crate) fn only(mut self, me: u64, is_for: fn(&[u8], u64) -> bool) -> Self {
        self.limits.only = Some(Only { me, is_for });
        self
    }

    /// Keeps one message at most: only that something came matters.
    pub(super) fn wake_ups(mut self) -> Self {
        self.limits.messages = 1;
        self.limits.wake_ups = true;
        self
    }

    /// Time for the whole call.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    pub(crate) fn hub(&self) -> Arc<Hub> {
        self.hub.clone()
    }

    async fn subscribe(self) -> Result<Subscription<T>> {
        const OPERATION: &str = "events.subscribe";
        let target = self
            .target
            .map_err(|error| error.with_operation(OPERATION))?;
        for (field, value) in [
            ("buffer", self.limits.messages),
            ("buffer_bytes", self.limits.bytes),
        ] {
            if value == 0 {
                return Err(Error::invalid(field, "must be at least 1").with_operation(OPERATION));
            }
        }
        if self.from.is_some() && self.history.is_none() {
            return Err(Error::new(ErrorKind::Unsupported)
                .with_operation(OPERATION)
                .with_target(&**target.name())
                .with_message("only a single topic that is kept can be read from a position"));
        }
        let hub = self.hub;
        let subscribe = hub.subscribe(target.clone(), self.reading, self.limits, self.deadline);
        let membership = subscribe.await?;
        let catch_up = match self.history {
            Some((key, topic)) => {
                // After the transport has acknowledged: what is published from here on is in the buffer.
                let first = first_position(&hub, &key, self.from, self.deadline).await?;
                let read = self.from.is_some();
                Some(Box::new(CatchUp::new(hub, key, topic, first, read)))
            }
            None => None,
        };
        Ok(Subscription {
            membership,
            target,
            catch_up,
        })
    }
}

/// After which position a subscription begins.
async fn first_position(
    hub: &Arc<Hub>,
    key: &Key,
    from: Option<From>,
    deadline: Option<Duration>,
) -> Result<Position> {
    if let Some(From::After(position)) = from {
        return Ok(position);
    }
    let from = from.unwrap_or(From::Latest(0));
    let one = PageLimit {
        messages: 1,
        bytes: 1,
    };
    match hub.read(key, from, one, deadline).await? {
        // Before the first: a mark of 0 is not compared.
        Replay::Page {
            messages,
            first,
            top,
        } if !messages.is_empty() => Ok(Position::new(top.epoch(), first - 1, 0)),
        Replay::Page { top, .. } | Replay::Lost { top } => Ok(top),
    }
}

impl<T: Send + Sync + 'static> IntoFuture for Subscribe<T> {
    type Output = Result<Subscription<T>>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.subscribe())
    }
}

/// A stream of [`Event`]s, active when it is handed out.
///
/// It ends (`None`) after [`unsubscribe`](Self::unsubscribe), when the fleet is closed, or when its
/// buffer overflowed under [`Overflow::Disconnect`]. A connection that comes and goes never ends it:
/// the loss shows as [`Event::Gap`]. Dropping it unsubscribes.
///
/// # Ordering
/// Messages of one publisher on one topic arrive in the order they were published. A message whose
/// publish had to be repeated may arrive late, after a gap that counted it.
///
/// # Example
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> quorate::Result<()> {
/// use quorate::{Event, Fleet, TopicSpec};
///
/// const NUMBERS: TopicSpec<u32> = TopicSpec::new("numbers");
/// let fleet = Fleet::embedded();
/// let mut numbers = fleet.topic(&NUMBERS).subscribe().await?;
/// fleet.topic(&NUMBERS).publish(&7).await?;
/// match numbers.next().await {
///     Some(Event::Message(number)) => assert_eq!(*number, 7),
///     other => panic!("{other:?}"),
/// }
/// # Ok(()) }
/// ```
pub struct Subscription<T: Send + Sync + 'static> {
    membership: Membership<T>,
    target: Target,
    /// Of a kept topic.
    catch_up: Option<Box<CatchUp<T>>>,
}

impl<T: Send + Sync + 'static> Subscription<T> {
    /// The next event, or `None` at the end.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Event<T>> {
        std::future::poll_fn(|cx| self.poll_event(cx)).await
    }

    /// The next message; gaps and undecodable messages are skipped (and still counted in the
    /// metrics). For consumers that do not care about loss.
    ///
    /// # Cancel safety
    /// Dropping the future loses no message.
    pub async fn next_message(&mut self) -> Option<super::Message<T>> {
        loop {
            if let Some(message) = self.next().await?.message() {
                return Some(message);
            }
        }
    }

    /// Messages waiting in the buffer.
    #[must_use]
    pub fn backlog(&self) -> usize {
        self.membership.mailbox.len()
    }

    /// After which position the next event comes, if the topic is kept: a later subscription that begins
    /// there misses nothing.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        Some(self.catch_up.as_ref()?.cursor())
    }

    /// What is subscribed to, as on the wire.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Ends the subscription, and returns when the backend knows.
    ///
    /// # Errors
    /// Those of the transport; the subscription is over all the same.
    ///
    /// # Cancel safety
    /// When the future is dropped, the subscription ends in the background.
    pub async fn unsubscribe(self) -> Result<()> {
        self.membership.leave().await
    }

    fn poll_event(&mut self, cx: &mut TaskContext<'_>) -> Poll<Option<Event<T>>> {
        let item = loop {
            if let Some(catch_up) = &mut self.catch_up {
                match ready!(catch_up.poll(cx)) {
                    Next::Item(item) => break item,
                    Next::End => return Poll::Ready(None),
                    Next::Buffer => {}
                }
            }
            let Some(item) = ready!(self.membership.mailbox.poll(cx)) else {
                return Poll::Ready(None);
            };
            let item = match &mut self.catch_up {
                Some(catch_up) => catch_up.take(item),
                None => Some(item),
            };
            if let Some(item) = item {
                break item;
            }
        };
        let hub = &self.membership.hub;
        let report = |undecodable: &_| report_undecodable(hub, undecodable);
        let reading = &self.membership.group.reading;
        Poll::Ready(Some(match item {
            Item::Message(shared) => shared.open(&reading.codec, reading.validate, report),
            Item::Gap(gap) => Event::Gap(gap),
            Item::Undecodable(undecodable) => {
                report(&undecodable);
                Event::Undecodable(undecodable)
            }
            Item::Skipped(_) => unreachable!("only kept topics have them, and take them out"),
        }))
    }
}

/// Counts and reports a message that cannot be read.
pub(super) fn report_undecodable(hub: &Hub, undecodable: &super::Undecodable) {
    metrics::counter!(telemetry::UNDECODABLE).increment(1);
    let error = Error::new(ErrorKind::Decode)
        .with_operation("events.receive")
        .with_target(undecodable.topic())
        .with_message(undecodable.to_string())
        .with_source(undecodable.clone());
    hub.context.hooks.error(ErrorSource::Decode, &error);
}

impl<T: Send + Sync + 'static> Stream for Subscription<T> {
    type Item = Event<T>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Option<Self::Item>> {
        self.poll_event(cx)
    }
}

impl<T: Send + Sync + 'static> fmt::Debug for Subscription<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("target", &self.target)
            .field("backlog", &self.backlog())
            .finish()
    }
}
