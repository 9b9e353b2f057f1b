//! Topics and patterns of topics: what users hold.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, OnceLock};

use super::consumer::ConsumerGroup;
use super::hub::Hub;
use super::listener::{HandlerResult, Listen};
use super::message::Message;
use super::outgoing::Outgoing;
use super::port::{Channel, Target};
use super::publish::Publish;
use super::read::ReadHistory;
use super::route::Reading;
use super::spec::{self, TopicSpec};
use super::subscription::Subscribe;
use crate::error::{Error, ErrorKind, Result};
use crate::glob;
use crate::key::{Key, Namespace};

/// What stands between the namespace and a topic's name on the wire.
const TOPICS: &str = "events";

/// A topic of an instance: publish to it, subscribe to it.
///
/// # Clone
/// Clones are the same topic; cloning is cheap.
///
/// # Example
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> quorate::Result<()> {
/// use quorate::{Fleet, TopicSpec};
///
/// const CHAT: TopicSpec<String> = TopicSpec::new("chat");
/// let fleet = Fleet::embedded();
/// let room = fleet.topic(&CHAT).key("room-1")?;
/// let mut messages = room.subscribe().await?;
/// room.publish(&"hello".to_owned()).event_type("said").correlation_id("request-7").await?;
///
/// let message = messages.next_message().await.unwrap();
/// assert_eq!(*message, "hello");
/// assert_eq!(message.topic(), "chat:room-1");
/// assert_eq!(message.event_type(), Some("said"));
/// # Ok(()) }
/// ```
pub struct Topic<T> {
    pub(super) hub: Arc<Hub>,
    namespace: Namespace,
    pub(super) spec: Arc<TopicSpec<T>>,
    pub(super) key: Option<Arc<str>>,
    /// With its key.
    name: Arc<str>,
    /// What its history belongs to.
    pub(super) unit: Key,
    pub(super) channel: Channel,
    /// Made at the first publish: who only subscribes has no sequence.
    outgoing: OnceLock<Arc<Outgoing>>,
}

impl<T: Send + Sync + 'static> Topic<T> {
    pub(crate) fn new(hub: &Arc<Hub>, namespace: &Namespace, spec: &TopicSpec<T>) -> Self {
        Self::with_key(hub, namespace, Arc::new(spec.clone()), None)
    }

    fn with_key(
        hub: &Arc<Hub>,
        namespace: &Namespace,
        spec: Arc<TopicSpec<T>>,
        key: Option<Arc<str>>,
    ) -> Self {
        let name: Arc<str> = match &key {
            None => (*spec.name).into(),
            Some(key) => format!("{}:{key}", spec.name).into(),
        };
        let unit = Key::new(namespace, &name).expect("topics obey the rules of names");
        let channel = Channel {
            // What a script announces on a shard must share the hash tag of what it writes.
            name: match &spec.keep {
                Some(_) if spec.sharded => unit.unit(TOPICS, ""),
                _ => namespace.qualify(&format!("{TOPICS}:{name}")),
            }
            .into(),
            sharded: spec.sharded,
        };
        Self {
            hub: hub.clone(),
            namespace: namespace.clone(),
            spec,
            key,
            name,
            unit,
            channel,
            outgoing: OnceLock::new(),
        }
    }

    /// The topic of one entity: `name:key`. A message to one key reaches no other, nor the topic itself.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] if the key has more than 256 bytes or a control character.
    pub fn key(&self, key: &str) -> Result<Self> {
        spec::check_key(key)?;
        Ok(Self::with_key(
            &self.hub,
            &self.namespace,
            self.spec.clone(),
            Some(key.into()),
        ))
    }

    /// The topic's name, with its key.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn outgoing(&self) -> &Arc<Outgoing> {
        self.outgoing
            .get_or_init(|| self.hub.outgoing(&self.channel))
    }

    /// Publishes `value`. Optional arguments, then `.await`; see [`Publish`].
    pub fn publish<'a>(&'a self, value: &'a T) -> Publish<'a, T> {
        Publish::new(self, value)
    }

    /// Subscribes. Optional arguments, then `.await`; see [`Subscribe`].
    pub fn subscribe(&self) -> Subscribe<T> {
        let target = Target::Channel(self.channel.clone());
        let history = self
            .spec
            .keep
            .map(|_| (self.unit.clone(), self.name.clone()));
        Subscribe::new(self.hub.clone(), Ok(target), self.reading()).with_history(history)
    }

    /// Reads what the topic keeps, without subscribing. Optional arguments, then `.await`; see
    /// [`ReadHistory`].
    ///
    /// # Example
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> quorate::Result<()> {
    /// # use quorate::{Fleet, TopicSpec};
    /// # use std::time::Duration;
    /// const ROOM: TopicSpec<u32> = TopicSpec::new("room").keep(Duration::from_secs(3600), 1_000, 1 << 20);
    /// let room = Fleet::embedded().topic(&ROOM);
    /// for number in 1..=3 {
    ///     room.publish(&number).await?;
    /// }
    /// let history = room.history().latest(2).await?;
    /// assert_eq!(history.events.len(), 2);
    /// assert!(history.complete);
    /// // Nothing is missed between the read and the subscription.
    /// let mut live = room.subscribe().after(history.position).await?;
    /// room.publish(&4).await?;
    /// assert_eq!(*live.next_message().await.unwrap(), 4);
    /// # Ok(()) }
    /// ```
    pub fn history(&self) -> ReadHistory<T> {
        ReadHistory::new(self.clone())
    }

    /// A consumer group of a kept topic: each message is given to one of the group's consumers, on
    /// whichever instance, until it is acknowledged. See [`ConsumerGroup`].
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] if the name breaks the rules of topics' names,
    /// [`ErrorKind::Unsupported`] if the topic is not [kept](TopicSpec::keep).
    pub fn group(&self, name: &str) -> Result<ConsumerGroup<T>> {
        ConsumerGroup::new(self, name)
    }

    /// Calls `handler` for each message, one after the other, in the background.
    ///
    /// A handler that fails or panics is reported to `on_error` and called again with the next
    /// message. What it misses is counted in the metrics; where loss matters use
    /// [`subscribe`](Self::subscribe).
    ///
    /// An `async |message| …` closure works as long as it captures nothing; one that does is written as
    /// below, because the language cannot say yet that an async closure's future may change threads.
    ///
    /// # Example
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> quorate::Result<()> {
    /// # use quorate::{Fleet, TopicSpec};
    /// # const ORDERS: TopicSpec<u32> = TopicSpec::new("orders");
    /// # let fleet = Fleet::embedded();
    /// let (seen, mut first) = tokio::sync::mpsc::channel(1);
    /// let listener = fleet
    ///     .topic(&ORDERS)
    ///     .on(move |order| {
    ///         let seen = seen.clone();
    ///         async move { seen.send(*order).await }
    ///     })
    ///     .await?;
    /// fleet.topic(&ORDERS).publish(&42).await?;
    /// assert_eq!(first.recv().await, Some(42));
    /// listener.stop().await;
    /// # Ok(()) }
    /// ```
    pub fn on<F, Fut, R>(&self, handler: F) -> Listen<T, F>
    where
        F: FnMut(Message<T>) -> Fut + Send + 'static,
        Fut: Future<Output = R> + Send + 'static,
        R: HandlerResult + 'static,
    {
        Listen::new(self.subscribe(), handler)
    }

    /// Every key of this topic that matches `glob`.
    ///
    /// A sharded topic has no patterns: subscribing is then refused as
    /// [`Unsupported`](ErrorKind::Unsupported).
    #[must_use]
    pub fn keys(&self, glob: &str) -> TopicPattern<T> {
        let name = glob::escape(&self.spec.name);
        let glob = if self.spec.sharded {
            Err(Error::new(ErrorKind::Unsupported)
                .with_message("patterns do not see sharded topics, on any home"))
        } else {
            spec::check_glob(glob).map(|()| format!("{name}:{glob}"))
        };
        TopicPattern {
            hub: self.hub.clone(),
            namespace: self.namespace.clone(),
            glob,
            reading: self.reading().without_history(),
        }
    }

    /// Every topic whose full name matches `glob`, read as this topic's type.
    ///
    /// # Example
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> quorate::Result<()> {
    /// # use quorate::{Fleet, TopicSpec};
    /// const EU: TopicSpec<u32> = TopicSpec::new("orders/eu");
    /// let fleet = Fleet::embedded();
    /// let mut all = fleet.topic(&EU).matching("orders/*").subscribe().await?;
    /// fleet.topic(&EU).publish(&1).await?;
    /// assert_eq!(all.next_message().await.unwrap().topic(), "orders/eu");
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn matching(&self, glob: &str) -> TopicPattern<T> {
        let glob = spec::check_glob(glob).map(|()| glob.to_owned());
        TopicPattern {
            hub: self.hub.clone(),
            namespace: self.namespace.clone(),
            glob,
            reading: self.reading().without_history(),
        }
    }

    pub(super) fn reading(&self) -> Reading<T> {
        let kept = self.spec.keep.is_some();
        Reading {
            codec: self.spec.codec,
            validate: self.spec.validate,
            raw: false,
            kept,
            cut: cut(&self.namespace),
            topic: (kept && self.spec.sharded).then(|| self.name.clone()),
        }
    }
}

/// Bytes of a channel before the topic's name.
fn cut(namespace: &Namespace) -> usize {
    namespace.qualify(TOPICS).len() + 1
}

impl<T> Clone for Topic<T> {
    fn clone(&self) -> Self {
        Self {
            hub: self.hub.clone(),
            namespace: self.namespace.clone(),
            spec: self.spec.clone(),
            key: self.key.clone(),
            name: self.name.clone(),
            unit: self.unit.clone(),
            channel: self.channel.clone(),
            outgoing: self.outgoing.clone(),
        }
    }
}

impl<T> fmt::Debug for Topic<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Topic")
            .field("channel", &self.channel)
            .finish_non_exhaustive()
    }
}

/// A set of topics given by a glob.
///
/// # Clone
/// Clones are the same pattern.
pub struct TopicPattern<T> {
    hub: Arc<Hub>,
    namespace: Namespace,
    glob: Result<String>,
    reading: Reading<T>,
}

impl<T: Send + Sync + 'static> TopicPattern<T> {
    /// Subscribes. The message's [`topic`](Message::topic) is the concrete one.
    pub fn subscribe(self) -> Subscribe<T> {
        let prefix = glob::escape(&self.namespace.qualify(TOPICS));
        let target = self
            .glob
            .map(|glob| Target::Pattern(format!("{prefix}:{glob}").into()));
        Subscribe::new(self.hub, target, self.reading)
    }

    /// Calls `handler` for each message; see [`Topic::on`].
    pub fn on<F, Fut, R>(self, handler: F) -> Listen<T, F>
    where
        F: FnMut(Message<T>) -> Fut + Send + 'static,
        Fut: Future<Output = R> + Send + 'static,
        R: HandlerResult + 'static,
    {
        Listen::new(self.subscribe(), handler)
    }
}

impl<T> fmt::Debug for TopicPattern<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TopicPattern")
            .field("glob", &self.glob)
            .finish_non_exhaustive()
    }
}
