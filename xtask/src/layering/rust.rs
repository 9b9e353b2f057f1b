//! Just enough of Rust's syntax to see which paths a file mentions.

/// A path in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path {
    /// From the crate root, beginning with `crate`, or from another crate, beginning with its name
    /// (or from a name in scope: the two look alike).
    pub(super) segments: Vec<String>,
    pub(super) line: usize,
    /// Inside a `mod tests { … }`.
    pub(super) in_tests: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Word(String),
    /// `::`
    Separator,
    Other(char),
}

/// The tokens of a source, each with its line, without comments, strings and lifetimes.
pub(super) fn tokens(source: &str) -> Vec<(Token, usize)> {
    let chars: Vec<char> = source.chars().collect();
    let mut tokens = Vec::new();
    let mut line = 1;
    let mut at = 0;
    while at < chars.len() {
        let end = match (chars[at], chars.get(at + 1).copied().unwrap_or(' ')) {
            ('/', '/') => find(&chars, at, |rest| rest[0] == '\n'),
            ('/', '*') => block_comment(&chars, at),
            ('"', _) => string(&chars, at),
            ('r' | 'b' | 'c', _) if raw_string(&chars, at).is_some() => {
                raw_string(&chars, at).unwrap_or(at + 1)
            }
            ('\'', _) => quote(&chars, at),
            (':', ':') => {
                tokens.push((Token::Separator, line));
                at + 2
            }
            (c, _) if is_word(c) => {
                let end = find(&chars, at, |rest| !is_word(rest[0]));
                tokens.push((Token::Word(chars[at..end].iter().collect()), line));
                end
            }
            (c, _) => {
                if !c.is_whitespace() {
                    tokens.push((Token::Other(c), line));
                }
                at + 1
            }
        };
        line += chars[at..end].iter().filter(|&&c| c == '\n').count();
        at = end;
    }
    tokens
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The first place from `at` on where the condition holds, or the end.
fn find(chars: &[char], at: usize, condition: impl Fn(&[char]) -> bool) -> usize {
    (at..chars.len())
        .find(|&at| condition(&chars[at..]))
        .unwrap_or(chars.len())
}

fn block_comment(chars: &[char], start: usize) -> usize {
    let mut depth = 0;
    let mut at = start;
    while at < chars.len() {
        match (chars[at], chars.get(at + 1).copied().unwrap_or(' ')) {
            ('/', '*') => {
                depth += 1;
                at += 2;
            }
            ('*', '/') => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    chars.len()
}

fn string(chars: &[char], start: usize) -> usize {
    let mut at = start + 1;
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    chars.len()
}

/// The end of a raw string that starts here, if one does: `r"…"`, `br#"…"#` …
fn raw_string(chars: &[char], start: usize) -> Option<usize> {
    let mut at = start;
    while matches!(chars.get(at), Some('b' | 'c')) {
        at += 1;
    }
    if chars.get(at) != Some(&'r') {
        return None;
    }
    let hashes = find(chars, at + 1, |rest| rest[0] != '#') - at - 1;
    at += 1 + hashes;
    if chars.get(at) != Some(&'"') {
        return None;
    }
    let closes = |rest: &[char]| {
        rest[0] == '"' && rest.len() > hashes && rest[1..=hashes].iter().all(|&c| c == '#')
    };
    Some((find(chars, at + 1, closes) + 1 + hashes).min(chars.len()))
}

/// A character in quotes, or a lifetime.
fn quote(chars: &[char], start: usize) -> usize {
    match (chars.get(start + 1), chars.get(start + 2)) {
        (Some('\\'), _) => find(chars, start + 3, |rest| rest[0] == '\'') + 1,
        (Some(_), Some('\'')) => start + 3,
        _ => find(chars, start + 1, |rest| !is_word(rest[0])),
    }
    .min(chars.len())
}

/// Every path of two or more segments, and every import, in the file of this module.
pub(super) fn paths(source: &str, module: &[&str]) -> Vec<Path> {
    let tokens = tokens(source);
    let mut walk = Walk {
        tokens: &tokens,
        at: 0,
        module: module.iter().map(|&name| name.to_owned()).collect(),
        depth: 0,
        inner: Vec::new(),
        found: Vec::new(),
    };
    walk.file();
    walk.found
}

struct Walk<'a> {
    tokens: &'a [(Token, usize)],
    at: usize,
    /// The module we are in.
    module: Vec<String>,
    /// How many braces are open.
    depth: usize,
    /// For each `mod name { … }` we are in, the depth outside it.
    inner: Vec<usize>,
    found: Vec<Path>,
}

impl Walk<'_> {
    fn file(&mut self) {
        while let Some(token) = self.peek(0) {
            match token {
                Token::Other('{') => {
                    self.depth += 1;
                    self.at += 1;
                }
                Token::Other('}') => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.inner.last() == Some(&self.depth) {
                        self.inner.pop();
                        self.module.pop();
                    }
                    self.at += 1;
                }
                Token::Word(word) if word == "mod" => self.module(),
                Token::Word(word) if word == "use" => {
                    self.at += 1;
                    // `impl Trait + use<'a>` imports nothing.
                    if self.peek(0) != Some(&Token::Other('<')) {
                        self.tree(&[]);
                    }
                }
                Token::Word(_) => self.expression(),
                _ => self.at += 1,
            }
        }
    }

    fn peek(&self, ahead: usize) -> Option<&Token> {
        self.tokens.get(self.at + ahead).map(|(token, _)| token)
    }

    fn line(&self) -> usize {
        self.tokens.get(self.at).map_or(0, |(_, line)| *line)
    }

    /// `mod name;` or the beginning of `mod name { … }`.
    fn module(&mut self) {
        if let (Some(Token::Word(name)), Some(Token::Other('{'))) = (self.peek(1), self.peek(2)) {
            self.module.push(name.clone());
            self.inner.push(self.depth);
            self.depth += 1;
            self.at += 3;
        } else {
            self.at += 1;
        }
    }

    /// A path in an expression or type; single words are left out.
    fn expression(&mut self) {
        let line = self.line();
        let mut segments = Vec::new();
        while let Some(Token::Word(word)) = self.peek(0) {
            segments.push(word.clone());
            self.at += 1;
            if self.peek(0) != Some(&Token::Separator) {
                break;
            }
            self.at += 1;
        }
        if segments.len() > 1 {
            self.add(&segments, line);
        }
    }

    /// What follows `use`, or stands inside its braces.
    fn tree(&mut self, prefix: &[String]) {
        let line = self.line();
        let mut segments = prefix.to_vec();
        loop {
            match self.peek(0) {
                Some(Token::Word(word)) if word == "as" => {
                    // The new name says nothing about where it comes from.
                    self.at += 2;
                }
                Some(Token::Word(word)) => {
                    if word != "self" || segments.is_empty() {
                        segments.push(word.clone());
                    }
                    self.at += 1;
                }
                Some(Token::Separator) => self.at += 1,
                Some(Token::Other('*')) => {
                    segments.push("*".to_owned());
                    self.at += 1;
                }
                Some(Token::Other('{')) => {
                    self.at += 1;
                    while !matches!(self.peek(0), Some(Token::Other('}')) | None) {
                        self.tree(&segments);
                        if self.peek(0) == Some(&Token::Other(',')) {
                            self.at += 1;
                        }
                    }
                    self.at += 1;
                    return;
                }
                // A comma, a closing brace, or the end.
                _ => break,
            }
        }
        self.add(&segments, line);
    }

    fn add(&mut self, segments: &[String], line: usize) {
        let mut module = self.module.clone();
        let mut rest = segments;
        let absolute = match segments.first().map(String::as_str) {
            Some("crate") => {
                module.clear();
                rest = &segments[1..];
                true
            }
            Some("self") => {
                rest = &segments[1..];
                true
            }
            Some("super") => {
                while rest.first().is_some_and(|word| word == "super") {
                    module.pop();
                    rest = &rest[1..];
                }
                true
            }
            _ => false,
        };
        let segments = if absolute {
            [vec!["crate".to_owned()], module, rest.to_vec()].concat()
        } else {
            rest.to_vec()
        };
        let in_tests = self.module.iter().any(|name| name == "tests");
        self.found.push(Path {
            segments,
            line,
            in_tests,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(source: &str) -> Vec<String> {
        let paths = paths(source, &["lock", "memory"]);
        paths
            .iter()
            .map(|path| format!("{} {}", path.line, path.segments.join("::")))
            .collect()
    }

    #[test]
    fn imports_are_taken_apart() {
        let source =
            "use super::{port::{LockPort as Port, self}, *};\npub use crate::a::B;\nuse tokio;\n";
        assert_eq!(
            found(source),
            [
                "1 crate::lock::port::LockPort",
                "1 crate::lock::port",
                "1 crate::lock::*",
                "2 crate::a::B",
                "3 tokio",
            ]
        );
    }

    #[test]
    fn paths_in_code_count_and_text_does_not() {
        let source = "// super::handle\n/* a /* super::handle */ */\nlet a = \"super::handle\\\" \";\n\
            let b = r#\"super::handle\"#; let c = '\"'; fn d<'a>(x: &'a str) {}\n\
            let e = super::handle::new(self::x);";
        assert_eq!(
            found(source),
            ["5 crate::lock::handle::new", "5 crate::lock::memory::x"]
        );
    }

    #[test]
    fn modules_inside_a_file_shift_super() {
        let source = "mod tests {\n use super::*;\n fn f() { super::super::port::x() }\n}\nfn g() { super::port::y() }";
        let paths = paths(source, &["lock", "memory"]);
        let shown: Vec<_> = paths
            .iter()
            .map(|path| (path.segments.join("::"), path.in_tests))
            .collect();
        assert_eq!(
            shown,
            [
                ("crate::lock::memory::*".to_owned(), true),
                ("crate::lock::port::x".to_owned(), true),
                ("crate::lock::port::y".to_owned(), false),
            ]
        );
    }
}
