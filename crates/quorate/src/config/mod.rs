//! Options of a fleet: one struct, filled from a URL, the builder, a file, or the environment.
//!
//! Every option has one name, the field of [`FleetConfig`], which is also its name in a URL's query
//! string. The URL wins for what it names, then the builder, then the environment.

mod environment;
mod fleet_config;
mod secret;
mod settings;
mod target;
mod values;

pub use fleet_config::{FleetConfig, Protocol, WhenUnavailable};
pub use secret::Secret;
pub(crate) use settings::Settings;
#[cfg(feature = "redis")]
pub(crate) use target::ServerTarget;
pub(crate) use target::Target;
