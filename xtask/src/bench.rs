//! Benchmarks live in a workspace of their own: what they compare with compiles only for them.

use anyhow::Result;
use clap::Args;
use quorate_testing::servers::Flavour;

use crate::process::{self, cargo};
use crate::servers;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Which benchmarks: `connection`, for example. An unknown name lists them.
    #[arg(required = true)]
    names: Vec<String>,

    /// Within a minute, and rougher.
    #[arg(long)]
    quick: bool,

    /// One line of JSON for each figure, instead of a table.
    #[arg(long)]
    json: bool,

    /// Passed on as they are, after `--`.
    #[arg(last = true)]
    more: Vec<String>,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let server = servers::fetch_one(Flavour::Redis)?;
    let mut command = cargo(["run", "--release", "--manifest-path", "bench/Cargo.toml"]);
    command.arg("--").args(&options.names);
    command
        .args(options.quick.then_some("--quick"))
        .args(options.json.then_some("--json"));
    command.args(&options.more);
    command.env(Flavour::Redis.override_variable(), &server.path);
    if let Some(libraries) = &server.libraries {
        command.env("LD_LIBRARY_PATH", libraries);
    }
    process::run(&mut command)
}
