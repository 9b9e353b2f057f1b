//! The tasks of this workspace: `cargo xtask --help`.

mod bench;
mod browser;
mod ci;
mod conformance;
mod deep;
#[cfg(test)]
mod guarantees;
mod layering;
mod node;
mod process;
mod progress;
mod servers;
mod test;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The tasks of this workspace.
#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    disable_help_subcommand = true
)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Run all tests, on servers that are fetched if they are not installed.
    Test(test::Options),
    /// Start, stop and look at servers for use by hand.
    #[command(subcommand)]
    Servers(servers::Task),
    /// Do what has to pass before a change goes in: tests, format, lints, docs, layering.
    Ci,
    /// Check which module depends on which, and other rules of the house.
    Layering,
    /// Run the checks that take too long for every change.
    Deep(deep::Options),
    /// Run the Autobahn test suite against our WebSocket connections.
    Conformance(conformance::Options),
    /// Check and test the TypeScript client, as `test` does.
    Node,
    /// Run benchmarks.
    Bench(bench::Options),
}

fn main() -> ExitCode {
    let result = match Cli::parse().task {
        Task::Test(options) => test::run(&options),
        Task::Servers(task) => servers::run(&task),
        Task::Ci => ci::run(),
        Task::Layering => layering::run(),
        Task::Deep(options) => deep::run(&options),
        Task::Conformance(options) => conformance::run(&options),
        Task::Node => node::run(),
        Task::Bench(options) => bench::run(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The root of the workspace.
fn workspace() -> PathBuf {
    let mut dir = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    // This package is a folder in it.
    dir.pop();
    dir
}
