//! `quorate queue fsck`.

use std::process::ExitCode;

use serde_json::json;

use super::{Which, close};
use crate::api::queues::StrayDocument;
use crate::cli::value::print_json;
use crate::failure::Failure;

/// There is something that does not belong together.
const FOUND: u8 = 3;

/// Look for what does not belong together in a queue, while it goes on. Prints each as JSON, and how much was looked at.
///
/// Exit codes: 0 nothing was found, or all of it was put right; 3 something was found.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Fsck {
    #[command(flatten)]
    which: Which,
    /// Put right what is found.
    #[arg(long)]
    repair: bool,
}

impl Fsck {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let (fleet, queue) = self.which.open().await?;
        let mut fsck = queue.fsck();
        if self.repair {
            fsck = fsck.repair();
        }
        let (mut checked, mut found) = (0, 0);
        while let Some(page) = fsck.next_page().await? {
            checked += page.checked;
            found += page.strays.len();
            for stray in &page.strays {
                print_json(&StrayDocument::from(stray))?;
            }
        }
        print_json(&json!({ "checked": checked, "found": found, "repaired": self.repair }))?;
        close(&fleet).await;
        Ok(match (found, self.repair) {
            (0, _) | (_, true) => ExitCode::SUCCESS,
            _ => ExitCode::from(FOUND),
        })
    }
}
