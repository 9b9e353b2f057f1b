//! Everything that has to pass before a change goes in.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::process::{self, cargo, colour};
use crate::{layering, test};

/// One step and how it went.
struct Step {
    name: &'static str,
    took: Duration,
    problem: Option<String>,
}

pub(crate) fn run() -> Result<()> {
    let mut steps = Vec::new();
    let mut summary = Vec::new();
    // All steps run even when one fails: one round shows everything there is to mend.
    steps.push(timed("test", || {
        let report = test::run_all()?;
        summary = report.summary;
        if report.failures.is_empty() {
            Ok(())
        } else {
            bail!("{}", report.failures.join("; "))
        }
    }));
    for (name, mut command) in commands() {
        steps.push(timed(name, || process::run(&mut command)));
    }
    steps.push(timed("layering", layering::run));

    eprintln!("\n{:<24} {:>8}  result", "step", "took");
    for step in &steps {
        let result = step.problem.as_deref().map_or("ok", |_| "FAILED");
        eprintln!(
            "{:<24} {:>6.1} s  {result}",
            step.name,
            step.took.as_secs_f64()
        );
    }
    eprintln!();
    for line in &summary {
        eprintln!("{line}");
    }
    let problems: Vec<_> = steps
        .iter()
        .filter_map(|step| Some(format!("{}: {}", step.name, step.problem.as_deref()?)))
        .collect();
    if !problems.is_empty() {
        bail!(
            "{} of {} steps failed\n  {}",
            problems.len(),
            steps.len(),
            problems.join("\n  ")
        );
    }
    Ok(())
}

fn commands() -> Vec<(&'static str, Command)> {
    let clippy = |features: &[&str]| {
        let mut command = cargo([
            "clippy",
            "--workspace",
            "--all-targets",
            "--color",
            colour(),
        ]);
        command.args(features).args(["--", "--deny", "warnings"]);
        command
    };
    // Only the libraries, and only they: whatever else is built with them turns their features on again.
    let mut bare = cargo([
        "clippy",
        "--lib",
        "--no-default-features",
        "--color",
        colour(),
    ]);
    for library in ["quorate", "quorate-link", "quorate-testing"] {
        bare.args(["--package", library]);
    }
    bare.args(["--", "--deny", "warnings"]);
    let mut docs = cargo(["doc", "--workspace", "--lib", "--all-features", "--no-deps"]);
    docs.args(["--color", colour()])
        .env("RUSTDOCFLAGS", "-Dwarnings");
    vec![
        ("fmt", cargo(["fmt", "--all", "--check"])),
        ("clippy", clippy(&[])),
        ("clippy, no features", bare),
        ("clippy, all features", clippy(&["--all-features"])),
        ("docs", docs),
    ]
}

#[expect(
    clippy::disallowed_methods,
    reason = "measures real time, and there is no runtime here"
)]
fn timed(name: &'static str, work: impl FnOnce() -> Result<()>) -> Step {
    let start = Instant::now();
    let problem = work().err().map(|error| format!("{error:#}"));
    if let Some(problem) = &problem {
        eprintln!("{name}: {problem}");
    }
    Step {
        name,
        took: start.elapsed(),
        problem,
    }
}
