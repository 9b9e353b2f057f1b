//! One connection: commands in, replies out, in order.

mod driver;
mod encode;
mod handshake;
mod permit;
mod queue;
mod slot;
mod transport;

pub(crate) use driver::{Driver, DriverConfig, Observer};
pub use encode::Batch;
pub(crate) use encode::encoded_len;
pub(crate) use handshake::{Greeting, Session, is_auth, refused};
pub use permit::Permit;
pub(crate) use queue::Queue;
pub use slot::Reply;
pub(crate) use transport::Transport;
