//! Running other programs.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, IsTerminal, Read, stderr};
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, Result, bail};

/// Cargo, as it called us, in the root of the workspace.
pub(crate) fn cargo<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .args(args)
        .current_dir(crate::workspace())
        .stdin(Stdio::null());
    command
}

/// How a command line would be typed.
pub(crate) fn shown(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program());
    let mut line = program
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    for arg in command.get_args() {
        // Writing to a string cannot fail.
        let _ = write!(line, " {}", arg.to_string_lossy());
    }
    line
}

/// Says and runs a command, with its output passed on.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let line = shown(command);
    eprintln!("\n$ {line}");
    let status = command
        .status()
        .with_context(|| format!("{line} could not be run"))?;
    if !status.success() {
        bail!("{line} failed ({status})");
    }
    Ok(())
}

/// Says and runs a command, with its output passed on, and returns the lines of it that are wanted,
/// also if the command fails.
pub(crate) fn run_collecting(
    command: &mut Command,
    wanted: fn(&str) -> bool,
) -> (Result<()>, Vec<String>) {
    let line = shown(command);
    eprintln!("\n$ {line}");
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match child.with_context(|| format!("{line} could not be run")) {
        Ok(child) => child,
        Err(error) => return (Err(error), Vec::new()),
    };
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let lines = thread::scope(|scope| {
        let out = scope.spawn(|| pass_on(out, wanted));
        let err = scope.spawn(|| pass_on(err, wanted));
        [out, err]
            .map(|reader| reader.join().expect("readers do not panic"))
            .concat()
    });
    let result = match child.wait() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(anyhow::anyhow!("{line} failed ({status})")),
        Err(error) => Err(error).with_context(|| format!("{line} could not be waited for")),
    };
    (result, lines)
}

/// Copies lines to standard error, one whole line at a time, and keeps those that are wanted.
fn pass_on(source: Option<impl Read>, wanted: fn(&str) -> bool) -> Vec<String> {
    let mut kept = Vec::new();
    for line in source
        .map(BufReader::new)
        .into_iter()
        .flat_map(|source| source.split(b'\n'))
    {
        // A pipe breaks only with its process, whose status says more.
        let Ok(line) = line else { break };
        let line = String::from_utf8_lossy(&line);
        eprintln!("{line}");
        let plain = without_colours(&line);
        if wanted(&plain) {
            kept.push(plain);
        }
    }
    kept
}

/// What `--color` should be for programs whose output is passed on.
pub(crate) fn colour() -> &'static str {
    if stderr().is_terminal() {
        "always"
    } else {
        "never"
    }
}

/// Removes terminal escape sequences of the colour kind.
fn without_colours(line: &str) -> String {
    let mut plain = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once('\u{1b}') {
        plain.push_str(before);
        rest = after.split_once('m').map_or("", |(_, rest)| rest);
    }
    plain.push_str(rest);
    plain
}

/// Whether a program can be run at all, judged by asking for its version.
pub(crate) fn exists(command: &mut Command) -> bool {
    let quiet = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_removed() {
        assert_eq!(
            without_colours("\u{1b}[32;1mSummary\u{1b}[0m [1s]"),
            "Summary [1s]"
        );
        assert_eq!(without_colours("plain"), "plain");
    }

    #[test]
    fn output_of_a_failing_command_is_still_collected() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo one; echo two >&2; exit 3"]);
        let (result, lines) = run_collecting(&mut command, |line| line != "zero");
        assert!(result.unwrap_err().to_string().contains('3'));
        assert_eq!(lines, ["one", "two"]);
    }
}
