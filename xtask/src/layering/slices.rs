//! Inside a capability's folder, and between two of them.

use std::path::Path as FilePath;

use anyhow::Result;

use super::rust::{self, Path, Token};
use super::{LIBRARY, Source, Violation, files};

/// The capabilities, each a folder of the library.
const SLICES: [&str; 11] = [
    "store",
    "events",
    "history",
    "presence",
    "cache",
    "session",
    "limit",
    "lock",
    "queue",
    "execution",
    "durable",
];

/// What decisions must not know of: everything with a clock, a socket or a task in it.
const IMPURE_CRATES: [&str; 9] = [
    "metrics",
    "tracing",
    "tokio",
    "tokio_stream",
    "tokio_util",
    "futures_util",
    "async_trait",
    "quorate_link",
    "parking_lot",
];

/// What their own folder's decisions must not know of.
const SHELL: [&str; 4] = ["port", "handle", "memory", "redis"];

/// Checks one file of the library.
pub(super) fn check(file: &Source, root: &FilePath) -> Vec<Violation> {
    let Some(module) = module_of(&file.name) else {
        return Vec::new();
    };
    let [slice, inside @ ..] = &*module else {
        return Vec::new();
    };
    if !SLICES.contains(slice) {
        return Vec::new();
    }
    let mut violations = Vec::new();
    if file.name.ends_with(&format!("/{slice}/mod.rs")) {
        violations.extend(contents_of_mod(file));
    }
    let is_backend = matches!(inside.first(), Some(&("memory" | "redis")));
    let is_pure = is_pure(&file.text);
    for path in rust::paths(&file.text, &module) {
        let segments: Vec<_> = path.segments.iter().map(String::as_str).collect();
        let rule = match segments[..] {
            ["crate", other, "handle", ..] if other == *slice && is_backend => {
                "a backend does not know the handle above it".to_owned()
            }
            ["crate", other, inner, ..] if other != *slice && is_submodule(root, other, inner) => {
                format!("a capability knows only what another re-exports, not {other}::{inner}")
            }
            _ if is_pure && !path.in_tests && is_impure(slice, &path) => {
                format!("a pure file does not know {}", segments.join("::"))
            }
            _ => continue,
        };
        violations.push(file.violation(path.line, rule));
    }
    violations
}

/// A folder with scripts has the pure functions that they mirror.
pub(super) fn check_twins(root: &FilePath) -> Result<Vec<Violation>> {
    let mut violations = Vec::new();
    for slice in SLICES {
        let dir = root.join(LIBRARY).join(slice);
        if files(&dir.join("scripts"), "lua")?.is_empty() {
            continue;
        }
        let mut pure = false;
        for file in files(&dir, "rs")? {
            pure |= is_pure(&Source::read(root, &file)?.text);
        }
        if !pure {
            violations.push(Violation {
                file: format!("{LIBRARY}/{slice}"),
                line: 0,
                rule: "has scripts, and no pure twin that they are tested against: let the `//!` of the \
                       file with the transitions contain the words `pure function`"
                    .into(),
            });
        }
    }
    Ok(violations)
}

/// The module of a file of the library: `["lock", "redis"]` for `…/lock/redis.rs`.
fn module_of(name: &str) -> Option<Vec<&str>> {
    let inside = name
        .strip_prefix(LIBRARY)?
        .strip_prefix('/')?
        .strip_suffix(".rs")?;
    let inside = inside.strip_suffix("/mod").unwrap_or(inside);
    Some(inside.split('/').collect())
}

/// Whether a file says of itself, in its first documentation, that it is pure.
fn is_pure(text: &str) -> bool {
    let docs = text.lines().take_while(|line| line.starts_with("//!"));
    docs.collect::<String>()
        .to_lowercase()
        .contains("pure function")
}

fn is_impure(slice: &str, path: &Path) -> bool {
    let segments: Vec<_> = path.segments.iter().map(String::as_str).collect();
    match segments[..] {
        ["crate", other, inner, ..] if other == slice => SHELL.contains(&inner),
        ["crate", "redis" | "embedded" | "fleet" | "context", ..] => true,
        ["std", "time", "Instant" | "SystemTime", ..] | ["std", "thread" | "sync" | "net", ..] => {
            true
        }
        [first, ..] => IMPURE_CRATES.contains(&first),
        [] => false,
    }
}

/// Whether `inner` is a module of that capability, rather than something it re-exports.
fn is_submodule(root: &FilePath, slice: &str, inner: &str) -> bool {
    let dir = root.join(LIBRARY).join(slice);
    SLICES.contains(&slice)
        && (dir.join(format!("{inner}.rs")).is_file() || dir.join(inner).join("mod.rs").is_file())
}

/// The `mod.rs` of a capability is its table of contents.
fn contents_of_mod(file: &Source) -> Vec<Violation> {
    const RULE: &str = "mod.rs holds documentation, `mod` and `pub use`, and nothing else";
    let tokens = rust::tokens(&file.text);
    let word = |at: usize, word: &str| matches!(tokens.get(at), Some((Token::Word(found), _)) if found == word);
    let other = |at: usize, c: char| {
        tokens
            .get(at)
            .is_some_and(|(token, _)| *token == Token::Other(c))
    };
    let mut violations = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        while other(at, '#') {
            at = after_brackets(&tokens, at, '[', ']');
        }
        let start = at;
        let public = word(at, "pub");
        at += usize::from(public);
        if public && other(at, '(') {
            at = after_brackets(&tokens, at, '(', ')');
        }
        let is_module = word(at, "mod") && other(at + 2, ';');
        let is_reexport = public && word(at, "use");
        if !is_module && !is_reexport {
            if let Some((_, line)) = tokens.get(start) {
                violations.push(file.violation(*line, RULE));
            }
            // One message is enough: what follows an unknown item is not worth guessing.
            return violations;
        }
        while at < tokens.len() && !other(at, ';') {
            at += 1;
        }
        at += 1;
    }
    violations
}

/// The place behind the brackets that open at or after `at`.
fn after_brackets(tokens: &[(Token, usize)], mut at: usize, open: char, close: char) -> usize {
    let mut depth = 0_usize;
    while let Some((token, _)) = tokens.get(at) {
        at += 1;
        if *token == Token::Other(open) {
            depth += 1;
        } else if *token == Token::Other(close) {
            depth = depth.saturating_sub(1);
            if depth == 0 {
                break;
            }
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use crate::layering::tests::violations;

    #[test]
    fn backends_do_not_know_the_handle() {
        let found = violations(&[
            (
                "crates/quorate/src/lock/memory.rs",
                "use super::port::P;\nuse super::{handle::Lock};\n",
            ),
            (
                "crates/quorate/src/lock/redis.rs",
                "fn f() { crate::lock::handle::x() }\n",
            ),
            (
                "crates/quorate/src/lock/redis/deep.rs",
                "use super::super::handle;\n",
            ),
            (
                "crates/quorate/src/lock/guard.rs",
                "use super::handle::Lock;\n",
            ),
        ]);
        assert_eq!(
            found,
            [
                "crates/quorate/src/lock/memory.rs:2: a backend does not know the handle above it",
                "crates/quorate/src/lock/redis.rs:1: a backend does not know the handle above it",
                "crates/quorate/src/lock/redis/deep.rs:1: a backend does not know the handle above it",
            ]
        );
    }

    #[test]
    fn capabilities_know_only_what_others_re_export() {
        let found = violations(&[
            ("crates/quorate/src/events/port.rs", ""),
            (
                "crates/quorate/src/lock/handle.rs",
                "use crate::events::{Topic, port::Target};\n",
            ),
            (
                "crates/quorate/src/fleet.rs",
                "use crate::events::port::Target;\n",
            ),
        ]);
        assert_eq!(
            found,
            [
                "crates/quorate/src/lock/handle.rs:1: a capability knows only what another \
              re-exports, not events::port"
            ]
        );
    }

    #[test]
    fn pure_files_know_no_clock_and_no_backend() {
        let found = violations(&[(
            "crates/quorate/src/limit/gcra.rs",
            "//! Decides, as a pure function.\nuse std::time::Duration;\nuse std::time::Instant;\n\
             use super::port::X;\nuse tokio::time;\nmod tests { use tokio::time; }\n",
        )]);
        let lines: Vec<_> = found
            .iter()
            .map(|text| text.split(':').nth(1).unwrap())
            .collect();
        assert_eq!(lines, ["3", "4", "5"], "{found:?}");
    }

    #[test]
    fn scripts_have_a_twin() {
        let script = "#!lua\n-- KEYS ARGV returns atomic\n";
        let found = violations(&[("crates/quorate/src/limit/scripts/take.lua", script)]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].starts_with("crates/quorate/src/limit: has scripts"),
            "{found:?}"
        );
    }

    #[test]
    fn mod_files_are_tables_of_contents() {
        let good = "//! Docs.\n#![allow(x)]\nmod a;\n#[cfg(feature = \"redis\")]\npub(crate) mod b;\n\
                    pub use a::{A, B};\npub(crate) use b::C;\n";
        assert_eq!(
            violations(&[("crates/quorate/src/lock/mod.rs", good)]),
            [""; 0]
        );
        for bad in [
            "fn f() {}",
            "use a::A;",
            "pub struct S;",
            "mod a { }",
            "pub const X: u8 = 1;",
        ] {
            let text = format!("mod a;\n{bad}\n");
            let found = violations(&[("crates/quorate/src/lock/mod.rs", &text)]);
            assert_eq!(found.len(), 1, "{bad}: {found:?}");
            assert!(
                found[0].starts_with("crates/quorate/src/lock/mod.rs:2: "),
                "{found:?}"
            );
        }
    }
}
