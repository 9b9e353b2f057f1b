//! The link to Redis and Valkey under Quorate.
//!
//! A [`Link`] keeps a few multiplexed connections to one server alive, whatever happens to it, and is
//! honest about every command: it succeeds, or fails within its deadline with an error that says
//! whether the command can have had an effect ([`Outcome`]).
//!
//! ```no_run
//! # async fn example() -> Result<(), quorate_link::LinkError> {
//! use quorate_link::{CallOptions, Link, LinkConfig};
//!
//! let link = Link::open(LinkConfig::new("localhost", 6379), None)?;
//! let reply = link.call(&[b"INCR", b"visits"], &CallOptions::new()).await?;
//! println!("{:?}", reply.as_int());
//! # Ok(())
//! # }
//! ```
//!
//! # Connections
//! Up to four, each made again by policy whenever it breaks: for commands, for large replies
//! ([`Lane::Bulk`]), for durable writes ([`Lane::Durable`]), and for subscriptions. All but the first
//! are made when first used. What goes wrong with them shows in the [`Status`].
//!
//! # Ordering
//! Commands of one lane reach the server in the order in which they were queued: [`Permit::enqueue`]
//! queues synchronously, a [`Batch`] stays in one piece. Between lanes there is no order.
//!
//! # Time
//! Every call ends by its deadline, or by the command timeout where it has none: with a reply, or with
//! an error whose [`Outcome`] says what is known. A command that timed out keeps its place among the
//! replies, so that no other receives what was meant for it, and makes the link ask whether the server
//! is still there.
//!
//! # Inside
//! `decoder` turns bytes into frames; `connection` is one socket with its queue; `supervisor` keeps the
//! connections of a link and says how it is; `topology` finds the server; `probe` finds out what it is.
//!
//! This crate knows connections and commands. What commands mean, and when it is safe to repeat one,
//! is the business of `quorate`.

mod config;
mod connection;
mod decoder;
mod error;
mod frame;
mod probe;
mod push;
mod server_code;
mod supervisor;
mod tls;
mod topology;

pub use config::{
    Limits, LinkConfig, Protocol, ReconnectPolicy, Secret, TlsConfig, WhenUnavailable,
};
pub use connection::{Batch, Permit, Reply};
pub use decoder::{DecodeError, Decoder};
pub use error::{LinkError, LinkErrorKind, Outcome};
pub use frame::Frame;
pub use probe::{Flavour, ServerInfo, ServerMode, ServerRole, Version};
pub use push::{PushMessage, PushSink, SubscriptionKind, TrackingSink};
pub use supervisor::{
    CallOptions, Health, HealthServer, Lane, LaneStats, Link, LinkState, LinkStats, StateChange,
    Status,
};
