//! Caches: values that can be loaded again, kept for a while, the same for every instance.
//!
//! A value is loaded once for the whole fleet; whoever asks meanwhile waits for it. What is invalidated is not read
//! again, also if a load that began before ends after.

mod area;
mod batch;
mod calls;
mod clear;
mod counter;
mod early;
mod entry;
mod failure;
mod figures;
mod flight;
mod handle;
mod lease;
mod load;
mod loaded;
mod loader;
mod loading;
mod memory;
mod meters;
mod near;
mod port;
mod put;
mod read;
#[cfg(feature = "redis")]
mod record;
#[cfg(feature = "redis")]
mod redis;
mod room;
mod scan;
mod seek;
mod shared;
mod slot;
mod spec;
mod table;
mod tags;
#[cfg(feature = "redis")]
mod tracking;

pub use crate::scan::{Scan, ScanCursor, ScanPage};
pub use area::{CacheArea, CacheKey, CacheLook, PARTITIONS};
pub use entry::CacheEntry;
pub use figures::{CacheFigures, CacheMinute, HotKey, ReadCounts};
pub use handle::Cache;
pub use load::GetOrLoad;
pub use loaded::Loaded;
pub use loader::LoadingCache;
pub(crate) use memory::MemoryCaches;
pub use port::{CachePort, Changes, Sought, Tracked};
pub use put::{PutEntries, PutEntry};
pub use read::{Read, ReadKind, StaleReason};
#[cfg(feature = "redis")]
pub(crate) use redis::RedisCaches;
pub(crate) use shared::{Caches, figures, invalidate_tags};
pub use slot::{FailedLoad, Fence, LoadId, NotAdded, Put, Stored, Take, Taken, Wish};
pub use spec::{CacheSpec, Oversized};
pub(crate) use table::CacheTable;
