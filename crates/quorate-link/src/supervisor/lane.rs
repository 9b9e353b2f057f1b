//! One lane: makes its connection, runs it, and makes it again.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::board::Role;
use super::push_lane;
use super::shared::{Shared, Watcher, disconnected};
use crate::connection::{Batch, Driver, DriverConfig, Greeting, Session, Transport};
use crate::error::{LinkError, LinkErrorKind, Outcome};
use crate::frame::Frame;
use crate::probe::{self, ServerInfo, ServerRole, Verdict};
use crate::push::{Inbound, TrackingReader};

/// A connection that lived this long counts as a success: the delays begin anew after it. One that
/// ends sooner is a failed attempt, or a server that accepts and hangs up would be stormed.
const STABLE: Duration = Duration::from_secs(1);

/// How often a server that is not ready yet is asked again, and a replica whether it still is one.
const ASK_AGAIN_FIRST: Duration = Duration::from_millis(50);
const ASK_AGAIN_MOST: Duration = Duration::from_secs(1);

/// Runs a lane until the link is closed.
pub(crate) async fn run(shared: Arc<Shared>, role: Role) {
    // When killed, the work is dropped where it stands; the connection's own drop answers what is
    // in flight.
    let lane = Lane {
        shared: &shared,
        role,
    };
    tokio::select! {
        () = shared.kill.cancelled() => {}
        () = lane.work() => {}
    }
}

pub(crate) struct Lane<'a> {
    pub(crate) shared: &'a Arc<Shared>,
    pub(crate) role: Role,
}

impl Lane<'_> {
    async fn work(&self) {
        let closing = &self.shared.closing;
        let queue = self.shared.queue(self.role);
        if self.role != Role::Command || self.shared.config.lazy {
            tokio::select! {
                () = queue.demanded() => {}
                () = closing.cancelled() => return,
            }
        }
        let mut failed = 0;
        while !closing.is_cancelled() {
            if self.role == Role::Push && self.shared.subscriptions.is_empty() {
                self.shared.board.idle(self.role);
                tokio::select! {
                    () = queue.demanded() => continue,
                    () = closing.cancelled() => return,
                }
            }
            let ended = tokio::select! {
                connected = self.connect(failed) => match connected {
                    Ok(connection) => {
                        let began = Instant::now();
                        let ended = self.serve(connection).await;
                        if began.elapsed() >= STABLE {
                            failed = 0;
                        }
                        ended
                    }
                    Err(error) => Some(error),
                },
                () = closing.cancelled() => return,
            };
            failed += 1;
            if closing.is_cancelled() || !self.pause(ended, failed).await {
                return;
            }
        }
    }

    /// The other lanes begin once the command lane has found out that the server will do.
    async fn wait_for_the_probe(&self) {
        if self.role != Role::Command {
            let mut status = self.shared.board.status();
            // Only a lane that begins makes an epoch. The board outlives its lanes: no error here.
            let _ = status.wait_for(|s| s.epoch > 0).await;
        }
    }

    /// Says why there is no connection and waits before the next attempt. `false`: there is none.
    async fn pause(&self, ended: Option<LinkError>, failed: u32) -> bool {
        let error = ended.unwrap_or_else(|| disconnected("reconnecting".to_owned()));
        let policy = &self.shared.config.reconnect;
        let Some(mut delay) = policy.delay(failed, rand::random()) else {
            let message = format!("gave up reconnecting: {error}");
            let kind = LinkErrorKind::Closed;
            let gave_up = LinkError::with_source(kind, Outcome::NotApplied, message, error);
            self.shared.close(Duration::ZERO, gave_up);
            return false;
        };
        if self.shared.board.in_failover() {
            // A replica that answers is not storming anybody, and is about to be promoted.
            delay = delay.min(ASK_AGAIN_MOST);
        }
        tracing::debug!(
            lane = self.role.as_str(), %error, failed, ?delay, "will connect again"
        );
        self.shared.board.down(self.role, &error.to_string());
        let reason = unavailable(error);
        if self.role == Role::Command && self.shared.board.connections(Role::Command) == 0 {
            // The other lanes have not begun, and have no reason of their own.
            for role in [Role::Bulk, Role::Durable, Role::Push] {
                self.shared.queue(role).shut(reason.clone());
            }
        }
        self.shared.queue(self.role).shut(reason);
        tokio::select! {
            () = tokio::time::sleep(delay) => true,
            () = self.shared.closing.cancelled() => false,
        }
    }

    /// From a name to a connection that takes commands.
    async fn connect(&self, failed: u32) -> Result<Connection, LinkError> {
        let config = &self.shared.config;
        self.wait_for_the_probe().await;
        // A lane opened on first use is not broken because it was never open.
        let first = self.role != Role::Command && self.shared.board.connections(self.role) == 0;
        if failed == 0 && !first {
            self.shared
                .board
                .down(self.role, &format!("connecting to {}", config.address()));
        }
        let reaching = async {
            let addresses = self.shared.topology.primary().await?;
            let tls = self.shared.tls.as_ref();
            let transport = Transport::connect(&addresses, config, tls).await?;
            let mut session = Session::new(transport, config);
            let greeting = session.greet(config).await?;
            Ok((session, greeting))
        };
        let (mut session, greeting) = tokio::time::timeout(config.connect_timeout, reaching)
            .await
            .map_err(|_| {
                LinkError::new(
                    LinkErrorKind::ConnectTimeout,
                    Outcome::NotApplied,
                    format!("no connection to {} in time", config.address()),
                )
            })??;
        let server = match self.role {
            Role::Command => self.probe(&mut session, &greeting).await?,
            Role::Bulk | Role::Durable => {
                self.wait_until_ready(&mut session).await?;
                None
            }
            // Subscribing works while a server loads.
            Role::Push => None,
        };
        Ok(Connection {
            session,
            greeting,
            server,
        })
    }

    /// Asks what the server is, until it is ready where that is wanted.
    async fn probe(
        &self,
        session: &mut Session<Transport>,
        greeting: &Greeting,
    ) -> Result<Option<ServerInfo>, LinkError> {
        let questions = probe::questions();
        let mut again = ASK_AGAIN_FIRST;
        loop {
            let replies = self.exchange(session, &questions).await?;
            match probe::judge(greeting, replies)? {
                Verdict::Ready(server) => return Ok(Some(*server)),
                Verdict::NotYet(_) if !self.shared.config.ready_check => {
                    return Ok(probe::from_greeting(greeting));
                }
                Verdict::NotYet(reason) => self.not_yet(reason, &mut again).await,
            }
        }
    }

    async fn wait_until_ready(&self, session: &mut Session<Transport>) -> Result<(), LinkError> {
        if !self.shared.config.ready_check {
            return Ok(());
        }
        let mut ping = Batch::new();
        ping.command(&[b"PING"]);
        let mut again = ASK_AGAIN_FIRST;
        loop {
            let replies = self.exchange(session, &ping).await?;
            let Some(reason) = replies.first().and_then(probe::passing) else {
                return Ok(());
            };
            self.not_yet(reason, &mut again).await;
        }
    }

    async fn not_yet(&self, reason: String, again: &mut Duration) {
        self.shared.board.down(self.role, &reason);
        self.shared
            .queue(self.role)
            .shut(disconnected(format!("not connected: {reason}")));
        tokio::time::sleep(*again).await;
        *again = (*again * 2).min(ASK_AGAIN_MOST);
    }

    async fn exchange(
        &self,
        session: &mut Session<Transport>,
        questions: &Batch,
    ) -> Result<Vec<Frame>, LinkError> {
        let timeout = self.shared.config.command_timeout;
        tokio::time::timeout(timeout, session.exchange(questions))
            .await
            .map_err(|_| {
                LinkError::new(
                    LinkErrorKind::ConnectTimeout,
                    Outcome::NotApplied,
                    "the server accepted the connection and does not answer",
                )
            })?
    }

    /// Runs a connection until it ends.
    async fn serve(&self, connection: Connection) -> Option<LinkError> {
        let Connection {
            session,
            greeting,
            server,
        } = connection;
        let described = describe(&greeting, server.as_ref());
        let replica = server
            .as_ref()
            .is_some_and(|s| s.role == ServerRole::Replica);
        if self.role == Role::Push {
            return push_lane::serve(self, session, &described).await;
        }
        let mut inbound: Option<Box<dyn Inbound>> = None;
        if self.role == Role::Command {
            self.shared.found(server);
            let can_push = greeting.protocol == 3;
            self.shared.can_push.store(can_push, Ordering::Release);
            inbound = Some(Box::new(TrackingReader(Arc::clone(&self.shared.tracking))));
        }
        let queue = self.shared.queue(self.role);
        let driver = self.driver(session, inbound);
        // The door first: whoever hears that the link is ready must find it open.
        queue.open();
        self.shared.board.up(self.role, &described, None);
        let mut running = std::pin::pin!(driver.run());
        if replica && self.shared.config.ready_check {
            tokio::select! {
                ended = &mut running => return ended,
                () = tokio::time::sleep(ASK_AGAIN_MOST) => {
                    queue.shut(disconnected("looking for the primary again".to_owned()));
                    queue.drain();
                }
            }
        }
        running.await
    }

    pub(crate) fn driver(
        &self,
        session: Session<Transport>,
        inbound: Option<Box<dyn Inbound>>,
    ) -> Driver<Transport> {
        let config = &self.shared.config;
        Driver::new(
            session,
            Arc::clone(self.shared.queue(self.role)),
            Arc::new(Watcher(Arc::clone(self.shared))),
            inbound,
            DriverConfig {
                command_timeout: config.command_timeout,
                ping_interval: config.ping_interval,
                ping_timeout: config.ping_timeout,
            },
        )
    }
}

struct Connection {
    session: Session<Transport>,
    greeting: Greeting,
    server: Option<ServerInfo>,
}

fn describe(greeting: &Greeting, server: Option<&ServerInfo>) -> String {
    match server {
        Some(s) => format!(
            "connected to {} {} ({}, RESP{})",
            s.flavour, s.version, s.mode, s.protocol
        ),
        None => format!("connected (RESP{})", greeting.protocol),
    }
}

/// What a caller is told who waited in vain: the last reason there is no connection. What no waiting
/// will change keeps its kind.
fn unavailable(reason: LinkError) -> LinkError {
    match reason.kind() {
        LinkErrorKind::Auth
        | LinkErrorKind::Tls
        | LinkErrorKind::Unsupported
        | LinkErrorKind::Config
        | LinkErrorKind::ConnectTimeout => reason.with_outcome(Outcome::NotApplied),
        _ => {
            let message = format!("not connected: {reason}");
            LinkError::with_source(
                LinkErrorKind::Disconnected,
                Outcome::NotApplied,
                message,
                reason,
            )
        }
    }
}
