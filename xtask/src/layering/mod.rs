//! The rules of the house that a machine can check.
//!
//! In each capability folder dependencies point one way, `handle → port ← {memory, redis}`, and the
//! decisions are pure; folders know each other by what they re-export only. The compiler does not
//! notice when that erodes. This does, and says which file, line and rule.

mod allowed;
mod rust;
mod scripts;
mod slices;
mod suites;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::process::cargo;

/// The longest a file may be, in lines: what a person can still hold in mind.
const MAX_LINES: usize = 500;

/// Where sources are, from the root of the workspace.
const ROOTS: [&str; 3] = ["crates", "xtask", "examples"];

/// The library's sources, from the root of the workspace.
const LIBRARY: &str = "crates/quorate/src";

/// What the library must not pull in: majors of web frameworks must not force majors of it.
const KEPT_OUT: [&str; 2] = ["axum", "hyper"];

/// A rule that a file breaks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Violation {
    /// From the root of the workspace.
    file: String,
    /// From 1; 0 for the whole file.
    line: usize,
    rule: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, rule } = self;
        if *line == 0 {
            write!(f, "{file}: {rule}")
        } else {
            write!(f, "{file}:{line}: {rule}")
        }
    }
}

pub(crate) fn run() -> Result<()> {
    eprintln!("\nchecking the layering");
    let mut violations = check(&crate::workspace(), allowed::LONG_FILES)?;
    violations.extend(kept_out()?);
    for violation in &violations {
        eprintln!("{violation}");
    }
    if !violations.is_empty() {
        bail!("{} violations of the layering", violations.len());
    }
    Ok(())
}

/// Every violation in the files below `root`.
fn check(root: &Path, long_files: &[(&str, &str)]) -> Result<Vec<Violation>> {
    let mut violations = Vec::new();
    for dir in ROOTS {
        for file in files(&root.join(dir), "rs")? {
            let file = Source::read(root, &file)?;
            violations.extend(length(&file, long_files));
            if file.name.starts_with(LIBRARY) {
                violations.extend(slices::check(&file, root));
            }
        }
    }
    for file in files(&root.join(LIBRARY), "lua")? {
        violations.extend(scripts::check(&Source::read(root, &file)?));
    }
    violations.extend(slices::check_twins(root)?);
    violations.extend(suites::check(root)?);
    for (file, _) in long_files {
        if !root.join(file).is_file() {
            violations.push(Violation {
                file: (*file).to_owned(),
                line: 0,
                rule: "is allowed to be long, and does not exist: remove it from the list".into(),
            });
        }
    }
    violations.sort();
    Ok(violations)
}

/// A file and its text.
struct Source {
    /// From the root of the workspace, with `/`.
    name: String,
    text: String,
}

impl Source {
    fn read(root: &Path, path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        let name = path
            .strip_prefix(root)
            .unwrap_or(path)
            .to_string_lossy()
            .replace('\\', "/");
        Ok(Self { name, text })
    }

    fn violation(&self, line: usize, rule: impl Into<String>) -> Violation {
        Violation {
            file: self.name.clone(),
            line,
            rule: rule.into(),
        }
    }
}

/// Long files are either split, or listed with the reason why not.
fn length(file: &Source, allowed: &[(&str, &str)]) -> Option<Violation> {
    let lines = file.text.lines().count();
    let listed = allowed.iter().any(|(name, _)| *name == file.name);
    let rule = match (lines > MAX_LINES, listed) {
        (true, false) => format!(
            "has {lines} lines, more than {MAX_LINES}: split it, or list it with the reason in \
             xtask/src/layering/allowed.rs"
        ),
        (false, true) => {
            format!("is allowed to be long and has {lines} lines: remove it from the list")
        }
        _ => return None,
    };
    Some(file.violation(0, rule))
}

/// The files with this extension below a folder, in order; none if there is no such folder.
fn files(dir: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        if !dir.is_dir() {
            continue;
        }
        let entries = fs::read_dir(&dir).with_context(|| format!("read {}", dir.display()))?;
        for entry in entries {
            let path = entry
                .with_context(|| format!("read {}", dir.display()))?
                .path();
            if path.is_dir() {
                // Build output of examples that are workspaces of their own.
                if path
                    .file_name()
                    .is_some_and(|name| name != "target" && name != "node_modules")
                {
                    dirs.push(path);
                }
            } else if path.extension().is_some_and(|it| it == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// What the library depends on, whatever its features, and must not.
fn kept_out() -> Result<Vec<Violation>> {
    let mut tree = cargo([
        "tree",
        "--package",
        "quorate",
        "--edges",
        "normal",
        "--all-features",
    ]);
    tree.args(["--prefix", "none", "--format", "{p}"]);
    let output = tree.output().context("cargo tree could not be run")?;
    if !output.status.success() {
        bail!(
            "cargo tree failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    let packages = String::from_utf8_lossy(&output.stdout);
    let names = packages.lines().filter_map(|line| line.split(' ').next());
    let mut found: Vec<_> = names.filter(|name| KEPT_OUT.contains(name)).collect();
    found.sort_unstable();
    found.dedup();
    Ok(found
        .into_iter()
        .map(|name| Violation {
            file: "crates/quorate/Cargo.toml".into(),
            line: 0,
            rule: format!("depends on {name}, which belongs to quorate-http (see `cargo tree -i`)"),
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The violations in a workspace of these files, as text.
    pub(super) fn violations(files: &[(&str, &str)]) -> Vec<String> {
        let root = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let found = check(root.path(), &[("crates/a/src/long.rs", "a reason")]).unwrap();
        found
            .iter()
            .map(ToString::to_string)
            .filter(|text| !text.starts_with("crates/a/src/long.rs: is allowed to be long, and"))
            .collect()
    }

    #[test]
    fn the_workspace_keeps_the_rules() {
        let found = check(&crate::workspace(), allowed::LONG_FILES).unwrap();
        let found: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert!(found.is_empty(), "\n{}", found.join("\n"));
    }

    #[test]
    fn the_library_has_no_web_framework() {
        assert_eq!(kept_out().unwrap(), []);
    }

    #[test]
    fn long_files_are_split_or_listed() {
        let long = "//\n".repeat(MAX_LINES + 1);
        let found = violations(&[
            ("crates/a/src/short.rs", &long[3..]),
            ("crates/a/src/other.rs", &long),
            ("crates/a/src/long.rs", &long),
        ]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].starts_with("crates/a/src/other.rs: has 501 lines"),
            "{found:?}"
        );
    }

    #[test]
    fn a_file_that_became_short_leaves_the_list() {
        let found = violations(&[("crates/a/src/long.rs", "//\n")]);
        assert!(found[0].contains("remove it from the list"), "{found:?}");
    }
}
