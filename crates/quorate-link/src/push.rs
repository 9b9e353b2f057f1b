//! What the server sends unasked, and who receives it.

use bytes::Bytes;

/// What a subscription names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SubscriptionKind {
    /// One channel, exactly (`SUBSCRIBE`).
    Channel,
    /// Every channel that matches a glob pattern (`PSUBSCRIBE`).
    Pattern,
    /// One sharded channel (`SSUBSCRIBE`), which travels only within its shard.
    Sharded,
}

/// One published message.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PushMessage {
    /// Through which kind of subscription it came.
    pub kind: SubscriptionKind,
    /// The pattern that matched, for [`SubscriptionKind::Pattern`].
    pub pattern: Option<Bytes>,
    /// The channel it was published to.
    pub channel: Bytes,
    /// The payload.
    pub payload: Bytes,
    /// The epoch of the connection it came over; between two epochs messages may be missing.
    pub epoch: u64,
}

/// Receives what the push connection delivers.
///
/// # Contract
/// Called synchronously from the task that reads the push connection, in the order things
/// happened. Implementors must not block: while one call runs, nothing else is delivered.
pub trait PushSink: Send + Sync + 'static {
    /// A message arrived.
    fn message(&self, message: PushMessage);

    /// The push connection of `epoch` was lost: what is published from now on is missed.
    fn interrupted(&self, epoch: u64, reason: &str);

    /// Connected again as `epoch`, and the server has acknowledged everything wanted again.
    fn restored(&self, epoch: u64);
}
