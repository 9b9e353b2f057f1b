//! Glob patterns as Redis matches them, for the in-process home; and their escaping.

/// Whether `text` matches `pattern`: `*` any run, `?` one byte, `[a-c]`, `[^x]`, and `\` takes the
/// next byte as it is. Bytes, not characters, as on the server.
pub(crate) fn matches(pattern: &[u8], text: &[u8]) -> bool {
    // Iterative with one point of return: a `*` only ever needs to grow, and only the last one.
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p + 1, t));
            p += 1;
            continue;
        }
        match one(&pattern[p..], text[t]) {
            Some(width) => {
                p += width;
                t += 1;
            }
            None => {
                let Some((after, from)) = star else {
                    return false;
                };
                star = Some((after, from + 1));
                (p, t) = (after, from + 1);
            }
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// How many bytes of `pattern` match `byte`, if its first element does.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'\\', literal, ..] => (*literal == byte).then_some(2),
        [b'[', rest @ ..] => {
            let (within, width) = class(rest, byte);
            within.then_some(width + 1)
        }
        [literal, ..] => (*literal == byte).then_some(1),
    }
}

/// Whether the class after `[` holds `byte`, and its length with the closing `]`.
fn class(pattern: &[u8], byte: u8) -> (bool, usize) {
    let negated = pattern.first() == Some(&b'^');
    let mut at = usize::from(negated);
    let mut found = false;
    // An unclosed class ends with the pattern, as on the server.
    while let Some(&first) = pattern.get(at) {
        match (first, pattern.get(at + 1), pattern.get(at + 2)) {
            (b']', ..) => return (found != negated, at + 1),
            (b'\\', Some(&literal), _) => {
                found |= literal == byte;
                at += 2;
            }
            (low, Some(b'-'), Some(&high)) => {
                found |= (low.min(high)..=low.max(high)).contains(&byte);
                at += 3;
            }
            (literal, ..) => {
                found |= literal == byte;
                at += 1;
            }
        }
    }
    (found != negated, at)
}

/// `text` with every glob character escaped, so that it matches only itself.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '*' | '?' | '[' | ']' | '^' | '-' | '\\') {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_server_s_rules() {
        for (pattern, text, expected) in [
            ("orders:*", "orders:42", true),
            ("orders:*", "orders:", true),
            ("orders:*", "order:42", false),
            ("*", "", true),
            ("a*b*c", "axxbyybc", true),
            ("a*b*c", "axxbyyb", false),
            ("h?llo", "hallo", true),
            ("h?llo", "hllo", false),
            ("h[ae]llo", "hello", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-b]llo", "hbllo", true),
            ("h[b-a]llo", "hallo", true),
            (r"h\*llo", "h*llo", true),
            (r"h\*llo", "hallo", false),
            (r"[\]]", "]", true),
            ("", "", true),
            ("", "a", false),
            ("**", "abc", true),
        ] {
            assert_eq!(
                matches(pattern.as_bytes(), text.as_bytes()),
                expected,
                "{pattern} {text}"
            );
        }
    }

    proptest! {
        #[test]
        fn escaped_text_matches_only_itself(text in ".{0,12}", other in ".{0,12}") {
            let pattern = escape(&text);
            prop_assert!(matches(pattern.as_bytes(), text.as_bytes()));
            prop_assert_eq!(matches(pattern.as_bytes(), other.as_bytes()), text == other);
        }

        #[test]
        fn nothing_panics_and_stars_do_not_explode(pattern: Vec<u8>, text: Vec<u8>) {
            matches(&pattern, &text);
            matches(&b"*a".repeat(20), &b"a".repeat(1000));
        }
    }
}
