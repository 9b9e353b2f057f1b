//! What a store is: its name, its types, and what holds for its entries unless a write says otherwise.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bounds::OF_STORES;
use crate::codec::Codec;
use crate::entry_key::check_area;
use crate::error::{Error, Result};

/// How long an idempotency key is remembered unless the spec or the write says otherwise.
const REMEMBER: Duration = Duration::from_secs(600);

/// The largest value, unless the spec says otherwise.
const MAX_BYTES: usize = 1024 * 1024;

/// The name of a store, the types of its keys and values, and what holds for its entries: a `const` that all who
/// use it share.
///
/// # Example
/// ```
/// use quorate::StoreSpec;
/// use std::time::Duration;
///
/// /// Which features are on, by name.
/// const FLAGS: StoreSpec<str, bool> = StoreSpec::new("flags");
/// /// Attempts to log in, by user; forgotten an hour after the first.
/// const ATTEMPTS: StoreSpec<u64, i64> = StoreSpec::new("attempts").ttl(Duration::from_secs(3600));
/// # let _ = (FLAGS, ATTEMPTS);
/// ```
pub struct StoreSpec<K: ?Sized, V> {
    pub(super) name: Cow<'static, str>,
    pub(super) codec: Codec<V>,
    pub(super) ttl: Option<Duration>,
    pub(super) remember: Duration,
    pub(super) max_bytes: usize,
    key: PhantomData<fn(&K)>,
}

impl<K: ?Sized, V: Serialize + DeserializeOwned> StoreSpec<K, V> {
    /// A store called `name`, whose values are JSON.
    ///
    /// A name has 1 to 128 letters, digits and `_ . / -`. It is a part of every key.
    ///
    /// # Panics
    /// If the name breaks that rule; in a `const` this is a compile error. For names known only at run time
    /// there is [`try_new`](Self::try_new).
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self::with_codec(name, Codec::json())
    }

    /// A store whose name is known at run time.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if the name breaks the rule of
    /// [`new`](Self::new).
    pub fn try_new(name: impl Into<String>) -> Result<Self> {
        Self::try_with_codec(name, Codec::json())
    }
}

impl<K: ?Sized, V> StoreSpec<K, V> {
    /// A store called `name` with a codec of its own; for types that are not `serde`'s.
    ///
    /// # Panics
    /// If the name breaks the rule of [`new`](StoreSpec::new).
    #[must_use]
    pub const fn with_codec(name: &'static str, codec: Codec<V>) -> Self {
        if let Err(rule) = check_area(name.as_bytes()) {
            panic!("{}", rule);
        }
        Self::unchecked(Cow::Borrowed(name), codec)
    }

    /// [`with_codec`](Self::with_codec) for a name known at run time.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if the name breaks the rule of
    /// [`new`](StoreSpec::new).
    pub fn try_with_codec(name: impl Into<String>, codec: Codec<V>) -> Result<Self> {
        let name = name.into();
        check_area(name.as_bytes()).map_err(|rule| Error::invalid("store", rule))?;
        Ok(Self::unchecked(Cow::Owned(name), codec))
    }

    /// Entries that other programs read and write, too: keys are exactly `<namespace>:<key>` (without braces),
    /// values what the codec makes of them, such as [`Codec::text`].
    ///
    /// Whoever uses the namespace without knowing of us can be met there. All raw stores of a namespace share
    /// its keys.
    #[must_use]
    pub const fn raw(codec: Codec<V>) -> Self {
        Self::unchecked(Cow::Borrowed(""), codec)
    }

    const fn unchecked(name: Cow<'static, str>, codec: Codec<V>) -> Self {
        Self {
            name,
            codec,
            ttl: None,
            remember: REMEMBER,
            max_bytes: MAX_BYTES,
            key: PhantomData,
        }
    }

    /// Encodes values with `codec` instead.
    #[must_use]
    pub const fn codec(mut self, codec: Codec<V>) -> Self {
        self.codec = codec;
        self
    }

    /// How long entries live unless a write says otherwise; without, until somebody removes them.
    ///
    /// A write counts it anew. An increment does only where it makes the counter, so that what is counted in
    /// an hour ends after the hour.
    ///
    /// # Panics
    /// If it is less than a millisecond or more than a hundred years; in a `const` this is a compile error.
    #[must_use]
    pub const fn ttl(mut self, ttl: Duration) -> Self {
        if let Err(rule) = OF_STORES.check(ttl) {
            panic!("{}", rule);
        }
        self.ttl = Some(ttl);
        self
    }

    /// [`ttl`](Self::ttl) of a time that is known only at run time.
    ///
    /// # Errors
    /// `InvalidInput` if it breaks that rule.
    pub fn try_ttl(self, ttl: Duration) -> Result<Self> {
        OF_STORES.checked("ttl", ttl).map(|ttl| self.ttl(ttl))
    }

    /// How long idempotency keys are remembered unless a write says otherwise. Default 10 minutes.
    ///
    /// # Panics
    /// As [`ttl`](Self::ttl).
    #[must_use]
    pub const fn remember(mut self, time: Duration) -> Self {
        if let Err(rule) = OF_STORES.check(time) {
            panic!("{}", rule);
        }
        self.remember = time;
        self
    }

    /// The largest value, in encoded bytes. Default 1 MiB; a larger one is refused.
    ///
    /// # Panics
    /// If it is zero or more than 512 MiB, which no server takes; in a `const` this is a compile error.
    #[must_use]
    pub const fn max_bytes(mut self, bytes: usize) -> Self {
        assert!(
            bytes > 0 && bytes <= 512 * 1024 * 1024,
            "max_bytes must be from 1 to 512 MiB"
        );
        self.max_bytes = bytes;
        self
    }

    /// The store's name; empty if its keys are raw.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl<K: ?Sized, V> Clone for StoreSpec<K, V> {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            key: PhantomData,
            ..*self
        }
    }
}

impl<K: ?Sized, V> fmt::Debug for StoreSpec<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreSpec")
            .field("name", &self.name)
            .field("codec", &self.codec)
            .field("ttl", &self.ttl)
            .field("remember", &self.remember)
            .field("max_bytes", &self.max_bytes)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_with_the_rule_in_the_message() {
        for (name, rule) in [
            ("", "store must not be empty"),
            (
                "a:b",
                "store may contain only letters, digits and `_ . / -`",
            ),
            (
                "{a}",
                "store may contain only letters, digits and `_ . / -`",
            ),
            (&"x".repeat(129), "store must be at most 128 bytes"),
        ] {
            let error = StoreSpec::<str, u8>::try_new(name).unwrap_err();
            assert_eq!(error.message(), Some(rule));
        }
    }

    /// Defect 12 of the register: a time to live of zero was sent, refused by the server, and tried again.
    #[test]
    #[should_panic(expected = "must be at least 1 ms")]
    fn defect_12_a_const_without_time_to_live_does_not_compile() {
        let _ = StoreSpec::<str, u8>::new("a").ttl(Duration::ZERO);
    }
}
