//! Topics as they stand in URLs, frames and on the command line.

use std::fmt::{self, Write as _};

use bytes::Bytes;
use quorate::events::Subscribe;
use quorate::{Codec, Error, Fleet, Result, Topic, TopicSpec};
use serde_json::Value;

/// A topic by its full name, `name` or `name:key`.
///
/// The key is what follows the first `:`. Where a name itself has a colon and the key is to be told
/// apart, give the key as parameters: [`with_params`](Self::with_params).
///
/// # Example
/// ```
/// use quorate_http::TopicPath;
/// use serde_json::json;
///
/// assert_eq!(TopicPath::parse("orders:42").unwrap().key(), Some("42"));
/// let job = TopicPath::with_params("job", &json!({"id": 7, "at": "eu"})).unwrap();
/// assert_eq!(job.to_string(), r#"job:{"at":"eu","id":7}"#);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TopicPath {
    name: String,
    key: Option<String>,
}

impl TopicPath {
    /// Reads `name` or `name:key`.
    ///
    /// # Errors
    /// `InvalidInput` if the name or the key breaks its rule.
    pub fn parse(full: &str) -> Result<Self> {
        let (name, key) = match full.split_once(':') {
            Some((name, key)) => (name, Some(key)),
            None => (full, None),
        };
        Self::checked(name, key.map(str::to_owned))
    }

    /// The topic `name` with these parameters as its key: text as it is, anything else as
    /// [canonical JSON](canonical_json). `null` is no key.
    ///
    /// # Errors
    /// `InvalidInput` if the name breaks its rule, or the parameters make a key longer than 256 bytes.
    pub fn with_params(name: &str, params: &Value) -> Result<Self> {
        let key = match params {
            Value::Null => return Self::parse(name),
            Value::String(text) => text.clone(),
            other => canonical_json(other),
        };
        Self::checked(name, Some(key))
    }

    fn checked(name: &str, key: Option<String>) -> Result<Self> {
        TopicSpec::try_with_codec(name, Codec::bytes())?;
        if let Some(key) = &key {
            let limit = quorate::events::MAX_TOPIC_KEY;
            if key.len() > limit {
                return Err(Error::invalid(
                    "params",
                    format_args!(
                        "must make a key of at most {limit} bytes, not {}",
                        key.len()
                    ),
                ));
            }
            if key.chars().any(char::is_control) {
                return Err(Error::invalid("key", "must not contain control characters"));
            }
        }
        let name = name.to_owned();
        Ok(Self { name, key })
    }

    /// The name without the key.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// The topic of `fleet`, carrying bytes with the media type of `codec`.
    ///
    /// # Errors
    /// None in practice: the parts were checked.
    pub fn topic(&self, fleet: &Fleet, codec: Codec<Bytes>) -> Result<Topic<Bytes>> {
        let topic = fleet.topic(&TopicSpec::try_with_codec(self.name.as_str(), codec)?);
        match &self.key {
            Some(key) => topic.key(key),
            None => Ok(topic),
        }
    }
}

impl fmt::Display for TopicPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Some(key) => write!(f, "{}:{key}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// What a client subscribes to: a topic, or every topic that matches a glob.
///
/// # Example
/// ```
/// use quorate_http::Selector;
///
/// assert!(!Selector::parse("orders:42").unwrap().is_pattern());
/// assert!(Selector::parse("orders:*").unwrap().is_pattern());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "one or many; there is no third")]
pub enum Selector {
    /// One topic.
    Topic(TopicPath),
    /// Every topic whose full name matches this glob.
    Pattern(String),
}

impl Selector {
    /// Reads a topic's full name or, if it has one of `* ? [ \`, a glob. In a glob, `\` takes the next
    /// character as it is.
    ///
    /// # Errors
    /// `InvalidInput` if the name breaks its rule. A glob is checked when it is subscribed to.
    pub fn parse(text: &str) -> Result<Self> {
        if text.contains(['*', '?', '[', '\\']) {
            return Ok(Self::Pattern(text.to_owned()));
        }
        TopicPath::parse(text).map(Self::Topic)
    }

    /// Whether it is a pattern.
    #[must_use]
    pub const fn is_pattern(&self) -> bool {
        matches!(self, Self::Pattern(_))
    }

    /// A subscription about to be made, for payloads as bytes.
    ///
    /// # Errors
    /// None in practice: the parts were checked.
    pub fn subscribe(&self, fleet: &Fleet) -> Result<Subscribe<Bytes>> {
        match self {
            Self::Topic(path) => Ok(path.topic(fleet, Codec::bytes())?.subscribe()),
            Self::Pattern(glob) => {
                const ANY: TopicSpec<Bytes> = TopicSpec::with_codec("any", Codec::bytes());
                Ok(fleet.topic(&ANY).matching(glob).subscribe())
            }
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topic(path) => path.fmt(f),
            Self::Pattern(glob) => f.write_str(glob),
        }
    }
}

/// JSON of which there is only one for each value: members sorted at every depth, no blanks, numbers as
/// browsers write them (whole ones without a fraction).
#[must_use]
pub fn canonical_json(value: &Value) -> String {
    let mut out = String::new();
    write_canonical(value, &mut out);
    out
}

fn write_canonical(value: &Value, out: &mut String) {
    match value {
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write_canonical(item, out);
            }
            out.push(']');
        }
        Value::Object(members) => {
            // Sorted here: whether the map itself is sorted depends on a feature that any crate in the
            // build may switch on.
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(name, _)| *name);
            out.push('{');
            for (at, (name, member)) in members.into_iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write_canonical(&Value::String(name.clone()), out);
                out.push(':');
                write_canonical(member, out);
            }
            out.push('}');
        }
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() => write_float(float, out),
            _ => write!(out, "{number}").expect("a string takes everything"),
        },
        other => write!(out, "{other}").expect("a string takes everything"),
    }
}

/// As browsers write numbers. By a rule of our own: the text is a part of topics' names, and must not
/// change with the version of a library.
fn write_float(float: f64, out: &mut String) {
    // `+ 0.0` makes the negative zero a positive one.
    let float = float + 0.0;
    let written = if float == 0.0 || (1e-6..1e21).contains(&float.abs()) {
        write!(out, "{float}")
    } else if float.abs() < 1.0 {
        write!(out, "{float:e}")
    } else {
        let text = format!("{float:e}");
        let (digits, exponent) = text.split_once('e').expect("`e` formats with an exponent");
        write!(out, "{digits}e+{exponent}")
    };
    written.expect("a string takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn canonical_json_is_the_same_for_equal_values_at_every_depth() {
        let text = r#"{"b":{"z":1.0,"a":[true,null,{"y":-0.0,"x":"é\n"}]},"a":1.5}"#;
        let value: Value = serde_json::from_str(text).unwrap();
        assert_eq!(
            canonical_json(&value),
            r#"{"a":1.5,"b":{"a":[true,null,{"x":"é\n","y":0}],"z":1}}"#
        );
        // What a shallow canonical form would confuse.
        assert_ne!(
            canonical_json(&json!({"job": {"id": 1}})),
            canonical_json(&json!({"job": {"id": 2}}))
        );
    }

    #[test]
    fn parameters_become_the_key() {
        let full = |params: Value| TopicPath::with_params("a:b", &params).map(|p| p.to_string());
        assert_eq!(full(json!("x")).unwrap(), "a:b:x");
        assert_eq!(full(json!(7)).unwrap(), "a:b:7");
        assert_eq!(full(json!({"id": 7})).unwrap(), r#"a:b:{"id":7}"#);
        assert!(full(json!("x".repeat(257))).is_err());
        assert!(full(json!("a\nb")).is_err());
    }

    #[test]
    fn a_bad_name_is_refused_with_its_rule() {
        for (text, says) in [("", "empty"), ("__x", "reserved"), ("a b", "may contain")] {
            let error = Selector::parse(text).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    proptest! {
        #[test]
        fn a_number_means_the_same_topic_after_a_journey(number in proptest::num::f64::NORMAL) {
            let canonical = canonical_json(&json!(number));
            let received: Value = serde_json::from_str(&canonical).unwrap();
            prop_assert_eq!(canonical_json(&received), canonical);
        }

        #[test]
        fn a_full_name_reads_back(name in "[a-z][a-z0-9./-]{0,20}", key in proptest::option::of("[^\\p{Cc}]{0,40}")) {
            let path = TopicPath { name, key };
            prop_assert_eq!(TopicPath::parse(&path.to_string()).unwrap(), path);
        }
    }
}
