//! `quorate lock run`.

use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use quorate::{Acquire, Fleet, Lock, LockGuard};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::process::{Child, Command as Program};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

use super::close;
use crate::cli::backend::BackendArgs;
use crate::failure::Failure;

/// The lock is held by somebody else. Like `EX_TEMPFAIL` of sysexits.h: try again later.
const NOT_ACQUIRED: u8 = 75;
/// The lock was lost and the command killed.
const LOST: u8 = 76;
/// What shells answer when there is no such program, or it cannot be run.
const NOT_FOUND: u8 = 127;
/// What shells add to the number of the signal that ended a program.
const BY_SIGNAL: i32 = 128;

/// How long a command told to end may take, before it is made to.
const ENDS_WITHIN: Duration = Duration::from_secs(5);

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
    let mut running = Running::start(program, arguments, guard)?;
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

/// A running command.
struct Running {
    child: Child,
    pid: Option<Pid>,
    /// Whether it leads a process group, so that what it started can be ended with it.
    leads: bool,
}

impl Running {
    fn start(program: &str, arguments: &[String], guard: &LockGuard) -> Result<Self, Failure> {
        let mut command = Program::new(program);
        command
            .args(arguments)
            .env("QUORATE_FENCE", guard.token().to_string())
            .env("QUORATE_FENCING_TOKEN", guard.token().to_string())
            .env("QUORATE_LOCK", guard.name())
            .kill_on_drop(true);
        // At a terminal it stays in our group: one in the background could not read from it.
        let leads = !std::io::IsTerminal::is_terminal(&std::io::stdin());
        if leads {
            command.process_group(0);
        }
        let child = command.spawn().map_err(|error| {
            Failure::with_code(NOT_FOUND, format!("cannot run `{program}`: {error}"))
        })?;
        let pid = child
            .id()
            .and_then(|id| id.try_into().ok())
            .and_then(Pid::from_raw);
        Ok(Self { child, pid, leads })
    }

    /// Whether it has to be told of a signal that we got: Ctrl-C at a terminal goes to all of our group, and so to the
    /// command if it is one of them.
    fn needs(&self, signal: Signal) -> bool {
        self.leads || signal != Signal::INT
    }

    fn pass_on(&self, signal: Signal) {
        let Some(pid) = self.pid else { return };
        // Fails only if it has ended already. Its number is its own until it is waited for.
        let _ = if self.leads {
            kill_process_group(pid, signal)
        } else {
            kill_process(pid, signal)
        };
    }

    /// Ends it: politely, then not.
    async fn end(&mut self) {
        self.pass_on(Signal::TERM);
        let ended = timeout(ENDS_WITHIN, self.child.wait()).await.is_ok();
        if !ended || self.leads {
            // What it started may have stayed, also when it ended itself. As long as there is something
            // left of the group, nobody else gets its number.
            self.pass_on(Signal::KILL);
        }
        if !ended {
            // Nobody survives that; an error would mean it is gone already.
            let _ = self.child.wait().await;
        }
    }
}

/// What we are told to do, the command is told too.
struct Signals {
    term: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind)
                .map_err(|error| Failure::failed(format!("cannot listen to signals: {error}")))
        };
        Ok(Self {
            term: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.term.recv() => Signal::TERM,
            _ = self.interrupt.recv() => Signal::INT,
            _ = self.hangup.recv() => Signal::HUP,
        }
    }
}
