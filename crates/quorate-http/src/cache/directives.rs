//! What `Cache-Control`, the fields targeted at caches, and a request say, as pure functions.

use axum::http::header::{CACHE_CONTROL, PRAGMA};
use axum::http::{HeaderMap, HeaderName};
use sfv::{BareItem, Dictionary, ListEntry, Parser};

/// The longest time that a directive can say, in seconds: larger ones mean it (RFC 9111, 1.2.2).
const MOST: u64 = 1 << 31;

/// A directive with its argument.
type Directive = (String, Option<String>);

/// What a response says to caches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ResponseDirectives {
    pub(super) no_store: bool,
    pub(super) no_cache: bool,
    pub(super) private: bool,
    pub(super) public: bool,
    pub(super) must_revalidate: bool,
    pub(super) proxy_revalidate: bool,
    pub(super) must_understand: bool,
    pub(super) max_age: Option<u64>,
    pub(super) s_maxage: Option<u64>,
    pub(super) stale_while_revalidate: Option<u64>,
    pub(super) stale_if_error: Option<u64>,
    /// From a field that is meant for caches like this one: then `Expires` says nothing to it.
    pub(super) is_targeted: bool,
}

/// What a request asks of caches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RequestDirectives {
    pub(super) no_store: bool,
    pub(super) no_cache: bool,
    pub(super) only_if_cached: bool,
    pub(super) max_age: Option<u64>,
    pub(super) min_fresh: Option<u64>,
    /// How stale it may be; `Some(None)`: however much.
    pub(super) max_stale: Option<Option<u64>>,
    pub(super) stale_if_error: Option<u64>,
}

impl ResponseDirectives {
    /// From the first of the targeted fields that is there and can be read, else from `Cache-Control`.
    pub(super) fn of(headers: &HeaderMap, targets: &[HeaderName]) -> Self {
        for target in targets {
            if let Some(directives) = targeted(headers, target) {
                let mut read = Self::read(&directives);
                read.is_targeted = true;
                return read;
            }
        }
        Self::read(&listed(headers, &CACHE_CONTROL))
    }

    fn read(directives: &[Directive]) -> Self {
        let mut read = Self::default();
        for (name, argument) in directives {
            match name.as_str() {
                "no-store" => read.no_store = true,
                // With names of fields it concerns only those; all is more cautious.
                "no-cache" => read.no_cache = true,
                "private" => read.private = true,
                "public" => read.public = true,
                "must-revalidate" => read.must_revalidate = true,
                "proxy-revalidate" => read.proxy_revalidate = true,
                "must-understand" => read.must_understand = true,
                "max-age" => least(&mut read.max_age, seconds(argument.as_deref())),
                "s-maxage" => least(&mut read.s_maxage, seconds(argument.as_deref())),
                "stale-while-revalidate" => {
                    least(
                        &mut read.stale_while_revalidate,
                        seconds(argument.as_deref()),
                    );
                }
                "stale-if-error" => least(&mut read.stale_if_error, seconds(argument.as_deref())),
                _ => {}
            }
        }
        read
    }

    /// Whether it must not be given stale without asking.
    pub(super) const fn forbids_stale(&self) -> bool {
        self.no_cache || self.must_revalidate || self.proxy_revalidate || self.s_maxage.is_some()
    }
}

impl RequestDirectives {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut read = Self::default();
        for (name, argument) in listed(headers, &CACHE_CONTROL) {
            let argument = argument.as_deref();
            match name.as_str() {
                "no-store" => read.no_store = true,
                "no-cache" => read.no_cache = true,
                "only-if-cached" => read.only_if_cached = true,
                "max-age" => least(&mut read.max_age, seconds(argument)),
                // What cannot be read asks for more than anything has.
                "min-fresh" => read.min_fresh = Some(number(argument).unwrap_or(MOST)),
                "max-stale" => {
                    read.max_stale = Some(argument.map(|digits| seconds(Some(digits))));
                }
                "stale-if-error" => least(&mut read.stale_if_error, seconds(argument)),
                _ => {}
            }
        }
        if !headers.contains_key(CACHE_CONTROL) {
            let pragma = listed(headers, &PRAGMA);
            read.no_cache = pragma.iter().any(|(name, _)| name == "no-cache");
        }
        read
    }
}

/// The least of what was said: of times that contradict each other the shortest is the safe one.
fn least(known: &mut Option<u64>, said: u64) {
    *known = Some(known.map_or(said, |known| known.min(said)));
}

/// A time; one that cannot be read is none: what depends on it is stale.
fn seconds(argument: Option<&str>) -> u64 {
    number(argument).unwrap_or(0)
}

fn number(argument: Option<&str>) -> Option<u64> {
    let digits = argument?;
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // Only too many digits are left to fail.
    Some(digits.parse().unwrap_or(MOST).min(MOST))
}

/// The directives of all lines of a field. What is no text is taken for nothing.
fn listed(headers: &HeaderMap, name: &HeaderName) -> Vec<Directive> {
    let mut found = Vec::new();
    for line in headers.get_all(name) {
        let text = String::from_utf8_lossy(line.as_bytes());
        for part in split(&text) {
            let (name, argument) = match part.split_once('=') {
                Some((name, argument)) => (name, Some(unquoted(argument.trim()))),
                None => (part, None),
            };
            let name = name.trim().to_ascii_lowercase();
            if !name.is_empty() {
                found.push((name, argument));
            }
        }
    }
    found
}

/// Parts of a list between commas that are not within quotes.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut begin, mut is_quoted, mut is_escaped) = (Vec::new(), 0, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            b',' if !is_quoted => {
                parts.push(&text[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[begin..]);
    parts
}

fn unquoted(argument: &str) -> String {
    let inner = argument
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    inner.map_or_else(|| argument.to_owned(), |inner| inner.replace('\\', ""))
}

/// The directives of a targeted field (RFC 9213): a dictionary that can be read and is not empty.
fn targeted(headers: &HeaderMap, name: &HeaderName) -> Option<Vec<Directive>> {
    let value = super::key::field_value(headers, name)?;
    let dictionary: Dictionary = Parser::new(&value).parse().ok()?;
    if dictionary.is_empty() {
        return None;
    }
    let directive = |(name, entry): (&sfv::Key, &ListEntry)| {
        let ListEntry::Item(item) = entry else {
            // Names of fields: as if there were none.
            return Some((name.as_str().to_owned(), None));
        };
        let argument = match &item.bare_item {
            BareItem::Boolean(false) => return None,
            BareItem::Integer(number) => Some(number.to_string()),
            BareItem::Boolean(true) => None,
            // No directive that is known here has another kind: as a time it is none.
            _ => Some(String::new()),
        };
        Some((name.as_str().to_owned(), argument))
    };
    Some(dictionary.iter().filter_map(directive).collect())
}

/// The strings of a structured list (RFC 9875); nothing if it cannot be read.
pub(super) fn strings(headers: &HeaderMap, name: &HeaderName) -> Vec<String> {
    let Some(value) = super::key::field_value(headers, name) else {
        return Vec::new();
    };
    let Ok(list) = Parser::new(&value).parse::<sfv::List>() else {
        return Vec::new();
    };
    let string = |entry: &ListEntry| match entry {
        ListEntry::Item(item) => Some(item.bare_item.as_string()?.as_str().to_owned()),
        ListEntry::InnerList(_) => None,
    };
    list.iter().filter_map(string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let line = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), value.parse().unwrap())
        };
        lines.iter().map(line).collect()
    }

    fn response(lines: &[(&'static str, &str)]) -> ResponseDirectives {
        let targets = [HeaderName::from_static("cdn-cache-control")];
        ResponseDirectives::of(&headers(lines), &targets)
    }

    #[test]
    fn lists_are_read_over_lines_and_quotes() {
        let read = response(&[
            (
                "cache-control",
                "Max-Age=\"60\" , ext=\"a, no-store, \\\" b\",",
            ),
            ("cache-control", ", PUBLIC"),
        ]);
        assert_eq!(
            (read.max_age, read.public, read.no_store),
            (Some(60), true, false)
        );
    }

    #[test]
    fn times_that_make_no_sense_are_none() {
        for (text, time) in [
            ("max-age=-1", Some(0)),
            ("max-age=1.5", Some(0)),
            ("max-age", Some(0)),
            ("max-age=", Some(0)),
            ("max-age=60, max-age=30", Some(30)),
            ("max-age=99999999999999999999999", Some(MOST)),
            ("s-maxage=60", None),
        ] {
            assert_eq!(response(&[("cache-control", text)]).max_age, time, "{text}");
        }
    }

    #[test]
    fn a_targeted_field_replaces_the_others_if_it_can_be_read() {
        for (text, time, is_targeted) in [
            ("max-age=5", Some(5), true),
            ("no-store", None, true),
            ("max-age=\"5\"", Some(0), true),
            ("Max-Age=5", Some(60), false),
            ("max-age=5,,", Some(60), false),
            ("", Some(60), false),
        ] {
            let read = response(&[("cache-control", "max-age=60"), ("cdn-cache-control", text)]);
            assert_eq!(
                (read.max_age, read.is_targeted),
                (time, is_targeted),
                "{text}"
            );
        }
    }

    #[test]
    fn groups_are_strings_of_a_list() {
        let name = HeaderName::from_static("cache-groups");
        let read = |text| strings(&headers(&[("cache-groups", text)]), &name);
        assert_eq!(read("\"a\", \"b\";x=1, token, (\"c\")"), ["a", "b"]);
        assert!(read("\"a\", broken\"").is_empty());
    }

    proptest! {
        #[test]
        fn whatever_is_sent_is_read(text in "[ -~]{0,40}") {
            let lines = [("cache-control", &*text), ("cdn-cache-control", &*text)];
            response(&lines);
            RequestDirectives::of(&headers(&lines));
            strings(&headers(&lines), &CACHE_CONTROL);
        }
    }
}
