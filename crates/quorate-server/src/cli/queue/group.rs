//! `quorate queue group`.

use std::process::ExitCode;
use std::time::Duration;

use quorate::JobId;

use super::{Which, close, job_id};
use crate::api::queues::{GroupDocument, wait_for};
use crate::cli::value::print_json;
use crate::failure::Failure;

/// It is not over yet. Like `EX_TEMPFAIL` of sysexits.h: try again later.
const NOT_OVER: u8 = 75;

/// Print a job group as JSON: how its jobs ended, and its value. A job that has left nothing is a group of one.
///
/// Exit codes: 0; 4 if there is no such group, or it is not kept any longer; 75 if it is not over after --wait.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Group {
    #[command(flatten)]
    which: Which,
    /// Its first job.
    #[arg(value_parser = job_id)]
    id: JobId,
    /// How long to wait until it is over; without it, not at all.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    wait: Option<Duration>,
}

impl Group {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let (fleet, queue) = self.which.open().await?;
        let view = wait_for(&queue.group(self.id), self.wait.unwrap_or_default()).await?;
        let view = view.ok_or_else(|| {
            let message = format!("there is no group {}, or not any more", self.id);
            Failure::with_code(Failure::NOT_THERE, message)
        })?;
        print_json(&GroupDocument::new(self.id, &view)?)?;
        close(&fleet).await;
        Ok(if self.wait.is_some() && !view.is_over() {
            ExitCode::from(NOT_OVER)
        } else {
            ExitCode::SUCCESS
        })
    }
}
