//! Checks that take too long, or need tools that take too long to compile, for every change.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use crate::process::{self, cargo};
use crate::{conformance, servers};

/// Cases of each property, of which a change is judged by 256.
const MANY_CASES: &str = "6000";
/// Sequences by which scripts and pure functions are compared, of which a change is judged by 100 or so.
const MANY_ROUNDS: &str = "3000";

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Which checks; all if none is named.
    checks: Vec<Check>,

    /// Install the tools that are missing, which takes minutes for each.
    #[arg(long)]
    install: bool,

    /// How long each fuzz target runs, in seconds.
    #[arg(long, default_value_t = 60)]
    fuzz_seconds: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Check {
    /// Licences, advisories and duplicates of dependencies (cargo-deny).
    Deny,
    /// Each feature on its own (cargo-hack).
    Hack,
    /// Breaking changes since the last release (cargo-semver-checks).
    Semver,
    /// Whether tests notice broken code (cargo-mutants).
    Mutants,
    /// What tests do not reach (cargo-llvm-cov).
    Coverage,
    /// Random input (cargo-fuzz).
    Fuzz,
    /// Properties, with new and many cases.
    Properties,
    /// Whether scripts do what the pure functions do, with new and many sequences.
    Agreement,
    /// WebSocket, case by case (the Autobahn test suite).
    Conformance,
}

impl Check {
    /// The cargo subcommand it needs, and the package that has it.
    const fn tool(self) -> Option<(&'static str, &'static str)> {
        Some(match self {
            Self::Deny => ("deny", "cargo-deny"),
            Self::Hack => ("hack", "cargo-hack"),
            Self::Semver => ("semver-checks", "cargo-semver-checks"),
            Self::Mutants => ("mutants", "cargo-mutants"),
            Self::Coverage => ("llvm-cov", "cargo-llvm-cov"),
            Self::Fuzz => ("fuzz", "cargo-fuzz"),
            // Fetches what it needs by itself.
            Self::Conformance | Self::Properties | Self::Agreement => return None,
        })
    }

    /// What to call it when it fails.
    fn name(self) -> &'static str {
        match self {
            Self::Properties => "properties",
            _ => self.tool().map_or("conformance", |(_, package)| package),
        }
    }

    fn run(self, options: &Options) -> Result<()> {
        match self {
            Self::Deny => process::run(&mut cargo(["deny", "--all-features", "check"])),
            Self::Hack => process::run(&mut cargo([
                "hack",
                "check",
                "--workspace",
                "--each-feature",
                "--no-dev-deps",
            ])),
            Self::Semver => semver(),
            Self::Mutants => with_servers(&mut cargo([
                "mutants",
                "--workspace",
                "--all-features",
                "--test-tool",
                "nextest",
                "--output",
                "target",
            ])),
            Self::Coverage => with_servers(&mut cargo([
                "llvm-cov",
                "nextest",
                "--workspace",
                "--all-features",
                "--html",
            ])),
            Self::Fuzz => fuzz(options.fuzz_seconds),
            Self::Properties => process::run(
                cargo(["test", "--workspace", "--all-features", "--lib"])
                    .env("PROPTEST_CASES", MANY_CASES),
            ),
            Self::Agreement => {
                let features = ["-p", "quorate", "--all-features"];
                let tests = ["test", "--test", "it", "--test", "queue"];
                let tests = tests.into_iter().chain(features);
                process::run(
                    cargo(tests.chain(["--", "differential"]))
                        .env("QUORATE_AGREEMENT_ROUNDS", MANY_ROUNDS),
                )
            }
            Self::Conformance => conformance::run(&conformance::Options::all()),
        }
    }
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let checks = if options.checks.is_empty() {
        Check::value_variants()
    } else {
        &options.checks
    };
    let mut problems = Vec::new();
    for check in checks {
        let name = check.name();
        let done = available(*check, options.install).and_then(|()| check.run(options));
        if let Err(error) = done {
            eprintln!("{name}: {error:#}");
            problems.push(format!("{name}: {error:#}"));
        }
    }
    if !problems.is_empty() {
        let count = checks.len();
        bail!(
            "{} of {count} checks failed\n  {}",
            problems.len(),
            problems.join("\n  ")
        );
    }
    Ok(())
}

/// Makes sure that a tool is there.
fn available(check: Check, install: bool) -> Result<()> {
    let Some((subcommand, package)) = check.tool() else {
        return Ok(());
    };
    if process::exists(&mut cargo([subcommand, "--version"])) {
        return Ok(());
    }
    let mut command = cargo(["install", "--locked", package]);
    if !install {
        bail!(
            "not installed: run `{}`, or give --install",
            process::shown(&command)
        );
    }
    process::run(&mut command)
}

/// Compares with the last release in this repository.
fn semver() -> Result<()> {
    let mut describe = Command::new("git");
    describe.args(["describe", "--tags", "--abbrev=0", "--match", "v*"]);
    describe.current_dir(crate::workspace());
    let output = describe.output().context("git could not be run")?;
    if !output.status.success() {
        eprintln!("there is no release (no tag v*) to compare with yet");
        return Ok(());
    }
    let tag = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    process::run(&mut cargo([
        "semver-checks",
        "--workspace",
        "--baseline-rev",
        &tag,
    ]))
}

/// Runs each fuzz target for a while. The flags of the fuzzer are unstable ones of the stable
/// compiler, which it has to be allowed. The address sanitizer finds little in code that forbids unsafe,
/// and takes half the speed.
fn fuzz(seconds: u32) -> Result<()> {
    let mut list = cargo(["fuzz", "list"]);
    let output = list
        .env("RUSTC_BOOTSTRAP", "1")
        .output()
        .context("cargo fuzz could not be run")?;
    if !output.status.success() {
        bail!(
            "cargo fuzz list failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    let targets = String::from_utf8_lossy(&output.stdout);
    for target in targets.split_whitespace() {
        process::run(&mut fuzz_target(target, seconds)?)?;
    }
    Ok(())
}

/// The command that runs one target, from what it has found so far, and from its examples if it has some.
fn fuzz_target(target: &str, seconds: u32) -> Result<Command> {
    let folder = |kind: &str| crate::workspace().join("fuzz").join(kind).join(target);
    let found = folder("corpus");
    fs::create_dir_all(&found).with_context(|| format!("cannot create {}", found.display()))?;
    let examples = Some(folder("seeds")).filter(|examples| examples.is_dir());
    let mut command = cargo(["fuzz", "run", "--sanitizer", "none", target]);
    command
        .env("RUSTC_BOOTSTRAP", "1")
        .arg(found)
        .args(examples);
    // Input that takes longer than these seconds is a finding, too.
    command.args(["--", "-timeout=10"]);
    command.arg(format!("-max_total_time={seconds}"));
    Ok(command)
}

fn with_servers(command: &mut Command) -> Result<()> {
    servers::fetch()?;
    let servers = servers::start_shared()?;
    servers::share_with(command, &servers);
    process::run(command)
}
