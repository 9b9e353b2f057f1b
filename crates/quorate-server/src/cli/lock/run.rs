//! `quorate lock run`.

use std::io::IsTerminal;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use quorate::{Acquire, Fleet, Lock, LockGuard};
use tokio::process::Command;

use super::close;
use crate::cli::backend::BackendArgs;
use crate::cli::program::{BY_SIGNAL, Program, Signals};
use crate::failure::Failure;

/// The lock is held by somebody else. Like `EX_TEMPFAIL` of sysexits.h: try again later.
const NOT_ACQUIRED: u8 = 75;
/// The lock was lost and the command killed.
const LOST: u8 = 76;

/// Hold a lock while a command runs.
///
/// The command finds the fencing token in QUORATE_FENCE, and in QUORATE_FENCING_TOKEN. If the lock is lost the command is told
/// to end (SIGTERM), and killed 5 s later. Exit codes: that of the command; 75 if the lock could not be
/// acquired; 76 if it was lost; 127 if the command cannot be run. A signal (Ctrl-C) is passed on to the command; while the
/// lock is waited for it ends the waiting, with 128 and its number.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Run {
    #[command(flatten)]
    asked: Asked,
    /// How long the lock stays held without a sign of life.
    #[arg(long, default_value = "30s", value_parser = humantime::parse_duration)]
    lease: Duration,
    /// How long to wait for the lock; without it, not at all.
    #[arg(long, value_parser = humantime::parse_duration)]
    wait: Option<Duration>,
    #[command(flatten)]
    backend: BackendArgs,
    /// The command and its arguments, after `--`.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Which lock, and how much of it.
#[derive(Debug, clap::Args)]
struct Asked {
    /// The lock.
    name: String,
    /// Hold it with others who say so: NAME is a read/write lock, and this reads.
    #[arg(long, conflicts_with_all = ["exclusive", "permits", "of"])]
    shared: bool,
    /// Hold it alone, while nobody holds it with --shared: NAME is a read/write lock, and this writes.
    #[arg(long, conflicts_with_all = ["permits", "of"])]
    exclusive: bool,
    /// Hold so many of the permits of a semaphore.
    #[arg(long, value_name = "N", default_value_t = 1, requires = "of")]
    permits: u32,
    /// How many permits there are; with it, NAME is a semaphore.
    #[arg(long, value_name = "N")]
    of: Option<u32>,
}

impl Asked {
    fn lock(&self, fleet: &Fleet) -> Lock {
        if let Some(of) = self.of {
            return fleet.semaphore(&self.name, of).permits(self.permits);
        }
        match (self.shared, self.exclusive) {
            (true, _) => fleet.rw_lock(&self.name).read().clone(),
            (false, true) => fleet.rw_lock(&self.name).write().clone(),
            (false, false) => fleet.lock(&self.name),
        }
    }
}

pub(super) async fn run(args: Run) -> Result<ExitCode, Failure> {
    let fleet = args.backend.connect().await?;
    let lock = args.asked.lock(&fleet);
    let request = match args.wait {
        Some(wait) => lock.acquire().wait(wait),
        None => lock.try_acquire(),
    };
    let mut signals = Signals::new()?;
    let acquired = tokio::select! {
        acquired = request.lease(args.lease) => acquired,
        signal = signals.next() => {
            // Ended by it, but not before the place in the queue is given up, and the lock if we just got it.
            close(&fleet).await;
            return Ok(code_of(BY_SIGNAL + signal.as_raw()));
        }
    };
    let result = match acquired {
        Ok(Acquire::Acquired(guard)) => hold(guard, &args.command, signals).await,
        Ok(Acquire::Held { remaining, .. }) => Err(Failure::with_code(
            NOT_ACQUIRED,
            format!(
                "`{}` is held by somebody else, for {remaining:?} more",
                args.asked.name
            ),
        )),
        Ok(_) => Err(Failure::failed("an answer this program does not know")),
        Err(error) => Err(error.into()),
    };
    // Also after an error: an acquisition without an answer may have got the lock, and is given back meanwhile.
    close(&fleet).await;
    result
}

async fn hold(guard: LockGuard, command: &[String], signals: Signals) -> Result<ExitCode, Failure> {
    let (program, arguments) = command.split_first().expect("clap requires at least one");
    let result = supervise(&guard, program, arguments, signals).await;
    // It may have been lost before anybody knew, or while the command ended.
    let mut lost = guard.is_lost();
    let failure = format!("`{}` was lost before `{program}` ended", guard.name());
    match guard.release().await {
        Ok(held) => lost |= !held,
        // Whether the lock could be given back is worth a word, not another exit code.
        Err(error) => tracing::warn!(%error, "the lock is free when its lease ends"),
    }
    match result {
        Ok(_) if lost => Err(Failure::with_code(LOST, failure)),
        result => result,
    }
}

/// Runs the command, for as long as the lock is held.
async fn supervise(
    guard: &LockGuard,
    program: &str,
    arguments: &[String],
    // Listening before it runs: a signal in between would end us and leave it alone.
    mut signals: Signals,
) -> Result<ExitCode, Failure> {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env("QUORATE_FENCE", guard.token().to_string())
        .env("QUORATE_FENCING_TOKEN", guard.token().to_string())
        .env("QUORATE_LOCK", guard.name());
    // At a terminal it stays in our group: one in the background could not read from it.
    let leads = !std::io::stdin().is_terminal();
    let mut running = Program::start(&mut command, leads)?;
    let status = loop {
        tokio::select! {
            // A command that ended as well did so too late.
            biased;
            () = guard.lost() => {
                running.end().await;
                return Err(Failure::with_code(
                    LOST,
                    format!("`{}` was lost, and `{program}` ended", guard.name()),
                ));
            }
            status = running.child.wait() => break status.map_err(|error| {
                Failure::failed(format!("cannot wait for `{program}`: {error}"))
            })?,
            signal = signals.next() => {
                if running.needs(signal) {
                    running.pass_on(signal);
                }
            }
        }
    };
    Ok(exit_code(status))
}

fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| BY_SIGNAL + signal));
    code.map_or_else(|| ExitCode::from(Failure::FAILED), code_of)
}

fn code_of(code: i32) -> ExitCode {
    ExitCode::from(code.try_into().unwrap_or(Failure::FAILED))
}
