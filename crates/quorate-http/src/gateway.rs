//! What clients connect to.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::get;
use quorate::Fleet;
use rand::RngExt;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::origin::OriginPolicy;
use crate::problem::{Code, Problem};
use crate::rejection::Rejection;
use crate::{sse, telemetry, topic::Selector, ws};

/// Limits and times of a [`Gateway`].
///
/// # Example
/// ```
/// use quorate_http::GatewayOptions;
/// use std::time::Duration;
///
/// let options = GatewayOptions::default()
///     .max_clients(1_000)
///     .heartbeat(Duration::from_secs(10));
/// # let _ = options;
/// ```
#[derive(Clone, Debug)]
#[must_use = "options do nothing until a gateway is made with them"]
pub struct GatewayOptions {
    pub(crate) max_clients: usize,
    pub(crate) max_subscriptions: usize,
    pub(crate) max_frame_bytes: usize,
    pub(crate) buffer: usize,
    pub(crate) buffer_bytes: usize,
    pub(crate) heartbeat: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) send_timeout: Duration,
    pub(crate) subscribe_deadline: Duration,
    pub(crate) reconnect_spread: Duration,
    pub(crate) origins: OriginPolicy,
}

impl Default for GatewayOptions {
    fn default() -> Self {
        Self {
            max_clients: 10_000,
            max_subscriptions: 64,
            max_frame_bytes: 16 * 1024,
            buffer: 256,
            buffer_bytes: 1024 * 1024,
            heartbeat: Duration::from_secs(15),
            idle_timeout: Duration::from_secs(40),
            send_timeout: Duration::from_secs(10),
            subscribe_deadline: Duration::from_secs(10),
            reconnect_spread: Duration::from_secs(5),
            origins: OriginPolicy::same_origin(),
        }
    }
}

impl GatewayOptions {
    /// Clients at once, of both transports; more are refused. Default 10 000.
    pub fn max_clients(mut self, clients: usize) -> Self {
        self.max_clients = clients;
        self
    }

    /// Subscriptions of one client. Default 64.
    pub fn max_subscriptions(mut self, subscriptions: usize) -> Self {
        self.max_subscriptions = subscriptions;
        self
    }

    /// The largest frame a client may send. Default 16 KiB.
    pub fn max_frame_bytes(mut self, bytes: usize) -> Self {
        self.max_frame_bytes = bytes;
        self
    }

    /// Messages kept per subscription for a client that is slower than they come; beyond them the
    /// oldest are dropped and the client is told of the gap. At least 1. Default 256.
    pub fn buffer(mut self, messages: usize) -> Self {
        self.buffer = messages.max(1);
        self
    }

    /// Bytes of payload kept per subscription. At least 1. Default 1 MiB.
    pub fn buffer_bytes(mut self, bytes: usize) -> Self {
        self.buffer_bytes = bytes.max(1);
        self
    }

    /// How often an idle client is sent a sign of life; at least 10 ms. Default 15 s.
    pub fn heartbeat(mut self, interval: Duration) -> Self {
        self.heartbeat = interval.max(Duration::from_millis(10));
        self
    }

    /// How long a WebSocket client may be silent, its answers to our pings included. Default 40 s.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = timeout;
        self
    }

    /// How long a WebSocket client may take to accept what is sent. Default 10 s.
    pub fn send_timeout(mut self, timeout: Duration) -> Self {
        self.send_timeout = timeout;
        self
    }

    /// How long making a subscription may take. Default 10 s.
    pub fn subscribe_deadline(mut self, deadline: Duration) -> Self {
        self.subscribe_deadline = deadline;
        self
    }

    /// Over how long clients are told to spread their return after a drain. Default 5 s.
    pub fn reconnect_spread(mut self, spread: Duration) -> Self {
        self.reconnect_spread = spread;
        self
    }

    /// Which pages may connect. Default: those of this service.
    pub fn origins(mut self, origins: OriginPolicy) -> Self {
        self.origins = origins;
        self
    }
}

/// Lets HTTP clients subscribe to the events of a fleet.
///
/// # Slow clients
/// Each subscription of each client has a bounded buffer of its own. A client that reads more slowly
/// than messages come loses the oldest, and is told how many; one that takes nothing at all is
/// disconnected. It never delays another.
///
/// # Clone
/// Clones are the same gateway.
#[derive(Clone)]
pub struct Gateway {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) fleet: Fleet,
    pub(crate) options: GatewayOptions,
    pub(crate) draining: CancellationToken,
    clients: TaskTracker,
    count: AtomicUsize,
}

impl Gateway {
    /// A gateway with the default options.
    #[must_use]
    pub fn new(fleet: Fleet) -> Self {
        Self::with_options(fleet, GatewayOptions::default())
    }

    /// A gateway with these options.
    #[must_use]
    pub fn with_options(fleet: Fleet, options: GatewayOptions) -> Self {
        let clients = TaskTracker::new();
        // A tracker that is closed from the start may still be given tokens, and is waited for by
        // looking whether there are any.
        clients.close();
        let shared = Shared {
            fleet,
            options,
            draining: CancellationToken::new(),
            clients,
            count: AtomicUsize::new(0),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// `GET /sse` and `GET /ws`, to be nested or merged where they are wanted.
    pub fn router<S: Clone + Send + Sync + 'static>(&self) -> Router<S> {
        Router::new()
            .route("/sse", get(sse_route))
            .route("/ws", get(ws::route))
            .with_state(self.clone())
    }

    /// Answers with the events of `selectors` as Server-Sent Events, once every subscription is made.
    ///
    /// For handlers of your own, for instance one that decides who may see what.
    ///
    /// # Errors
    /// A problem if there are none or too many, a limit was reached, or a subscription cannot be made.
    ///
    /// # Cancel safety
    /// When the future is dropped, nothing is left behind.
    pub async fn sse(&self, selectors: Vec<Selector>) -> Result<Response, Rejection> {
        sse::respond(self.clone(), selectors).await
    }

    /// Clients connected now.
    #[must_use]
    pub fn clients(&self) -> usize {
        self.shared.count.load(Ordering::Relaxed)
    }

    /// Refuses new clients, tells the connected ones to come back in a while, each in its own, and
    /// returns when all of them are gone. Give it a time limit: a client that does not take its
    /// farewell holds it up for `send_timeout`.
    ///
    /// # Cancel safety
    /// When the future is dropped, the clients are sent away all the same.
    pub async fn drain(&self) {
        self.shared.draining.cancel();
        self.shared.clients.wait().await;
    }

    /// Refuses what does not come from an allowed origin.
    pub(crate) fn check_origin(
        &self,
        headers: &HeaderMap,
        transport: &'static str,
    ) -> Result<(), Problem> {
        if self.shared.options.origins.allows(headers) {
            return Ok(());
        }
        refused(transport, "origin");
        Err(Problem::new(
            Code::PermissionDenied,
            "pages of this origin may not connect",
        ))
    }

    /// A place for one more client.
    pub(crate) fn admit(&self, transport: &'static str) -> Result<Client, Problem> {
        if self.shared.draining.is_cancelled() {
            return Err(
                Problem::new(Code::Unavailable, "the server is shutting down")
                    .with_retry_after(self.comeback()),
            );
        }
        let limit = self.shared.options.max_clients;
        if self.shared.count.fetch_add(1, Ordering::Relaxed) >= limit {
            self.shared.count.fetch_sub(1, Ordering::Relaxed);
            refused(transport, "full");
            return Err(Problem::new(
                Code::ResourceExhausted,
                format!("the server has its {limit} clients"),
            )
            .with_retry_after(self.comeback()));
        }
        metrics::gauge!(telemetry::CLIENTS, "transport" => transport).increment(1.0);
        Ok(Client {
            shared: self.shared.clone(),
            transport,
            _token: self.shared.clients.token(),
        })
    }

    /// How long a client sent away should wait: different for each, so that they do not come back all
    /// at once.
    pub(crate) fn comeback(&self) -> Duration {
        let spread = self.shared.options.reconnect_spread;
        Duration::from_millis(200) + spread.mul_f64(rand::rng().random())
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway")
            .field("fleet", &self.shared.fleet)
            .field("clients", &self.clients())
            .field("options", &self.shared.options)
            .finish()
    }
}

/// One connected client, for as long as this lives.
pub(crate) struct Client {
    shared: Arc<Shared>,
    transport: &'static str,
    // Dropped with the rest: then `drain` no longer waits for this client.
    _token: TaskTrackerToken,
}

impl Client {
    /// Counts frames sent to it.
    pub(crate) fn sent(&self, frames: u64) {
        metrics::counter!(telemetry::FRAMES, "transport" => self.transport).increment(frames);
    }

    /// Counts it as sent away.
    pub(crate) fn disconnected(&self, reason: &'static str) {
        metrics::counter!(
            telemetry::DISCONNECTED, "transport" => self.transport, "reason" => reason
        )
        .increment(1);
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.shared.count.fetch_sub(1, Ordering::Relaxed);
        metrics::gauge!(telemetry::CLIENTS, "transport" => self.transport).decrement(1.0);
    }
}

fn refused(transport: &'static str, reason: &'static str) {
    metrics::counter!(telemetry::REFUSED, "transport" => transport, "reason" => reason)
        .increment(1);
}

async fn sse_route(
    State(gateway): State<Gateway>,
    headers: HeaderMap,
    query: Result<Query<Vec<(String, String)>>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Rejection> {
    gateway.check_origin(&headers, sse::TRANSPORT)?;
    let Query(pairs) = query?;
    let selectors = pairs
        .iter()
        .map(|(name, value)| match name.as_str() {
            "topic" => Ok(Selector::parse(value)?),
            _ => Err(Problem::new(
                Code::InvalidArgument,
                format!("`{name}` is not a parameter; there is only `topic`"),
            )
            .into()),
        })
        .collect::<Result<Vec<_>, Rejection>>()?;
    gateway.sse(selectors).await
}
