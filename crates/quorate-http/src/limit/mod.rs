//! A tower layer that turns away who asks too often, over all instances of a service.
//!
//! Each rule has a [limiter](quorate::Limiter) and says by [what](LimitBy) requests are told apart. A request is allowed by
//! all rules, or counted by none.

mod address;
mod by;
mod fields;
mod layer;

pub use address::{NetworkError, TrustedProxies};
pub use by::LimitBy;
pub use layer::{RateLimitLayer, RateLimitService};
