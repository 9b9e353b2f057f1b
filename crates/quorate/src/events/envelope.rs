//! The bytes of a message: a fixed prefix for routing, a tolerant header, the payload as it is.
//!
//! ```text
//! 0      magic 0xC1 (never begins UTF-8 text or MessagePack, so foreign messages are told apart)
//! 1      version of this layout; a reader refuses one it does not know
//! 2      flags: 1 = beacon (no message, only the sequence), 2 = not for the publisher's own instance,
//!        4 = kept: run and sequence are the epoch and the offset of the topic's history
//! 3..5   length of the header, little endian
//! 5..13  publisher, 13..21 run, 21..29 sequence, little endian
//! 29..   header: MessagePack map with short names; unknown names are skipped
//! ..     payload
//! ```
//! Publisher, run and sequence stand at fixed places, so that the order of sequences can be that of
//! the wire (the sequence is written last, under the topic's lock) and so that a reader can watch for
//! holes without reading the header.

use std::fmt;

use bytes::Bytes;
use serde::Deserialize;
use uuid::Uuid;

use crate::codec::read_message_pack;

const MAGIC: u8 = 0xC1;
const VERSION: u8 = 1;
const PREFIX: usize = 29;
const RUN_AT: usize = 13;
const SEQUENCE_AT: usize = 21;

/// How deep a header may be nested: it is flat, and what later versions add need not be.
const DEPTH: usize = 16;

const BEACON: u8 = 1;
const EXCLUDE_SELF: u8 = 2;
const KEPT: u8 = 4;

/// The routing part of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Prefix {
    pub(crate) beacon: bool,
    pub(crate) exclude_self: bool,
    /// Whether the numbers are those of the topic's history, and not of the publisher.
    pub(crate) kept: bool,
    pub(crate) publisher: u64,
    pub(crate) run: u64,
    pub(crate) sequence: u64,
}

/// What a message says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub(crate) struct Header<Text> {
    #[serde(rename = "i")]
    pub(crate) id: Uuid,
    #[serde(rename = "t")]
    pub(crate) timestamp_ms: u64,
    #[serde(rename = "s", default)]
    pub(crate) source: Option<Text>,
    #[serde(rename = "y", default)]
    pub(crate) event_type: Option<Text>,
    #[serde(rename = "k", default)]
    pub(crate) key: Option<Text>,
    #[serde(rename = "c", default)]
    pub(crate) correlation_id: Option<Text>,
    #[serde(rename = "m", default)]
    pub(crate) content_type: Option<Text>,
    #[serde(rename = "x", default)]
    pub(crate) except: Option<Text>,
}

/// A header as received: its texts stay where they are in the message.
#[derive(Clone)]
pub(crate) struct ReadHeader {
    bytes: Bytes,
    pub(crate) at: Header<Place>,
}

/// Where a text stands in a header.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    start: u16,
    length: u16,
}

impl Place {
    /// Of `part`, which is a part of `whole`.
    fn of(part: &str, whole: &[u8]) -> Option<Self> {
        let start = part.as_ptr().addr().checked_sub(whole.as_ptr().addr())?;
        Some(Self {
            start: start.try_into().ok()?,
            length: part.len().try_into().ok()?,
        })
    }
}

impl ReadHeader {
    fn new(bytes: Bytes) -> Option<Self> {
        let header: Header<&str> = read_message_pack(&bytes, DEPTH).ok()?;
        let place = |text: Option<&str>| match text {
            Some(text) => Place::of(text, &bytes).map(Some),
            None => Some(None),
        };
        let at = Header {
            id: header.id,
            timestamp_ms: header.timestamp_ms,
            source: place(header.source)?,
            event_type: place(header.event_type)?,
            key: place(header.key)?,
            correlation_id: place(header.correlation_id)?,
            content_type: place(header.content_type)?,
            except: place(header.except)?,
        };
        Some(Self { bytes, at })
    }

    /// One of its texts.
    pub(crate) fn text(&self, place: Option<Place>) -> Option<&str> {
        let Place { start, length } = place?;
        let text = self.bytes.get(start.into()..)?.get(..length.into())?;
        // Always: it was when the header was read.
        std::str::from_utf8(text).ok()
    }

    fn borrowed(&self) -> Header<&str> {
        Header {
            id: self.at.id,
            timestamp_ms: self.at.timestamp_ms,
            source: self.text(self.at.source),
            event_type: self.text(self.at.event_type),
            key: self.text(self.at.key),
            correlation_id: self.text(self.at.correlation_id),
            content_type: self.text(self.at.content_type),
            except: self.text(self.at.except),
        }
    }
}

impl fmt::Debug for ReadHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.borrowed().fmt(f)
    }
}

/// Why bytes are not a message of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// The message was not written by this library; subscribe to it as a raw channel.
    #[error("not an envelope of this library")]
    Foreign,
    /// The message was written by a newer, incompatible version.
    #[error("envelope version {0} is newer than this reader's {VERSION}")]
    Version(u8),
    /// The message is cut short or its header is damaged.
    #[error("damaged envelope: {0}")]
    Damaged(&'static str),
}

/// A message on its way out.
#[derive(Debug)]
pub(crate) enum Draft {
    /// Not yet given its place in the sequence.
    Fresh(Vec<u8>),
    /// Given its place, and offered once: repeated as it is.
    Placed(Bytes),
}

impl Draft {
    /// As it is.
    pub(crate) fn into_bytes(self) -> Bytes {
        match self {
            Self::Fresh(bytes) => bytes.into(),
            Self::Placed(bytes) => bytes,
        }
    }

    /// Bytes on the wire.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Fresh(bytes) => bytes.len(),
            Self::Placed(bytes) => bytes.len(),
        }
    }
}

/// The bytes of a message before its payload, with room for `room` in all. `None` if the header does not
/// fit its length field.
pub(crate) fn head(
    exclude_self: bool,
    kept: bool,
    header: &Header<&str>,
    room: usize,
) -> Option<Vec<u8>> {
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    let flags = flag(exclude_self, EXCLUDE_SELF) | flag(kept, KEPT);
    let mut bytes = begin(flags, room);
    header.write(&mut bytes)?;
    let length = u16::try_from(bytes.len() - PREFIX).ok()?;
    bytes[3..5].copy_from_slice(&length.to_le_bytes());
    Some(bytes)
}

impl Header<&str> {
    /// Writes MessagePack by hand: half of it is the same for every message, and going through a
    /// serializer takes longer than the payload. `None` if a text is too long for a header.
    fn write(&self, bytes: &mut Vec<u8>) -> Option<()> {
        const MAP: u8 = 0x80;
        const BIN_8: u8 = 0xC4;
        const UINT_64: u8 = 0xCF;
        let texts = [
            (b's', self.source),
            (b'y', self.event_type),
            (b'k', self.key),
            (b'c', self.correlation_id),
            (b'm', self.content_type),
            (b'x', self.except),
        ];
        let map_at = bytes.len();
        bytes.extend_from_slice(&[MAP, STR | 1, b'i', BIN_8, 16]);
        bytes.extend_from_slice(self.id.as_bytes());
        bytes.extend_from_slice(&[STR | 1, b't', UINT_64]);
        bytes.extend_from_slice(&self.timestamp_ms.to_be_bytes());
        let mut fields = 2;
        for (name, text) in texts {
            let Some(text) = text else { continue };
            write_text(bytes, name, text)?;
            fields += 1;
        }
        bytes[map_at] = MAP | fields;
        Some(())
    }
}

/// MessagePack for a text of up to 31 bytes, whose length is in the low bits.
const STR: u8 = 0xA0;

fn write_text(bytes: &mut Vec<u8>, name: u8, text: &str) -> Option<()> {
    const STR_16: u8 = 0xDA;
    let length = u16::try_from(text.len()).ok()?;
    let [high, low] = length.to_be_bytes();
    if length < 32 {
        bytes.extend_from_slice(&[STR | 1, name, STR | low]);
    } else {
        bytes.extend_from_slice(&[STR | 1, name, STR_16, high, low]);
    }
    bytes.extend_from_slice(text.as_bytes());
    Some(())
}

/// A beacon: the publisher says what it last sent, or of a `kept` topic what it knows to be the newest.
pub(crate) fn beacon(kept: bool, publisher: u64, run: u64, sequence: u64) -> Bytes {
    let flags = if kept { BEACON | KEPT } else { BEACON };
    let mut bytes = begin(flags, PREFIX);
    place(&mut bytes, publisher, run, sequence);
    bytes.into()
}

fn begin(flags: u8, room: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(room.max(PREFIX));
    bytes.extend_from_slice(&[MAGIC, VERSION, flags]);
    bytes.resize(PREFIX, 0);
    bytes
}

/// Writes the place in the sequence.
pub(crate) fn place(bytes: &mut [u8], publisher: u64, run: u64, sequence: u64) {
    bytes[5..RUN_AT].copy_from_slice(&publisher.to_le_bytes());
    bytes[RUN_AT..SEQUENCE_AT].copy_from_slice(&run.to_le_bytes());
    bytes[SEQUENCE_AT..PREFIX].copy_from_slice(&sequence.to_le_bytes());
}

/// Writes the place of a kept message into it. What is too short to be a message stays as it is.
pub(crate) fn place_kept(bytes: &mut [u8], epoch: u64, offset: u64) {
    if let Some(numbers) = bytes.get_mut(RUN_AT..PREFIX) {
        let (run, sequence) = numbers.split_at_mut(SEQUENCE_AT - RUN_AT);
        run.copy_from_slice(&epoch.to_le_bytes());
        sequence.copy_from_slice(&offset.to_le_bytes());
    }
}

/// Reads the routing part.
pub(crate) fn prefix(message: &[u8]) -> Result<Prefix, EnvelopeError> {
    match message {
        [MAGIC, VERSION, ..] => {}
        [MAGIC, version, ..] => return Err(EnvelopeError::Version(*version)),
        _ => return Err(EnvelopeError::Foreign),
    }
    let Some(fixed) = message.first_chunk::<PREFIX>() else {
        return Err(EnvelopeError::Damaged("cut short in the prefix"));
    };
    let number = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&fixed[at..at + 8]);
        u64::from_le_bytes(bytes)
    };
    Ok(Prefix {
        beacon: fixed[2] & BEACON != 0,
        exclude_self: fixed[2] & EXCLUDE_SELF != 0,
        kept: fixed[2] & KEPT != 0,
        publisher: number(5),
        run: number(RUN_AT),
        sequence: number(SEQUENCE_AT),
    })
}

/// Reads header and payload of a message whose prefix was read.
pub(crate) fn body(message: &Bytes) -> Result<(ReadHeader, Bytes), EnvelopeError> {
    let length = message
        .get(3..5)
        .ok_or(EnvelopeError::Damaged("cut short in the prefix"))?;
    let payload_at = PREFIX + usize::from(u16::from_le_bytes([length[0], length[1]]));
    if message.len() < payload_at {
        return Err(EnvelopeError::Damaged("cut short in the header"));
    }
    let header = ReadHeader::new(message.slice(PREFIX..payload_at))
        .ok_or(EnvelopeError::Damaged("unreadable header"))?;
    Ok((header, message.slice(payload_at..)))
}

/// A message read, and written again. For the fuzz targets of this repository; not part of the API.
#[cfg(feature = "internals")]
#[doc(hidden)]
#[derive(Debug)]
#[non_exhaustive]
pub struct Reread {
    /// All that its prefix and its header say.
    pub says: String,
    /// Its payload.
    pub payload: Bytes,
    /// The same message as this version writes it, unless it has no room for it.
    pub written: Option<Bytes>,
}

/// Reads a message as a subscriber would, and writes it as a publisher would.
///
/// # Errors
/// Why it is not a message of ours.
#[cfg(feature = "internals")]
#[doc(hidden)]
pub fn reread(message: &Bytes) -> Result<Reread, EnvelopeError> {
    let prefix = prefix(message)?;
    let (header, payload) = body(message)?;
    let written = head(
        prefix.exclude_self,
        prefix.kept,
        &header.borrowed(),
        message.len(),
    )
    .map(|mut bytes| {
        place(&mut bytes, prefix.publisher, prefix.run, prefix.sequence);
        bytes.extend_from_slice(&payload);
        bytes.into()
    });
    Ok(Reread {
        says: format!("{prefix:?} {header:?}"),
        payload,
        written,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(event_type: Option<&str>) -> Header<&str> {
        Header {
            id: Uuid::from_u128(7),
            timestamp_ms: 1_700_000_000_000,
            source: Some("svc"),
            event_type,
            key: None,
            correlation_id: None,
            content_type: None,
            except: None,
        }
    }

    fn fresh(exclude_self: bool, header: &Header<&str>, payload: &[u8]) -> Vec<u8> {
        let mut bytes = head(exclude_self, false, header, 0).unwrap();
        bytes.extend_from_slice(payload);
        bytes
    }

    proptest! {
        #[test]
        fn a_message_comes_back_as_it_went(
            payload: Vec<u8>, event_type: Option<String>, key in proptest::option::of(".{0,300}"), publisher: u64, run: u64, sequence: u64, exclude_self: bool,
        ) {
            let header = Header { key: key.as_deref(), ..header(event_type.as_deref()) };
            let mut bytes = fresh(exclude_self, &header, &payload);
            place(&mut bytes, publisher, run, sequence);
            let bytes = Bytes::from(bytes);
            let expected = Prefix { beacon: false, exclude_self, kept: false, publisher, run, sequence };
            prop_assert_eq!(prefix(&bytes).unwrap(), expected);
            let (read, rest) = body(&bytes).unwrap();
            prop_assert_eq!(read.borrowed(), header);
            prop_assert_eq!(&rest[..], &payload[..]);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let bytes = Bytes::from(bytes);
            let _ = prefix(&bytes);
            let _ = body(&bytes);
        }

        #[test]
        fn a_cut_message_is_damaged_not_misread(cut in 0_usize..60) {
            let bytes = fresh(false, &header(None), b"");
            let cut = cut.min(bytes.len() - 1);
            let bytes = Bytes::from(bytes).slice(..cut);
            prop_assert!(prefix(&bytes).is_err() || body(&bytes).is_err());
        }
    }

    #[test]
    fn fields_of_newer_senders_are_skipped() {
        #[derive(serde::Serialize)]
        struct Newer {
            i: Uuid,
            t: u64,
            future: Vec<u8>,
        }
        let mut bytes = vec![MAGIC, VERSION, 0, 0, 0];
        bytes.resize(PREFIX, 0);
        let newer = Newer {
            i: Uuid::nil(),
            t: 1,
            future: vec![1, 2],
        };
        rmp_serde::encode::write_named(&mut bytes, &newer).unwrap();
        let length = u16::try_from(bytes.len() - PREFIX).unwrap().to_le_bytes();
        bytes[3..5].copy_from_slice(&length);
        bytes.extend_from_slice(b"x");
        let (header, payload) = body(&Bytes::from(bytes)).unwrap();
        assert_eq!((header.at.timestamp_ms, &payload[..]), (1, &b"x"[..]));
    }

    #[test]
    fn foreign_and_newer_messages_are_told_apart() {
        assert_eq!(prefix(b"{}"), Err(EnvelopeError::Foreign));
        assert_eq!(prefix(b""), Err(EnvelopeError::Foreign));
        assert_eq!(prefix(&[MAGIC, 9, 0]), Err(EnvelopeError::Version(9)));
    }

    #[test]
    fn an_oversized_header_is_refused() {
        for length in [65_500, 70_000] {
            let text = "x".repeat(length);
            assert!(head(false, false, &header(Some(&text)), 0).is_none());
        }
    }

    /// A stranger's message must not exhaust the stack of a reader.
    #[test]
    fn a_member_of_endless_depth_is_damage() {
        const ARRAY_OF_ONE: u8 = 0x91;
        let mut bytes = fresh(false, &header(None), b"");
        // One more member, which no version knows.
        bytes[PREFIX] += 1;
        bytes.extend([STR | 1, b'z']);
        bytes.resize(PREFIX + usize::from(u16::MAX), ARRAY_OF_ONE);
        bytes[3..5].copy_from_slice(&u16::MAX.to_le_bytes());
        assert_eq!(
            body(&bytes.into()).unwrap_err(),
            EnvelopeError::Damaged("unreadable header")
        );
    }
}
