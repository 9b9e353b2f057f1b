//! Decoded values in the process: who reads one of them again asks nobody.
//!
//! A value is kept with what was known of its key when it was asked for, and given only while nothing newer is known:
//! the backend says what changes, and has to be heard of from time to time.

mod keeper;
mod reading;
mod values;
mod versions;

pub(super) use keeper::start;
pub(super) use values::{NearSpec, NearValues, Opened, open};
pub(super) use versions::Versions;
