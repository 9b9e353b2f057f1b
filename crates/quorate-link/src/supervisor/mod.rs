//! Keeps the connections of one link alive, and says what state they are in.

mod health;
mod link;
mod options;
mod stats;
mod status;

pub use health::{Health, HealthServer};
pub use link::{Link, Permit, Reply};
pub use options::{CallOptions, Lane};
pub use stats::{LaneStats, LinkStats};
pub use status::{LinkState, StateChange, Status};
