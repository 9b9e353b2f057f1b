//! What a backend for consumer groups must do.

use std::fmt::{Debug, Display};

use async_trait::async_trait;

use super::super::log::From;
use super::{GroupStatus, Settlement, Take, TakeReply};
use crate::error::Result;
use crate::key::Key;
use crate::port::CallOptions;

/// A backend for consumer groups of kept topics. It is of the same home as the
/// [`HistoryPort`](super::super::HistoryPort) that keeps the messages.
///
/// # Contract
/// * A group begins where its first `join` says, and no later join moves it.
/// * At any moment of the home's time at most one take has a message: `take` hands out what is due (given
///   back, or its lease has ended), then what is new, each leased for the take's visibility.
/// * Whatever is kept is handed out again until it was acknowledged; each time counts as an attempt,
///   unless it was returned.
/// * A take repeated with its id while the leases of the first last hands out the same.
/// * Messages that the bounds of the topic dropped before they were acknowledged are handed out as a gap,
///   and so is the loss of the history, of the group, or of what it knew to be pending.
/// * `settle` changes nothing for a delivery that another take has had since, and answers `false` for it.
///   Repeated after a lost reply it answers as the first time, unless others had it meanwhile.
/// * A take from a group that was deleted is told so, until somebody joins.
/// * A group that nobody asks for is forgotten seven days after the messages of its topic have ended.
#[async_trait]
pub trait GroupPort: Debug + Display + Send + Sync + 'static {
    /// Makes a group that begins at `from`, unless there is one. Says whether there was none.
    ///
    /// # Errors
    /// Those of the backend.
    async fn join(
        &self,
        topic: &Key,
        group: &str,
        from: From,
        options: CallOptions,
    ) -> Result<bool>;

    /// Hands out what is to be done.
    ///
    /// # Errors
    /// Those of the backend.
    async fn take(
        &self,
        topic: &Key,
        group: &str,
        take: Take,
        options: CallOptions,
    ) -> Result<TakeReply>;

    /// Settles up to [`MAX_SETTLEMENTS`](super::MAX_SETTLEMENTS) deliveries; says of each whether it was
    /// changed. `again`: the reply to an earlier attempt was lost.
    ///
    /// # Errors
    /// Those of the backend.
    async fn settle(
        &self,
        topic: &Key,
        group: &str,
        settlements: &[Settlement],
        again: bool,
        options: CallOptions,
    ) -> Result<Vec<bool>>;

    /// Where a group stands, if there is one.
    ///
    /// # Errors
    /// Those of the backend.
    async fn status(
        &self,
        topic: &Key,
        group: &str,
        options: CallOptions,
    ) -> Result<Option<GroupStatus>>;

    /// Removes a group. Says whether there was one.
    ///
    /// # Errors
    /// Those of the backend.
    async fn delete(&self, topic: &Key, group: &str, options: CallOptions) -> Result<bool>;
}
