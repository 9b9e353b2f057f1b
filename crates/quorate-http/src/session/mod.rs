//! Sessions over HTTP: a tower layer, and an extractor by which handlers look at the session of their request.
//!
//! The id comes in a [cookie](SessionCookie), or as a bearer token. The home is asked when a handler looks, once for each
//! request; what handlers change is saved at the end, before the response goes out; and a request that has no session gets one
//! when something is written.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> quorate::Result<()> {
//! use axum::{Router, routing::get, routing::post};
//! use quorate::{Fleet, SessionKey};
//! use quorate_http::Rejection;
//! use quorate_http::session::{CurrentSession, SessionLayer, SessionUser};
//!
//! const VISITS: SessionKey<u32> = SessionKey::new("visits");
//!
//! async fn home(session: CurrentSession) -> Result<String, Rejection> {
//!     let visits = session.get(&VISITS).await?.unwrap_or(0) + 1;
//!     session.set(&VISITS, &visits)?;
//!     Ok(format!("visit {visits}"))
//! }
//!
//! async fn log_in(session: CurrentSession) -> Result<(), Rejection> {
//!     // … once the password is right:
//!     Ok(session.log_in("alice").await?)
//! }
//!
//! async fn account(SessionUser(user): SessionUser) -> String {
//!     format!("{user}'s account") // 401 for who is not logged in
//! }
//!
//! let sessions = Fleet::embedded().sessions();
//! let app: Router = Router::new()
//!     .route("/", get(home))
//!     .route("/login", post(log_in))
//!     .route("/account", get(account))
//!     .layer(SessionLayer::new(sessions));
//! # let _ = app;
//! # Ok(()) }
//! ```

mod authenticate;
mod carrier;
mod cookie;
mod current;
mod extract;
mod layer;
mod login;
mod save;
#[cfg(feature = "tower-sessions")]
mod tower;

pub use cookie::{SameSite, SessionCookie};
pub use current::CurrentSession;
pub(crate) use current::was_used;
pub use extract::SessionUser;
pub use layer::{SessionLayer, SessionService};
#[cfg(feature = "tower-sessions")]
pub use tower::TowerSessionStore;
