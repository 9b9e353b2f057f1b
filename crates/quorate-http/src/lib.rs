//! Quorate for browsers and for programs that are not Rust, on [`axum`].
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! use axum::Router;
//! use quorate::Fleet;
//! use quorate_http::Hub;
//!
//! let hub = Hub::builder(Fleet::embedded()).open().build();
//! // GET /live/ws and GET /live/sse?topic=orders:*
//! let app: Router = Router::new().nest("/live", hub.router());
//! # let _ = app;
//! hub.drain().await; // at shutdown: tells every client to come back elsewhere
//! # }
//! ```
//!
//! * [`Hub`]: clients take part in the events of a fleet, over WebSocket or Server-Sent Events. Loss is
//!   visible to them as it is in the library. The protocol is described in `docs/protocol.md`.
//! * [`Problem`] and [`Rejection`]: errors as problem documents (RFC 9457).
//! * [`OriginPolicy`]: which web pages may talk to this service.
//! * [`TopicPath`] and [`Selector`]: topics as they stand in URLs and frames.
//!
//! Nothing here authenticates: put the routes behind a layer of your own.

#[cfg(feature = "client")]
pub mod client;
mod frame;
#[allow(dead_code, reason = "being built")]
mod hub;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod internals;
mod origin;
mod problem;
mod rejection;
mod socket;
mod sse;
pub mod telemetry;
mod topic;
mod ws;

pub use frame::{PROTOCOL, event_line};
pub use hub::{
    Authenticate, ClientInfo, ConnectionTokens, Credentials, Denied, Hub, HubBuilder, Identity,
    Overflow,
};
pub use origin::OriginPolicy;
pub use problem::{Code, Problem, name_instances};
pub use rejection::Rejection;
pub use topic::{Selector, TopicPath, canonical_json};
