//! Limits: how often something may be done, over the whole fleet.
//!
//! A request is decided by the home at one moment, with all policies of its limiter: it is counted with each of them, or
//! refused and counted with none. Between two that come at once, one is first: a limit of 100 means 100.

mod concurrency;
mod decision;
mod down;
mod figures;
mod handle;
mod local;
mod memory;
mod meters;
mod permit;
mod policy;
mod policy_text;
mod port;
#[cfg(feature = "redis")]
mod redis;
mod request;
mod reserve;
mod setup;
mod slots;
mod tally;
#[cfg(feature = "redis")]
mod template;
mod usage;

pub use concurrency::{Admission, ConcurrencyLimit, Enter};
pub use decision::{Basis, Decision, PolicyUsage, Receipt, Usage};
pub use down::WhenDown;
pub use figures::{DecisionCounts, HotLimitKey, LimitFigures, LimitKind, LimitMinute};
pub use handle::Limiter;
pub(crate) use handle::Limiters;
pub use local::overshoot;
pub(crate) use memory::MemoryLimits;
pub(crate) use meters::figures;
pub use permit::Permit;
pub use policy::{Algorithm, MAX_LIMIT, MAX_LOGGED, MAX_POLICIES, Policy, Rate};
pub use port::{LimitKey, LimitPort};
#[cfg(feature = "redis")]
pub(crate) use redis::RedisLimits;
pub use request::{Deciding, LimitRequest};
pub use reserve::{Reserved, reserve};
pub use setup::Policies;
pub use slots::Entered;
pub(crate) use slots::Slots;
pub(crate) use usage::Tallies;
pub use usage::{Charge, Standing, Verdict};
