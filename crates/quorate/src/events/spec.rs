//! What a topic is: its name, its type, and how it is carried.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec::Codec;
use crate::error::{Error, Result};
use crate::history::Keep;

/// The longest name of a topic, in bytes.
pub const MAX_TOPIC: usize = 128;
/// The longest key of a keyed topic, in bytes.
pub const MAX_TOPIC_KEY: usize = 256;

/// Checks a value before it is published and after it was decoded; `Err` says which rule is broken.
pub type Validate<T> = fn(&T) -> Result<(), String>;

/// The name and type of a topic, and how it is carried: a `const` that publishers and subscribers share.
///
/// # Example
/// ```
/// use quorate::{Codec, TopicSpec};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Order { id: u64, cents: i64 }
///
/// const ORDERS: TopicSpec<Order> = TopicSpec::new("orders")
///     .codec(Codec::message_pack())
///     .validate(|order| if order.cents > 0 { Ok(()) } else { Err("cents must be positive".into()) });
/// assert_eq!(ORDERS.name(), "orders");
/// ```
pub struct TopicSpec<T> {
    pub(crate) name: Cow<'static, str>,
    pub(crate) codec: Codec<T>,
    pub(crate) validate: Option<Validate<T>>,
    pub(crate) sharded: bool,
    pub(crate) keep: Option<Keep>,
}

impl<T: Serialize + DeserializeOwned> TopicSpec<T> {
    /// A topic called `name`, carried as JSON.
    ///
    /// A name has 1 to 128 letters, digits and `: _ . / -`, and does not begin with `__`, which is
    /// reserved.
    ///
    /// # Panics
    /// If the name breaks that rule; in a `const` this is a compile error. For names known only at
    /// run time there is [`try_new`](Self::try_new).
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self::with_codec(name, Codec::json())
    }

    /// A topic whose name is known at run time.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if the name breaks the rule of
    /// [`new`](Self::new).
    pub fn try_new(name: impl Into<String>) -> Result<Self> {
        Self::try_with_codec(name, Codec::json())
    }
}

impl<T> TopicSpec<T> {
    /// A topic called `name` with a codec of its own; for types that are not `serde`'s.
    ///
    /// # Panics
    /// If the name breaks the rule of [`new`](TopicSpec::new).
    #[must_use]
    pub const fn with_codec(name: &'static str, codec: Codec<T>) -> Self {
        if let Err(rule) = check(name.as_bytes()) {
            panic!("{}", rule);
        }
        Self {
            name: Cow::Borrowed(name),
            codec,
            validate: None,
            sharded: false,
            keep: None,
        }
    }

    /// A topic of this library's own crates, under a name that nobody else can take. Not API.
    ///
    /// # Panics
    /// If the name does not begin with `__`, or breaks the rest of the rule.
    #[doc(hidden)]
    #[must_use]
    pub const fn reserved(name: &'static str, codec: Codec<T>) -> Self {
        let bytes = name.as_bytes();
        let Some((b"__", rest)) = bytes.split_at_checked(2) else {
            panic!("a reserved name must begin with `__`");
        };
        if let Err(rule) = check(rest) {
            panic!("{}", rule);
        }
        Self {
            name: Cow::Borrowed(name),
            codec,
            validate: None,
            sharded: false,
            keep: None,
        }
    }

    /// [`with_codec`](Self::with_codec) for a name known at run time.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if the name breaks the rule of
    /// [`new`](TopicSpec::new).
    pub fn try_with_codec(name: impl Into<String>, codec: Codec<T>) -> Result<Self> {
        let name = name.into();
        check(name.as_bytes()).map_err(|rule| Error::invalid("topic", rule))?;
        Ok(Self {
            name: Cow::Owned(name),
            codec,
            validate: None,
            sharded: false,
            keep: None,
        })
    }

    /// Encodes with `codec` instead.
    #[must_use]
    pub const fn codec(mut self, codec: Codec<T>) -> Self {
        self.codec = codec;
        self
    }

    /// Checks every value before it is published and after it was decoded.
    ///
    /// A refused publish is an error; a refused arrival is [`Event::Undecodable`](crate::Event).
    #[must_use]
    pub const fn validate(mut self, validate: Validate<T>) -> Self {
        self.validate = Some(validate);
        self
    }

    /// Carries the topic on one shard of a cluster (`SPUBLISH`) instead of every node.
    ///
    /// It costs a cluster less per message, and no pattern subscription sees it, on any home.
    #[must_use]
    pub const fn sharded(mut self) -> Self {
        self.sharded = true;
        self
    }

    /// Keeps messages for `time`, at most `messages` of them and `bytes` in all (with some 100 bytes of
    /// envelope each); the oldest go first, and the newest is kept whatever its size.
    ///
    /// Each message then has a [`Position`](crate::Position). A subscription refills from the history
    /// what it missed (a reconnect, a hole, a buffer that overflowed), may begin after a position, and
    /// reports a gap only for what is no longer kept. The bounds are those of the latest publish, for
    /// each key of a keyed topic. All who share the topic must agree on whether it is kept.
    ///
    /// # Panics
    /// If a bound is zero, or `time` is more than ten years; in a `const` this is a compile error. For
    /// bounds known only at run time there is [`try_keep`](Self::try_keep).
    #[must_use]
    pub const fn keep(mut self, time: Duration, messages: u32, bytes: u64) -> Self {
        let keep = Keep {
            time,
            messages,
            bytes,
        };
        if let Err((_, rule)) = keep.check() {
            panic!("{}", rule);
        }
        self.keep = Some(keep);
        self
    }

    /// [`keep`](Self::keep) with bounds known at run time.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if a bound is zero, or `keep.time` is
    /// more than ten years.
    pub fn try_keep(mut self, keep: Keep) -> Result<Self> {
        keep.check()
            .map_err(|(field, rule)| Error::invalid(field, rule))?;
        self.keep = Some(keep);
        Ok(self)
    }

    /// The topic's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl<T> Clone for TopicSpec<T> {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            codec: self.codec,
            validate: self.validate,
            sharded: self.sharded,
            keep: self.keep,
        }
    }
}

impl<T> fmt::Debug for TopicSpec<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TopicSpec")
            .field("name", &self.name)
            .field("codec", &self.codec)
            .field("sharded", &self.sharded)
            .field("keep", &self.keep)
            .finish_non_exhaustive()
    }
}

/// The rule for names, as a `const fn` so that a bad `const` does not compile.
const fn check(name: &[u8]) -> Result<(), &'static str> {
    if name.is_empty() {
        return Err("must not be empty");
    }
    if name.len() > MAX_TOPIC {
        return Err("must be at most 128 bytes");
    }
    if let [b'_', b'_', ..] = name {
        return Err("must not begin with `__`, which is reserved");
    }
    let mut at = 0;
    while at < name.len() {
        if !(name[at].is_ascii_alphanumeric()
            || matches!(name[at], b':' | b'_' | b'.' | b'/' | b'-'))
        {
            return Err("may contain only letters, digits and `: _ . / -`");
        }
        at += 1;
    }
    Ok(())
}

/// Checks the name of a consumer group, which obeys the rules of topics.
pub(crate) fn check_group(name: &str) -> Result<()> {
    check(name.as_bytes()).map_err(|rule| Error::invalid("group", rule))
}

/// Checks the key of a keyed topic. It may be empty: `type:` is a topic of its own.
pub(crate) fn check_key(key: &str) -> Result<()> {
    if key.len() > MAX_TOPIC_KEY {
        return Err(Error::invalid(
            "key",
            format_args!("must be at most {MAX_TOPIC_KEY} bytes"),
        ));
    }
    if key.chars().any(char::is_control) {
        return Err(Error::invalid("key", "must not contain control characters"));
    }
    Ok(())
}

/// Checks a glob given by the user, against what a topic's full name may be.
pub(crate) fn check_glob(glob: &str) -> Result<()> {
    if glob.is_empty() {
        return Err(Error::invalid("pattern", "must not be empty"));
    }
    if glob.len() > MAX_TOPIC + MAX_TOPIC_KEY {
        return Err(Error::invalid(
            "pattern",
            format_args!("must be at most {} bytes", MAX_TOPIC + MAX_TOPIC_KEY),
        ));
    }
    if glob.chars().any(char::is_control) {
        return Err(Error::invalid(
            "pattern",
            "must not contain control characters",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_with_the_rule_in_the_message() {
        for (name, rule) in [
            ("", "empty"),
            ("__control", "reserved"),
            ("a b", "may contain"),
            ("ä", "may contain"),
            (&"x".repeat(129), "128"),
        ] {
            let error = TopicSpec::<u8>::try_new(name).unwrap_err().to_string();
            assert!(error.contains("topic") && error.contains(rule), "{error}");
        }
        assert!(TopicSpec::<u8>::try_new("chat:room1/a_b.c-d").is_ok());
    }

    #[test]
    #[should_panic(expected = "must not be empty")]
    fn an_empty_const_name_does_not_compile() {
        let _ = TopicSpec::<u8>::new("");
    }
}
