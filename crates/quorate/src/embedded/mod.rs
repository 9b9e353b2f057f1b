//! Shared plumbing of the in-process home: tables and their expiry, and the file that some of them are kept in.

mod disk;
mod expiry;
#[cfg(feature = "file")]
mod file;
mod home;
mod journal;
#[cfg(feature = "file")]
mod kept;
mod states;
mod table;

pub(crate) use disk::Disk;
pub(crate) use home::EmbeddedHome;
pub(crate) use journal::Ticket;
#[cfg(feature = "file")]
pub(crate) use kept::{Kept, RowKey, decode, encode};
pub(crate) use table::{State, Table};
