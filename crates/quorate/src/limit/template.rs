//! Scripts for a combination of algorithms, put together from parts. A script that counts one policy has the lines of
//! its algorithm and no more: what decides a request runs on the one thread of the server.
//!
//! In a template, and in the parts that are put into it:
//!
//! | | becomes |
//! | --- | --- |
//! | `-- put NAME` | that section of each policy's part, or the file of that name |
//! | `--each …`, `--logs …` | the line for each policy, for each that is a log |
//! | `--log …`, `--plain …`, `--bucket …` | the line, if some policy is a log, if none is, if some is a bucket |
//! | `LIST(…)`, `LIST_OR(…)` | what is in the brackets for each policy, with `,` or `or` between |
//! | a name that ends in `N` | the name with the number of the policy |
//! | `POLICIES`, `STATE`, `REPLY`, `HEADER` | formats of `struct`, and the bytes of a state before its requests |

use super::policy::Algorithm;

const FILES: [(&str, &str); 4] = [
    ("state", include_str!("parts/state.lua")),
    ("requests", include_str!("parts/requests.lua")),
    ("buckets", include_str!("parts/buckets.lua")),
    ("punish", include_str!("parts/punish.lua")),
];

const fn part(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::FixedWindow => include_str!("parts/fixed.lua"),
        Algorithm::SlidingCounter => include_str!("parts/counter.lua"),
        Algorithm::SlidingLog => include_str!("parts/log.lua"),
        Algorithm::TokenBucket => include_str!("parts/bucket.lua"),
    }
}

/// The script for policies that are counted like this.
pub(super) fn render(template: &str, algorithms: &[Algorithm]) -> String {
    let (first, rest) = template.split_once('\n').unwrap_or((template, ""));
    let mut text = format!("{first}\n");
    Rendering { algorithms }.put(rest, &mut text);
    let numbers = |count: usize| format!("'<{}'", "d".repeat(count));
    let count = algorithms.len();
    text.replace("POLICIES", &numbers(1 + 4 * count))
        .replace("STATE", &numbers(3 + 3 * count))
        .replace("REPLY", &numbers(1 + 3 * count))
        .replace("HEADER", &header(count).to_string())
}

/// The bytes of a state before its requests.
pub(super) const fn header(count: usize) -> usize {
    8 * (3 + 3 * count)
}

struct Rendering<'a> {
    algorithms: &'a [Algorithm],
}

impl Rendering<'_> {
    fn put(&self, source: &str, text: &mut String) {
        for line in source.lines() {
            self.line(line.trim_start(), text);
        }
    }

    fn line(&self, line: &str, text: &mut String) {
        if let Some(name) = line.strip_prefix("-- put ") {
            return self.named(name, text);
        }
        let Some((condition, code)) = line
            .strip_prefix("--")
            .and_then(|line| line.split_once(' '))
        else {
            return self.code(line, text);
        };
        let code = code.trim_start();
        let any = |algorithm| self.algorithms.contains(&algorithm);
        match condition {
            "each" => self.each(|_| true, code, text),
            "logs" => self.each(|algorithm| algorithm == Algorithm::SlidingLog, code, text),
            "log" if any(Algorithm::SlidingLog) => self.line(code, text),
            "plain" if !any(Algorithm::SlidingLog) => self.line(code, text),
            "bucket" if any(Algorithm::TokenBucket) => self.line(code, text),
            // What is for other combinations, or for who reads it.
            _ => {}
        }
    }

    fn each(&self, which: impl Fn(Algorithm) -> bool, code: &str, text: &mut String) {
        for (number, algorithm) in self.algorithms.iter().enumerate() {
            if which(*algorithm) {
                self.code(&numbered(code, number + 1), text);
            }
        }
    }

    /// A file, or a section of the part of each policy.
    fn named(&self, name: &str, text: &mut String) {
        if let Some((_, file)) = FILES.iter().find(|(file, _)| *file == name) {
            return self.put(file, text);
        }
        for (number, algorithm) in self.algorithms.iter().enumerate() {
            let lines = part(*algorithm).lines();
            let section = lines
                .skip_while(|line| line.strip_prefix("-- section ") != Some(name))
                .skip(1)
                .take_while(|line| !line.starts_with("-- section "));
            for line in section {
                self.code(&numbered(line.trim_start(), number + 1), text);
            }
        }
    }

    /// A line of code with its lists.
    fn code(&self, line: &str, text: &mut String) {
        let line = self.listed(line, "LIST_OR(", " or ");
        let line = self.listed(&line, "LIST(", ", ");
        text.push_str(&line);
        text.push('\n');
    }

    fn listed(&self, line: &str, name: &str, between: &str) -> String {
        let found = line.split_once(name).and_then(|(before, rest)| {
            let (inner, after) = rest.split_once(')')?;
            Some((before, inner, after))
        });
        let Some((before, inner, after)) = found else {
            return line.to_owned();
        };
        let each: Vec<_> = (1..=self.algorithms.len())
            .map(|number| numbered(inner, number))
            .collect();
        let after = self.listed(after, name, between);
        format!("{before}{}{after}", each.join(between))
    }
}

/// Puts the number of a policy in place of the `N` that names end in.
fn numbered(code: &str, number: usize) -> String {
    let mut text = String::with_capacity(code.len() + 8);
    let mut before = ' ';
    let mut rest = code.chars().peekable();
    while let Some(letter) = rest.next() {
        let ends = rest
            .peek()
            .is_none_or(|next| !next.is_ascii_alphanumeric() && *next != '_');
        if letter == 'N' && before.is_ascii_lowercase() && ends {
            text.push_str(&number.to_string());
        } else {
            text.push(letter);
        }
        before = letter;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lists_and_conditions() {
        let template = "#!lua flags=x\n-- a comment\n--log nothing\n--plain local a = STATE\n\
                        --each local xN = limitN + N\n  if LIST_OR(waitN > 0) then return LIST(aN, b) end\n";
        let two = [Algorithm::FixedWindow, Algorithm::TokenBucket];
        assert_eq!(
            render(template, &two),
            "#!lua flags=x\nlocal a = '<ddddddddd'\nlocal x1 = limit1 + N\nlocal x2 = limit2 + N\n\
             if wait1 > 0 or wait2 > 0 then return a1, b, a2, b end\n"
        );
        assert_eq!(header(2), 72);
    }

    #[test]
    fn parts_are_put_for_each_policy() {
        let text = render(
            "#!lua\n-- put state\n-- put take\n",
            &[Algorithm::SlidingLog, Algorithm::FixedWindow],
        );
        for line in [
            "'GETRANGE', KEYS[1], 0, 72 - 1",
            "local function let_go",
            "b1 = b1 + cost",
            "b2 = b2 + cost",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        assert!(!text.contains("remembered") && !text.contains("--"));
    }
}
