//! The file of an in-process home: rows of its tables in redb, written in rounds.
//!
//! `lock.rs` opens the file and keeps others out, `rows.rs` is what stands in it, `writer.rs` writes what
//! changed and lets those know who wait for it, `seat.rs` counts the instances, so that the last one closes it.

mod lock;
#[cfg(test)]
mod remembering;
mod rows;
mod seat;
#[cfg(test)]
mod tests;
mod writer;

pub(crate) use seat::Seat;
pub(crate) use writer::{HomeFile, Opening};
