//! Consumer groups: services whose instances share the work of a kept topic.

mod memory;
mod port;
#[cfg(feature = "redis")]
mod redis;
mod request;
mod state;

pub(crate) use memory::MemoryGroups;
pub use port::GroupPort;
#[cfg(feature = "redis")]
pub(crate) use redis::RedisGroups;
pub use request::{
    Content, GroupStatus, Handed, MAX_SETTLEMENTS, Settle, Settlement, Take, TakeId, TakeReply,
    Taken,
};
pub(in crate::history) use state::Group;
