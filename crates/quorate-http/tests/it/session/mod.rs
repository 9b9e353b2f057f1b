//! The layer that knows the session of a request.

mod browser;
mod caches;
mod faults;
mod login;
#[cfg(feature = "browser")]
mod real_browser;
mod saving;
mod sockets;
#[cfg(feature = "tower-sessions")]
mod tower;
