//! `quorate lock`.

mod look;
mod run;

use std::process::ExitCode;
use std::time::Duration;

use quorate::Fleet;

use crate::failure::Failure;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    Run(run::Run),
    List(look::List),
    Show(look::Show),
    ForceRelease(look::ForceRelease),
}

pub(super) async fn run(command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Run(args) => run::run(args).await,
        Command::List(args) => args.run().await,
        Command::Show(args) => args.run().await,
        Command::ForceRelease(args) => args.run().await,
    }
}

/// Gives back what is held. A backend that is gone must not hold up the command's result.
async fn close(fleet: &Fleet) {
    fleet.close_within(Duration::from_secs(2)).await;
}
