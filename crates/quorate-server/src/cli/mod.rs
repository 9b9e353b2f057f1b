//! The command line.

mod backend;
mod cache;
mod doctor;
mod history;
mod limit;
mod lock;
mod program;
mod publish;
mod queue;
mod serve;
mod session;
mod store;
mod subscribe;
mod value;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::failure::Failure;
use crate::observe;

/// Everything a fleet of services has to agree on.
///
/// Exit codes: 0 success, 1 failure, 2 wrong input; `limit`, `lock run`, `queue`, `session`, `store`,
/// `cache` and `doctor` have more.
#[derive(Debug, Parser)]
#[command(name = "quorate", version, max_term_width = 100)]
struct Cli {
    /// Write logs as JSON.
    #[arg(long, global = true)]
    log_json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Args),
    Publish(publish::Args),
    Subscribe(subscribe::Args),
    History(history::Args),
    Doctor(doctor::Args),
    /// Ask limiters, and forget what they counted.
    ///
    /// Exit codes: 0; 1; 2; 75 where a request would be refused.
    #[command(subcommand)]
    Limit(limit::Command),
    /// Use locks.
    #[command(subcommand)]
    Lock(lock::Command),
    /// Push jobs, do them with a command, and operate queues.
    ///
    /// Exit codes: 0; 1; 2; 3 where fsck found what does not belong together; 4 where there is no such job; 127 if the command of
    /// `work` cannot be run.
    #[command(subcommand)]
    Queue(queue::Command),
    /// Look at the sessions of users, and end them. QUORATE_SESSION_KEY is the services' partition key, if they have one.
    ///
    /// Exit codes: 0; 1; 2; 4 where there is no such session.
    #[command(subcommand)]
    Session(session::Command),
    /// Look at stores, and change what is in them.
    ///
    /// Exit codes: 0; 1; 2; 4 where there is no such entry, or a condition does not hold.
    #[command(subcommand)]
    Store(store::Command),
    /// Look at caches, and end what is in them.
    ///
    /// Exit codes: 0; 1; 2; 4 where there is no such entry, or there is one already.
    #[command(subcommand)]
    Cache(cache::Command),
}

/// Runs the command that was asked for.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    observe::log(cli.log_json, matches!(cli.command, Command::Serve(_)));
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start: {error}");
            return ExitCode::from(Failure::FAILED);
        }
    };
    let result = runtime.block_on(Box::pin(async {
        match cli.command {
            Command::Serve(args) => serve::run(args).await,
            Command::Publish(args) => publish::run(args).await,
            Command::Subscribe(args) => subscribe::run(args).await,
            Command::History(args) => history::run(args).await,
            Command::Doctor(args) => doctor::run(args).await,
            Command::Limit(command) => limit::run(command).await,
            Command::Lock(command) => lock::run(command).await,
            Command::Queue(command) => queue::run(command).await,
            Command::Session(command) => session::run(command).await,
            Command::Store(command) => store::run(command).await,
            Command::Cache(command) => cache::run(command).await,
        }
    }));
    // A read from the terminal cannot be interrupted: the process does not wait for it.
    runtime.shutdown_background();
    result.unwrap_or_else(|failure| {
        eprintln!("error: {failure}");
        failure.code()
    })
}
