//! Requests: typed messages from clients that a handler answers.

mod context;
mod error;
mod router;
mod spec;
#[cfg(test)]
mod tests;

pub use context::{ClientEmit, Cx};
pub use error::HandlerError;
pub use router::MessageRouter;
pub use spec::MessageSpec;
