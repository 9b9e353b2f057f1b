//! `quorate queue`.

mod change;
mod check;
mod group;
mod look;
mod push;
mod schedules;
mod watch;
mod work;

use std::process::ExitCode;
use std::time::Duration;

use quorate::{Fleet, JobId};

use super::backend::BackendArgs;
use crate::api::queues::{RawQueue, open};
use crate::failure::Failure;

/// The largest input and result, in bytes: more would have to be in memory as a whole.
const MOST_BYTES: usize = 16 * 1024 * 1024;
/// What is changed, or read, with one call.
const AT_ONCE: usize = 1_000;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    Push(Box<push::Push>),
    List(look::List),
    Show(look::Show),
    Stats(look::Stats),
    Group(group::Group),
    Schedules(schedules::Schedules),
    Unschedule(schedules::Unschedule),
    Watch(watch::Watch),
    Cancel(change::Cancel),
    Redrive(change::Redrive),
    Edit(change::Edit),
    Remove(change::Remove),
    Purge(change::Purge),
    Pause(change::Pause),
    Resume(change::Resume),
    Fsck(check::Fsck),
    Work(work::Work),
}

pub(super) async fn run(command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Push(args) => args.run().await,
        Command::List(args) => args.run().await,
        Command::Show(args) => args.run().await,
        Command::Stats(args) => args.run().await,
        Command::Group(args) => args.run().await,
        Command::Schedules(args) => args.run().await,
        Command::Unschedule(args) => args.run().await,
        Command::Watch(args) => args.run().await,
        Command::Cancel(args) => args.run().await,
        Command::Redrive(args) => args.run().await,
        Command::Edit(args) => args.run().await,
        Command::Remove(args) => args.run().await,
        Command::Purge(args) => args.run().await,
        Command::Pause(args) => args.run().await,
        Command::Resume(args) => args.run().await,
        Command::Fsck(args) => args.run().await,
        Command::Work(args) => args.run().await,
    }
}

/// Which queue.
#[derive(Debug, clap::Args)]
struct Which {
    /// The queue.
    queue: String,
    #[command(flatten)]
    backend: BackendArgs,
}

impl Which {
    async fn open(self) -> Result<(Fleet, RawQueue), Failure> {
        let fleet = self.backend.connect().await?;
        let queue = open(&fleet, &self.queue, MOST_BYTES)?;
        Ok((fleet, queue))
    }
}

/// A job's id, as it is printed.
fn job_id(text: &str) -> Result<JobId, String> {
    JobId::parse(text).ok_or_else(|| "must be 32 hexadecimal digits, small ones".to_owned())
}

fn no_job(id: JobId) -> Failure {
    let message = format!("there is no job {id}, or not any more");
    Failure::with_code(Failure::NOT_THERE, message)
}

/// Gives back what is held. A backend that is gone must not hold up the command's result.
async fn close(fleet: &Fleet) {
    fleet.close_within(Duration::from_secs(2)).await;
}
