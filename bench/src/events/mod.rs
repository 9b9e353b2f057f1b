//! `events`: publishing, handing out, and what a subscription weighs.

mod fan_out;
mod kept;
mod memory;
mod publish;
mod sse;

use anyhow::{Result, ensure};
use quorate::TopicSpec;

pub(crate) use self::memory::{Weighed, weigh};
use crate::context::Context;
use crate::report::Figure;

/// What is published everywhere here.
const TOPIC: TopicSpec<String> = TopicSpec::new("bench");

/// Bytes of what is published.
const PAYLOAD_LENGTH: usize = 100;

fn payload() -> String {
    "x".repeat(PAYLOAD_LENGTH)
}

/// A delivery of something else would make anybody look fast.
fn check(message: &str) -> Result<()> {
    let length = message.len();
    ensure!(length == PAYLOAD_LENGTH, "{length} bytes were delivered");
    Ok(())
}

/// Measures.
///
/// # Errors
/// If anybody fails.
pub(crate) fn run(context: &Context) -> Result<Vec<Figure>> {
    let mut figures = publish::run(context)?;
    figures.extend(fan_out::run(context)?);
    figures.extend(kept::run(context)?);
    figures.extend(sse::run(context)?);
    figures.extend(memory::run(context)?);
    Ok(figures)
}
