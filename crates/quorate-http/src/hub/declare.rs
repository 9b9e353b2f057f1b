//! What is declared on a hub: its events, its requests, and who may do what.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::access::{Authenticate, Denied, hook};
use super::builder::HubBuilder;
use super::event::{Emit, EventSpec, HubEvent};
use super::handle::Hub;
use super::identity::ClientInfo;
use super::request::MessageRouter;

impl HubBuilder {
    /// Lets clients subscribe to an event by its name: `&EVENT`, or `EVENT.declare()` with hooks of its own.
    ///
    /// Two events of one name, or of which one's topics could be the other's (`room` with parameters, and
    /// `room:typing`), are an error when the hub is made.
    ///
    /// # Example
    /// ```
    /// # fn main() -> quorate::Result<()> {
    /// use quorate::Fleet;
    /// use quorate_http::{ClientInfo, Denied, EventSpec, Hub};
    ///
    /// const NEWS: EventSpec<(), String> = EventSpec::new("news");
    /// const ROOM: EventSpec<String, String> = EventSpec::new("room");
    ///
    /// let hub = Hub::builder(Fleet::embedded())
    ///     .event(&NEWS)
    ///     .event(ROOM.declare().allow_publish(async |client: ClientInfo, room: String| {
    ///         if room == "lobby" { Ok(()) } else { Err(Denied::permission("only in the lobby")) }
    ///     }))
    ///     .build()?;
    /// # let _ = hub;
    /// # Ok(()) }
    /// ```
    pub fn event(mut self, event: impl Into<HubEvent>) -> Self {
        if let Err(error) = self.events.declare(event.into()) {
            self.error.get_or_insert(error);
        }
        self
    }

    /// Answers requests of clients with the handlers of `router`. Several routers are merged.
    pub fn requests(mut self, router: MessageRouter) -> Self {
        self.router = self.router.merge(router);
        self
    }

    /// Asks who a client is, and lets nobody do anything before that is known. Default: nobody is asked.
    ///
    /// Give it an async function of [`Credentials`](crate::Credentials), or
    /// [`ConnectionTokens`](crate::ConnectionTokens).
    ///
    /// # Example
    /// ```
    /// # fn main() -> quorate::Result<()> {
    /// use quorate::Fleet;
    /// use quorate_http::{Credentials, Denied, Hub, Identity};
    ///
    /// async fn by_session(credentials: Credentials) -> Result<Identity, Denied> {
    ///     match credentials.cookie("sid") {
    ///         Some("42") => Ok(Identity::new("ada")), // ask your sessions
    ///         _ => Err(Denied::unauthenticated("log in first")),
    ///     }
    /// }
    /// let hub = Hub::builder(Fleet::embedded()).authenticate(by_session).build()?;
    /// # let _ = hub;
    /// # Ok(()) }
    /// ```
    pub fn authenticate(mut self, hook: impl Authenticate) -> Self {
        self.access.authenticate = Some(Arc::new(hook));
        self
    }

    /// Asks whether a client may subscribe to a topic or pattern. Default: it may. An event's own hook is
    /// asked after it.
    pub fn authorize_subscribe<F, Fut>(mut self, function: F) -> Self
    where
        F: Fn(ClientInfo, Arc<str>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), Denied>> + Send + 'static,
    {
        self.access.subscribe = Some(hook(function));
        self
    }

    /// Asks whether a client may publish to a topic. Default: to what an event's own hook allows, and to
    /// nothing else. With a hook here, an event's own hook is asked after it, and both must agree.
    pub fn authorize_publish<F, Fut>(mut self, function: F) -> Self
    where
        F: Fn(ClientInfo, Arc<str>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), Denied>> + Send + 'static,
    {
        self.access.publish = Some(hook(function));
        self
    }

    /// How long each of these hooks may take; then access is denied. Default 10 s.
    pub fn hook_timeout(mut self, limit: Duration) -> Self {
        self.access.limit = limit;
        self
    }
}

impl Hub {
    /// Emits an event to the clients of every instance that subscribed with equal parameters. Optional
    /// arguments, then `.await`; see [`Emit`]. The event need not be declared on this hub.
    pub fn emit<'a, P, T>(&self, event: &EventSpec<P, T>, params: &P, data: &'a T) -> Emit<'a, T>
    where
        P: Serialize,
        T: Send + Sync + 'static,
    {
        event.emit(self.fleet(), params, data)
    }
}
