//! What the handle and the lanes of one link have in common.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::board::{Board, Role};
use super::subscriptions::Subscriptions;
use crate::config::LinkConfig;
use crate::connection::{Observer, Queue};
use crate::error::{LinkError, LinkErrorKind, Outcome};
use crate::probe::{ServerInfo, ServerRole};
use crate::push::{PushSink, Tracking};
use crate::tls::TlsSetup;
use crate::topology::{Standalone, Topology};

/// See the module.
pub(crate) struct Shared {
    pub(crate) config: LinkConfig,
    pub(crate) topology: Topology,
    pub(crate) tls: Option<TlsSetup>,
    pub(crate) board: Board,
    queues: [Arc<Queue>; 4],
    pub(crate) subscriptions: Subscriptions,
    pub(crate) sink: Option<Arc<dyn PushSink>>,
    pub(crate) tracking: Tracking,
    /// Whether the server can say something unasked over the present command connection.
    pub(crate) can_push: AtomicBool,
    pub(crate) server: ArcSwapOption<ServerInfo>,
    /// No new connections; those there are finish what they have.
    pub(crate) closing: CancellationToken,
    /// Everything ends now.
    pub(crate) kill: CancellationToken,
    /// Closing is complete.
    pub(crate) closed: CancellationToken,
    pub(crate) lanes: TaskTracker,
    pub(crate) helpers: TaskTracker,
}

impl Shared {
    pub(crate) fn new(
        config: LinkConfig,
        sink: Option<Arc<dyn PushSink>>,
    ) -> Result<Self, LinkError> {
        config.validate()?;
        let tls = config
            .tls
            .as_ref()
            .map(|tls| TlsSetup::new(tls, &config.host))
            .transpose()?;
        let queue = || Arc::new(Queue::new(&config.limits, config.when_unavailable));
        Ok(Self {
            topology: Topology::Standalone(Standalone::new(config.host.clone(), config.port)),
            tls,
            board: Board::new(),
            queues: [queue(), queue(), queue(), queue()],
            subscriptions: Subscriptions::default(),
            sink,
            tracking: Tracking::default(),
            can_push: AtomicBool::new(false),
            server: ArcSwapOption::empty(),
            closing: CancellationToken::new(),
            kill: CancellationToken::new(),
            closed: CancellationToken::new(),
            lanes: TaskTracker::new(),
            helpers: TaskTracker::new(),
            config,
        })
    }

    pub(crate) fn queue(&self, role: Role) -> &Arc<Queue> {
        &self.queues[role as usize]
    }

    /// Refuses new commands from now on, and lets those in flight finish.
    pub(crate) fn begin_closing(&self, reason: &LinkError) {
        self.closing.cancel();
        for queue in &self.queues {
            queue.close(reason.clone());
            queue.drain();
        }
        self.subscriptions.close();
    }

    /// Closes in the background, so that it goes on if the caller loses interest. Repeating it does
    /// nothing.
    pub(crate) fn close(self: &Arc<Self>, grace: Duration, reason: LinkError) {
        if self.closing.is_cancelled() {
            return;
        }
        self.begin_closing(&reason);
        let shared = Arc::clone(self);
        self.helpers.spawn(async move {
            shared.lanes.close();
            if tokio::time::timeout(grace, shared.lanes.wait())
                .await
                .is_err()
            {
                shared.kill.cancel();
                shared.lanes.wait().await;
            }
            shared.board.closed(&reason.to_string());
            shared.kill.cancel();
            shared.closed.cancel();
        });
    }

    /// The server turned out to take no writes: let everything look for the one that does.
    fn lost_primary(&self, line: &str) {
        if self.board.failover(Some(line)) {
            for role in Role::ALL {
                self.reconnect(role, line);
            }
        }
    }

    /// The command connection found the server in this role.
    pub(crate) fn found(&self, server: Option<ServerInfo>) {
        let Some(server) = server else {
            self.board.failover(None);
            return;
        };
        if server.role == ServerRole::Replica {
            self.board
                .failover(Some("the server is a replica and takes no writes"));
        }
        let primary = server.role == ServerRole::Primary;
        let before = self.server.swap(Some(Arc::new(server)));
        if !primary || !self.board.failover(None) {
            return;
        }
        let moved = match (&before, &*self.server.load()) {
            (Some(before), Some(after)) => before.run_id != after.run_id,
            _ => false,
        };
        if moved {
            for role in [Role::Bulk, Role::Durable, Role::Push] {
                self.reconnect(role, "another server is the primary now");
            }
        }
    }

    /// Ends a connection once it has its replies; its lane makes a new one.
    fn reconnect(&self, role: Role, why: &str) {
        if self.board.is_up(role) {
            let queue = self.queue(role);
            queue.shut(disconnected(why.to_owned()));
            queue.drain();
        }
    }
}

pub(crate) fn disconnected(message: String) -> LinkError {
    LinkError::new(LinkErrorKind::Disconnected, Outcome::NotApplied, message)
}

/// Hears about the error replies of one lane.
pub(crate) struct Watcher(pub(crate) Arc<Shared>);

impl Observer for Watcher {
    fn condition(&self, code: &str, line: &str) {
        match code {
            "READONLY" => self.0.lost_primary(line),
            // These speak of one key, not of the server.
            "MOVED" | "ASK" | "TRYAGAIN" => {}
            _ => self.0.board.condition(line),
        }
    }
}
