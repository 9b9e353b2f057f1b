//! `quorate queue schedules` and `unschedule`.

use std::process::ExitCode;

use super::{Which, close};
use crate::api::queues::ScheduleDocument;
use crate::cli::value::print_json;
use crate::failure::Failure;

/// Print the schedules of a queue as JSON, one in a line: how far each has come.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Schedules {
    #[command(flatten)]
    which: Which,
}

/// Forget a schedule that nobody runs any more. One that does run begins anew, and makes up for nothing.
///
/// Exit codes: 0; 4 if there is no such schedule.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Unschedule {
    #[command(flatten)]
    which: Which,
    /// Its name.
    schedule: String,
}

impl Schedules {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let (fleet, queue) = self.which.open().await?;
        for schedule in queue.schedules().await? {
            print_json(&ScheduleDocument::from(schedule))?;
        }
        close(&fleet).await;
        Ok(ExitCode::SUCCESS)
    }
}

impl Unschedule {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let (fleet, queue) = self.which.open().await?;
        let forgotten = queue.unschedule(&self.schedule).await?;
        close(&fleet).await;
        if !forgotten {
            let message = format!("there is no schedule `{}`", self.schedule);
            return Err(Failure::with_code(Failure::NOT_THERE, message));
        }
        Ok(ExitCode::SUCCESS)
    }
}
