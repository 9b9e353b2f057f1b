//! Channels of bytes, for talking to other programs.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;

use super::hub::{Hub, check_size};
use super::listener::{HandlerResult, Listen};
use super::message::Message;
use super::port::{Channel, Receipt, Target};
use super::route::Reading;
use super::spec;
use super::subscription::Subscribe;
use crate::codec::Codec;
use crate::error::{Error, Result};
use crate::glob;
use crate::key::{Namespace, check_name};

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

    /// Calls `handler` for each message; see [`Topic::on`](crate::Topic::on).
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

/// Subscribes to a channel given as on the wire.
pub(crate) fn subscribe_channel(hub: &Arc<Hub>, channel: Channel) -> Subscribe<Bytes> {
    Subscribe::new(
        hub.clone(),
        Ok(Target::Channel(channel)),
        raw_reading(&Namespace::default()),
    )
}

/// Subscribes to a channel given as on the wire, with a small buffer: for wake-ups, whose number does
/// not matter.
pub(crate) fn subscribe_raw(hub: &Arc<Hub>, channel: Channel) -> Subscribe<Bytes> {
    subscribe_channel(hub, channel).wake_ups()
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
        kept: false,
        topic: None,
        cut,
    }
}
