//! What a backend for kept topics must do.

use std::fmt::{Debug, Display};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::Position;
use super::log::{From, Keep, PageLimit, Replay};
use crate::error::Result;
use crate::events::Channel;
use crate::key::Key;
use crate::port::CallOptions;

/// What the keys of histories begin with, after the namespace.
#[cfg(feature = "redis")]
pub(super) const UNIT: &str = "history";

/// A message to be kept.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Append {
    /// Where it is announced.
    pub channel: Channel,
    /// The message. Its bytes 13 to 28 are replaced by its epoch and offset, little endian, 64 bits each.
    pub message: Bytes,
    /// Its id: the same when the append is repeated.
    pub id: [u8; 16],
    /// How much of the topic is kept from now on.
    pub keep: Keep,
    /// How long ago the first attempt began, if this is not the first.
    pub again: Option<Duration>,
}

impl Append {
    /// A first attempt to append `message`.
    #[must_use]
    pub const fn new(channel: Channel, message: Bytes, id: [u8; 16], keep: Keep) -> Self {
        Self {
            channel,
            message,
            id,
            keep,
            again: None,
        }
    }
}

/// What is known of a message that was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Appended {
    /// Where it stands.
    pub position: Position,
    /// How many subscriptions of instances it was handed to, where the home knows; see
    /// [`Receipt::receivers`](crate::Receipt::receivers).
    pub receivers: Option<u64>,
}

impl Appended {
    /// A message at `position`.
    #[must_use]
    pub const fn at(position: Position, receivers: Option<u64>) -> Self {
        Self {
            position,
            receivers,
        }
    }
}

/// A backend for kept topics.
///
/// # Contract
/// * Appending and announcing are one step: messages are announced in the order of their offsets, which
///   grow by one, and each is announced with its position in it.
/// * What was lost, with all that was known of it, begins anew with a later epoch.
/// * An append repeated with the same id within the time it says appends nothing and gives the position
///   of the first; where that cannot be told, it fails with an unknown outcome.
/// * A message is kept until one of the bounds of the latest append drops it, by the time of the home.
///   The newest is kept whatever its size, for as long as the bound in time allows.
/// * A read after a position is complete or `Lost`: never a part. A position of before the first message
///   is one after which everything comes.
/// * What is known of an idle history (its epoch, its last offset) outlives its messages by seven days.
#[async_trait]
pub trait HistoryPort: Debug + Display + Send + Sync + 'static {
    /// Keeps a message, and announces it.
    ///
    /// # Errors
    /// Those of the backend.
    async fn append(&self, topic: &Key, append: Append, options: CallOptions) -> Result<Appended>;

    /// Reads from a place on.
    ///
    /// # Errors
    /// Those of the backend.
    async fn read(
        &self,
        topic: &Key,
        from: From,
        limit: PageLimit,
        options: CallOptions,
    ) -> Result<Replay>;
}

/// Whether an append was done before cannot be told.
pub(super) fn inconclusive() -> crate::Error {
    crate::Error::new(crate::ErrorKind::ConnectionLost)
        .with_outcome(crate::Outcome::Unknown)
        .with_retryable(false)
        .with_message("a reply was lost, and too much was published since to tell whether this was")
}
