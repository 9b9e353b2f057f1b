//! Quorate for browsers and for programs that are not Rust, on [`axum`].
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! use axum::Router;
//! use quorate::Fleet;
//! use quorate_http::Gateway;
//!
//! let gateway = Gateway::new(Fleet::embedded());
//! // GET /live/sse?topic=orders:* and GET /live/ws
//! let app: Router = Router::new().nest("/live", gateway.router());
//! # let _ = app;
//! gateway.drain().await; // at shutdown: tells every client to come back elsewhere
//! # }
//! ```
//!
//! * [`Gateway`]: clients subscribe to topics and patterns of a fleet, over WebSocket or Server-Sent
//!   Events. Loss is visible to them as it is in the library. The protocol is described in
//!   `docs/protocol.md`.
//! * [`Problem`] and [`Rejection`]: errors as problem documents (RFC 9457).
//! * [`OriginPolicy`]: which web pages may talk to this service.
//! * [`TopicPath`] and [`Selector`]: topics as they stand in URLs and frames.
//!
//! Nothing here authenticates: put the routes behind a layer of your own.

mod frame;
mod gateway;
#[allow(dead_code, reason = "being built")]
mod hub;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod internals;
mod origin;
mod problem;
mod rejection;
#[cfg_attr(
    not(feature = "internals"),
    allow(dead_code, reason = "sessions come next")
)]
mod socket;
mod sse;
pub mod telemetry;
mod topic;
mod ws;

pub use frame::{PROTOCOL, event_line};
pub use gateway::{Gateway, GatewayOptions};
pub use hub::{Authenticate, ClientInfo, ConnectionTokens, Credentials, Denied, Identity};
pub use origin::OriginPolicy;
pub use problem::{Code, Problem, name_instances};
pub use rejection::Rejection;
pub use topic::{Selector, TopicPath, canonical_json};
