//! A cache of responses that all instances of a service share: a layer for axum and any tower service.
//!
//! Two modes: [`Declared`], where the service says for how long its responses are kept, and [`Standard`], where they
//! say so themselves, as RFC 9111 has it for a shared cache. In both, no request is ever given another's response.

mod answer;
mod ask;
mod builder;
mod codec;
mod conditional;
mod control;
mod date;
mod declared;
mod directives;
mod exchange;
mod freshness;
mod groups;
mod handle;
mod head;
mod key;
mod layer;
mod load;
mod meters;
mod mode;
mod nested;
mod operate;
mod standard;
mod status;
mod stored;
mod unsafe_methods;
mod unshared;

pub use builder::ResponseCacheBuilder;
pub use control::CacheControl;
pub use declared::Declared;
pub use handle::ResponseCache;
pub use key::ResponseKey;
pub use layer::{CacheLayer, CacheService};
pub use standard::Standard;
pub use stored::{CachedResponse, EntryMeta};
