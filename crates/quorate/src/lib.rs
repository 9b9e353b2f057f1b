//! Everything a fleet of services has to agree on, on the Redis or Valkey you already run, and
//! in-process with the same semantics when you have none.

mod backoff;
mod builder;
mod clock;
mod codec;
mod config;
mod context;
mod embedded;
mod error;
pub mod events;
mod fleet;
mod hooks;
mod key;
pub mod lock;
#[cfg(feature = "redis")]
mod redis;
mod state;
pub mod telemetry;

pub use backoff::{Backoff, RetryPolicy};
pub use builder::FleetBuilder;
pub use clock::{Micros, TestClock};
pub use codec::{Codec, CodecError};
pub use config::{FleetConfig, Protocol, Secret, WhenUnavailable};
pub use error::{Error, ErrorKind, Outcome, Result};
pub use events::{
    Event, Gap, GapReason, Message, Overflow, Receipt, Subscription, Topic, TopicSpec,
};
pub use fleet::Fleet;
pub use hooks::ErrorSource;
pub use key::{Key, MAX_NAME, MAX_NAMESPACE, Namespace};
pub use lock::{Acquire, FencingToken, LeaseId, Lock, LockGuard};
#[cfg(feature = "redis")]
pub use quorate_link::{Flavour, ServerInfo, ServerMode, ServerRole, Version};
#[cfg(feature = "redis")]
pub use redis::{RedisCommands, Value};
pub use state::{ConnectionState, ConnectionStatus, Health, ServerSummary, StateChange};
