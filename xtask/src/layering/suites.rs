//! A clause that no list names is a test that never runs.

use std::path::Path;

use anyhow::Result;

use super::{Source, Violation, files};

/// Where the conformance suites are, from the root of the workspace.
const SUITES: &str = "crates/quorate-testing/src/suites";

/// Every clause below the suites stands in the list of its suite's macro.
pub(super) fn check(root: &Path) -> Result<Vec<Violation>> {
    let mut violations = Vec::new();
    for path in files(&root.join(SUITES), "rs")? {
        let file = Source::read(root, &path)?;
        // The list stands in the suite's `mod.rs`, or in the file itself if it is the whole suite.
        let list = path.with_file_name("mod.rs");
        let own_folder = path.parent() != Some(&root.join(SUITES));
        let list = if own_folder {
            Source::read(root, &list)?
        } else {
            Source::read(root, &path)?
        };
        let listed = listed(&list.text);
        for (number, line) in file.text.lines().enumerate() {
            if let Some(clause) = clause(line)
                && !listed.contains(&clause)
            {
                let rule =
                    format!("{clause} is not in the list of its suite's macro: it never runs");
                violations.push(file.violation(number + 1, rule));
            }
        }
    }
    Ok(violations)
}

/// The clause that a line begins, if it does.
fn clause(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("pub async fn ")?;
    let (name, arguments) = rest.split_once('(')?;
    arguments.contains("Home").then_some(name)
}

/// The names in the macro's list: one a line, each followed by a comma.
fn listed(text: &str) -> Vec<&str> {
    text.lines()
        .filter_map(|line| line.trim().strip_suffix(','))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_suites_of_this_workspace_list_every_clause() {
        let violations = check(&crate::workspace()).unwrap();
        assert!(violations.is_empty(), "{violations:?}");
    }

    #[test]
    fn clauses_and_lists_are_recognised() {
        assert_eq!(
            clause("pub async fn a_clause(home: Home) {"),
            Some("a_clause")
        );
        assert_eq!(clause("pub(crate) async fn helper(home: Home) {"), None);
        assert_eq!(clause("pub async fn not_one(number: u64) {"), None);
        assert_eq!(listed("    one,\n    two,\n    three\n"), ["one", "two"]);
    }
}
