//! Events: what services emit and clients subscribe to, by name and parameters.

mod declaration;
mod emit;
mod params;
mod registry;
mod source;
mod spec;

pub use declaration::{EventDeclaration, HubEvent};
pub use emit::Emit;
pub(crate) use params::read_data;
pub(crate) use registry::{EventRoom, Events};
pub use spec::EventSpec;
