//! Running the suite.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::json;

use super::install::Suite;
use super::report::{self, LEFT_OUT, Verdict};
use crate::process::{self, cargo};
use crate::progress::Progress;

/// What the report calls our side.
const AGENT: &str = "quorate";

/// How many cases the suite has, without those that are left out.
const ALL: usize = 301;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Which cases of the suite, as it writes them: `6.*` or `7.1.6`; all if none is named.
    cases: Vec<String>,
}

impl Options {
    /// Every case.
    pub(crate) const fn all() -> Self {
        Self { cases: Vec::new() }
    }
}

/// Runs the Autobahn test suite against our own connections.
///
/// # Errors
/// A case failed, or the suite could not be had or run.
pub(crate) fn run(options: &Options) -> Result<()> {
    let root = crate::workspace().join("target/autobahn");
    let suite = Suite::find_or_install(&root)?;
    let report = root.join("report");
    if report.exists() {
        // What an earlier run left there must not pass for this one's.
        fs::remove_dir_all(&report)
            .with_context(|| format!("cannot remove {}", report.display()))?;
    }
    let echo = Echo::start()?;
    let progress = Progress::start("running the Autobahn test suite (half a minute)");
    let ran = converse(&suite, &root, &report, &echo.address, options);
    progress.finish("ran the Autobahn test suite");
    // If it ended before it was asked to, that explains the rest best.
    echo.stop()?;
    let verdict = ran?;
    show(&verdict, &report);
    if options.cases.is_empty() && verdict.cases() < ALL {
        bail!("only {} of {ALL} cases were run", verdict.cases());
    }
    if verdict.cases() == 0 {
        bail!(
            "no case of the suite is called {}",
            options.cases.join(" or ")
        );
    }
    if !verdict.failures.is_empty() {
        bail!("{} cases failed", verdict.failures.len());
    }
    Ok(())
}

/// Runs the chosen cases, and reads what came of them.
fn converse(
    suite: &Suite,
    root: &Path,
    report: &Path,
    address: &str,
    options: &Options,
) -> Result<Verdict> {
    let all = ["*".to_owned()];
    let cases = if options.cases.is_empty() {
        &all[..]
    } else {
        &options.cases
    };
    let spec = json!({
        "outdir": report,
        "servers": [{"agent": AGENT, "url": format!("ws://{address}")}],
        "cases": cases,
        "exclude-cases": LEFT_OUT.map(|(cases, _)| cases),
        "exclude-agent-cases": {},
    });
    let (spec_file, log_file) = (root.join("spec.json"), root.join("log.txt"));
    fs::write(&spec_file, spec.to_string())
        .with_context(|| format!("cannot write {}", spec_file.display()))?;
    let log =
        File::create(&log_file).with_context(|| format!("cannot write {}", log_file.display()))?;
    let mut command = suite.fuzzing_client(&spec_file);
    let line = process::shown(&command);
    let errors = log.try_clone().context("cannot use the log twice")?;
    let status = command
        .stdout(log)
        .stderr(errors)
        .status()
        .with_context(|| format!("{line} could not be run"))?;
    if !status.success() {
        bail!("{line} failed ({status}): see {}", log_file.display());
    }
    let index = report.join("index.json");
    let index = fs::read_to_string(&index).with_context(|| {
        format!(
            "no report at {}: see {}",
            index.display(),
            log_file.display()
        )
    })?;
    report::judge(&index, AGENT)
}

fn show(verdict: &Verdict, report: &Path) {
    for (outcome, count) in &verdict.counts {
        eprintln!("{count:>5} {outcome}");
    }
    for line in verdict.noted.iter().chain(&verdict.failures) {
        eprintln!("      {line}");
    }
    for (cases, reason) in LEFT_OUT {
        eprintln!("      {cases}: left out ({reason})");
    }
    eprintln!("report: {}", report.join("index.html").display());
}

/// The echo of `crates/quorate-http/examples`, as a process of its own.
struct Echo {
    process: Child,
    address: String,
}

impl Echo {
    fn start() -> Result<Self> {
        let mut command = cargo(["run", "--quiet", "--package", "quorate-http"]);
        command
            .args(["--features", "internals", "--example", "echo"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let line = process::shown(&command);
        let mut process = command
            .spawn()
            .with_context(|| format!("{line} could not be run"))?;
        let mut address = String::new();
        let output = process.stdout.take().expect("it is piped");
        let read = BufReader::new(output).read_line(&mut address);
        read.with_context(|| format!("{line} could not be read"))?;
        if address.is_empty() {
            let status = process.wait().context("the echo could not be waited for")?;
            bail!("{line} failed ({status})");
        }
        let address = address.trim().to_owned();
        Ok(Self { process, address })
    }

    /// Ends it: its standard input is closed.
    fn stop(mut self) -> Result<()> {
        drop(self.process.stdin.take());
        let status = self
            .process
            .wait()
            .context("the echo could not be waited for")?;
        if !status.success() {
            bail!("the echo failed ({status})");
        }
        Ok(())
    }
}
