//! Everything a fleet of services has to agree on, on the Redis or Valkey you already run, and
//! in-process with the same semantics when you have none.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> quorate::Result<()> {
//! use quorate::{Event, Fleet, TopicSpec};
//!
//! const ORDERS: TopicSpec<u64> = TopicSpec::new("orders");
//!
//! let fleet = Fleet::embedded(); // or Fleet::connect("redis://localhost").await?
//! let mut orders = fleet.topic(&ORDERS).subscribe().await?; // active when this returns
//! fleet.topic(&ORDERS).publish(&42).await?;
//! match orders.next().await {
//!     Some(Event::Message(order)) => assert_eq!(*order, 42),
//!     Some(Event::Gap(gap)) => println!("missed {:?}: load the state again", gap.missed),
//!     _ => {}
//! }
//!
//! if let Some(guard) = fleet.lock("nightly-report").try_acquire().await?.guard() {
//!     println!("ours, with fencing token {}", guard.token());
//!     guard.release().await?;
//! }
//! # Ok(()) }
//! ```
//!
//! # Capabilities
//!
//! * [`events`]: typed topics over every instance; what is lost shows as a gap.
//! * [`history`]: topics that keep their messages; who was away reads what it missed.
//! * [`limit`]: how often something may be done: exact over the fleet, one round trip per decision.
//! * [`lock`]: leases with fencing tokens, renewal, and a signal when lost.
//! * [`store`]: values by key, with compare-and-set, set-if-absent, counters, and idempotency keys.
//! * [`cache`]: values that can be loaded again: one load in the fleet, tags, no old value after an invalidation.
//! * [`queue`]: jobs that survive the instance that took them: attempts, delays, fairness, groups, schedules.
//! * [`durable`]: functions that continue where they stopped: steps, sleeps, signals, children.
//! * [`session`]: who is logged in: secret ids, log out here, elsewhere, everywhere; fields that nobody loses.
//! * [`execution`]: what a replay engine of your own keeps: tasks begun by one at a time, each with one result.
//! * [`presence`]: who is on a roster, over every instance; exact changes, gone with its instance.
//!
//! A [`Fleet`] is one instance of a service and its connections to the home that all instances share.
//! Everything starts there.
//!
//! # What every call has in common
//!
//! * **Outcomes.** An [`Error`] says what is known of the effect: [`Outcome::NotApplied`] or
//!   [`Outcome::Unknown`]. Only what is safe is retried.
//! * **Values, not errors.** What is expected (held by somebody else, nothing there) is a value.
//! * **Bounds.** Buffers, work in flight, waiting and retries are bounded; a call ends in time.
//! * **Cancel safety.** Any future may be dropped; its documentation says what that leaves behind.
//!
//! Line by line, with the test that proves it: `docs/guarantees.md`.
//!
//! # Features
//!
//! | feature | default | what |
//! | --- | --- | --- |
//! | `cron` | yes | timetables by cron expression and time zone |
//! | `file` | yes | the in-process home in a file, `file:path` |
//! | `redis` | yes | the Redis and Valkey home; without it, the in-process home alone |

mod backoff;
mod bounds;
mod builder;
pub mod cache;
mod clock;
mod codec;
mod config;
mod context;
mod durability;
pub mod durable;
mod embedded;
mod entry_key;
mod error;
pub mod events;
pub mod execution;
mod fleet;
mod glob;
pub mod history;
mod hooks;
mod key;
pub mod limit;
pub mod lock;
mod port;
pub mod presence;
pub mod queue;
#[cfg(feature = "redis")]
mod redis;
mod scan;
pub mod session;
mod state;
pub mod store;
pub mod telemetry;
mod told;

pub use backoff::{Backoff, RetryPolicy};
pub use builder::FleetBuilder;
pub use cache::{Cache, CacheEntry, CacheFigures, CacheSpec, Loaded, LoadingCache, Read, ReadKind};
pub use clock::{Micros, TestClock};
pub use codec::{Codec, CodecError};
pub use config::{FleetConfig, Protocol, Secret, WhenUnavailable};
pub use durability::{Durability, Durable, Reached};
pub use durable::{
    Cx, DurableBuilder, DurableRuns, Either, Failure, RunFailure, RunHandle, RunState, Signal,
    Workflow,
};
pub use entry_key::{EntryKey, MAX_ENTRY_KEY};
pub use error::{Error, ErrorKind, Outcome, Result};
pub use events::{
    Consumer, ConsumerGroup, Event, Gap, GapReason, Message, Overflow, Receipt, Subscription,
    Topic, TopicSpec,
};
pub use execution::Executions;
pub use fleet::Fleet;
pub use history::{GroupStatus, Keep, Position};
pub use hooks::ErrorSource;
pub use key::{Key, MAX_NAME, MAX_NAMESPACE, Namespace};
pub use limit::{Decision, LimitFigures, Limiter, Policy};
pub use lock::{
    Acquire, Election, FencingToken, Lease, LeaseId, Lock, LockGuard, MultiLock, QuorumLocks,
    RwLock, Semaphore, WithLock,
};
pub use port::CallOptions;
pub use presence::{Member, Membership, Presence, PresenceEvent, PresenceWatch, Roster};
pub use queue::{
    Ended, Job, JobContext, JobError, JobHandle, JobId, JobOptions, OrAbort, Queue, QueueSpec,
    Worker, WorkerStatus,
};
#[cfg(feature = "redis")]
pub use quorate_link::{Flavour, ServerInfo, ServerMode, ServerRole, Version};
#[cfg(feature = "redis")]
pub use redis::{RedisCommands, Value};
pub use session::{
    CreatedSession, RevokedWhy, Rotation, Session, SessionHandle, SessionId, SessionKey,
    SessionRef, SessionWatch, Sessions,
};
pub use state::{ConnectionState, ConnectionStatus, Health, ServerSummary, StateChange};
pub use store::{Remaining, Store, StoreSpec};
/// By which a [`Worker`] is told to stop, and a handler too: tokio-util's own.
#[doc(no_inline)]
pub use tokio_util::sync::CancellationToken;
pub use told::Tell;

/// Keeps the examples in the documents true.
#[cfg(doctest)]
mod documents {
    #[doc = include_str!("../../../README.md")]
    struct Readme;
    #[doc = include_str!("../../../docs/reference.md")]
    struct Reference;
    #[doc = include_str!("../../../docs/best-practices.md")]
    struct BestPractices;
    #[doc = include_str!("../../../docs/telemetry.md")]
    struct Telemetry;
    #[doc = include_str!("../../../docs/guide/getting-started.md")]
    struct GettingStarted;
    #[doc = include_str!("../../../docs/guide/events.md")]
    struct Events;
    #[doc = include_str!("../../../docs/guide/history.md")]
    struct History;
    #[doc = include_str!("../../../docs/guide/groups.md")]
    struct Groups;
    #[doc = include_str!("../../../docs/guide/store.md")]
    struct Store;
    #[doc = include_str!("../../../docs/guide/cache.md")]
    struct Cache;
    #[doc = include_str!("../../../docs/guide/limits.md")]
    struct Limits;
    #[doc = include_str!("../../../docs/guide/locks.md")]
    struct Locks;
    #[doc = include_str!("../../../docs/guide/queue.md")]
    struct Queues;
    #[doc = include_str!("../../../docs/guide/durable.md")]
    struct DurableRuns;
    #[doc = include_str!("../../../docs/guide/migrate-queue.md")]
    struct ComingFromAnotherQueue;
    #[doc = include_str!("../../../docs/guide/sessions.md")]
    struct Sessions;
    #[doc = include_str!("../../../docs/guide/presence.md")]
    struct Presence;
    #[cfg(feature = "file")]
    #[doc = include_str!("../../../docs/guide/file.md")]
    struct File;
    #[cfg(feature = "file")]
    #[doc = include_str!("../../../docs/guide/executions.md")]
    struct Executions;
    #[doc = include_str!("../../../docs/guide/configuration.md")]
    struct Configuration;
    #[doc = include_str!("../../../docs/guide/testing.md")]
    struct Testing;
    #[doc = include_str!("../../../docs/guide/operators.md")]
    struct Operators;
}
