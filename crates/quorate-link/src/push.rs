//! What the server sends unasked, and who receives it.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::frame::Frame;

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
/// happened. Implementors must not block: while one call runs, nothing else is delivered. A panic is
/// caught and logged, and what the call was about is lost. Nothing is called for a connection that
/// ends because the link is closed.
pub trait PushSink: Send + Sync + 'static {
    /// A message arrived.
    fn message(&self, message: PushMessage);

    /// The push connection of `epoch` was lost: what is published from now on is missed.
    fn interrupted(&self, epoch: u64, reason: &str);

    /// Connected again as `epoch`, and the server has acknowledged everything wanted again.
    fn restored(&self, epoch: u64);
}

/// Receives what the server says about keys that were read with `CLIENT TRACKING` over the command connection.
///
/// # Contract
/// Called synchronously from the task that reads the command connection. What a server says before it answers a command
/// has been told when that command's reply is handed out. Implementors must not block: while one call runs,
/// nothing else is read. A panic is caught and logged.
pub trait TrackingSink: Send + Sync + 'static {
    /// These keys have changed, or are no longer watched; `None`: any may have.
    fn invalidated(&self, keys: Option<&[Bytes]>);

    /// The connection has ended: nothing that was read over it is watched any more.
    fn disconnected(&self);
}

impl SubscriptionKind {
    pub(crate) fn subscribe_verb(self) -> &'static str {
        match self {
            Self::Channel => "SUBSCRIBE",
            Self::Pattern => "PSUBSCRIBE",
            Self::Sharded => "SSUBSCRIBE",
        }
    }

    pub(crate) fn unsubscribe_verb(self) -> &'static str {
        match self {
            Self::Channel => "UNSUBSCRIBE",
            Self::Pattern => "PUNSUBSCRIBE",
            Self::Sharded => "SUNSUBSCRIBE",
        }
    }
}

/// Calls a sink. One that panics must not take the connection's task with it.
pub(crate) fn guarded(call: impl FnOnce()) {
    // What a sink leaves behind when it panics is its own affair; ours is untouched.
    if std::panic::catch_unwind(std::panic::AssertUnwindSafe(call)).is_err() {
        tracing::error!("a push sink panicked; what it was told is lost");
    }
}

/// What became of a frame the push connection received.
#[derive(Debug, PartialEq)]
pub(crate) enum Received {
    /// It was sent unasked, and was dealt with.
    Kept,
    /// It answers the first command in flight.
    Reply(Frame),
    /// The server did what nobody asked for; subscriptions are no longer what they were.
    Broken(&'static str),
}

/// Takes what a push connection receives, before it is matched to commands.
pub(crate) trait Inbound: Send {
    /// `expected` is the verb and the name of the first command in flight, where it is a change of
    /// subscription.
    fn receive(&mut self, frame: Frame, expected: Option<(&str, &[u8])>) -> Received;
}

/// Who is told of keys that change, once somebody wants to be.
pub(crate) type Tracking = Arc<OnceLock<Arc<dyn TrackingSink>>>;

/// Takes what the command connection receives unasked.
pub(crate) struct TrackingReader(pub(crate) Tracking);

impl Inbound for TrackingReader {
    fn receive(&mut self, frame: Frame, _expected: Option<(&str, &[u8])>) -> Received {
        let Frame::Push(parts) = frame else {
            return Received::Reply(frame);
        };
        let (Some(sink), Some(b"invalidate")) =
            (self.0.get(), parts.first().and_then(Frame::as_bytes))
        else {
            tracing::trace!(?parts, "nothing expects what the server sent unasked");
            return Received::Kept;
        };
        match parts.into_iter().nth(1) {
            Some(Frame::Array(keys)) => {
                let keys: Vec<_> = keys.into_iter().filter_map(Frame::into_bytes).collect();
                guarded(|| sink.invalidated(Some(&keys)));
            }
            // Everything was flushed, or it is in words that this code does not know.
            _ => guarded(|| sink.invalidated(None)),
        }
        Received::Kept
    }
}

impl Drop for TrackingReader {
    fn drop(&mut self) {
        if let Some(sink) = self.0.get() {
            guarded(|| sink.disconnected());
        }
    }
}

/// Tells messages from acknowledgements. RESP3 marks both as pushes, RESP2 sends plain arrays.
pub(crate) struct PushReader {
    sink: Arc<dyn PushSink>,
    epoch: u64,
}

impl PushReader {
    pub(crate) fn new(sink: Arc<dyn PushSink>, epoch: u64) -> Self {
        Self { sink, epoch }
    }

    fn deliver(&self, kind: SubscriptionKind, mut parts: std::vec::IntoIter<Frame>) -> Received {
        let mut next = || parts.next().and_then(Frame::into_bytes);
        let pattern = if kind == SubscriptionKind::Pattern {
            next()
        } else {
            None
        };
        let (Some(channel), Some(payload)) = (next(), next()) else {
            return Received::Broken("the server sent a message without channel or payload");
        };
        let epoch = self.epoch;
        let message = PushMessage {
            kind,
            pattern,
            channel,
            payload,
            epoch,
        };
        guarded(|| self.sink.message(message));
        Received::Kept
    }
}

impl Inbound for PushReader {
    fn receive(&mut self, frame: Frame, expected: Option<(&str, &[u8])>) -> Received {
        let (Frame::Push(parts) | Frame::Array(parts)) = frame else {
            return Received::Reply(frame);
        };
        let Some(verb) = parts.first().and_then(Frame::as_bytes) else {
            return Received::Reply(Frame::Array(parts));
        };
        let kind = match verb {
            b"message" => Some(SubscriptionKind::Channel),
            b"pmessage" => Some(SubscriptionKind::Pattern),
            b"smessage" => Some(SubscriptionKind::Sharded),
            _ => None,
        };
        if let Some(kind) = kind {
            let mut parts = parts.into_iter();
            parts.next();
            return self.deliver(kind, parts);
        }
        if !verb.ends_with(b"subscribe") {
            // The answer to a ping of RESP2, or something newer than this code.
            return Received::Reply(Frame::Array(parts));
        }
        let name = parts.get(1).and_then(Frame::as_bytes).unwrap_or_default();
        match expected {
            Some((v, n)) if v.as_bytes().eq_ignore_ascii_case(verb) && n == name => {
                Received::Reply(Frame::Array(parts))
            }
            // A cluster does this when a slot moves away.
            _ => Received::Broken("the server changed a subscription unasked"),
        }
    }
}
