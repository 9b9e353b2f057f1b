//! How option values are read: from a file with types, or from a URL where everything is text.

use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Unexpected};

/// A value as it was written.
#[derive(Deserialize)]
#[serde(untagged)]
enum Given {
    Flag(bool),
    Whole(u64),
    Number(f64),
    Text(String),
}

impl Given {
    fn refused<E: Error>(&self, expected: &str) -> E {
        let found = match self {
            Self::Flag(flag) => Unexpected::Bool(*flag),
            Self::Whole(number) => Unexpected::Unsigned(*number),
            Self::Number(number) => Unexpected::Float(*number),
            Self::Text(text) => Unexpected::Str(text),
        };
        E::invalid_value(found, &expected)
    }
}

/// Reads a value that may be absent, with `read`, or says what was `expected`.
fn given<'de, T, D: Deserializer<'de>>(
    deserializer: D,
    expected: &str,
    read: impl FnOnce(&Given) -> Option<T>,
) -> Result<Option<T>, D::Error> {
    let Some(given) = Option::<Given>::deserialize(deserializer)? else {
        return Ok(None);
    };
    read(&given)
        .map(Some)
        .ok_or_else(|| given.refused(expected))
}

/// A whole number, given as itself or as text.
pub(super) fn flexible<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: FromStr + TryFrom<u64>,
    D: Deserializer<'de>,
{
    given(
        deserializer,
        "a whole number in range",
        |given| match given {
            Given::Whole(number) => T::try_from(*number).ok(),
            Given::Text(text) => text.parse().ok(),
            Given::Flag(_) | Given::Number(_) => None,
        },
    )
}

/// A number, given as itself or as text.
pub(super) fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    given(deserializer, "a number", |given| match given {
        Given::Number(number) => Some(*number),
        Given::Whole(number) => u32::try_from(*number).ok().map(f64::from),
        Given::Text(text) => text.parse().ok(),
        Given::Flag(_) => None,
    })
}

/// A flag, given as itself or as `true` / `false`.
pub(super) fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    given(deserializer, "`true` or `false`", |given| match given {
        Given::Flag(flag) => Some(*flag),
        Given::Text(text) => text.parse().ok(),
        Given::Whole(_) | Given::Number(_) => None,
    })
}

/// A duration with its unit: `500ms`, `5s`, `1m 30s`. A bare number is refused.
pub(super) fn duration<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    given(
        deserializer,
        "a duration with its unit, such as `500ms` or `5s`",
        |given| match given {
            Given::Text(text) => humantime::parse_duration(text).ok(),
            Given::Flag(_) | Given::Whole(_) | Given::Number(_) => None,
        },
    )
}
