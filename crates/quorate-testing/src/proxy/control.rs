//! The proxy as a test sees it.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::pump::{self, Controls};
use crate::servers::ports::Port;

/// Which way bytes travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Direction {
    /// Requests.
    ToServer,
    /// Replies and pushes.
    ToClient,
    /// Both ways.
    Both,
}

/// What has passed through a proxy since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProxyStats {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections open now.
    pub open: u64,
    /// Bytes forwarded to the server.
    pub to_server: u64,
    /// Bytes forwarded to the client.
    pub to_client: u64,
    /// Bytes taken and not forwarded, either way.
    pub discarded: u64,
}

impl ProxyStats {
    pub(super) const fn forwarded(&mut self, way: Way) -> &mut u64 {
        match way {
            Way::ToServer => &mut self.to_server,
            Way::ToClient => &mut self.to_client,
        }
    }
}

/// One direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    ToServer,
    ToClient,
}

/// What happens to the bytes of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Flow {
    #[default]
    Pass,
    /// Kept, and forwarded later.
    Hold,
    /// Taken, and gone.
    Swallow,
}

/// What happens to replies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Replies {
    #[default]
    Pass,
    DropAll,
    /// Never zero: that is `Pass`.
    DropNext(u64),
}

/// The faults in force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mode {
    to_server: Flow,
    to_client: Flow,
    pub(super) replies: Replies,
    pub(super) delay: Duration,
}

impl Mode {
    pub(super) const fn flow(self, way: Way) -> Flow {
        match way {
            Way::ToServer => self.to_server,
            Way::ToClient => self.to_client,
        }
    }

    fn set(&mut self, direction: Direction, flow: Flow) {
        if direction != Direction::ToClient {
            self.to_server = flow;
        }
        if direction != Direction::ToServer {
            self.to_client = flow;
        }
    }

    /// Counts a reply that was dropped; whether that changes anything.
    pub(super) fn count_dropped_reply(&mut self) -> bool {
        let Replies::DropNext(left) = self.replies else {
            return false;
        };
        self.replies = if left > 1 {
            Replies::DropNext(left - 1)
        } else {
            Replies::Pass
        };
        true
    }
}

/// A connection's task, which is aborted when this is dropped.
type Connection = JoinSet<()>;

/// What the accepting task shares with the handle.
#[derive(Debug)]
struct Inner {
    /// Where new connections go. Locked briefly.
    upstream: Mutex<SocketAddr>,
    controls: Controls,
    /// By number. Locked briefly, to add, reap or take; never across an await.
    connections: Mutex<HashMap<u64, Connection>>,
    next: AtomicU64,
}

/// A proxy to one server. Dropping it resets its connections and frees its port.
pub struct Proxy {
    inner: Arc<Inner>,
    port: Port,
    /// Empty while new connections are refused. Async, because the listener is closed for certain
    /// only when its task has ended.
    acceptor: tokio::sync::Mutex<JoinSet<()>>,
}

impl Proxy {
    /// Starts a proxy to this server, on a free port of 127.0.0.1.
    ///
    /// The server need not be there yet: while it cannot be reached, clients are reset.
    ///
    /// # Errors
    ///
    /// If there is no port to listen on.
    pub async fn start(upstream: SocketAddr) -> io::Result<Self> {
        let port = Port::take().map_err(io::Error::other)?;
        let controls = Controls {
            mode: watch::Sender::new(Mode::default()),
            stats: watch::Sender::new(ProxyStats::default()),
        };
        let inner = Inner {
            upstream: Mutex::new(upstream),
            controls,
            connections: Mutex::default(),
            next: AtomicU64::new(0),
        };
        let proxy = Self {
            inner: Arc::new(inner),
            port,
            acceptor: tokio::sync::Mutex::default(),
        };
        proxy.listen().await?;
        Ok(proxy)
    }

    /// Where clients connect to. It stays the same.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port.number).into()
    }

    /// Where clients connect to, as `redis://127.0.0.1:12345`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}", self.addr())
    }

    /// Forwards new connections to another server, as a load balancer does when one is gone. Open ones
    /// are left alone: [`cut`](Self::cut) ends them.
    pub fn retarget(&self, upstream: SocketAddr) {
        let target = &self.inner.upstream;
        *target.lock().unwrap_or_else(PoisonError::into_inner) = upstream;
    }

    /// Resets every open connection, on both sides; returns when they are gone. New ones are
    /// accepted.
    pub async fn cut(&self) {
        let connections = std::mem::take(&mut *self.inner.connections());
        for mut connection in connections.into_values() {
            connection.shutdown().await;
        }
    }

    /// Refuses new connections, as a server does that is not there. Open ones are left alone.
    pub async fn refuse(&self) {
        self.acceptor.lock().await.shutdown().await;
    }

    /// Takes what comes and forwards nothing, with all sockets open: the other side seems to be
    /// there and is not.
    pub fn swallow(&self, direction: Direction) {
        self.change(|mode| mode.set(direction, Flow::Swallow));
    }

    /// Holds what comes, and forwards it when healed: a network that stalls.
    pub fn hold(&self, direction: Direction) {
        self.change(|mode| mode.set(direction, Flow::Hold));
    }

    /// Lets everything take this much longer, in each direction.
    pub fn delay(&self, delay: Duration) {
        self.change(|mode| mode.delay = delay);
    }

    /// Drops every reply that begins from now on; requests still reach the server. Pushes pass until
    /// a reply of their connection has been dropped.
    pub fn drop_replies(&self) {
        self.change(|mode| mode.replies = Replies::DropAll);
    }

    /// Drops the next `replies` replies, counted over all connections, and then resets the
    /// connections they were for; requests still reach the server. Zero changes nothing.
    pub fn drop_next_replies(&self, replies: u64) {
        if replies > 0 {
            self.change(|mode| mode.replies = Replies::DropNext(replies));
        }
    }

    /// Lets the server execute the next command, and resets the connection instead of delivering the
    /// reply.
    pub fn cut_before_reply(&self) {
        self.drop_next_replies(1);
    }

    /// Ends all faults: accepts again, forwards what was held, resets what has a hole.
    ///
    /// # Errors
    ///
    /// If the port, which is reserved, was taken all the same by a program outside the tests.
    pub async fn heal(&self) -> io::Result<()> {
        self.change(|mode| *mode = Mode::default());
        self.listen().await
    }

    /// What has passed so far.
    #[must_use]
    pub fn stats(&self) -> ProxyStats {
        *self.inner.controls.stats.borrow()
    }

    /// Waits until what has passed satisfies a condition, and returns it.
    ///
    /// Without a time limit of its own: that is for the test, or its runner.
    pub async fn wait(&self, mut condition: impl FnMut(&ProxyStats) -> bool) -> ProxyStats {
        let mut stats = self.inner.controls.stats.subscribe();
        // The sender lives in `self`, so that this only ends when the condition holds.
        let seen = stats.wait_for(|stats| condition(stats)).await;
        seen.map_or_else(|_| self.stats(), |stats| *stats)
    }

    /// Waits until at least `connections` have been accepted since the proxy started.
    pub async fn wait_connections(&self, connections: u64) -> ProxyStats {
        self.wait(|stats| stats.accepted >= connections).await
    }

    fn change(&self, change: impl FnOnce(&mut Mode)) {
        self.inner.controls.mode.send_modify(change);
    }

    /// Accepts connections, unless it does already.
    async fn listen(&self) -> io::Result<()> {
        let mut acceptor = self.acceptor.lock().await;
        if acceptor.is_empty() {
            let listener = TcpListener::bind(self.addr()).await?;
            acceptor.spawn(Arc::clone(&self.inner).accept(listener));
        }
        Ok(())
    }
}

impl Inner {
    async fn accept(self: Arc<Self>, listener: TcpListener) {
        loop {
            // Fails for a connection that went away while it waited, or when this process is out of
            // file handles, which then shows in the test soon enough.
            let Ok((client, _)) = listener.accept().await else {
                tokio::task::yield_now().await;
                continue;
            };
            let (upstream, controls) = (self.upstream(), self.controls.clone());
            // Counted and kept under one lock: who has seen the count can cut the connection.
            let mut connections = self.connections();
            let open = Open::count(&self.controls);
            let mut connection = Connection::new();
            connection.spawn(async move {
                let _open = open;
                pump::run(client, upstream, &controls).await;
            });
            connections.retain(|_, task| task.try_join_next().is_none());
            connections.insert(self.next.fetch_add(1, Ordering::Relaxed), connection);
        }
    }

    fn upstream(&self) -> SocketAddr {
        *self.upstream.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connections(&self) -> MutexGuard<'_, HashMap<u64, Connection>> {
        // Nothing panics while holding it; and if so, the map is still a map.
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy")
            .field("addr", &self.addr())
            .field("upstream", &self.inner.upstream())
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

/// Counts a connection as open while it lives.
struct Open(Controls);

impl Open {
    fn count(controls: &Controls) -> Self {
        controls.stats.send_modify(|stats| {
            stats.accepted += 1;
            stats.open += 1;
        });
        Self(controls.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.stats.send_modify(|stats| stats.open -= 1);
    }
}
