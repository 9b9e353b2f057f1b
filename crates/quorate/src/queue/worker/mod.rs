//! Workers: what takes jobs, runs their handlers, and says what became of them.
//!
//! Three parts stand behind a worker: the taker asks for jobs and settles those that are over, many in one call; the heart lets the
//! leases of those that run last longer, and learns of what is lost; and each job runs in a task of its own. What they share is
//! the desk.

mod batch;
mod desk;
mod execute;
mod hand;
mod heart;
mod meters;
mod setup;
mod shop;
mod status;
mod taker;
mod teller;

pub use setup::{Each, Together, Worker};
pub(crate) use shop::told;
pub use status::WorkerStatus;
pub(super) use taker::check_lease;
