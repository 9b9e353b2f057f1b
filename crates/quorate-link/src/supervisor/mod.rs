//! Keeps the connections of one link alive, and says what state they are in.

mod board;
mod health;
mod lane;
mod link;
mod options;
mod push_lane;
mod shared;
mod stats;
mod status;
mod subscriptions;

pub use health::{Health, HealthServer};
pub use link::Link;
pub use options::{CallOptions, Lane};
pub use stats::{LaneStats, LinkStats};
pub use status::{LinkState, StateChange, Status};
