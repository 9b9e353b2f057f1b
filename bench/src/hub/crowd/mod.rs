//! The crowd: ten thousand WebSocket clients in a process of its own, on a core of its own.
//!
//! Its clients do as little as a client can: raw sockets under one `epoll`, frames looked at and not
//! parsed, nothing allocated per message. So what limits a figure is who serves them. The process takes
//! orders as lines of JSON and reports when they are done.

mod client;
mod handle;
mod order;
mod process;
pub(super) mod wire;

pub(crate) use self::handle::Crowd;
pub(crate) use self::order::{Join, Order, Report, Until};
pub(crate) use self::process::attend;
