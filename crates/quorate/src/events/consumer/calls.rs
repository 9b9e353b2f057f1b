//! The calls of a group, each through the choke point.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::super::hub::Hub;
use super::super::kept::SLACK;
use crate::context::{Attempt, Operation, Repeat};
use crate::error::Result;
use crate::history::{
    From, GroupPort, GroupStatus, PageLimit, Settlement, Take, TakeId, TakeReply,
};
use crate::key::Key;
use crate::port::CallOptions;

pub(super) static JOIN: Operation =
    Operation::new("events.join", "events", "join", Repeat::Harmless);
/// Repeating is harmless: the take's id tells the group what it handed out.
static TAKE: Operation = Operation::new("events.take", "events", "take", Repeat::Harmless);
/// Repeating is harmless: only the take that has a delivery settles it.
pub(super) static SETTLE: Operation =
    Operation::new("events.settle", "events", "settle", Repeat::Harmless);
static STATUS: Operation = Operation::new(
    "events.group_status",
    "events",
    "group_status",
    Repeat::Harmless,
);
/// Repeating could remove a group that somebody has made meanwhile.
static DELETE: Operation = Operation::new(
    "events.delete_group",
    "events",
    "delete_group",
    Repeat::OnlyIfNotApplied,
);

/// One group of one topic, as its port is called.
#[derive(Clone, Debug)]
pub(super) struct Calls {
    pub(super) hub: Arc<Hub>,
    port: Arc<dyn GroupPort>,
    topic: Key,
    group: Arc<str>,
}

impl Calls {
    pub(super) fn new(
        hub: Arc<Hub>,
        port: Arc<dyn GroupPort>,
        topic: Key,
        group: Arc<str>,
    ) -> Self {
        Self {
            hub,
            port,
            topic,
            group,
        }
    }

    /// Resolves a while after the consumer has gone: what is then still under way is given up, and the
    /// end of its leases does the rest.
    pub(super) async fn patience(&self, gone: &CancellationToken) {
        gone.cancelled().await;
        tokio::time::sleep(self.hub.context.command_timeout).await;
    }

    /// What errors name.
    pub(super) fn target(&self) -> String {
        format!("{}/{}", self.topic.name(), self.group)
    }

    pub(super) async fn join(&self, from: From) -> Result<bool> {
        let attempt = |attempt: Attempt| {
            let options = CallOptions::until(attempt.deadline);
            self.port.join(&self.topic, &self.group, from, options)
        };
        let context = &self.hub.context;
        context.run(&JOIN, &self.target(), None, attempt).await
    }

    /// The id is that of what is handed out.
    pub(super) async fn take(
        &self,
        limit: PageLimit,
        visibility: Duration,
    ) -> Result<(TakeId, TakeReply)> {
        let (id, begun) = (TakeId::random(), Instant::now());
        let first = AtomicBool::new(true);
        let attempt = |attempt: Attempt| {
            let again = !first.swap(false, Ordering::Relaxed);
            let take = Take {
                id,
                limit,
                visibility,
                again: again.then(|| begun.elapsed() + SLACK),
            };
            let options = CallOptions::until(attempt.deadline);
            self.port.take(&self.topic, &self.group, take, options)
        };
        let context = &self.hub.context;
        let reply = context.run(&TAKE, &self.target(), None, attempt).await?;
        Ok((id, reply))
    }

    pub(super) async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<bool>> {
        let first = AtomicBool::new(true);
        let attempt = |attempt: Attempt| {
            let again = !first.swap(false, Ordering::Relaxed);
            let options = CallOptions::until(attempt.deadline);
            self.port
                .settle(&self.topic, &self.group, settlements, again, options)
        };
        let context = &self.hub.context;
        context.run(&SETTLE, &self.target(), None, attempt).await
    }

    /// Settles past the choke point, which refuses calls once the fleet is closing.
    pub(super) async fn settle_last(&self, settlements: &[Settlement]) -> Result<Vec<bool>> {
        let options = CallOptions::until(self.hub.context.attempt_deadline());
        let settled = self
            .port
            .settle(&self.topic, &self.group, settlements, false, options);
        settled
            .await
            .map_err(|error| error.with_operation(SETTLE.name).with_target(self.target()))
    }

    pub(super) async fn status(&self) -> Result<Option<GroupStatus>> {
        let attempt = |attempt: Attempt| {
            let options = CallOptions::until(attempt.deadline);
            self.port.status(&self.topic, &self.group, options)
        };
        let context = &self.hub.context;
        context.run(&STATUS, &self.target(), None, attempt).await
    }

    pub(super) async fn delete(&self) -> Result<bool> {
        let attempt = |attempt: Attempt| {
            let options = CallOptions::until(attempt.deadline);
            self.port.delete(&self.topic, &self.group, options)
        };
        let context = &self.hub.context;
        context.run(&DELETE, &self.target(), None, attempt).await
    }
}
