//! What services hold, and what clients connect to.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Once};
use std::time::Duration;

use axum::Router;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::get;
use quorate::{ConnectionState, Fleet, Result};
use rand::RngExt;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::builder::{HubBuilder, Options};
use super::client::Client;
use super::control::{self, Control};
use super::event::Events;
use super::identity::Known;
use super::registry::Registry;
use super::rooms::Rooms;
use super::script;
use super::seam::{CloseWith, Dispatch, Gatekeeper};
use super::source::Kept;
use crate::frame::state_line;
use crate::problem::{Code, Problem};
use crate::rejection::Rejection;
use crate::telemetry::{self, Meters, Transport};
use crate::topic::Selector;
use crate::{sse, ws};

/// Lets browsers and other clients take part in the events of a fleet, over WebSocket and Server-Sent
/// Events. The protocol is described in `docs/protocol.md`.
///
/// Whatever is published on any instance reaches the clients of every instance. Each topic that clients of
/// this instance want is subscribed to once, and each message is encoded once, however many they are.
///
/// # Slow clients
/// What waits for a client is bounded; [`HubBuilder::overflow`] says what happens beyond the bound. A
/// client that takes nothing at all is disconnected. It never delays another.
///
/// # Clone
/// Clones are the same hub.
///
/// # Example
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> quorate::Result<()> {
/// use axum::Router;
/// use quorate::Fleet;
/// use quorate_http::Hub;
///
/// let hub = Hub::builder(Fleet::embedded()).open().build()?;
/// // GET /live/ws and GET /live/sse?topic=orders:*
/// let app: Router = Router::new().nest("/live", hub.router());
/// # let _ = app;
/// hub.drain().await; // at shutdown: tells every client to come back elsewhere
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Hub {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) fleet: Fleet,
    pub(crate) options: Options,
    /// Whether clients may name any topic and pattern.
    pub(crate) open: bool,
    pub(crate) kept: Kept,
    pub(crate) events: Arc<Events>,
    pub(crate) gatekeeper: Arc<dyn Gatekeeper>,
    pub(crate) requests: Arc<dyn Dispatch>,
    pub(crate) control: Control,
    pub(crate) rooms: Arc<Rooms>,
    pub(crate) registry: Registry,
    pub(crate) meters: Meters,
    draining: CancellationToken,
    /// Waited for by `drain`.
    clients: TaskTracker,
    count: AtomicUsize,
    last_number: AtomicU64,
    attending: Once,
    tasks: TaskTracker,
    /// Ends the tasks that are nobody's in particular when the hub is gone.
    gone: CancellationToken,
}

impl Hub {
    /// A hub with options and events of your own.
    pub fn builder(fleet: Fleet) -> HubBuilder {
        HubBuilder::new(fleet)
    }

    pub(crate) fn new(builder: HubBuilder) -> Result<Self> {
        // A tracker that is closed from the start may still be given tokens and tasks, and is waited for
        // by looking whether there are any.
        let closed = || {
            let tracker = TaskTracker::new();
            tracker.close();
            tracker
        };
        let tasks = closed();
        let options = &builder.options;
        let (deadline, ring, page) = (options.subscribe_deadline, options.ring, options.page());
        let shared = Shared {
            rooms: Rooms::new(builder.fleet.clone(), tasks.clone(), deadline, ring, page),
            fleet: builder.fleet,
            options: builder.options,
            open: builder.open,
            kept: builder.kept,
            events: Arc::new(builder.events),
            gatekeeper: Arc::new(builder.access),
            requests: builder.router.finish()?,
            control: Control::new(),
            registry: Registry::default(),
            meters: Meters::new(),
            draining: CancellationToken::new(),
            clients: closed(),
            count: AtomicUsize::new(0),
            last_number: AtomicU64::new(0),
            attending: Once::new(),
            tasks,
            gone: CancellationToken::new(),
        };
        let hub = Self {
            shared: Arc::new(shared),
        };
        // Before the first client where that is possible: what is said about it must not come too early.
        if tokio::runtime::Handle::try_current().is_ok() {
            hub.attend();
        }
        Ok(hub)
    }

    /// `GET /ws`, `GET /sse` and `GET /client.js` (the client for browsers, as a module), to be nested or
    /// merged where they are wanted.
    pub fn router<S: Clone + Send + Sync + 'static>(&self) -> Router<S> {
        Router::new()
            .route("/ws", get(ws::route))
            .route("/sse", get(sse::route))
            .route("/client.js", get(script::route))
            .with_state(self.clone())
    }

    /// Answers with the events of `selectors` as Server-Sent Events, once every subscription is made.
    ///
    /// For handlers of your own, for instance one that decides who may see what: nothing is asked here.
    ///
    /// # Errors
    /// A problem if there are none or too many, a limit was reached, or a subscription cannot be made.
    ///
    /// # Cancel safety
    /// When the future is dropped, nothing is left behind.
    pub async fn sse(&self, selectors: Vec<Selector>) -> Result<Response, Rejection> {
        let asked = sse::Asked {
            selectors,
            last_event_id: None,
            address: None,
            known: None,
            checked: false,
        };
        sse::respond(self.clone(), asked).await
    }

    /// The fleet whose events these are.
    #[must_use]
    pub fn fleet(&self) -> &Fleet {
        &self.shared.fleet
    }

    /// Clients connected now.
    #[must_use]
    pub fn clients(&self) -> usize {
        self.shared.count.load(Ordering::Relaxed)
    }

    /// Refuses new clients and new requests, answers those that are under way, tells the connected clients
    /// to come back in a while, each in its own, and returns when all of them are gone.
    ///
    /// A client is sent what waits for it first, its answers above all. It has
    /// [`drain_timeout`](HubBuilder::drain_timeout) for that, and 4 s more to take its farewell. How long a
    /// stream of Server-Sent Events may take is for the HTTP server below to say: give this a time limit.
    ///
    /// # Cancel safety
    /// When the future is dropped, the clients are sent away all the same.
    pub async fn drain(&self) {
        self.shared.draining.cancel();
        for client in self.shared.registry.all() {
            client.end(CloseWith::Restarting);
        }
        self.shared.clients.wait().await;
    }

    /// Refuses what does not come from an allowed origin.
    pub(crate) fn check_origin(
        &self,
        headers: &HeaderMap,
        transport: Transport,
    ) -> Result<(), Problem> {
        if self.shared.options.origins.allows(headers) {
            return Ok(());
        }
        telemetry::refused(transport, "origin");
        Err(Problem::new(
            Code::PermissionDenied,
            "pages of this origin may not connect",
        ))
    }

    /// The events that were declared.
    pub(crate) fn events(&self) -> &Events {
        &self.shared.events
    }

    /// A place for one more client.
    pub(crate) fn admit(&self, transport: Transport) -> Result<Place, Problem> {
        let shared = &self.shared;
        if shared.draining.is_cancelled() {
            return Err(self.shutting_down());
        }
        let limit = shared.options.max_clients;
        if shared.count.fetch_add(1, Ordering::Relaxed) >= limit {
            shared.count.fetch_sub(1, Ordering::Relaxed);
            telemetry::refused(transport, "full");
            return Err(Problem::new(
                Code::ResourceExhausted,
                format!("the server has its {limit} clients"),
            )
            .with_retry_after(self.comeback()));
        }
        shared.meters.clients(transport).increment(1.0);
        self.attend();
        Ok(Place {
            shared: shared.clone(),
            transport,
            _token: shared.clients.token(),
        })
    }

    /// Why nothing new is begun while the hub drains.
    pub(crate) fn shutting_down(&self) -> Problem {
        let problem = Problem::new(Code::Unavailable, "the server is shutting down");
        problem.with_retry_after(self.comeback())
    }

    /// How long a client sent away should wait: different for each, so that they do not come back all
    /// at once.
    pub(crate) fn comeback(&self) -> Duration {
        let spread = self.shared.options.reconnect_spread;
        Duration::from_millis(200) + spread.mul_f64(rand::rng().random())
    }

    /// The hub, for tasks that must not keep it alive.
    fn downgrade(&self) -> impl Fn() -> Option<Self> + Send + Sync + use<> {
        let shared = Arc::downgrade(&self.shared);
        move || {
            let shared = shared.upgrade()?;
            Some(Self { shared })
        }
    }

    /// Follows the fleet's connection and the other hubs, from now on.
    fn attend(&self) {
        self.shared.attending.call_once(|| {
            let fleet = self.shared.fleet.clone();
            self.spawn(watch_state(fleet.clone(), self.downgrade()));
            // Where nobody says who they are, there is nobody to take access away from.
            if self.shared.gatekeeper.required() {
                self.spawn(control::listen(fleet, self.downgrade()));
            }
        });
    }

    /// Runs a task for as long as there is the hub.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.shared.spawn(task);
    }
}

impl Shared {
    /// Runs a task for as long as there is the hub.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let gone = self.gone.clone();
        self.tasks.spawn(gone.run_until_cancelled_owned(task));
    }
}

/// Tells clients of every change of the fleet's connection.
async fn watch_state(fleet: Fleet, hub: impl Fn() -> Option<Hub>) {
    let mut status = fleet.status();
    while status.changed().await.is_ok() {
        let status = status.borrow_and_update().clone();
        let Some(hub) = hub() else {
            return;
        };
        let closed = status.state == ConnectionState::Closed;
        let line = state_line(&status);
        for client in hub.shared.registry.all() {
            if client.transport == Transport::WebSocket {
                client.reply(line.clone());
            }
            if closed {
                client.end(CloseWith::FleetClosed);
            }
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.gone.cancel();
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub")
            .field("fleet", &self.shared.fleet)
            .field("clients", &self.clients())
            .field("options", &self.shared.options)
            .finish_non_exhaustive()
    }
}

/// A place taken by a client that is connecting.
pub(crate) struct Place {
    shared: Arc<Shared>,
    transport: Transport,
    // Dropped with the rest: then `drain` no longer waits for this client.
    _token: TaskTrackerToken,
}

impl Place {
    /// The client that takes it. With `hello` it is greeted, and told of the state from then on.
    pub(crate) fn take(
        self,
        hub: &Hub,
        address: Option<SocketAddr>,
        known: Option<Known>,
        hello: impl FnOnce(&Client) -> Option<String>,
    ) -> Connected {
        let number = self.shared.last_number.fetch_add(1, Ordering::Relaxed);
        let client = Client::new(
            self.shared.clone(),
            number,
            self.transport,
            address,
            known.as_ref().map(|known| known.identity.clone()),
        );
        let hello = hello(&client);
        let greeted = hello.is_some();
        hello.into_iter().for_each(|hello| client.reply(hello));
        self.shared.registry.insert(client.clone());
        if greeted {
            let status = self.shared.fleet.status();
            // Borrowed until it is queued: no change can come between, and be told before it.
            let status = status.borrow();
            client.reply(state_line(&status));
        }
        if let Some(known) = known {
            hub.meet(&client, known.asked);
            client.follow_session();
        }
        // Whoever began to drain before the client was in the list has not seen it.
        if self.shared.draining.is_cancelled() {
            client.end(CloseWith::Restarting);
        }
        Connected {
            client,
            place: self,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.count.fetch_sub(1, Ordering::Relaxed);
        self.shared.meters.clients(self.transport).decrement(1.0);
    }
}

/// A connected client, for as long as this lives.
pub(crate) struct Connected {
    pub(crate) client: Arc<Client>,
    place: Place,
}

impl Connected {
    /// Counts frames sent to it.
    pub(crate) fn sent(&self, frames: u64) {
        let Place {
            shared, transport, ..
        } = &self.place;
        shared.meters.frames(*transport).increment(frames);
    }

    /// Counts it as sent away.
    pub(crate) fn disconnected(&self, reason: &'static str) {
        telemetry::disconnected(self.place.transport, reason);
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.client.leave_all();
        self.place.shared.registry.remove(&self.client.id);
    }
}
