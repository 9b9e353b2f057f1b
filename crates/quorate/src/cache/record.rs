//! An entry as it stands on a server, which `library.lua` describes.

use std::time::Duration;

use bytes::Bytes;
use quorate_link::Frame;

use super::slot::{Stored, Taken};
use crate::clock::Micros;
use crate::error::{Error, ErrorKind, Result};
use crate::redis::unexpected;

/// What an entry that is no counter begins with: no text, and nothing of MessagePack, begins so.
const MAGIC: u8 = 0xC1;
/// The second byte of an entry without tags that is fresh for as long as it is kept: it can be read as it is.
const PLAIN: u8 = 1;
/// Bytes before the tags.
const HEAD: usize = 39;

/// An entry with the time when it was read.
pub(super) fn timed(reply: Frame) -> Result<Option<Stored>> {
    let [value, now] = match reply {
        Frame::Null => return Ok(None),
        Frame::Array(parts) => {
            <[Frame; 2]>::try_from(parts).map_err(|parts| unexpected(&Frame::Array(parts)))?
        }
        other => return Err(unexpected(&other)),
    };
    stored(value, micros(&now)?).map(Some)
}

pub(super) fn micros(frame: &Frame) -> Result<Micros> {
    let number = frame.as_str().and_then(|text| text.parse().ok());
    number.map(Micros::new).ok_or_else(|| unexpected(frame))
}

/// Understands an entry.
pub(super) fn stored(value: Frame, now: Micros) -> Result<Stored> {
    let bytes = match value {
        Frame::Bulk(bytes) => bytes,
        // Said in words only now: that costs more than the rest of a read.
        other => return Err(unexpected(&other)),
    };
    if bytes.first() != Some(&MAGIC) {
        // A counter.
        return Ok(Stored {
            value: bytes,
            stored: Micros::new(0),
            fresh_until: Micros::new(u64::MAX),
            now,
            cost: Duration::ZERO,
            tags: Vec::new(),
        });
    }
    parse(&bytes, now).ok_or_else(|| {
        Error::new(ErrorKind::Decode).with_message("what is stored is not an entry of a cache")
    })
}

fn parse(bytes: &Bytes, now: Micros) -> Option<Stored> {
    let long = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
    let cost = u32::from_le_bytes(bytes.get(18..22)?.try_into().ok()?);
    let mut at = HEAD;
    let mut tags = Vec::with_capacity(usize::from(*bytes.get(HEAD - 1)?));
    for _ in 0..*bytes.get(HEAD - 1)? {
        let length = usize::from(*bytes.get(at)?);
        let tag = bytes.get(at + 1..at + 1 + length)?;
        tags.push(std::str::from_utf8(tag).ok()?.to_owned());
        at += 1 + length;
    }
    Some(Stored {
        value: bytes.slice(at..),
        stored: Micros::new(long(2)?),
        fresh_until: Micros::new(long(10)?),
        now,
        cost: Duration::from_millis(cost.into()),
        tags,
    })
}

/// Whether an entry says all about itself.
pub(super) fn is_plain(value: &[u8]) -> bool {
    value.first() != Some(&MAGIC) || value.get(1) == Some(&PLAIN)
}

/// What `take.lua` answers.
pub(super) fn taken(reply: Frame) -> Result<Taken> {
    let Frame::Array(parts) = reply else {
        return Err(unexpected(&reply));
    };
    let [what, now, value, left] =
        <[Frame; 4]>::try_from(parts).map_err(|parts| unexpected(&Frame::Array(parts)))?;
    if what.as_str() == Some("failed") {
        let message = value.as_str().ok_or_else(|| unexpected(&value))?;
        return Ok(Taken::Failed(message.to_owned()));
    }
    let now = micros(&now)?;
    let found = match value {
        Frame::Null => None,
        value => Some(stored(value, now)?),
    };
    match (what.as_str(), found) {
        (Some("fresh"), Some(found)) => Ok(Taken::Fresh(found)),
        (Some("throttled"), Some(found)) => Ok(Taken::Throttled(found)),
        (Some("load"), found) => Ok(Taken::Load(found)),
        (Some("wait"), found) => {
            let left = left.as_int().unwrap_or(0).max(0).unsigned_abs();
            Ok(Taken::Wait(found, Duration::from_millis(left)))
        }
        _ => Err(unexpected(&what)),
    }
}
