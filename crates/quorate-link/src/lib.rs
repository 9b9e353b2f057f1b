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
pub use push::{PushMessage, PushSink, SubscriptionKind};
pub use supervisor::{
    CallOptions, Health, HealthServer, Lane, LaneStats, Link, LinkState, LinkStats, StateChange,
    Status,
};
