//! `quorate queue cancel`, `redrive`, `edit`, `remove`, `purge`, `pause` and `resume`.

use std::process::ExitCode;

use quorate::JobId;
use quorate::queue::Removed;
use serde_json::json;

use super::{AT_ONCE, Which, close, job_id, no_job};
use crate::api::queues::{Place, RawInput, state_word};
use crate::cli::value::{self, print_json};
use crate::failure::Failure;

/// Cancel jobs: who waits ends at once, and who has one is asked to stop. Prints where each is then.
///
/// Exit codes: 0; 4 if one of them is not there, or not any more.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Cancel {
    #[command(flatten)]
    which: Which,
    /// The jobs.
    #[arg(required = true, value_parser = job_id)]
    ids: Vec<JobId>,
}

/// Make dead jobs ready again, with all their attempts. Prints how many.
///
/// Exit codes: 0; 4 if one of those that were named is not dead.
#[derive(Debug, clap::Args)]
#[group(id = "dead", required = true, multiple = false, args = ["ids", "most", "all"])]
pub(in crate::cli) struct Redrive {
    #[command(flatten)]
    which: Which,
    /// The jobs.
    #[arg(value_parser = job_id)]
    ids: Vec<JobId>,
    /// Those that died first, so many at most.
    #[arg(long, value_name = "N")]
    most: Option<usize>,
    /// All that are dead.
    #[arg(long)]
    all: bool,
}

/// Give a job another input that waits or is dead: the JSON given, or standard input.
///
/// Exit codes: 0; 4 if there is no such job that waits or is dead.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Edit {
    #[command(flatten)]
    which: Which,
    /// The job.
    #[arg(value_parser = job_id)]
    id: JobId,
    /// What its handler gets, as JSON. Without it, standard input is that.
    input: Option<String>,
}

/// Take jobs away that nobody has, with all that is known of them. Prints how many.
///
/// Exit codes: 0; 4 if one of them is not there, or somebody has it.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Remove {
    #[command(flatten)]
    which: Which,
    /// The jobs.
    #[arg(required = true, value_parser = job_id)]
    ids: Vec<JobId>,
}

/// Take away the first jobs of a place, with all that is known of them. Prints how many.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Purge {
    #[command(flatten)]
    which: Which,
    /// Which jobs; any but `active`.
    #[arg(value_enum)]
    place: Place,
    /// So many at most. Default: all of them.
    #[arg(long, value_name = "N")]
    most: Option<usize>,
}

/// Deliver nothing more, anywhere, until the queue is resumed.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Pause {
    #[command(flatten)]
    which: Which,
}

/// Deliver again.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Resume {
    #[command(flatten)]
    which: Which,
}

/// Whether everything that was named could be changed.
fn code(complete: bool) -> ExitCode {
    if complete {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(Failure::NOT_THERE)
    }
}

impl Cancel {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let (fleet, queue) = self.which.open().await?;
        let mut complete = true;
        for id in self.ids {
            let state = queue.job(id).cancel().await?;
            complete &= state.is_some();
            let state = state.as_ref().map(state_word);
            print_json(&json!({ "id": id.to_string(), "state": state }))?;
        }
        close(&fleet).await;
        Ok(code(complete))
    }
}

impl Redrive {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let (fleet, queue) = self.which.open().await?;
        let mut redriven = 0;
        for ids in self.ids.chunks(AT_ONCE) {
            let done = queue.redrive(ids).await?;
            redriven += done.iter().filter(|done| **done).count();
        }
        let complete = redriven == self.ids.len();
        let mut left = match (self.most, self.all) {
            (Some(most), _) => most,
            // Those that are dead now; they may die again meanwhile.
            (None, true) => usize::try_from(queue.stats().await?.dead).unwrap_or(usize::MAX),
            (None, false) => 0,
        };
        while left > 0 {
            let done = queue.redrive_dead(left.min(AT_ONCE)).await?;
            redriven += done;
            left -= left.min(AT_ONCE);
            if done == 0 {
                break;
            }
        }
        print_json(&json!({ "redriven": redriven }))?;
        close(&fleet).await;
        Ok(code(complete))
    }
}

impl Edit {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let input = value::read(self.input)?;
        let (fleet, queue) = self.which.open().await?;
        let edited = queue.edit(self.id, &RawInput::from(input)).await?;
        close(&fleet).await;
        if !edited {
            return Err(no_job(self.id));
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Remove {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let (fleet, queue) = self.which.open().await?;
        let mut removed = 0;
        for ids in self.ids.chunks(AT_ONCE) {
            let done = queue.remove(ids).await?;
            removed += done.iter().filter(|it| **it == Removed::Gone).count();
        }
        print_json(&json!({ "removed": removed }))?;
        close(&fleet).await;
        Ok(code(removed == self.ids.len()))
    }
}

impl Purge {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let (fleet, queue) = self.which.open().await?;
        let (mut removed, mut left) = (0, self.most.unwrap_or(usize::MAX));
        while left > 0 {
            let most = left.min(AT_ONCE);
            let done = queue.purge(self.place.into(), most).await?;
            (removed, left) = (removed + done, left - most);
            if done == 0 {
                break;
            }
        }
        print_json(&json!({ "removed": removed }))?;
        close(&fleet).await;
        Ok(ExitCode::SUCCESS)
    }
}

impl Pause {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let (fleet, queue) = self.which.open().await?;
        queue.pause().await?;
        close(&fleet).await;
        Ok(ExitCode::SUCCESS)
    }
}

impl Resume {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let (fleet, queue) = self.which.open().await?;
        queue.resume().await?;
        close(&fleet).await;
        Ok(ExitCode::SUCCESS)
    }
}
