//! `quorate queue watch`.

use std::io::Write;
use std::process::ExitCode;

use super::{Which, close};
use crate::api::queues::EventDocument;
use crate::failure::Failure;

/// Print what happens in a queue as JSON, one event in a line, until interrupted.
///
/// Each event is printed at most once; a line with `missed` says that something was lost.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Watch {
    #[command(flatten)]
    which: Which,
    /// End after this many events.
    #[arg(long, value_name = "EVENTS")]
    count: Option<u64>,
}

impl Watch {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let (fleet, queue) = self.which.open().await?;
        let mut events = queue.events().await?;
        eprintln!("watching {}; Ctrl-C ends it", queue.name());
        let mut left = self.count;
        while left != Some(0) {
            let event = tokio::select! {
                event = events.next() => event,
                interrupted = tokio::signal::ctrl_c() => {
                    interrupted.map_err(|error| {
                        Failure::failed(format!("cannot listen to signals: {error}"))
                    })?;
                    break;
                }
            };
            let Some(event) = event else { break };
            let line = serde_json::to_string(&EventDocument::from(event));
            let line = line.expect("documents are made of what JSON has");
            let mut out = std::io::stdout().lock();
            // Whoever read our output has left: there is nobody to go on for.
            if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
                break;
            }
            left = left.map(|left| left - 1);
        }
        close(&fleet).await;
        Ok(ExitCode::SUCCESS)
    }
}
