//! What `futures` and `tokio-stream` lack for working on streams of events.
//!
//! Everything else a stream needs (filter, map, batch, merge …) is in those crates;
//! `docs/guide/operators.md` says which adapter does what.

mod dedupe;
mod ext;
mod group_by;
mod groups;
mod windows;

pub use dedupe::Dedupe;
pub use ext::EventStreamExt;
pub use group_by::{DEFAULT_GROUP_BUFFER, DEFAULT_GROUPS, GroupBy, Grouped};
pub use groups::{Group, GroupEnd};
pub use windows::Windows;
