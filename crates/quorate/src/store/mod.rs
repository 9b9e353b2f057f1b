//! Stores: values by key, and the atoms of coordination: compare-and-set, set-if-absent, counters.
//!
//! Every write is one transition at one moment of the home. Where a reply may be lost and a second attempt would
//! matter, an idempotency key makes the write happen once and repeats its first answer.

mod area;
mod entry;
mod fence;
mod handle;
mod memory;
mod port;
#[cfg(feature = "redis")]
mod redis;
mod remembered;
mod scan;
mod spec;
mod write;

pub use crate::scan::{Scan, ScanCursor, ScanPage};
pub use area::{Area, StoreKey};
pub use entry::{Entry, Expiry, Once, Remaining, When, Write, Written};
pub use handle::Store;
pub(crate) use handle::Stores;
pub(crate) use memory::MemoryStores;
pub use port::{StorePort, WriteOptions};
#[cfg(feature = "redis")]
pub(crate) use redis::RedisStores;
pub use spec::StoreSpec;
pub use write::{
    ConditionalWrite, DurableWrite, Fenced, FencedWrite, Increment, RemoveEntry, SetEntry, SetMany,
};
