//! What a field of a session is: its name and its type.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::partition::Change;
use crate::codec::Codec;
use crate::entry_key::check_area;
use crate::error::{Error, ErrorKind, Result};

/// The name of a field of sessions and the type of its values: a `const` that all who use it share.
///
/// # Example
/// ```
/// use quorate::SessionKey;
///
/// const CART: SessionKey<Vec<u32>> = SessionKey::new("cart");
/// # let _ = CART;
/// ```
pub struct SessionKey<T> {
    pub(super) name: Cow<'static, str>,
    pub(super) codec: Codec<T>,
}

impl<T: Serialize + DeserializeOwned> SessionKey<T> {
    /// A field called `name`, whose values are JSON.
    ///
    /// A name has 1 to 128 letters, digits and `_ . / -`.
    ///
    /// # Panics
    /// If the name breaks that rule; in a `const` this is a compile error. For names known only at run time
    /// there is [`try_new`](Self::try_new).
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self::with_codec(name, Codec::json())
    }

    /// A field whose name is known at run time.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if the name breaks the rule of
    /// [`new`](Self::new).
    pub fn try_new(name: impl Into<String>) -> Result<Self> {
        let name = name.into();
        check_area(name.as_bytes()).map_err(|rule| Error::invalid("field", rule))?;
        Ok(Self {
            name: Cow::Owned(name),
            codec: Codec::json(),
        })
    }
}

impl<T> SessionKey<T> {
    /// A field with a codec of its own.
    ///
    /// # Panics
    /// If the name breaks the rule of [`new`](SessionKey::new).
    #[must_use]
    pub const fn with_codec(name: &'static str, codec: Codec<T>) -> Self {
        if let Err(rule) = check_area(name.as_bytes()) {
            panic!("{}", rule);
        }
        Self {
            name: Cow::Borrowed(name),
            codec,
        }
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The change that gives it this value.
    pub(super) fn set(&self, value: &T, ttl: Option<Duration>) -> Result<Change> {
        let encoded = self.codec.encode(value);
        let value = encoded.map_err(|source| {
            Error::new(ErrorKind::Encode)
                .with_message(format!("field {}", self.name))
                .with_source(source)
        })?;
        if let Some(ttl) = ttl {
            check_time("ttl of a field", Duration::from_millis(1), ttl)?;
        }
        let name = self.name.clone().into_owned();
        Ok(Change::Set { name, value, ttl })
    }

    pub(super) fn decode(&self, value: &bytes::Bytes) -> Result<T> {
        self.codec.decode(value).map_err(|source| {
            Error::new(ErrorKind::Decode)
                .with_message(format!("field {} is no {}", self.name, self.codec.name()))
                .with_source(source)
        })
    }
}

/// The longest any time may be: a hundred years.
pub(super) const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

pub(super) fn check_time(field: &str, least: Duration, time: Duration) -> Result<()> {
    if time < least || time > LONGEST {
        let rule = format_args!("must be from {least:?} to 100 years");
        return Err(Error::invalid(field, rule));
    }
    Ok(())
}

impl<T> fmt::Debug for SessionKey<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionKey({})", self.name)
    }
}
