//! Lua scripts say what they need and why they are one.

use super::{Source, Violation};

/// What a header has to mention, as the first word of a line or on its own, and why.
const REQUIRED: [(&str, &str); 4] = [
    ("KEYS", "which keys it touches"),
    ("ARGV", "what its arguments are"),
    ("returns", "what it returns"),
    ("atomic", "why it has to be one step"),
];

pub(super) fn check(file: &Source) -> Vec<Violation> {
    // Fragments that are put in front of scripts live elsewhere.
    if !file.name.contains("/scripts/") {
        return Vec::new();
    }
    let mut violations = Vec::new();
    let mut lines = file.text.lines();
    if !lines
        .next()
        .is_some_and(|line| line == "#!lua" || line.starts_with("#!lua "))
    {
        let rule = "a script starts with #!lua, so that undeclared keys are refused";
        violations.push(file.violation(1, rule));
    }
    let header: Vec<_> = file
        .text
        .lines()
        .skip_while(|line| !line.starts_with("--"))
        .collect();
    let header = header.into_iter().take_while(|line| line.starts_with("--"));
    let header = header.collect::<Vec<_>>().join("\n");
    for (number, line) in file.text.lines().enumerate() {
        if line.contains("'TIME'") || line.contains("\"TIME\"") {
            let rule = "a script takes the time from now(), which tests can move";
            violations.push(file.violation(number + 1, rule));
        }
    }
    for (word, meaning) in REQUIRED {
        if !header.contains(word) {
            let rule = format!("the header of a script says {meaning} (`{word}`)");
            violations.push(file.violation(1, rule));
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use crate::layering::tests::violations;

    const NAME: &str = "crates/quorate/src/lock/scripts/take.lua";
    const CORE: (&str, &str) = ("crates/quorate/src/lock/lease.rs", "//! A pure function.\n");

    #[test]
    fn a_whole_header_is_enough() {
        let text = "#!lua flags=no-writes\n-- Takes.\n-- KEYS[1] a\n-- ARGV[1] b\n-- returns c\n-- atomic d\nreturn 1\n";
        assert_eq!(violations(&[CORE, (NAME, text)]), [""; 0]);
    }

    #[test]
    fn every_part_of_it_is_needed() {
        let found = violations(&[CORE, (NAME, "return 1\n-- KEYS too late\n")]);
        // `-- KEYS` after the code is the first comment there is; it does say what the keys are.
        assert_eq!(found.len(), 4, "{found:?}");
        assert!(
            found.iter().any(|text| text.contains("starts with #!lua")),
            "{found:?}"
        );
        assert!(
            found.iter().any(|text| text.contains("`atomic`")),
            "{found:?}"
        );
    }

    #[test]
    fn time_comes_from_the_prelude() {
        let text = "#!lua\n-- KEYS ARGV returns atomic\nlocal t = redis.call('TIME')\n";
        let found = violations(&[CORE, (NAME, text)]);
        assert!(found.len() == 1 && found[0].contains("now()"), "{found:?}");
    }

    #[test]
    fn fragments_are_no_scripts() {
        assert_eq!(
            violations(&[("crates/quorate/src/redis/prelude.lua", "local x = 1\n")]),
            [""; 0]
        );
    }
}
