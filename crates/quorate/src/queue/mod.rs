//! Queues: jobs that survive the instance that took them.
//!
//! Under way: so far there is what a backend does ([`QueuePort`]), on every home.

mod ask;
mod fairness;
mod job;
mod memory;
mod news;
mod port;
#[cfg(feature = "redis")]
mod redis;
mod state;

pub use ask::{
    Ask, MAX_ERROR, MAX_GROUP, MAX_QUEUE, MAX_TIME, MOST_AT_ONCE, Renewed, Turn, WorkerId,
};
pub use fairness::MOST_PRIORITY;
pub use job::{
    Delivered, JobEnd, JobId, JobState, LeaseNumber, MemberOf, NewJob, Settled, Settlement,
};
pub(crate) use memory::{MemoryQueues, QueueTable};
pub use news::News;
pub use port::QueuePort;
#[cfg(feature = "redis")]
pub(crate) use redis::RedisQueues;
pub use state::{AWAITED, KEEP_DEAD, PARKED};
