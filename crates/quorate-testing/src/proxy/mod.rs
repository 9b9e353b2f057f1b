//! A TCP proxy between a client and a server that does to their traffic what networks do.
//!
//! It listens on loopback and forwards to one server. Faults apply to every connection, those that
//! are open and those to come, until [`Proxy::heal`].
//!
//! ```no_run
//! # async fn demo() -> Result<(), Box<dyn std::error::Error>> {
//! use quorate_testing::proxy::{Direction, Proxy};
//! use quorate_testing::servers::{Server, ServerKind};
//!
//! let server = Server::start(ServerKind::Redis).await?;
//! let proxy = Proxy::start(server.addr()).await?;
//! // … connect a client to proxy.addr() …
//! proxy.wait_connections(1).await;
//! proxy.cut_before_reply(); // the next command is executed, and its reply never arrives
//! // … see what the client says …
//! proxy.swallow(Direction::Both); // half-open: the sockets live, nothing comes through
//! proxy.heal().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # What has a hole is cut
//!
//! A TCP connection never loses bytes in its middle. So a connection from which the proxy took bytes
//! ([`swallow`](Proxy::swallow), [`drop_replies`](Proxy::drop_replies)) forwards nothing in that
//! direction again: it is reset as soon as the fault ends. No client has to survive what cannot
//! happen.

mod control;
mod pump;
mod replies;

pub use control::{Direction, Proxy, ProxyStats};
