//! The handle.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_stream::wrappers::BroadcastStream;

use super::board::Role;
use super::health::{self, Health};
use super::lane;
use super::options::{CallOptions, Lane};
use super::shared::{Shared, disconnected};
use super::stats::{LaneStats, LinkStats};
use super::status::{LinkState, StateChange, Status};
use crate::config::{LONGEST, LinkConfig};
use crate::connection::{Batch, Permit, Queue, Reply, encoded_len};
use crate::error::{LinkError, LinkErrorKind, Outcome};
use crate::frame::Frame;
use crate::probe::ServerInfo;
use crate::push::{PushSink, SubscriptionKind, TrackingSink};

/// The link to one server.
///
/// # Clone
/// Cheap; all clones share the connections. They are closed by [`close`](Link::close), or when the
/// last clone is dropped.
#[derive(Clone)]
pub struct Link {
    handle: Arc<Handle>,
}

/// Ends the link with its last clone. The lanes hold the shared part, and so not this.
struct Handle {
    shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        // Without spawning: the runtime may be gone. The lanes end by themselves.
        self.shared.begin_closing(&LinkError::closed());
        self.shared.kill.cancel();
        self.shared.board.closed("dropped");
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("server", &self.shared().config.address())
            .field("state", &self.shared().board.status().borrow().state)
            .finish_non_exhaustive()
    }
}

impl Link {
    /// Starts a link. Connects in the background, or on first use where the configuration is lazy.
    ///
    /// # Errors
    /// [`LinkErrorKind::Config`] if the configuration is invalid or no Tokio runtime is running.
    pub fn open(config: LinkConfig, sink: Option<Arc<dyn PushSink>>) -> Result<Self, LinkError> {
        let shared = Arc::new(Shared::new(config, sink)?);
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(LinkError::config(
                "a link must be opened within a Tokio runtime",
            ));
        }
        for role in Role::ALL {
            shared.lanes.spawn(lane::run(Arc::clone(&shared), role));
        }
        let watching = Arc::clone(&shared);
        shared.helpers.spawn(async move {
            tokio::select! {
                () = watching.board.watch_conditions() => {}
                () = watching.kill.cancelled() => {}
            }
        });
        Ok(Self {
            handle: Arc::new(Handle { shared }),
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
        in_time(options)?;
        // Nearly always there is a connection and room, and then nothing is waited for here.
        if let Some(reply) = self.try_call(parts, options) {
            return reply.await;
        }
        // On the heap: a call that goes out at once need not carry the wait.
        let permit = Box::pin(self.reserve(encoded_len(parts), options)).await?;
        permit.enqueue(parts).await
    }

    /// Puts one command on the wire at once, if there is a connection, room, and nobody waiting for
    /// either. `None`: not so, and nothing happened; [`reserve`](Self::reserve) waits, or says why not.
    ///
    /// Calls made one after the other put their commands on the wire in that order.
    #[must_use]
    pub fn try_call(&self, parts: &[&[u8]], options: &CallOptions) -> Option<Reply> {
        let queue = self.queue(options.lane);
        queue.submit(parts, options.deadline, options.script)
    }

    /// Waits for a connection and for room for a command of `bytes` bytes of arguments.
    ///
    /// # Errors
    /// `Disconnected`, `Overloaded`, `Auth`, `Closed` …, always with [`Outcome::NotApplied`].
    ///
    /// # Cancel safety
    /// Dropping the future gives up its place.
    pub async fn reserve(&self, bytes: usize, options: &CallOptions) -> Result<Permit, LinkError> {
        self.place(1, bytes, options).await
    }

    /// Sends a batch, with nothing of others between its commands. An error reply to one command is
    /// an `Err` in its place; the outer error means that the batch as a whole has no replies.
    ///
    /// # Errors
    /// As [`call`](Self::call), except for error replies.
    ///
    /// # Cancel safety
    /// As [`call`](Self::call).
    pub async fn pipeline(
        &self,
        batch: &Batch,
        options: &CallOptions,
    ) -> Result<Vec<Result<Frame, LinkError>>, LinkError> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let permit = self.place(batch.len(), batch.bytes.len(), options).await?;
        permit.enqueue_batch(batch).replies().await
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
    pub async fn subscribe(&self, kind: SubscriptionKind, name: Bytes) -> Result<(), LinkError> {
        let deadline = Instant::now() + self.shared().config.command_timeout;
        self.subscribe_until(kind, name, deadline).await
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
        let shared = self.shared();
        if shared.sink.is_none() {
            return Err(LinkError::config(
                "subscribe: the link was opened without a sink",
            ));
        }
        let mut wish = shared.subscriptions.want((kind, name))?;
        self.wake();
        shared.queue(Role::Push).ask_for_connection();
        match tokio::time::timeout_at(deadline, wish.settled()).await {
            Ok(settled) => settled,
            Err(_) => Err(shared.queue(Role::Push).down_reason().unwrap_or_else(|| {
                LinkError::new(
                    LinkErrorKind::Timeout,
                    Outcome::NotApplied,
                    "the server did not acknowledge the subscription in time",
                )
            })),
        }
    }

    /// Forgets a subscription. Waits for the server's acknowledgement where there is a connection;
    /// being disconnected is no error, and neither is a subscription that does not exist.
    ///
    /// # Errors
    /// [`LinkErrorKind::Closed`] after [`close`](Self::close).
    ///
    /// # Cancel safety
    /// The subscription is forgotten in any case.
    pub async fn unsubscribe(&self, kind: SubscriptionKind, name: Bytes) -> Result<(), LinkError> {
        let shared = self.shared();
        let acknowledged = shared.subscriptions.forget(&(kind, name))?;
        // Lost connections, and names nobody subscribed to, drop the sender: done as well. A server
        // that stays silent is found out by the connection's own timeout; this one is a backstop.
        let patience = shared.config.command_timeout;
        let _ = tokio::time::timeout(patience, acknowledged).await;
        Ok(())
    }

    /// Tells `sink` from now on what the server says about keys that were read with `CLIENT TRACKING` over the command
    /// connection. `false`: another sink is told already.
    ///
    /// Switching tracking on, for each new connection anew, is the caller's affair.
    pub fn track(&self, sink: Arc<dyn TrackingSink>) -> bool {
        self.shared().tracking.set(sink).is_ok()
    }

    /// Whether the server can say something unasked over the present command connection, which takes RESP3.
    #[must_use]
    pub fn can_push(&self) -> bool {
        self.shared().can_push.load(Ordering::Acquire)
    }

    /// The present state, and a way to wait for the next.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Status> {
        self.shared().board.status()
    }

    /// Every change of state from now on.
    ///
    /// Fires only on change. Bounded: a reader more than 64 changes behind misses the oldest.
    pub fn changes(&self) -> impl Stream<Item = StateChange> + Send + Unpin + 'static {
        BroadcastStream::new(self.shared().board.changes())
            .filter_map(|change| std::future::ready(change.ok()))
    }

    /// Waits until the link is connected and the server takes commands.
    ///
    /// # Errors
    /// Why it is not, once `deadline` has passed; [`LinkErrorKind::Closed`] at once if it is closed.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn ready(&self, deadline: Instant) -> Result<(), LinkError> {
        let shared = self.shared();
        self.wake();
        let mut status = shared.board.status();
        let settled = status.wait_for(|s| {
            matches!(
                s.state,
                LinkState::Ready | LinkState::Degraded | LinkState::Closed
            )
        });
        match tokio::time::timeout_at(deadline, settled).await {
            Ok(Ok(status)) if status.state != LinkState::Closed => Ok(()),
            Ok(_) => Err(LinkError::closed()),
            Err(_) => Err(self.down_reason().unwrap_or_else(|| {
                let reason = Arc::clone(&shared.board.status().borrow().reason);
                disconnected(format!("not ready: {reason}"))
            })),
        }
    }

    /// Why there is no command connection, as far as known; `None` while there is one.
    #[must_use]
    pub fn down_reason(&self) -> Option<LinkError> {
        self.command_queue().down_reason()
    }

    /// Looks at the server: one pipelined round trip, given up after `timeout`.
    pub async fn health(&self, timeout: Duration) -> Health {
        health::check(self, timeout).await
    }

    /// Looks at the server now and then every `interval`, until the stream is dropped.
    pub fn health_checks(
        &self,
        interval: Duration,
        timeout: Duration,
    ) -> impl Stream<Item = Health> + Send + 'static {
        let link = self.clone();
        futures_util::stream::unfold((link, None), move |(link, next)| async move {
            let now = Instant::now();
            let next = next.unwrap_or(now);
            tokio::time::sleep_until(next).await;
            let health = health::check(&link, timeout).await;
            // A late answer delays the next question; it does not make them pile up.
            let after = (next + interval.min(LONGEST)).max(Instant::now());
            Some((health, (link, Some(after))))
        })
    }

    /// What the probe found when the last connection was made; `None` before the first.
    #[must_use]
    pub fn server(&self) -> Option<Arc<ServerInfo>> {
        self.shared().server.load_full()
    }

    /// Closes the link: refuses new commands, lets those in flight finish for at most `grace`, then
    /// drops the connections. Repeating it is harmless; it never waits longer than `grace` and a
    /// moment, also on a dead server.
    ///
    /// # Cancel safety
    /// Once begun, closing goes on even if the future is dropped.
    pub async fn close(&self, grace: Duration) {
        let shared = self.shared();
        shared.close(grace, LinkError::closed());
        shared.closed.cancelled().await;
    }

    /// Figures of this moment.
    #[must_use]
    pub fn stats(&self) -> LinkStats {
        let shared = self.shared();
        LinkStats {
            command: self.lane_stats(Role::Command),
            bulk: self.lane_stats(Role::Bulk),
            durable: self.lane_stats(Role::Durable),
            push_connected: shared.board.is_up(Role::Push),
            subscriptions: shared.subscriptions.len(),
        }
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.handle.shared
    }

    fn queue(&self, lane: Lane) -> &Arc<Queue> {
        self.shared().queue(match lane {
            Lane::Command => Role::Command,
            Lane::Bulk => Role::Bulk,
            Lane::Durable => Role::Durable,
        })
    }

    fn command_queue(&self) -> &Arc<Queue> {
        self.shared().queue(Role::Command)
    }

    /// Has a lazy link connect: what any use of it does, since only the command connection finds out
    /// what the server is.
    fn wake(&self) {
        self.command_queue().ask_for_connection();
    }

    async fn place(
        &self,
        commands: usize,
        bytes: usize,
        options: &CallOptions,
    ) -> Result<Permit, LinkError> {
        in_time(options)?;
        if options.lane != Lane::Command {
            self.wake();
        }
        let patience = || Instant::now() + self.shared().config.command_timeout;
        let deadline = options.deadline.unwrap_or_else(patience);
        let permit = self
            .queue(options.lane)
            .reserve(commands, bytes, deadline)
            .await?;
        Ok(permit.for_call(options.deadline, options.script))
    }

    fn lane_stats(&self, role: Role) -> LaneStats {
        let queue = self.shared().queue(role).stats();
        LaneStats {
            connected: queue.connected,
            in_flight: queue.in_flight,
            in_flight_bytes: queue.in_flight_bytes,
            waiting: queue.waiting,
            reconnects: self.shared().board.connections(role).saturating_sub(1),
        }
    }
}

/// What is late already is not sent at all.
fn in_time(options: &CallOptions) -> Result<(), LinkError> {
    let now = || options.now.unwrap_or_else(Instant::now);
    match options.deadline {
        Some(deadline) if deadline <= now() => Err(LinkError::new(
            LinkErrorKind::Timeout,
            Outcome::NotApplied,
            "the deadline had passed before the command was sent",
        )),
        _ => Ok(()),
    }
}
