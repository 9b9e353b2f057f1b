//! The built binary, as people and programs use it.
#![expect(clippy::unwrap_used, reason = "what fails in a helper fails the test")]

mod access;
#[cfg(feature = "browser")]
mod browser;
#[cfg(feature = "browser")]
mod browser_limits;
#[cfg(feature = "browser")]
mod browser_live;
#[cfg(feature = "browser")]
mod browser_locks;
#[cfg(feature = "browser")]
mod browser_queues;
#[cfg(feature = "browser")]
mod browser_sessions;
#[cfg(feature = "browser")]
mod browser_values;
mod cache;
mod cli;
mod cli_locks;
mod cli_queues;
mod cli_values;
mod clients;
mod events;
mod fleet;
mod history;
mod hub;
mod limits;
mod locks;
mod operation;
mod queues;
mod queues_grouped;
mod queues_operated;
mod rate_limits;
mod sessions;
mod shutdown;
mod store;
mod streams;
mod support;
