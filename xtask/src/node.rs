//! The TypeScript client in `clients/typescript`: whether what was built of it is up to date, and its tests.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::process::{self, cargo};

/// Node's oldest major version that the client runs on.
const OLDEST: u32 = 20;

/// The example that the tests connect to.
const HUB: &str = "hub";

/// Finds Node and its package manager.
///
/// # Errors
/// What is missing, and what to install.
pub(crate) fn find() -> Result<()> {
    let version = Command::new("node")
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .context("no node was found: install Node.js 20 or later with npm")?;
    let version = String::from_utf8_lossy(&version.stdout).trim().to_owned();
    if major(&version).is_none_or(|major| major < OLDEST) {
        bail!("node is {version}: install Node.js {OLDEST} or later");
    }
    if !process::exists(Command::new("npm").arg("--version")) {
        bail!("no npm was found: install it beside Node.js");
    }
    eprintln!("found Node.js ({version})");
    Ok(())
}

/// Gets what the client's tests need: their packages, and a hub to connect to.
///
/// # Errors
/// What cannot be had.
pub(crate) fn prepare() -> Result<PathBuf> {
    install()?;
    build_hub()
}

/// Everything that is done with the client: for who works on it.
///
/// # Errors
/// What is missing, not up to date, or fails.
pub(crate) fn run() -> Result<()> {
    find()?;
    let hub = prepare()?;
    process::run(&mut check())?;
    process::run(&mut test(&hub))
}

/// Whether the built client is what its sources make.
pub(crate) fn check() -> Command {
    npm(["run", "--silent", "check"])
}

/// Its tests. `hub` is the program they connect to.
pub(crate) fn test(hub: &Path) -> Command {
    let mut command = npm(["test", "--silent"]);
    command.env("QUORATE_HUB", hub);
    command
}

/// Installs the packages of the lock file, unless they are there.
fn install() -> Result<()> {
    let lock = dir().join("package-lock.json");
    let lock = fs::read(&lock).with_context(|| format!("cannot read {}", lock.display()))?;
    let stamp = dir().join("node_modules/.installed-from");
    if fs::read(&stamp).is_ok_and(|installed| installed == lock) {
        return Ok(());
    }
    process::run(&mut npm([
        "ci",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
    ]))?;
    fs::write(&stamp, lock).with_context(|| format!("cannot write {}", stamp.display()))
}

/// Builds the hub with the features that everything else is built with, so that nothing is built twice.
fn build_hub() -> Result<PathBuf> {
    let mut command = cargo([
        "build",
        "--workspace",
        "--all-features",
        "--example",
        HUB,
        "--message-format=json-render-diagnostics",
    ]);
    let line = process::shown(&command);
    eprintln!("\n$ {line}");
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("{line} could not be run"))?;
    if !output.status.success() {
        bail!("{line} failed ({})", output.status);
    }
    executable(&String::from_utf8_lossy(&output.stdout))
        .with_context(|| format!("{line} made no program"))
}

/// The program among the messages of a build.
fn executable(messages: &str) -> Option<PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == HUB)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
}

/// Whether a line sums up: how many tests there were, and how they went.
pub(crate) fn is_summary(line: &str) -> bool {
    total(line).is_some()
}

/// One line of what the test runner sums up in several.
pub(crate) fn condense(lines: &[String]) -> String {
    let count = |what: &str| {
        let found = lines
            .iter()
            .filter_map(|line| total(line))
            .find(|(name, _)| *name == what);
        found.map_or(0, |(_, count)| count)
    };
    format!(
        "     Summary [node] {} tests run: {} passed, {} failed, {} skipped",
        count("tests"),
        count("pass"),
        count("fail") + count("cancelled"),
        count("skipped") + count("todo"),
    )
}

/// `ℹ pass 75` as `("pass", 75)`.
fn total(line: &str) -> Option<(&str, u64)> {
    let (name, count) = line.strip_prefix("ℹ ")?.split_once(' ')?;
    let known = ["tests", "pass", "fail", "cancelled", "skipped", "todo"].contains(&name);
    known.then(|| Some((name, count.trim().parse().ok()?)))?
}

fn npm<const N: usize>(args: [&str; N]) -> Command {
    let mut command = Command::new("npm");
    command
        .args(args)
        .current_dir(dir())
        .env("NPM_CONFIG_UPDATE_NOTIFIER", "false")
        .stdin(Stdio::null());
    command
}

fn dir() -> PathBuf {
    crate::workspace().join("clients/typescript")
}

fn major(version: &str) -> Option<u32> {
    version.strip_prefix('v')?.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_summaries_are_read() {
        assert_eq!(major("v20.20.2"), Some(20));
        assert_eq!(major("20"), None);
        let lines = [
            "ℹ tests 7",
            "ℹ pass 5",
            "ℹ fail 1",
            "ℹ cancelled 1",
            "ℹ todo 0",
        ];
        assert!(lines.iter().all(|line| is_summary(line)));
        assert!(!is_summary("ℹ duration_ms 5") && !is_summary("✔ tests 7"));
        assert_eq!(
            condense(&lines.map(str::to_owned)),
            "     Summary [node] 7 tests run: 5 passed, 2 failed, 0 skipped"
        );
    }

    #[test]
    fn the_program_is_found_among_the_messages() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","target":{"name":"other"},"executable":"/x/other"}"#,
            "\n",
            r#"{"reason":"compiler-artifact","target":{"name":"hub"},"executable":"/x/hub"}"#,
            "\n{\"reason\":\"build-finished\"}\n"
        );
        assert_eq!(executable(messages), Some(PathBuf::from("/x/hub")));
        assert_eq!(executable("{}"), None);
    }
}
