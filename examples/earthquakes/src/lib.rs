//! A week of earthquakes, published on one instance and watched on another.
//!
//! [`replay()`] publishes the week to the topic [`EARTHQUAKES`], [`serve`] shows what arrives there as a
//! page. The two share a home (in this process, or a Redis or Valkey server) and nothing else.

mod page;
mod quake;
mod replay;

pub use page::serve;
pub use quake::{EARTHQUAKES, Quake, Report, week};
pub use replay::{Replayed, Speed, replay};
