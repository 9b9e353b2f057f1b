//! The handle.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use tokio::sync::watch;
use tokio::time::Instant;

use super::health::Health;
use super::options::CallOptions;
use super::stats::LinkStats;
use super::status::{LinkState, StateChange, Status};
use crate::config::LinkConfig;
use crate::connection::Batch;
use crate::error::{LinkError, LinkErrorKind, Outcome};
use crate::frame::Frame;
use crate::probe::ServerInfo;
use crate::push::{PushSink, SubscriptionKind};

/// The link to one server.
///
/// # Clone
/// Cheap; all clones share the connections. They are closed by [`close`](Link::close), or when the
/// last clone is dropped.
#[derive(Clone, Debug)]
pub struct Link {
    status: watch::Sender<Status>,
}

fn unfinished() -> LinkError {
    LinkError::new(
        LinkErrorKind::Disconnected,
        Outcome::NotApplied,
        "not connected",
    )
}

impl Link {
    /// Starts a link. Connects in the background, or on first use where the configuration is lazy.
    ///
    /// # Errors
    /// [`LinkErrorKind::Config`] if the configuration is invalid or no Tokio runtime is running.
    pub fn open(config: LinkConfig, sink: Option<Arc<dyn PushSink>>) -> Result<Self, LinkError> {
        config.validate()?;
        drop(sink);
        #[expect(
            clippy::disallowed_methods,
            reason = "shown to people, decides nothing"
        )]
        let since = std::time::SystemTime::now();
        let status = Status {
            state: LinkState::Idle,
            reason: Arc::from("not connected"),
            epoch: 0,
            since,
        };
        Ok(Self {
            status: watch::Sender::new(status),
        })
    }

    /// Sends one command and returns its reply.
    ///
    /// `parts` are the command's name and arguments.
    ///
    /// # Errors
    /// An error reply is [`LinkErrorKind::Server`]; every other kind says why there is no reply, and
    /// [`LinkError::outcome`] what is known about its effect.
    ///
    /// # Cancel safety
    /// Dropping the future while it waits for a connection or for room sends nothing. Once sent,
    /// the command runs on the server whether or not the future is dropped; the reply is discarded.
    pub async fn call(&self, parts: &[&[u8]], options: &CallOptions) -> Result<Frame, LinkError> {
        let permit = self
            .reserve(parts.iter().map(|p| p.len()).sum(), options)
            .await?;
        permit.enqueue(parts).await
    }

    /// Waits for a connection and for room for a command of `bytes` bytes of arguments.
    ///
    /// # Errors
    /// `Disconnected`, `Overloaded`, `Auth`, `Closed` …, always with [`Outcome::NotApplied`].
    ///
    /// # Cancel safety
    /// Dropping the future gives up its place.
    #[expect(
        clippy::unused_async,
        reason = "the connection comes with the next commit"
    )]
    pub async fn reserve(&self, bytes: usize, options: &CallOptions) -> Result<Permit, LinkError> {
        let _ = (bytes, options);
        Err(unfinished())
    }

    /// Sends a batch, with nothing of others between its commands. An error reply to one command is
    /// an `Err` in its place; the outer error means that the batch as a whole has no replies.
    ///
    /// # Errors
    /// As [`call`](Self::call), except for error replies.
    ///
    /// # Cancel safety
    /// As [`call`](Self::call).
    #[expect(
        clippy::unused_async,
        reason = "the connection comes with the next commit"
    )]
    pub async fn pipeline(
        &self,
        batch: &Batch,
        options: &CallOptions,
    ) -> Result<Vec<Result<Frame, LinkError>>, LinkError> {
        let _ = (batch, options);
        Err(unfinished())
    }

    /// Subscribes, and returns when the server has acknowledged it. From then on the subscription is
    /// remembered and made again on every new connection, until [`unsubscribe`](Self::unsubscribe).
    ///
    /// Waits at most for the command timeout; [`subscribe_until`](Self::subscribe_until) takes a
    /// deadline.
    ///
    /// # Errors
    /// If the acknowledgement does not come in time or the server refuses. The subscription is then
    /// forgotten.
    ///
    /// # Cancel safety
    /// Dropping the future before the acknowledgement forgets the subscription, unless another call
    /// waits for the same one.
    #[expect(
        clippy::unused_async,
        reason = "the connection comes with the next commit"
    )]
    pub async fn subscribe(&self, kind: SubscriptionKind, name: Bytes) -> Result<(), LinkError> {
        let _ = (kind, name);
        Err(unfinished())
    }

    /// Like [`subscribe`](Self::subscribe), waiting until `deadline`.
    ///
    /// # Errors
    /// As [`subscribe`](Self::subscribe).
    ///
    /// # Cancel safety
    /// As [`subscribe`](Self::subscribe).
    pub async fn subscribe_until(
        &self,
        kind: SubscriptionKind,
        name: Bytes,
        deadline: Instant,
    ) -> Result<(), LinkError> {
        let _ = deadline;
        self.subscribe(kind, name).await
    }

    /// Forgets a subscription. Waits for the server's acknowledgement where there is a connection;
    /// being disconnected is no error, and neither is a subscription that does not exist.
    ///
    /// # Errors
    /// [`LinkErrorKind::Closed`] after [`close`](Self::close).
    ///
    /// # Cancel safety
    /// The subscription is forgotten in any case.
    #[expect(
        clippy::unused_async,
        reason = "the connection comes with the next commit"
    )]
    pub async fn unsubscribe(&self, kind: SubscriptionKind, name: Bytes) -> Result<(), LinkError> {
        let _ = (kind, name);
        Ok(())
    }

    /// The present state, and a way to wait for the next.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// Every change of state from now on.
    ///
    /// Fires only on change. Bounded: a reader more than 64 changes behind misses the oldest.
    pub fn changes(&self) -> impl Stream<Item = StateChange> + Send + Unpin + 'static {
        futures_util::stream::empty()
    }

    /// Waits until the link is connected and the server takes commands.
    ///
    /// # Errors
    /// Why it is not, once `deadline` has passed; [`LinkErrorKind::Closed`] at once if it is closed.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    #[expect(
        clippy::unused_async,
        reason = "the connection comes with the next commit"
    )]
    pub async fn ready(&self, deadline: Instant) -> Result<(), LinkError> {
        let _ = deadline;
        Err(unfinished())
    }

    /// Looks at the server: one pipelined round trip, given up after `timeout`.
    #[expect(
        clippy::unused_async,
        reason = "the connection comes with the next commit"
    )]
    pub async fn health(&self, timeout: Duration) -> Health {
        Health {
            healthy: false,
            response_time: timeout,
            server: None,
            error: Some(unfinished()),
        }
    }

    /// Looks at the server now and then every `interval`, until the stream is dropped.
    pub fn health_checks(
        &self,
        interval: Duration,
        timeout: Duration,
    ) -> impl Stream<Item = Health> + Send + 'static {
        let _ = (interval, timeout);
        futures_util::stream::empty()
    }

    /// What the probe found when the last connection was made; `None` before the first.
    #[must_use]
    pub fn server(&self) -> Option<Arc<ServerInfo>> {
        None
    }

    /// Closes the link: refuses new commands, lets those in flight finish for at most `grace`, then
    /// drops the connections. Repeating it is harmless; it never waits longer than `grace` and a
    /// moment, also on a dead server.
    ///
    /// # Cancel safety
    /// Once begun, closing goes on even if the future is dropped.
    #[expect(
        clippy::unused_async,
        reason = "the connection comes with the next commit"
    )]
    pub async fn close(&self, grace: Duration) {
        let _ = grace;
    }

    /// Figures of this moment.
    #[must_use]
    pub fn stats(&self) -> LinkStats {
        LinkStats::default()
    }
}

/// Room for one command on a lane. Dropping it gives the room back.
#[must_use = "dropping a permit gives the room back"]
#[derive(Debug)]
pub struct Permit {
    _private: (),
}

impl Permit {
    /// Puts a command on the wire. Synchronous and ordered: of two commands enqueued one after the
    /// other on the same lane, the first goes first.
    ///
    /// If the connection was lost since the permit was given, the reply is
    /// [`LinkErrorKind::Disconnected`] with [`Outcome::NotApplied`].
    pub fn enqueue(self, parts: &[&[u8]]) -> Reply {
        let _ = parts;
        Reply {
            result: Some(Err(unfinished())),
        }
    }
}

/// A reply to come.
///
/// # Cancel safety
/// Dropping it discards the reply; the command runs nevertheless.
#[must_use = "a reply does nothing unless awaited"]
#[derive(Debug)]
pub struct Reply {
    result: Option<Result<Frame, LinkError>>,
}

impl Future for Reply {
    type Output = Result<Frame, LinkError>;

    fn poll(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(self.result.take().unwrap_or_else(|| Err(unfinished())))
    }
}
