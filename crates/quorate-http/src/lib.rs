//! Quorate for browsers and for programs that are not Rust, on [`axum`].
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> quorate::Result<()> {
//! use axum::Router;
//! use quorate::Fleet;
//! use quorate_http::Hub;
//!
//! let hub = Hub::builder(Fleet::embedded()).open().build()?;
//! // GET /live/ws and GET /live/sse?topic=orders:*
//! let app: Router = Router::new().nest("/live", hub.router());
//! # let _ = app;
//! hub.drain().await; // at shutdown: tells every client to come back elsewhere
//! # Ok(()) }
//! ```
//!
//! * [`Hub`]: clients take part in the events of a fleet, over WebSocket or Server-Sent Events. Loss is
//!   visible to them as it is in the library. The protocol is described in `docs/protocol.md`.
//! * [`EventSpec`]: what services emit and clients subscribe to, by name and parameters.
//! * [`MessageSpec`], [`MessageRouter`]: requests from clients, and the handlers that answer them.
//! * [`Identity`], [`Credentials`], [`Denied`], [`ConnectionTokens`]: who a client is, and what it may do.
//! * `client` (a feature): the hub's client, for Rust programs.
//! * [`cache`]: the responses of a service, kept for all of its instances: a tower layer.
//! * [`limit`]: who asks too often is turned away, over all instances: a tower layer.
//! * [`idempotency`]: a request is handled once, however often it is sent: a tower layer.
//! * [`session`]: who is logged in, by cookie or bearer token: a tower layer and an extractor.
//! * `session::TowerSessionStore` (a feature, `tower-sessions`): keeps the sessions of services that use that crate.
//! * [`Problem`] and [`Rejection`]: errors as problem documents (RFC 9457).
//! * [`OriginPolicy`]: which web pages may talk to this service.
//! * [`TopicPath`] and [`Selector`]: topics as they stand in URLs and frames.
//!
//! A hub lets in whoever connects unless it is told to [authenticate](HubBuilder::authenticate), or its routes
//! are behind a layer of your own.

mod body;
pub mod cache;
#[cfg(feature = "client")]
pub mod client;
mod fencing;
mod frame;
mod hex;
mod hub;
pub mod idempotency;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod internals;
pub mod limit;
mod origin;
mod problem;
mod rejection;
pub mod session;
mod shown;
mod socket;
mod sse;
pub mod telemetry;
mod topic;
mod ws;

pub use fencing::{FENCING_TOKEN, Fence, Fenced, FleetFence, fencing_header, fencing_token};
pub use frame::{PROTOCOL, event_line};
pub use hub::{
    Authenticate, ClientEmit, ClientInfo, ClientStats, ConnectionTokens, Credentials, Cx, Denied,
    Emit, EventDeclaration, EventSpec, HandlerError, Hub, HubBuilder, HubEvent, HubStats, Identity,
    MessageRouter, MessageSpec, Overflow, SubscriptionStats, TopicStats,
};
pub use origin::OriginPolicy;
pub use problem::{Code, Problem, name_instances};
pub use rejection::Rejection;
pub use topic::{Selector, TopicPath, canonical_json};

/// Keeps the examples in the documents true.
#[cfg(doctest)]
mod documents {
    #[doc = include_str!("../../../docs/guide/http-cache.md")]
    struct HttpCache;
    #[doc = include_str!("../../../docs/guide/http-sessions.md")]
    struct HttpSessions;
    #[doc = include_str!("../../../docs/guide/idempotency.md")]
    struct Idempotency;
    #[doc = include_str!("../../../docs/guide/hub.md")]
    struct Hub;
    #[cfg(feature = "client")]
    #[doc = include_str!("../../../docs/guide/rust-client.md")]
    struct RustClient;
}
