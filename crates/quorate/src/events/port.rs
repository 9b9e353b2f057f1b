//! What a transport for events must do.

use std::fmt::{Debug, Display};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::error::Result;
use crate::history::Position;
pub(super) use crate::port::CallOptions;

/// Where messages are sent: a full channel name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a name and how it is spread; a backend matches on both"
)]
pub struct Channel {
    /// The channel on the wire, namespace included.
    pub name: Arc<str>,
    /// Whether the channel lives on one shard of a cluster instead of on every node.
    pub sharded: bool,
}

/// What is subscribed to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "a backend must handle each")]
pub enum Target {
    /// One channel.
    Channel(Channel),
    /// Every classic channel whose full name matches this glob (`*`, `?`, `[…]`, `\`).
    Pattern(Arc<str>),
}

impl Target {
    /// The channel or glob, as on the wire.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        match self {
            Self::Channel(channel) => &channel.name,
            Self::Pattern(glob) => glob,
        }
    }
}

/// A message as it arrived.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "backends build it")]
pub struct Delivery {
    /// The concrete channel, also under a pattern.
    pub channel: Bytes,
    /// The message.
    pub message: Bytes,
}

/// Takes what a transport delivers for one target.
///
/// Called from the task that reads the connection: implementations do not block.
pub trait EventSink: Debug + Send + Sync + 'static {
    /// A message arrived.
    fn message(&self, delivery: Delivery);

    /// The transport was interrupted and delivers again: anything sent in between is lost.
    fn resumed(&self);
}

/// What is known of a message that was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Receipt {
    /// How many subscriptions of instances the message was handed to, where the home knows: an instance
    /// counts once for each channel or pattern it is subscribed to, whatever the number of its listeners.
    pub receivers: Option<u64>,
    /// Where the message stands in the history of its topic, if that keeps one.
    pub position: Option<Position>,
}

impl Receipt {
    /// A receipt of a home that counts.
    #[must_use]
    pub const fn counted(receivers: u64) -> Self {
        Self {
            receivers: Some(receivers),
            position: None,
        }
    }
}

/// What became of a message that was offered.
#[expect(
    clippy::exhaustive_enums,
    reason = "a backend answers with one of these"
)]
pub enum Submission {
    /// It was handed over.
    Done(Result<Receipt>),
    /// It has its place in the order; the reply is still to come.
    Pending(BoxFuture<'static, Result<Receipt>>),
    /// There is no connection, or no room. Nothing happened; see [`EventsPort::writable`].
    Unavailable,
}

impl Debug for Submission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Done(_) => "Done",
            Self::Pending(_) => "Pending",
            Self::Unavailable => "Unavailable",
        })
    }
}

/// A transport for events.
///
/// # Contract
/// * The order of calls to `publish` on one channel is the order of delivery to each sink.
/// * `subscribe` returns once every later `publish` reaches the sink. At most one sink is registered
///   per target; the caller shares it. A failed or dropped `subscribe` is undone with `unsubscribe`.
/// * `unsubscribe` returns once nothing more is asked of the backend for the target, and succeeds
///   without a connection. A following `subscribe` works.
/// * A sink is told when delivery was interrupted, after it has resumed.
/// * A sink is never called after the port was dropped.
/// * A publisher's own subscriptions receive what it publishes.
#[async_trait]
pub trait EventsPort: Debug + Display + Send + Sync + 'static {
    /// Offers `message`; does not block and does not wait.
    fn publish(&self, channel: &Channel, message: Bytes, options: CallOptions) -> Submission;

    /// Waits until a message of `size` bytes may be accepted.
    ///
    /// # Errors
    /// `Disconnected` or `Overloaded` when the deadline, or the policy of the home, says so.
    async fn writable(&self, size: usize, options: CallOptions) -> Result<()>;

    /// Delivers what is published to `target` to `sink` from now on.
    ///
    /// # Errors
    /// Those of the transport.
    async fn subscribe(
        &self,
        target: &Target,
        sink: Arc<dyn EventSink>,
        options: CallOptions,
    ) -> Result<()>;

    /// Stops delivering for `target`.
    ///
    /// # Errors
    /// Those of the transport, never for want of a connection.
    async fn unsubscribe(&self, target: &Target, options: CallOptions) -> Result<()>;
}
