//! Presence: who is on a roster, over every instance, exactly.
//!
//! A roster has a name, as a lock has, and members: an id and some bytes of information, put there by an
//! instance. What an instance puts there is leased to it as a whole: one renewal per roster and instance
//! every third of the lease, whatever the number of members. When an instance is gone, so are its members
//! within one lease, and the others are told.
//!
//! Every change of a roster has a number. A [`PresenceWatch`] applies the changes it hears one by one; where
//! the numbers show that one is missing it reads the roster again and says so with
//! [`PresenceEvent::Resync`].

mod announcement;
mod follower;
mod handle;
mod keeper;
mod member;
mod membership;
mod memory;
mod port;
#[cfg(feature = "redis")]
mod redis;
mod roster;
mod scan;
mod seat;
mod watch;

pub use announcement::{Announcement, Change};
pub use handle::Presence;
pub(crate) use handle::Presences;
pub use member::{InstanceId, MAX_INFO, Member, PresenceEvent, Roster, RosterVersion};
pub use membership::Membership;
pub(crate) use memory::MemoryPresence;
pub use port::{MAX_BATCH, MAX_INSTANCES, PresencePort};
#[cfg(feature = "redis")]
pub(crate) use redis::RedisPresence;
pub(crate) use roster::RosterState;
pub use roster::{Cursor, Ending, Look, OnRoster, Page, Removal, Standing};
pub use watch::PresenceWatch;
