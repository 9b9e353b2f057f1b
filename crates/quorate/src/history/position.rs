//! Where a message stands in the history of its topic.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Result};

/// A place in the history of a kept topic: after which message a reader is.
///
/// As text it is opaque and safe in URLs and headers: `64cb8e1f2a3b0-42-9f3e1a07`. It has three parts:
///
/// * the **epoch**: when the history began, in microseconds by the home's clock. A history that was lost
///   begins anew with a later one.
/// * the **offset**: the number of the message in its epoch, from 1. An offset of 0 means that there was
///   no history yet at the time the epoch names.
/// * a **mark**: the last four bytes of the message's id; 0 where it is not known, and then not compared. So a position names the message and not only
///   its place, and a history that a failover rolled back and others wrote on is told from the old one.
///
/// # Example
/// ```
/// use quorate::Position;
///
/// let position: Position = "64cb8e1f2a3b0-42-9f3e1a07".parse()?;
/// assert_eq!(position.offset(), 42);
/// assert_eq!(position.to_string(), "64cb8e1f2a3b0-42-9f3e1a07");
/// # Ok::<(), quorate::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    epoch: u64,
    offset: u64,
    mark: u32,
}

impl Position {
    /// A position from its parts, for backends.
    #[must_use]
    pub const fn new(epoch: u64, offset: u64, mark: u32) -> Self {
        Self {
            epoch,
            offset,
            mark,
        }
    }

    /// The position of the message with this id.
    #[must_use]
    pub const fn of(epoch: u64, offset: u64, id: [u8; 16]) -> Self {
        let [.., a, b, c, d] = id;
        Self::new(epoch, offset, u32::from_be_bytes([a, b, c, d]))
    }

    /// When the history began, in microseconds since the Unix epoch by the home's clock; where there
    /// was none yet, when that was found.
    #[must_use]
    pub const fn epoch(self) -> u64 {
        self.epoch
    }

    /// The message's number in its epoch, from 1; 0 where there was no history yet.
    #[must_use]
    pub const fn offset(self) -> u64 {
        self.offset
    }

    /// The last four bytes of the message's id.
    #[must_use]
    pub const fn mark(self) -> u32 {
        self.mark
    }

    /// Whether there was no history yet.
    #[must_use]
    pub const fn is_origin(self) -> bool {
        self.offset == 0
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{}-{:08x}", self.epoch, self.offset, self.mark)
    }
}

impl FromStr for Position {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parse = || {
            let mut parts = text.split('-');
            let (epoch, offset, mark) = (parts.next()?, parts.next()?, parts.next()?);
            let strict = |part: &str, most: usize| {
                // `from_str_radix` would also take a sign.
                (1..=most).contains(&part.len())
                    && part.bytes().all(|byte| byte.is_ascii_hexdigit())
            };
            if parts.next().is_some()
                || !strict(epoch, 13)
                || !strict(offset, 16)
                || mark.len() != 8
            {
                return None;
            }
            let position = Self {
                epoch: u64::from_str_radix(epoch, 16).ok()?,
                offset: offset.parse().ok()?,
                mark: strict(mark, 8).then(|| u32::from_str_radix(mark, 16).ok())??,
            };
            // What scripts can count to: numbers there have 53 bits.
            (position.offset < 1 << 53).then_some(position)
        };
        parse().ok_or_else(|| {
            Error::invalid(
                "position",
                "must be one that was handed out, like `64cb8e1f2a3b0-42-9f3e1a07`",
            )
        })
    }
}

impl Serialize for Position {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Position {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn text_comes_back(epoch in 0_u64..1 << 52, offset in 0_u64..1 << 53, mark: u32) {
            let position = Position::new(epoch, offset, mark);
            prop_assert_eq!(position.to_string().parse::<Position>().unwrap(), position);
        }

        #[test]
        fn no_text_panics(text in ".{0,40}") {
            let _ = text.parse::<Position>();
        }
    }

    #[test]
    fn what_was_never_handed_out_is_refused() {
        for text in [
            "",
            "-",
            "1-2",
            "1-2-3",
            "1-2-+0000000",
            "+1-2-00000000",
            "1-2-00000000-",
            "1--1-00000000",
            "1-99999999999999999-00000000",
            "fffffffffffffff-1-00000000",
        ] {
            let error = text.parse::<Position>().unwrap_err();
            assert!(error.to_string().contains("position"), "{text}: {error}");
        }
    }
}
