//! `quorate queue work`.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use quorate::queue::{QueueLimits, StartRate};
use quorate::{CancellationToken, Job, JobError};

use self::command::{Broken, Runs};
use super::{Which, close};
use crate::api::queues::RawInput;
use crate::cli::program::Signals;
use crate::failure::Failure;

mod command;

/// What a command may take to end, and a little more to be noticed.
const GRACE: Duration = Duration::from_secs(6);

/// Do what is queued with a command: it runs once for each job, with the job's input on its standard input.
///
/// What it prints becomes the job's result: JSON as it is, other text as a JSON string, nothing as null. It ends with 0 when the job is done; with 65
/// (EX_DATAERR) when it never will be, so that the job is dead at once; with 75 (EX_TEMPFAIL) when it is too early, so that it
/// comes again after --defer, and that was no attempt; with anything else to be tried again. Its last line on standard error is then the
/// reason. It finds QUORATE_QUEUE, QUORATE_JOB_ID, QUORATE_ATTEMPT, QUORATE_MAX_ATTEMPTS and QUORATE_LEASE (a number that grows with
/// every delivery) in its environment. It is told to end (SIGTERM), and killed 5 s later with what it started, when the job was
/// cancelled, its lease lost, its time is up, or this worker stops and has waited for --drain.
///
/// SIGTERM and Ctrl-C stop the worker: what runs may end. Exit codes: 0 it was told to stop; 127 the command cannot be run.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Work {
    #[command(flatten)]
    which: Which,
    /// How many jobs at a time.
    #[arg(long, value_name = "N", default_value_t = 1)]
    concurrency: usize,
    /// How many of the queue's jobs are active at most, over all who work on it. All of them ought to say the same, here and below.
    #[arg(long, value_name = "N")]
    max_active: Option<u32>,
    /// How many jobs of each fairness group are active at most.
    #[arg(long, value_name = "N")]
    max_active_per_group: Option<u32>,
    /// How often a job is begun: 600/60s, or 600/60s+20 where no more than 20 may begin at once.
    #[arg(long, value_name = "RATE")]
    max_starts: Option<StartRate>,
    /// How often a job of each fairness group is begun.
    #[arg(long, value_name = "RATE")]
    max_starts_per_group: Option<StartRate>,
    /// After how long without a sign of life of this worker its jobs are given to others.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
    lease: Duration,
    /// How long what is running may go on when the worker is told to stop.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
    drain: Duration,
    /// When a job comes again for which it was too early.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
    defer: Duration,
    /// The command and its arguments, after `--`.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

impl Work {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let mut signals = Signals::new()?;
        let (fleet, queue) = self.which.open().await?;
        let stop = CancellationToken::new();
        let broken = Broken::default();
        let limits = QueueLimits {
            active: self.max_active,
            active_per_group: self.max_active_per_group,
            starts: self.max_starts,
            starts_per_group: self.max_starts_per_group,
        };
        let runs = Arc::new(Runs {
            queue: queue.name().to_owned(),
            command: self.command,
            defer: self.defer,
            broken: broken.clone(),
            stop: stop.clone(),
        });
        let handler = move |job: Job<RawInput>| {
            let runs = runs.clone();
            async move { Box::pin(runs.run(job)).await }
        };
        let worker = queue.worker(handler);
        let worker = worker
            .concurrency(self.concurrency)
            .limits(limits)
            .lease(self.lease)
            .drain(self.drain)
            .grace(GRACE);
        let mut working = std::pin::pin!(worker.run(stop.clone()));
        let result = tokio::select! {
            result = &mut working => result,
            signal = signals.next() => {
                tracing::info!(?signal, "letting what runs end");
                stop.cancel();
                tokio::select! {
                    result = &mut working => result,
                    signal = signals.next() => {
                        let message = format!("{signal:?} again: not waiting any longer");
                        return Err(Failure::failed(message));
                    }
                }
            }
        };
        close(&fleet).await;
        result?;
        match broken.take() {
            Some(failure) => Err(failure),
            None => Ok(ExitCode::SUCCESS),
        }
    }
}

/// What a handler returns.
type Done = Result<bytes::Bytes, JobError>;
