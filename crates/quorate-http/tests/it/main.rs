//! The hub over real sockets, on the in-process home.
#![expect(clippy::unwrap_used, reason = "what fails in a helper fails the test")]

mod access;
#[cfg(feature = "browser")]
mod browser;
mod cache;
#[cfg(feature = "client")]
mod client;
mod conformance;
mod declared;
mod ending;
mod events;
mod idempotency;
mod kept;
mod limits;
mod presence;
mod rate_limit;
mod requests;
mod script;
mod session;
mod sse;
mod support;
mod ws;
