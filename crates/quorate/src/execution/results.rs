//! Results as they are read, and what is said of one that is something else.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::port::results_key;
use crate::error::{Error, ErrorKind, Result};
use crate::key::Key;

/// As much of a value as is shown of it, in characters.
const SHOWN: usize = 256;

/// The results of an execution at one moment, by the ids of their tasks. Each is decoded when it is asked for, as the
/// type that is asked for.
#[derive(Clone, Debug)]
pub struct TaskResults {
    key: Key,
    results: BTreeMap<String, Bytes>,
}

impl TaskResults {
    pub(super) const fn new(key: Key, results: BTreeMap<String, Bytes>) -> Self {
        Self { key, results }
    }

    /// The result of a task; `None` if it has none.
    ///
    /// # Errors
    /// `Decode` if it is none of these values.
    pub fn get<T: DeserializeOwned>(&self, task: &str) -> Result<Option<T>> {
        let result = self.results.get(task);
        result
            .map(|result| decode(&self.key, task, result))
            .transpose()
    }

    /// The ids of the tasks that have a result, in the order of text.
    pub fn tasks(&self) -> impl Iterator<Item = &str> {
        self.results.keys().map(String::as_str)
    }

    /// Whether a task has a result.
    #[must_use]
    pub fn contains(&self, task: &str) -> bool {
        self.results.contains_key(task)
    }

    /// How many results there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.results.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.results.is_empty()
    }
}

/// A result as a value.
pub(super) fn decode<T: DeserializeOwned>(key: &Key, task: &str, result: &Bytes) -> Result<T> {
    serde_json::from_slice(result).map_err(|source| {
        let (key_text, field) = (results_key(key), task.escape_debug());
        let raw = shortened(result);
        Error::new(ErrorKind::Decode)
            .with_target(key.name())
            .with_message(format!(
                "failed to parse JSON for key \"{key_text}\" field \"{field}\": {source}. Raw value: \"{raw}\""
            ))
            .with_source(source)
    })
}

/// The beginning of a value, on one line.
fn shortened(value: &[u8]) -> String {
    // A character has four bytes at most: what is behind them is not looked at.
    let beginning = &value[..value.len().min(SHOWN * 4)];
    let text = String::from_utf8_lossy(beginning);
    let shown: String = text.chars().take(SHOWN).collect();
    let is_whole = shown.len() == text.len() && beginning.len() == value.len();
    let rest = if is_whole { "" } else { "…" };
    format!("{}{rest}", shown.escape_debug())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Namespace;

    #[test]
    fn what_is_no_such_value_is_shown_with_where_it_is() {
        let namespace = Namespace::new("shop").unwrap();
        let key = Key::new(&namespace, "checkout:order-42").unwrap();
        let error = decode::<u32>(&key, "charge", &Bytes::from("\"paid\"")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Decode);
        assert_eq!(
            error.message(),
            Some(
                "failed to parse JSON for key \"shop:execution:{checkout:order-42}:results\" field \"charge\": \
                 invalid type: string \"paid\", expected u32 at line 1 column 6. Raw value: \"\\\"paid\\\"\""
            )
        );
    }

    #[test]
    fn only_the_beginning_of_a_long_value_is_shown() {
        assert_eq!(shortened(b"[1"), "[1");
        assert_eq!(shortened(&[b'x'; SHOWN]), "x".repeat(SHOWN));
        for long in ["x".repeat(SHOWN + 1), "x".repeat(1 << 20)] {
            assert_eq!(shortened(long.as_bytes()), "x".repeat(SHOWN) + "…");
        }
        assert_eq!(
            shortened("ü".repeat(300).as_bytes()),
            "ü".repeat(SHOWN) + "…"
        );
        assert_eq!(shortened(b"\xff\n"), "\u{fffd}\\n");
    }
}
