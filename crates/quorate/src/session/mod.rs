//! Sessions: who somebody is, on every instance, until they log out or stay away.
//!
//! A session is proved by a secret id, of which only a hash is kept, and named by a public handle. All of one
//! user's sessions are one unit: each call is one transition at one moment of the home, so that a session that
//! was removed cannot come back, and two who change different fields lose none.

mod changes;
mod create;
mod field;
mod handle;
mod id;
mod memory;
mod partition;
mod port;
mod record;
#[cfg(feature = "redis")]
mod redis;
mod rotate;
mod snapshot;
mod touch;
mod update;
mod watch;

pub use changes::SessionChanges;
pub use create::{CreateSession, CreatedSession};
pub use field::SessionKey;
pub use handle::Sessions;
pub(crate) use handle::SharedSessions;
pub use id::{IdDigest, Serial, SessionHandle, SessionId, SessionRef};
pub(crate) use memory::MemorySessions;
pub(crate) use partition::Partition;
pub use partition::{Change, Claim, Creation, Deleted, MAX_SESSIONS, NewSession, Rotated, Updated};
pub use port::{Found, RevokedWhy, SessionPort};
pub use record::{Field, MAX_BYTES, MAX_FIELDS, Record};
#[cfg(feature = "redis")]
pub(crate) use redis::RedisSessions;
pub use rotate::{RotateSession, Rotation};
pub use snapshot::Session;
pub use touch::TouchSession;
pub use update::UpdateSession;
pub use watch::SessionWatch;
