//! What the hub does for topics that keep their messages: append and read.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::hub::Hub;
use super::outgoing::Outgoing;
use super::port::{CallOptions, Receipt};
use crate::context::{Attempt, Operation, Repeat};
use crate::error::Result;
use crate::history::{Append, From, Keep, PageLimit, Replay};
use crate::key::Key;

/// Repeating is harmless: the message's id tells the history whether it has it.
static APPEND: Operation = Operation::new("events.publish", "events", "publish", Repeat::Harmless);
static READ: Operation = Operation::new("events.history", "events", "history", Repeat::Harmless);

/// Added to the time since the first attempt when an append is repeated: the server's clock may run a
/// little faster than ours.
pub(super) const SLACK: Duration = Duration::from_secs(1);

/// One read of a history, unless told otherwise.
pub(super) const PAGE: PageLimit = PageLimit {
    messages: 256,
    bytes: 1024 * 1024,
};

impl Hub {
    /// Keeps a message of `topic` and announces it.
    pub(super) async fn append(
        self: &Arc<Self>,
        topic: &Key,
        outgoing: &Outgoing,
        message: Bytes,
        id: [u8; 16],
        keep: Keep,
        deadline: Option<Duration>,
    ) -> Result<Receipt> {
        self.start_beacons();
        let port = self.history_port();
        let begun = Instant::now();
        let first = AtomicBool::new(true);
        let attempt = |attempt: Attempt| {
            let again = !first.swap(false, Ordering::Relaxed);
            let append = Append {
                channel: outgoing.channel.clone(),
                message: message.clone(),
                id,
                keep,
                again: again.then(|| begun.elapsed() + SLACK),
            };
            let options = CallOptions::until(attempt.deadline);
            port.append(topic, append, options)
        };
        let name = &outgoing.channel.name;
        let appended = self.context.run(&APPEND, name, deadline, attempt).await?;
        outgoing.kept(appended.position, Instant::now(), &self.unconfirmed);
        self.count_published();
        Ok(Receipt {
            receivers: appended.receivers,
            position: Some(appended.position),
        })
    }

    /// Reads from the history of `topic`.
    pub(super) async fn read(
        &self,
        topic: &Key,
        from: From,
        limit: PageLimit,
        deadline: Option<Duration>,
    ) -> Result<Replay> {
        let port = self.history_port();
        let attempt = |attempt: Attempt| {
            let options = CallOptions::until(attempt.deadline);
            port.read(topic, from, limit, options)
        };
        let call = self.context.run(&READ, topic.name(), deadline, attempt);
        call.await
    }
}
