//! A promise without a test does not go in: every test that `docs/guarantees.md` names must exist.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result};

/// Where tests are, from the root of the workspace.
const ROOTS: [&str; 3] = ["crates", "examples", "clients/typescript/test"];

/// Tests named in the document and found nowhere.
pub(crate) fn missing(workspace: &Path) -> Result<Vec<String>> {
    let document = workspace.join("docs/guarantees.md");
    let text = std::fs::read_to_string(&document)
        .with_context(|| format!("cannot read {}", document.display()))?;
    let mut known = BTreeSet::new();
    for root in ROOTS {
        collect(&workspace.join(root), &mut known)?;
    }
    Ok(named(&text)
        .into_iter()
        .filter(|name| !known.contains(name))
        .collect())
}

/// Names in backquotes in the last column of the tables.
fn named(document: &str) -> BTreeSet<String> {
    let rows = document
        .lines()
        .filter(|line| line.starts_with('|') && line.ends_with('|'));
    let tests = rows
        .filter_map(|row| row.trim_end_matches('|').rsplit_once('|'))
        .map(|(_, tests)| tests);
    tests
        .flat_map(|tests| tests.split('`').skip(1).step_by(2))
        .map(str::to_owned)
        .collect()
}

/// Adds the names of all functions, and the titles of all tests of the TypeScript client, under `dir`.
fn collect(dir: &Path, known: &mut BTreeSet<String>) -> Result<()> {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return Ok(());
    };
    for entry in entries {
        let path = entry
            .with_context(|| format!("cannot read {}", dir.display()))?
            .path();
        if path.is_dir() {
            collect(&path, known)?;
            continue;
        }
        let extension = path.extension().and_then(|extension| extension.to_str());
        let Some(extension @ ("rs" | "mjs")) = extension else {
            continue;
        };
        let source = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        if extension == "rs" {
            known.extend(functions(&source));
        } else {
            known.extend(titles(&source));
        }
    }
    Ok(())
}

fn functions(source: &str) -> impl Iterator<Item = String> {
    source.split("fn ").skip(1).map(|rest| {
        rest.chars()
            .take_while(|character| character.is_alphanumeric() || *character == '_')
            .collect()
    })
}

/// What tests for Node are called: `test("this", …`.
fn titles(source: &str) -> impl Iterator<Item = String> {
    source
        .split("\ntest(\"")
        .skip(1)
        .filter_map(|rest| Some(rest.split_once('"')?.0.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_promise_names_a_test_that_exists() {
        let missing = missing(&crate::workspace()).unwrap();
        assert!(
            missing.is_empty(),
            "docs/guarantees.md names tests that do not exist: {missing:?}"
        );
    }

    #[test]
    fn tests_for_node_are_known_by_their_titles() {
        let source = "import x;\n\ntest(\"one, and more\", () => {\n  retest(\"no\");\n});\n";
        assert_eq!(titles(source).collect::<Vec<_>>(), ["one, and more"]);
    }

    #[test]
    fn names_stand_in_the_last_column() {
        let row = "| a promise of `Gap` | `one_test`, `another_test` |\nprose with `code`";
        assert_eq!(
            named(row).into_iter().collect::<Vec<_>>(),
            ["another_test", "one_test"]
        );
    }
}
