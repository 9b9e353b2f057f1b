//! `quorate subscribe`.

use std::io::Write;
use std::process::ExitCode;

use quorate_http::{Selector, event_line};

use super::backend::BackendArgs;
use crate::failure::Failure;

/// Print events as JSON, one line each, gaps too, until interrupted.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A topic (`orders`, `orders:42`) or a glob (`orders:*`).
    #[arg(value_name = "TOPIC|PATTERN")]
    topic: String,
    /// End after this many messages.
    #[arg(long, value_name = "MESSAGES")]
    count: Option<u64>,
    #[command(flatten)]
    backend: BackendArgs,
}

pub(super) async fn run(args: Args) -> Result<ExitCode, Failure> {
    let selector = Selector::parse(&args.topic)?;
    let fleet = args.backend.connect().await?;
    let mut subscription = selector.subscribe(&fleet)?.await?;
    let name = selector.to_string();
    eprintln!("subscribed to {name}; Ctrl-C ends it");
    let mut left = args.count;
    while left != Some(0) {
        let event = tokio::select! {
            event = subscription.next() => event,
            interrupted = tokio::signal::ctrl_c() => {
                interrupted.map_err(|error| {
                    Failure::failed(format!("cannot listen to signals: {error}"))
                })?;
                break;
            }
        };
        let Some(event) = event else { break };
        if let Some(line) = event_line(&name, &event) {
            let mut out = std::io::stdout().lock();
            // Whoever read our output has left: there is nobody to go on for.
            if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
                break;
            }
        }
        if event.message().is_some() {
            left = left.map(|left| left - 1);
        }
    }
    fleet.close().await;
    Ok(ExitCode::SUCCESS)
}
