//! What topics that keep their messages are made of: positions, and the backend behind them.
//!
//! A topic with [`TopicSpec::keep`](crate::TopicSpec::keep) appends each message to a history and
//! announces it in one step. Subscriptions of it refill what they missed from there; see
//! [`events`](crate::events). Consumer groups share its work.

mod group;
mod log;
mod memory;
mod port;
mod position;
#[cfg(feature = "redis")]
mod redis;

pub(crate) use group::MemoryGroups;
#[cfg(feature = "redis")]
pub(crate) use group::RedisGroups;
pub use group::{
    Content, GroupPort, GroupStatus, Handed, MAX_SETTLEMENTS, Settle, Settlement, Take, TakeId,
    TakeReply, Taken,
};
pub(crate) use log::Log;
pub use log::{From, Keep, PageLimit, Replay};
pub(crate) use memory::MemoryHistory;
pub use port::{Append, Appended, HistoryPort};
pub use position::Position;
#[cfg(feature = "redis")]
pub(crate) use redis::RedisHistory;
