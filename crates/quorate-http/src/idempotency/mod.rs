//! A tower layer that runs a request once, however often it is sent: `Idempotency-Key`.
//!
//! A client that had no answer does not know whether its order was taken. With a key that it makes up itself it may send it again:
//! the handler runs once over all instances, and every later request with that key is given the response of the first.
//! (IETF draft `draft-ietf-httpapi-idempotency-key-header`.)
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> quorate::Result<()> {
//! use axum::{Router, http::header::AUTHORIZATION, routing::post};
//! use quorate::Fleet;
//! use quorate_http::idempotency::{IdempotencyLayer, IdempotencyScope};
//! use std::time::Duration;
//!
//! let fleet = Fleet::embedded();
//! let once = IdempotencyLayer::builder(&fleet, IdempotencyScope::header(AUTHORIZATION))
//!     .wait_for(Duration::from_secs(5)) // for the first, if it is still running; then 409
//!     .build()?;
//! let app: Router = Router::new()
//!     .route("/orders", post(|| async { "order 7" }))
//!     .layer(once);
//! # let _ = app;
//! # Ok(()) }
//! ```

mod builder;
mod exchange;
mod key;
mod layer;
mod meters;
mod record;
mod request;
mod scope;
mod supervise;
mod wait;

pub use builder::IdempotencyBuilder;
pub use layer::{IdempotencyLayer, IdempotencyService};
pub use scope::IdempotencyScope;
