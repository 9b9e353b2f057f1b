//! `quorate history`.

use std::io::Write;
use std::process::ExitCode;

use quorate::{Codec, Event, Position};
use quorate_http::{TopicPath, event_line};

use super::backend::BackendArgs;
use crate::failure::Failure;

/// Print what a kept topic keeps as JSON, one line for each message, oldest first.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// `name`, or `name:key`.
    topic: String,
    /// Only what follows this position. If that is no longer kept, a gap is all there is.
    #[arg(long, value_name = "POSITION", conflicts_with = "latest")]
    after: Option<Position>,
    /// Only the last so many messages, at most 1000.
    #[arg(long, value_name = "MESSAGES", value_parser = clap::value_parser!(u32).range(1..=1000))]
    latest: Option<u32>,
    #[command(flatten)]
    backend: BackendArgs,
}

pub(super) async fn run(args: Args) -> Result<ExitCode, Failure> {
    let path = TopicPath::parse(&args.topic)?;
    let fleet = args.backend.connect().await?;
    let topic = path.topic(&fleet, Codec::bytes())?;
    let name = path.to_string();
    let mut read = match (args.latest, args.after) {
        (Some(count), _) => topic.history().latest(count),
        (None, Some(position)) => topic.history().after(position),
        (None, None) => topic.history(),
    };
    loop {
        let page = read.await?;
        let gap = page.gap.map(Event::Gap);
        let mut out = std::io::stdout().lock();
        let mut lines = page.events.iter().chain(&gap);
        let written = lines.try_for_each(|event| match event_line(&name, event) {
            Some(line) => writeln!(out, "{line}"),
            None => Ok(()),
        });
        // Whoever read our output has left: there is nobody to go on for.
        if written.and_then(|()| out.flush()).is_err() || page.complete {
            break;
        }
        drop(out);
        read = topic.history().after(page.position);
    }
    fleet.close().await;
    Ok(ExitCode::SUCCESS)
}
