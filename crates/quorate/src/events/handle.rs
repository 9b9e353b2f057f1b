//! Topics, patterns and raw channels: what users hold.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::envelope::{Draft, Header};
use super::glob;
use super::hub::{Hub, check_size};
use super::listener::{HandlerResult, Listen};
use super::message::Message;
use super::outgoing::Outgoing;
use super::port::{Channel, Receipt, Target};
use super::route::Reading;
use super::spec::{self, TopicSpec};
use super::subscription::Subscribe;
use crate::clock::system_now;
use crate::codec::Codec;
use crate::error::{Error, ErrorKind, Result};
use crate::hooks::ErrorSource;
use crate::key::{Namespace, check_name};

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
    hub: Arc<Hub>,
    namespace: Namespace,
    spec: Arc<TopicSpec<T>>,
    key: Option<Arc<str>>,
    outgoing: Arc<Outgoing>,
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
        let name = match &key {
            None => format!("{TOPICS}:{}", spec.name),
            Some(key) => format!("{TOPICS}:{}:{key}", spec.name),
        };
        let channel = Channel {
            name: namespace.qualify(&name).into(),
            sharded: spec.sharded,
        };
        let outgoing = hub.outgoing(&channel);
        Self {
            hub: hub.clone(),
            namespace: namespace.clone(),
            spec,
            key,
            outgoing,
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
        let (channel, cut) = (&*self.outgoing.channel.name, cut(&self.namespace));
        &channel[cut..]
    }

    /// Publishes `value`. Optional arguments, then `.await`; see [`Publish`].
    pub fn publish<'a>(&'a self, value: &'a T) -> Publish<'a, T> {
        Publish {
            topic: self,
            value,
            event_type: None,
            source: None,
            correlation_id: None,
            content_type: None,
            exclude_self: false,
            deadline: None,
        }
    }

    /// Subscribes. Optional arguments, then `.await`; see [`Subscribe`].
    pub fn subscribe(&self) -> Subscribe<T> {
        let target = Target::Channel(self.outgoing.channel.clone());
        Subscribe::new(self.hub.clone(), Ok(target), self.reading())
    }

    /// Calls `handler` for each message, one after the other, in the background.
    ///
    /// A handler that fails or panics is reported to `on_error` and called again with the next
    /// message. What it misses is counted in the metrics; where loss matters use
    /// [`subscribe`](Self::subscribe).
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
            reading: self.reading(),
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
            reading: self.reading(),
        }
    }

    fn reading(&self) -> Reading<T> {
        Reading {
            codec: self.spec.codec,
            validate: self.spec.validate,
            raw: false,
            cut: cut(&self.namespace),
        }
    }

    fn draft(&self, publish: &Publish<'_, T>) -> Result<Draft> {
        if let Some(validate) = self.spec.validate {
            validate(publish.value).map_err(|rule| Error::invalid("payload", rule))?;
        }
        for (field, text) in [
            ("event_type", publish.event_type),
            ("source", publish.source),
            ("correlation_id", publish.correlation_id),
            ("content_type", publish.content_type),
        ] {
            text.map(|text| check_name(field, text)).transpose()?;
        }
        if publish
            .event_type
            .is_some_and(|name| name.starts_with("__"))
        {
            return Err(Error::invalid(
                "event_type",
                "must not begin with `__`, which is reserved",
            ));
        }
        let payload = self
            .spec
            .codec
            .encode(publish.value)
            .map_err(|source| Error::new(ErrorKind::Encode).with_source(source))?;
        check_size(payload.len(), self.hub.max_payload)?;
        let content_type = publish
            .content_type
            .unwrap_or_else(|| self.spec.codec.content_type());
        let header = Header {
            id: uuid::Uuid::now_v7(),
            timestamp_ms: system_now().get() / 1000,
            source: Some(publish.source.unwrap_or(&self.hub.service).into()),
            event_type: Some(publish.event_type.unwrap_or(&self.spec.name).into()),
            key: self.key.as_deref().map(Into::into),
            correlation_id: publish.correlation_id.map(Into::into),
            content_type: Some(content_type.into()),
        };
        Draft::message(publish.exclude_self, &header, &payload)
            .ok_or_else(|| Error::invalid("header", "must be at most 65535 bytes"))
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
            outgoing: self.outgoing.clone(),
        }
    }
}

impl<T> fmt::Debug for Topic<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Topic")
            .field("channel", &self.outgoing.channel)
            .finish_non_exhaustive()
    }
}

/// A publish about to be made: optional arguments, then `.await`, or [`detach`](Self::detach).
///
/// # Errors
/// `InvalidInput` (refused by `validate`, oversized, a bad argument), `Encode`, `Closed`, and those of
/// the transport. After a lost reply the outcome is `Unknown` and the publish is not repeated.
///
/// # Cancel safety
/// When the future is dropped, the message may or may not be published.
#[must_use = "a publish is made by awaiting it, or by `detach`"]
#[derive(Debug)]
pub struct Publish<'a, T> {
    topic: &'a Topic<T>,
    value: &'a T,
    event_type: Option<&'a str>,
    source: Option<&'a str>,
    correlation_id: Option<&'a str>,
    content_type: Option<&'a str>,
    exclude_self: bool,
    deadline: Option<Duration>,
}

impl<'a, T: Send + Sync + 'static> Publish<'a, T> {
    /// The message's type. Default: the topic's name.
    pub fn event_type(mut self, event_type: &'a str) -> Self {
        self.event_type = Some(event_type);
        self
    }

    /// Who publishes. Default: the fleet's service name.
    pub fn source(mut self, source: &'a str) -> Self {
        self.source = Some(source);
        self
    }

    /// An id that ties the message to a request.
    pub fn correlation_id(mut self, correlation_id: &'a str) -> Self {
        self.correlation_id = Some(correlation_id);
        self
    }

    /// The payload's media type, for codecs that carry anything. Default: the codec's.
    pub fn content_type(mut self, content_type: &'a str) -> Self {
        self.content_type = Some(content_type);
        self
    }

    /// Keeps the message from this instance's own subscriptions. Default: they receive it.
    pub fn exclude_self(mut self) -> Self {
        self.exclude_self = true;
        self
    }

    /// Time for the whole call.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Publishes in the background. What cannot be published is reported to `on_error`.
    ///
    /// The value is encoded before this returns. Order among detached publishes is not promised.
    pub fn detach(self) {
        let hub = self.topic.hub.clone();
        let deadline = self.deadline;
        let outgoing = self.topic.outgoing.clone();
        let report = {
            let hub = hub.clone();
            let topic = self.topic.name().to_owned();
            move |error: Error| {
                let error = error.with_operation("events.publish").with_target(topic);
                hub.context.hooks.error(ErrorSource::Publish, &error);
            }
        };
        let draft = match self
            .topic
            .hub
            .context
            .check_open()
            .and_then(|()| self.topic.draft(&self))
        {
            Ok(draft) => draft,
            Err(error) => return report(error),
        };
        let context = hub.context.clone();
        let failed = report.clone();
        let started = context.spawn(async move {
            if let Err(error) = hub.publish(&outgoing, draft, deadline).await {
                report(error);
            }
        });
        if !started {
            failed(
                Error::new(ErrorKind::Unsupported)
                    .with_message("there is no runtime to publish on"),
            );
        }
    }

    async fn send(self) -> Result<Receipt> {
        let draft = self.topic.draft(&self).map_err(|error| {
            error
                .with_operation("events.publish")
                .with_target(self.topic.name())
        })?;
        self.topic
            .hub
            .publish(&self.topic.outgoing, draft, self.deadline)
            .await
    }
}

impl<'a, T: Send + Sync + 'static> IntoFuture for Publish<'a, T> {
    type Output = Result<Receipt>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
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

/// A channel whose messages are bytes as they are: for talking to other programs.
///
/// On the wire it is exactly `<namespace>:<name>`, or the name alone when the namespace is empty.
/// Without an envelope there is no sequence: of loss only a reconnect and a full buffer are seen.
///
/// # Clone
/// Clones are the same channel.
///
/// # Example
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> quorate::Result<()> {
/// let fleet = quorate::Fleet::embedded();
/// let channel = fleet.channel("legacy")?;
/// let mut messages = channel.subscribe().await?;
/// channel.publish("plain text").await?;
/// assert_eq!(&messages.next_message().await.unwrap()[..], b"plain text");
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct RawChannel {
    hub: Arc<Hub>,
    namespace: Namespace,
    channel: Channel,
}

impl RawChannel {
    pub(crate) fn new(hub: &Arc<Hub>, namespace: &Namespace, name: &str) -> Result<Self> {
        check_name("channel", name)?;
        if name.starts_with("__") {
            return Err(Error::invalid(
                "channel",
                "must not begin with `__`, which is reserved",
            ));
        }
        let channel = Channel {
            name: namespace.qualify(name).into(),
            sharded: false,
        };
        Ok(Self {
            hub: hub.clone(),
            namespace: namespace.clone(),
            channel,
        })
    }

    /// The same channel, carried on one shard of a cluster.
    #[must_use]
    pub fn sharded(mut self) -> Self {
        self.channel.sharded = true;
        self
    }

    /// The channel on the wire.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.channel.name
    }

    /// Publishes bytes as they are.
    ///
    /// # Errors
    /// `InvalidInput` if the message is oversized, `Closed`, and those of the transport. After a lost
    /// reply the outcome is `Unknown` and the publish is not repeated.
    ///
    /// # Cancel safety
    /// When the future is dropped, the message may or may not be published.
    pub async fn publish(&self, message: impl Into<Bytes>) -> Result<Receipt> {
        let message = message.into();
        check_size(message.len(), self.hub.max_payload)?;
        self.hub.publish_raw(&self.channel, &message, None).await
    }

    /// Subscribes. Optional arguments, then `.await`; see [`Subscribe`].
    pub fn subscribe(&self) -> Subscribe<Bytes> {
        let target = Target::Channel(self.channel.clone());
        Subscribe::new(self.hub.clone(), Ok(target), raw_reading(&self.namespace))
    }

    /// Calls `handler` for each message; see [`Topic::on`].
    pub fn on<F, Fut, R>(&self, handler: F) -> Listen<Bytes, F>
    where
        F: FnMut(Message<Bytes>) -> Fut + Send + 'static,
        Fut: Future<Output = R> + Send + 'static,
        R: HandlerResult + 'static,
    {
        Listen::new(self.subscribe(), handler)
    }
}

impl fmt::Debug for RawChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawChannel")
            .field("channel", &self.channel)
            .finish_non_exhaustive()
    }
}

/// Subscribes to every raw channel of the namespace that matches `glob`.
pub(crate) fn raw_pattern(hub: &Arc<Hub>, namespace: &Namespace, glob: &str) -> Subscribe<Bytes> {
    let target = spec::check_glob(glob).map(|()| {
        let prefix = glob::escape(namespace.as_str());
        let full = if namespace.is_empty() {
            glob.to_owned()
        } else {
            format!("{prefix}:{glob}")
        };
        Target::Pattern(full.into())
    });
    Subscribe::new(hub.clone(), target, raw_reading(namespace))
}

/// Subscribes to a channel given as on the wire, with a small buffer: for wake-ups, whose number does
/// not matter.
pub(crate) fn subscribe_raw(hub: &Arc<Hub>, channel: Channel) -> Subscribe<Bytes> {
    Subscribe::new(
        hub.clone(),
        Ok(Target::Channel(channel)),
        raw_reading(&Namespace::default()),
    )
    .buffer(1)
}

fn raw_reading(namespace: &Namespace) -> Reading<Bytes> {
    let cut = if namespace.is_empty() {
        0
    } else {
        namespace.as_str().len() + 1
    };
    Reading {
        codec: Codec::bytes(),
        validate: None,
        raw: true,
        cut,
    }
}
