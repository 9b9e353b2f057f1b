//! Shared plumbing of the in-process home.

mod expiry;
mod home;
mod table;

pub(crate) use expiry::ExpiryIndex;
pub(crate) use home::EmbeddedHome;
pub(crate) use table::{State, Table};
