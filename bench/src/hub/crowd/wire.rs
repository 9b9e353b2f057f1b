//! As much of the WebSocket protocol as a client needs. Pure functions.

use anyhow::{Result, bail, ensure};

/// What a position stands behind.
const POSITION: &[u8] = br#""position":""#;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A message of text.
    Text,
    /// The server says goodbye.
    Close,
    /// To be answered.
    Ping,
    /// An answer.
    Pong,
}

/// A frame as the server sent it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    /// What it is.
    pub(crate) kind: Kind,
    /// Its bytes.
    pub(crate) payload: &'a [u8],
}

/// What asks for a WebSocket.
pub(crate) fn upgrade(host: &str) -> String {
    // A server must not tell its answer from this key by anything but its hash, which nobody checks here.
    format!(
        "GET /ws HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: cXVvcmF0ZSBpcyBiZW5jaA==\r\n\r\n"
    )
}

/// Where the answer to [`upgrade`] ends, if all of it is there.
///
/// # Errors
/// If it is a refusal.
pub(crate) fn upgraded(bytes: &[u8]) -> Result<Option<usize>> {
    let Some(end) = find(bytes, b"\r\n\r\n") else {
        return Ok(None);
    };
    if !bytes.starts_with(b"HTTP/1.1 101 ") {
        bail!("refused: {}", String::from_utf8_lossy(bytes));
    }
    Ok(Some(end + 4))
}

/// The first frame in `bytes`, and how many of them it takes; `None` if it is not complete.
///
/// # Errors
/// If it is in parts, or of a kind no server sends here.
pub(crate) fn frame(bytes: &[u8]) -> Result<Option<(Frame<'_>, usize)>> {
    let [first, second, rest @ ..] = bytes else {
        return Ok(None);
    };
    ensure!(first & 0xf0 == 0x80, "a frame in parts, or compressed");
    ensure!(second & 0x80 == 0, "a masked frame from a server");
    let (length, header) = match (second & 0x7f, rest) {
        (126, [high, low, ..]) => (u64::from(u16::from_be_bytes([*high, *low])), 4),
        (127, [digits @ .., _]) if digits.len() >= 7 => {
            let mut wide = [0; 8];
            wide.copy_from_slice(&rest[..8]);
            (u64::from_be_bytes(wide), 10)
        }
        (126 | 127, _) => return Ok(None),
        (short, _) => (u64::from(short), 2),
    };
    let kind = match first & 0x0f {
        1 => Kind::Text,
        8 => Kind::Close,
        9 => Kind::Ping,
        10 => Kind::Pong,
        other => bail!("a frame of kind {other}"),
    };
    let end = header + usize::try_from(length)?;
    Ok(bytes
        .get(header..end)
        .map(|payload| (Frame { kind, payload }, end)))
}

/// A frame of a client. Its mask is zero, which leaves the payload as it is.
///
/// # Errors
/// If it is longer than anything said here.
pub(crate) fn masked(kind: Kind, payload: &[u8]) -> Result<Vec<u8>> {
    let kind = match kind {
        Kind::Text => 1,
        Kind::Close => 8,
        Kind::Ping => 9,
        Kind::Pong => 10,
    };
    let mut frame = vec![0x80 | kind];
    match u8::try_from(payload.len())? {
        short @ ..126 => frame.push(0x80 | short),
        long => frame.extend([0xfe, 0, long]),
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    Ok(frame)
}

/// What asks for the messages of a topic, after a position if there is one.
pub(crate) fn subscribe(topic: &str, after: Option<&str>) -> String {
    let after = after.map_or_else(String::new, |after| format!(r#","after":"{after}""#));
    format!(r#"{{"id":1,"subscribe":"{topic}"{after}}}"#)
}

/// The position a frame names, if it does: of what is said in it, the last.
pub(crate) fn position(frame: &[u8]) -> Option<&str> {
    let mut parts = frame.windows(POSITION.len());
    let begin = parts.rposition(|part| part == POSITION)? + POSITION.len();
    let length = frame[begin..].iter().position(|byte| *byte == b'"')?;
    std::str::from_utf8(&frame[begin..begin + length]).ok()
}

/// The position of a message, which is the last thing said of it. Costs no more than reading it.
pub(crate) fn last_position(message: &[u8]) -> Option<&str> {
    let text = message.strip_suffix(br#""}"#)?;
    let begin = text.iter().rposition(|byte| *byte == b'"')? + 1;
    let (before, position) = text.split_at(begin);
    before
        .ends_with(POSITION)
        .then(|| std::str::from_utf8(position).ok())?
}

/// The number in a position that grows by one with each message.
pub(crate) fn offset(position: &str) -> Option<u64> {
    position.split('-').nth(1)?.parse().ok()
}

/// Whether `text` occurs in `bytes`.
pub(crate) fn contains(bytes: &[u8], text: &[u8]) -> bool {
    find(bytes, text).is_some()
}

fn find(bytes: &[u8], text: &[u8]) -> Option<usize> {
    bytes.windows(text.len()).position(|part| part == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_taken_when_all_of_it_is_there() {
        for length in [0, 5, 125, 126, 200, 65_535, 65_536] {
            let payload = vec![b'x'; length];
            let mut bytes = vec![0x81];
            match length {
                ..126 => bytes.push(u8::try_from(length).unwrap()),
                126..65_536 => {
                    bytes.push(126);
                    bytes.extend(u16::try_from(length).unwrap().to_be_bytes());
                }
                _ => {
                    bytes.push(127);
                    bytes.extend(u64::try_from(length).unwrap().to_be_bytes());
                }
            }
            bytes.extend(&payload);
            for cut in [0, 1, bytes.len() - 1] {
                assert_eq!(frame(&bytes[..cut]).unwrap(), None, "{length} cut at {cut}");
            }
            let whole = bytes.len();
            bytes.extend(b"\x89\x00");
            let (first, end) = frame(&bytes).unwrap().unwrap();
            assert_eq!((first.kind, first.payload), (Kind::Text, &payload[..]));
            assert_eq!(end, whole);
            let (second, _) = frame(&bytes[end..]).unwrap().unwrap();
            assert_eq!((second.kind, second.payload), (Kind::Ping, &b""[..]));
        }
        assert!(frame(b"\x01\x00").is_err());
    }

    #[test]
    fn what_a_client_says_is_masked_with_nothing() {
        assert_eq!(masked(Kind::Text, b"hi").unwrap(), b"\x81\x82\0\0\0\0hi");
        let long = masked(Kind::Text, &[b'x'; 200]).unwrap();
        assert_eq!(&long[..4], b"\x81\xfe\x00\xc8");
        assert_eq!(long.len(), 4 + 4 + 200);
    }

    #[test]
    fn the_position_of_the_frame_is_found_whatever_its_data_says() {
        let text = br#"{"data":{"position":"9-9-9"},"position":"1a-42-00ff"}"#;
        assert_eq!(position(text), Some("1a-42-00ff"));
        assert_eq!(last_position(text), Some("1a-42-00ff"));
        assert_eq!(last_position(br#"{"position":"1-1-1","id":"x"}"#), None);
        assert_eq!(offset("1a-42-00ff"), Some(42));
        assert_eq!(position(b"{}"), None);
    }

    #[test]
    fn a_refusal_is_not_an_upgrade() {
        assert_eq!(upgraded(b"HTTP/1.1 101 Switch").unwrap(), None);
        assert_eq!(upgraded(b"HTTP/1.1 101 S\r\n\r\n\x81").unwrap(), Some(18));
        assert!(upgraded(b"HTTP/1.1 503 S\r\n\r\n").is_err());
    }
}
