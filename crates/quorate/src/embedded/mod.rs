//! Shared plumbing of the in-process home.

mod expiry;
mod home;

pub(crate) use expiry::ExpiryIndex;
pub(crate) use home::EmbeddedHome;
