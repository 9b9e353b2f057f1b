//! The layer that runs a request once.

mod answers;
mod faults;
mod running;
mod site;
mod users;
