//! `quorate queue list`, `show` and `stats`.

use std::process::ExitCode;

use futures_util::TryStreamExt;
use quorate::{Fleet, JobId};

use super::{AT_ONCE, Which, close, job_id, no_job};
use crate::api::queues::{JobDocument, Place, QueueDocument, open};
use crate::cli::backend::BackendArgs;
use crate::cli::value::print_json;
use crate::failure::Failure;

/// Print the jobs of a place of a queue as JSON, one in a line; without a queue, all queues in numbers.
///
/// Without a queue this looks at every key of the server's database.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct List {
    /// The queue.
    queue: Option<String>,
    /// Which of its jobs.
    #[arg(long, value_enum, default_value = "ready", requires = "queue")]
    place: Place,
    /// How many at most.
    #[arg(long, value_name = "N", requires = "queue")]
    most: Option<usize>,
    /// What the names of the queues begin with.
    #[arg(long, default_value = "", conflicts_with = "queue")]
    prefix: String,
    #[command(flatten)]
    backend: BackendArgs,
}

/// Print a job with all that is known of it, as JSON.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Show {
    #[command(flatten)]
    which: Which,
    /// The job.
    #[arg(value_parser = job_id)]
    id: JobId,
}

/// Print a queue in numbers, as JSON.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Stats {
    #[command(flatten)]
    which: Which,
}

impl List {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let fleet = self.backend.connect().await?;
        match &self.queue {
            Some(queue) => {
                let most = self.most.unwrap_or(usize::MAX);
                jobs(&fleet, queue, self.place, most).await?;
            }
            None => queues(&fleet, &self.prefix).await?,
        }
        close(&fleet).await;
        Ok(ExitCode::SUCCESS)
    }
}

async fn jobs(fleet: &Fleet, queue: &str, place: Place, most: usize) -> Result<(), Failure> {
    let queue = open(fleet, queue, super::MOST_BYTES)?;
    let mut left = most;
    let mut jobs = queue.list(place.into()).limit(most.clamp(1, AT_ONCE));
    while left > 0
        && let Some(job) = jobs.try_next().await?
    {
        print_json(&JobDocument::from(&job))?;
        left -= 1;
    }
    Ok(())
}

async fn queues(fleet: &Fleet, prefix: &str) -> Result<(), Failure> {
    let all = fleet.queues();
    let mut names = all.scan(prefix);
    while let Some(name) = names.try_next().await? {
        let stats = all.of(&name)?.stats().await?;
        print_json(&QueueDocument::new(name, &stats))?;
    }
    Ok(())
}

impl Show {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let (fleet, queue) = self.which.open().await?;
        let job = queue.inspect(self.id).await?;
        let job = job.ok_or_else(|| no_job(self.id))?;
        print_json(&JobDocument::from(&job))?;
        close(&fleet).await;
        Ok(ExitCode::SUCCESS)
    }
}

impl Stats {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let (fleet, queue) = self.which.open().await?;
        let stats = queue.stats().await?;
        print_json(&QueueDocument::new(queue.name().to_owned(), &stats))?;
        close(&fleet).await;
        Ok(ExitCode::SUCCESS)
    }
}
