//! `hub`: what WebSocket clients weigh, and how fast they get their messages, also after they were away.

mod broadcast;
mod crowd;
mod drain;
mod latency;
mod memory;
mod probe;
mod resume;
mod stage;

use anyhow::Result;

pub(crate) use self::crowd::attend;
pub(crate) use self::memory::{WeighedClient, weigh};
use crate::context::Context;
use crate::report::Figure;

/// Measures.
///
/// # Errors
/// If anybody fails.
pub(crate) fn run(context: &Context) -> Result<Vec<Figure>> {
    crate::machine::allow_many_files()?;
    let mut figures = broadcast::run(context)?;
    figures.extend(latency::run(context)?);
    figures.extend(drain::run(context)?);
    figures.extend(resume::run(context)?);
    figures.extend(memory::run(context)?);
    Ok(figures)
}
