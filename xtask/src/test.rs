//! The whole test suite, with everything it needs.

use std::io::{IsTerminal, stderr};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use crate::process::{self, cargo, colour};
use crate::{browser, node, servers};

/// Where the random cases of properties begin when a change is judged: a change is not refused for a case
/// that it has nothing to do with. `deep properties` looks for new ones.
const SEED: (&str, &str) = ("PROPTEST_RNG_SEED", "20261121");

/// What a test's name contains if it needs a browser.
const BROWSER: &str = "browser_";

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Leave out the tests that need this, instead of failing because it is not there.
    #[arg(long, value_enum)]
    without: Vec<Need>,

    /// Passed on to the test runner: names of tests, `-p PACKAGE`, `-E FILTER` … With any, doctests
    /// are left out.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    filter: Vec<String>,
}

/// What tests may need besides servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Need {
    Browser,
    Node,
}

/// How a run went.
#[derive(Debug)]
pub(crate) struct Report {
    /// Lines that sum it up.
    pub(crate) summary: Vec<String>,
    /// What failed, if anything did.
    pub(crate) failures: Vec<String>,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    // On a terminal the runner shows its own progress, which needs the terminal for itself.
    let report = execute(options, !stderr().is_terminal(), &[])?;
    eprintln!();
    for line in &report.summary {
        eprintln!("{line}");
    }
    if report.failures.is_empty() {
        Ok(())
    } else {
        bail!("{}", report.failures.join("; "))
    }
}

/// Runs everything, for the summary of a larger task.
pub(crate) fn run_all() -> Result<Report> {
    execute(
        &Options {
            without: Vec::new(),
            filter: Vec::new(),
        },
        true,
        &[SEED],
    )
}

fn execute(options: &Options, collect: bool, environment: &[(&str, &str)]) -> Result<Report> {
    servers::fetch()?;
    let unwanted = options.without.contains(&Need::Browser);
    let no_browser = if unwanted {
        Some("left out by --without browser".to_owned())
    } else {
        browser::find_or_install()
            .err()
            .map(|error| format!("{error:#}"))
    };
    let servers = servers::start_shared()?;
    let mut report = Report {
        summary: Vec::new(),
        failures: Vec::new(),
    };

    let mut suite = suite(&options.filter, no_browser.is_none());
    servers::share_with(&mut suite, &servers);
    suite.envs(environment.iter().copied());
    step(&mut report, &mut suite, collect);
    // Names of tests and the like say nothing about doctests.
    if options.filter.is_empty() {
        let mut doctests = cargo([
            "test",
            "--doc",
            "--workspace",
            "--all-features",
            "--color",
            colour(),
        ]);
        servers::share_with(&mut doctests, &servers);
        step(&mut report, &mut doctests, collect);
        typescript(&mut report, options.without.contains(&Need::Node));
    }

    if let Some(reason) = no_browser {
        let names = browser_tests(&options.filter);
        let names =
            names.unwrap_or_else(|problem| vec![format!("(which, is unknown: {problem:#})")]);
        report.summary.push(format!(
            "these tests need a browser and did not run: {reason}"
        ));
        report
            .summary
            .extend(names.iter().map(|name| format!("    {name}")));
        if !unwanted && !names.is_empty() {
            report.failures.push(
                "tests that need a browser did not run (--without browser accepts that)".to_owned(),
            );
        }
    }
    report.summary.retain(|line| !line.is_empty());
    Ok(report)
}

/// The TypeScript client: whether what was built of it is up to date, and its tests.
fn typescript(report: &mut Report, unwanted: bool) {
    let missing = if unwanted {
        Some("left out by --without node".to_owned())
    } else {
        node::find().err().map(|error| format!("{error:#}"))
    };
    if let Some(reason) = missing {
        report.summary.push(format!(
            "the tests of the TypeScript client need Node.js and did not run: {reason}"
        ));
        if !unwanted {
            report.failures.push(
                "the tests of the TypeScript client did not run (--without node accepts that)"
                    .to_owned(),
            );
        }
        return;
    }
    let hub = match node::prepare() {
        Ok(hub) => hub,
        Err(error) => return report.failures.push(format!("{error:#}")),
    };
    if let Err(error) = process::run(&mut node::check()) {
        report.failures.push(format!("{error:#}"));
    }
    let (result, lines) = process::run_collecting(&mut node::test(&hub), node::is_summary);
    report.summary.push(node::condense(&lines));
    if let Err(error) = result {
        report.failures.push(format!("{error:#}"));
    }
}

/// Runs one command, and notes down how it went.
fn step(report: &mut Report, command: &mut Command, collect: bool) {
    let result = if collect {
        let (result, lines) = process::run_collecting(command, is_summary);
        report.summary.extend(condense(lines));
        result
    } else {
        process::run(command)
    };
    if let Err(error) = result {
        report.failures.push(format!("{error:#}"));
    }
}

/// The command that runs all tests but doctests.
fn suite(filter: &[String], with_browser: bool) -> Command {
    let nextest = process::exists(&mut cargo(["nextest", "--version"]));
    let mut command = if nextest {
        cargo(["nextest", "run"])
    } else {
        eprintln!("cargo-nextest is not installed: using cargo test");
        cargo(["test", "--no-fail-fast"])
    };
    command.args(["--all-features", "--color", colour()]);
    if packages(filter) == ["--workspace"] {
        command.arg("--workspace");
    }
    if !nextest && filter.is_empty() {
        // Doctests have a run of their own.
        command.args(["--lib", "--bins", "--tests", "--examples"]);
    }
    command.args(filter);
    if !with_browser {
        if !filter.iter().any(|arg| arg == "--") {
            command.arg("--");
        }
        // Both runners know it.
        command.args(["--skip", BROWSER]);
    }
    command
}

/// The arguments that choose packages: those given, or the whole workspace.
fn packages(filter: &[String]) -> Vec<String> {
    let mut chosen = Vec::new();
    let mut args = filter.iter().take_while(|arg| *arg != "--").cloned();
    while let Some(arg) = args.next() {
        let value_follows = arg == "--package" || arg == "-p";
        if value_follows || arg.starts_with("--package=") || arg.starts_with("-p") {
            chosen.push(arg);
            chosen.extend(value_follows.then(|| args.next()).flatten());
        }
    }
    if chosen.is_empty() {
        chosen.push("--workspace".to_owned());
    }
    chosen
}

/// The names of the tests that need a browser, among the packages that were asked for.
fn browser_tests(filter: &[String]) -> Result<Vec<String>> {
    let mut command = cargo(["test", "--all-features", "--quiet", "--tests"]);
    command
        .args(packages(filter))
        .args(["--", "--list", "--format", "terse", BROWSER]);
    let line = process::shown(&command);
    let output = command
        .output()
        .with_context(|| format!("{line} could not be run"))?;
    if !output.status.success() {
        bail!(
            "{line} failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    let listed = String::from_utf8_lossy(&output.stdout);
    Ok(listed
        .lines()
        .filter_map(|line| line.strip_suffix(": test"))
        .map(str::to_owned)
        .collect())
}

/// Whether a line of either runner sums up.
fn is_summary(line: &str) -> bool {
    line.trim_start().starts_with("Summary [") || line.starts_with("test result:")
}

/// Adds up the lines that `cargo test` prints for each binary or crate; others stay as they are.
fn condense(lines: Vec<String>) -> Vec<String> {
    let (results, mut others): (Vec<_>, Vec<_>) = lines
        .into_iter()
        .partition(|line| line.starts_with("test result:"));
    if results.is_empty() {
        return others;
    }
    let total = |what: &str| -> u64 {
        let suffix = format!(" {what}");
        results
            .iter()
            .flat_map(|line| line.split([';', '.']))
            .filter_map(|part| part.strip_suffix(&suffix)?.trim().parse::<u64>().ok())
            .sum()
    };
    let (passed, failed, ignored) = (total("passed"), total("failed"), total("ignored"));
    others.push(format!(
        "     Summary [cargo test] {} tests run: {passed} passed, {failed} failed, {ignored} ignored",
        passed + failed
    ));
    others
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(command: &Command) -> Vec<String> {
        command
            .get_args()
            .map(|arg| arg.to_string_lossy().into_owned())
            .collect()
    }

    #[test]
    fn without_a_browser_its_tests_are_skipped_whatever_else_is_asked_for() {
        let plain = args(&suite(&[], false));
        assert!(
            plain.ends_with(&["--".into(), "--skip".into(), BROWSER.into()]),
            "{plain:?}"
        );
        let given = ["--".to_owned(), "--exact".to_owned()];
        let both = args(&suite(&given, false));
        assert_eq!(
            both.iter().filter(|arg| *arg == "--").count(),
            1,
            "{both:?}"
        );
        assert!(!args(&suite(&given, true)).contains(&"--skip".to_owned()));
    }

    #[test]
    fn packages_that_are_named_replace_the_workspace() {
        let given = |args: &[&str]| args.iter().map(|&arg| arg.to_owned()).collect::<Vec<_>>();
        assert_eq!(packages(&given(&["name"])), ["--workspace"]);
        assert_eq!(packages(&given(&["-p", "xtask", "name"])), ["-p", "xtask"]);
        assert_eq!(
            packages(&given(&["--package=xtask", "-pother"])),
            ["--package=xtask", "-pother"]
        );
        assert_eq!(packages(&given(&["--", "-p", "xtask"])), ["--workspace"]);
        assert!(args(&suite(&given(&["name"]), true)).contains(&"--workspace".to_owned()));
        assert!(!args(&suite(&given(&["-p", "xtask"]), true)).contains(&"--workspace".to_owned()));
    }

    #[test]
    fn results_of_cargo_test_are_added_up() {
        let lines = vec![
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 1.2s"
                .to_owned(),
            "     Summary [   1.0s] 7 tests run: 7 passed, 0 skipped".to_owned(),
            "test result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured".to_owned(),
        ];
        assert!(lines.iter().all(|line| is_summary(line)));
        let condensed = condense(lines);
        assert_eq!(condensed.len(), 2);
        assert!(
            condensed[1].ends_with("9 tests run: 7 passed, 2 failed, 1 ignored"),
            "{condensed:?}"
        );
    }
}
