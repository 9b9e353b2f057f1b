//! What `fsck.lua` takes and tells.

use quorate_link::Frame;

use super::super::fsck::{FsckPage, Stray};
use super::super::job::JobId;
use super::packed::bytes;
use crate::error::{Error, Result};
use crate::scan::ScanCursor;

/// How many parts there are.
const PARTS: u8 = 18;

/// The number of the part and where in it.
pub(super) fn read_fsck(from: Option<&ScanCursor>) -> Result<(String, String)> {
    let Some(from) = from else {
        return Ok(("1".to_owned(), "0".to_owned()));
    };
    let words = from.as_str().split_once(' ').filter(|(part, cursor)| {
        let is_part = part.parse::<u8>().is_ok_and(|it| (1..=PARTS).contains(&it));
        is_part && cursor.parse::<u64>().is_ok()
    });
    match words {
        Some((part, cursor)) => Ok((part.to_owned(), cursor.to_owned())),
        None => Err(Error::invalid("cursor", "must be one that a page gave")),
    }
}

pub(super) fn to_fsck(reply: &Frame) -> Option<FsckPage> {
    let [part, cursor, checked, strays] = reply.as_array()? else {
        return None;
    };
    let strays = strays.as_array()?.chunks(2).map(to_stray);
    let (part, cursor) = (part.as_int()?, cursor.as_str()?);
    Some(FsckPage {
        checked: checked.as_int()?.try_into().ok()?,
        strays: strays.collect::<Option<_>>()?,
        next: (part > 0).then(|| ScanCursor::new(format!("{part} {cursor}"))),
    })
}

fn to_stray(parts: &[Frame]) -> Option<Stray> {
    let [kind, name] = parts else {
        return None;
    };
    let name = bytes(name)?;
    let id = || Some(JobId::from_bytes(name[..].try_into().ok()?));
    let text = || String::from_utf8_lossy(name).into_owned();
    Some(match kind.as_str()? {
        "unplaced" => Stray::Unplaced(id()?),
        "twice" => Stray::Twice(id()?),
        "member" => Stray::Member(id()?),
        "result" => Stray::Result(id()?),
        "body" => Stray::Body(id()?),
        "tries" => Stray::Tries(id()?),
        "note" => Stray::Note(id()?),
        "journal" => Stray::Journal(id()?),
        "effect" => Stray::Effect(id()?),
        "group" => Stray::Group(id()?),
        "cancelled" => Stray::Cancelled(id()?),
        "aside" => Stray::Aside(id()?),
        "counted" => Stray::Counted(id()?),
        "key" => Stray::Key(text()),
        "count" => Stray::Count(text()),
        _ => return None,
    })
}
