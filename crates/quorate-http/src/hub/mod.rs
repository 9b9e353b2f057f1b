//! The hub: events of a fleet for the clients of this instance.

mod access;
mod credentials;
mod identity;
mod rate;
mod seam;
mod token;

pub use access::{Authenticate, Denied};
pub use credentials::Credentials;
pub use identity::{ClientInfo, Identity};
pub use token::ConnectionTokens;
