//! A consumer group as users hold it.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::super::handle::Topic;
use super::super::listener::HandlerResult;
use super::super::message::Message;
use super::super::spec;
use super::calls::{Calls, JOIN};
use super::listen::GroupListen;
use super::stream::Consumer;
use crate::error::{Error, ErrorKind, Result};
use crate::history::{From, GroupStatus, Position};

const DEFAULT_VISIBILITY: Duration = Duration::from_secs(30);
const SHORTEST_VISIBILITY: Duration = Duration::from_millis(10);
/// Of a lease, and of what is given back for later.
pub(super) const LONGEST: Duration = Duration::from_secs(24 * 3600);
const DEFAULT_BATCH: u32 = 16;
const MAX_BATCH: u32 = 256;

/// A consumer group of a kept topic: the instances of a service share its work.
///
/// Each message is given to one consumer of the group at a time, on whichever instance, and at least
/// once: it is leased for the group's visibility, and given to another consumer if it is not
/// acknowledged by then. Every group of a topic sees every message.
///
/// Holding this consumes nothing: [`join`](Self::join), or pass a handler to [`on`](Self::on). The
/// options are those of the consumer that is made from it.
///
/// # Clone
/// Clones are the same group.
///
/// # Example
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> quorate::Result<()> {
/// use quorate::{Event, Fleet, TopicSpec};
/// use std::time::Duration;
///
/// const ORDERS: TopicSpec<u32> =
///     TopicSpec::new("orders").keep(Duration::from_secs(3600), 10_000, 16 << 20);
///
/// let fleet = Fleet::embedded();
/// let billing = fleet.topic(&ORDERS).group("billing")?;
/// let mut work = billing.visibility(Duration::from_secs(30)).join().await?;
/// fleet.topic(&ORDERS).publish(&42).await?;
///
/// while let Some(event) = work.next().await {
///     match event {
///         Event::Message(order) => {
///             assert_eq!((*order, order.attempt()), (42, 1));
///             work.acknowledge(&order).await?;
/// #           break;
///         }
///         Event::Gap(gap) => eprintln!("messages were dropped before they were handled: {gap:?}"),
///         _ => {}
///     }
/// }
/// # Ok(()) }
/// ```
pub struct ConsumerGroup<T> {
    topic: Topic<T>,
    name: Arc<str>,
    visibility: Duration,
    batch: u32,
    from: From,
}

impl<T: Send + Sync + 'static> ConsumerGroup<T> {
    pub(in crate::events) fn new(topic: &Topic<T>, name: &str) -> Result<Self> {
        let refuse = |error: Error| error.with_operation(JOIN.name).with_target(topic.name());
        spec::check_group(name).map_err(refuse)?;
        if topic.spec.keep.is_none() {
            return Err(refuse(Error::new(ErrorKind::Unsupported).with_message(
                "only a topic that is kept has consumer groups; see `TopicSpec::keep`",
            )));
        }
        Ok(Self {
            topic: topic.clone(),
            name: name.into(),
            visibility: DEFAULT_VISIBILITY,
            batch: DEFAULT_BATCH,
            from: From::Latest(0),
        })
    }

    /// How long a message stays with a consumer that does not acknowledge it; from 10 ms to a day.
    /// Default 30 s.
    #[must_use]
    pub fn visibility(mut self, visibility: Duration) -> Self {
        self.visibility = visibility;
        self
    }

    /// Messages to take in one request, from 1 to 256. Default 16. What is not handed out within half the
    /// visibility is given back.
    #[must_use]
    pub fn batch(mut self, messages: u32) -> Self {
        self.batch = messages;
        self
    }

    /// A group that does not exist yet begins with the oldest message that is kept. Default: with what is
    /// published after it was made. A group that exists goes on where it is.
    #[must_use]
    pub fn from_beginning(mut self) -> Self {
        self.from = From::Beginning;
        self
    }

    /// A group that does not exist yet begins with what follows this position.
    #[must_use]
    pub fn after(mut self, position: Position) -> Self {
        self.from = From::After(position);
        self
    }

    /// The group's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Makes the group unless it exists, and a consumer of it. What is published after this returned
    /// arrives.
    ///
    /// # Errors
    /// `InvalidInput` if an option breaks its rule, `Unsupported` if kept topics are in a backend of your
    /// own that has no groups, `Closed`, and those of the home.
    ///
    /// # Cancel safety
    /// When the future is dropped, the group may exist, without this consumer.
    pub async fn join(self) -> Result<Consumer<T>> {
        self.start(false).await
    }

    /// [`join`](Self::join); `renews`: what is being handled stays leased for as long as it takes.
    pub(super) async fn start(self, renews: bool) -> Result<Consumer<T>> {
        let calls = self.calls()?;
        let refuse = |field, rule: String| {
            Err(Error::invalid(field, rule)
                .with_operation(JOIN.name)
                .with_target(calls.target()))
        };
        if !(SHORTEST_VISIBILITY..=LONGEST).contains(&self.visibility) {
            return refuse("visibility", "must be from 10 ms to a day".to_owned());
        }
        if !(1..=MAX_BATCH).contains(&self.batch) {
            return refuse("batch", format!("must be from 1 to {MAX_BATCH}"));
        }
        calls.join(self.from).await?;
        Consumer::start(&self.topic, calls, self.visibility, self.batch, renews).await
    }

    /// Calls `handler` for each message, in the background. Optional arguments, then `.await`; see
    /// [`GroupListen`].
    ///
    /// The handler is the same as that of [`Topic::on`], and its result counts: `Ok` acknowledges the
    /// message; an error or a panic is reported to `on_error` and gives it back, to be handled again
    /// after a pause that grows with its attempts. While the handler runs, its message stays leased.
    ///
    /// # Example
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> quorate::Result<()> {
    /// # use quorate::{Fleet, TopicSpec};
    /// # use std::time::Duration;
    /// # const ORDERS: TopicSpec<u32> =
    /// #     TopicSpec::new("orders").keep(Duration::from_secs(3600), 10_000, 16 << 20);
    /// # let fleet = Fleet::embedded();
    /// let orders = fleet.topic(&ORDERS);
    /// let (seen, mut first) = tokio::sync::mpsc::channel(1);
    /// let listener = orders
    ///     .group("billing")?
    ///     .on(move |order| {
    ///         let seen = seen.clone();
    ///         async move { seen.send(*order).await }
    ///     })
    ///     .concurrency(4)
    ///     .await?;
    /// orders.publish(&42).await?;
    /// assert_eq!(first.recv().await, Some(42));
    /// listener.stop().await;
    /// # Ok(()) }
    /// ```
    pub fn on<F, Fut, R>(self, handler: F) -> GroupListen<T, F>
    where
        F: FnMut(Message<T>) -> Fut + Send + 'static,
        Fut: Future<Output = R> + Send + 'static,
        R: HandlerResult + 'static,
    {
        GroupListen::new(self, handler)
    }

    /// Where the group stands; `None` if it does not exist.
    ///
    /// # Errors
    /// `Unsupported` if kept topics are in a backend of your own that has no groups, `Closed`, and those
    /// of the home.
    ///
    /// # Cancel safety
    /// Dropping the future does no harm.
    pub async fn status(&self) -> Result<Option<GroupStatus>> {
        self.calls()?.status().await
    }

    /// Removes the group, with what it knows of deliveries. Says whether there was one.
    ///
    /// The streams of its consumers end, at the latest a few seconds later; who joins after that begins a
    /// new group.
    ///
    /// # Errors
    /// `Unsupported` if kept topics are in a backend of your own that has no groups, `Closed`, and those
    /// of the home. After a lost reply the outcome is `Unknown`.
    ///
    /// # Cancel safety
    /// When the future is dropped, the group may or may not be removed.
    pub async fn delete(&self) -> Result<bool> {
        self.calls()?.delete().await
    }

    fn calls(&self) -> Result<Calls> {
        let (hub, unit) = (self.topic.hub.clone(), self.topic.unit.clone());
        let port = hub.group_port().ok_or_else(|| {
            Error::new(ErrorKind::Unsupported)
                .with_operation(JOIN.name)
                .with_target(self.topic.name())
                .with_message("the backend of kept topics has no consumer groups; see `group_port`")
        })?;
        Ok(Calls::new(hub, port, unit, self.name.clone()))
    }
}

impl<T: Send + Sync + 'static> IntoFuture for ConsumerGroup<T> {
    type Output = Result<Consumer<T>>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.join())
    }
}

impl<T> Clone for ConsumerGroup<T> {
    fn clone(&self) -> Self {
        Self {
            topic: self.topic.clone(),
            name: self.name.clone(),
            visibility: self.visibility,
            batch: self.batch,
            from: self.from,
        }
    }
}

impl<T> fmt::Debug for ConsumerGroup<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsumerGroup")
            .field("topic", &self.topic)
            .field("name", &self.name)
            .field("visibility", &self.visibility)
            .field("batch", &self.batch)
            .finish_non_exhaustive()
    }
}
