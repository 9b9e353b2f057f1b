//! `cache`: reading and keeping entries, in the process and on the server; what an invalidation costs; a cold key.

mod reads;
mod storm;
mod tags;

use anyhow::Result;

pub(crate) use self::storm::ask;
use crate::context::Context;
use crate::report::Figure;

/// Measures.
///
/// # Errors
/// If anybody fails.
pub(crate) fn run(context: &Context) -> Result<Vec<Figure>> {
    let mut figures = reads::run(context)?;
    figures.extend(tags::run(context)?);
    figures.extend(storm::run(context)?);
    Ok(figures)
}
