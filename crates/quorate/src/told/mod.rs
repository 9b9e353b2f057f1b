//! What instances tell each other of what they use, for people to look at: how often it is asked for, minute by minute,
//! and by which keys. Each is on a roster with one member for each cache, or limiter, and what it counted as its info.

mod announcer;
mod figures;
mod hot;
mod known;
mod sketch;

pub(crate) use announcer::{Telling, sums};
pub use figures::Tell;
pub(crate) use figures::{Counts, HotCount, Minute, Sum};
pub(crate) use hot::Hot;
#[cfg(test)]
pub(crate) use known::MOST_KNOWN;
pub(crate) use known::{Known, OTHERS, Subject};
