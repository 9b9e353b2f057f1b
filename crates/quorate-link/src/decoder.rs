//! Bytes to frames, as they arrive.
//!
//! The decoder keeps what it has understood so far, so that no byte is looked at twice: an
//! aggregate under construction lives on an explicit stack (nesting is bounded by a limit, not by
//! the thread's stack), an announced string is waited for without reading its header again, and the
//! search for the end of a line resumes where it stopped. Strings are slices of the input buffer.

use bytes::{Buf, Bytes, BytesMut};

use crate::config::Limits;
use crate::frame::Frame;

/// The longest line: of a status, an error or a number. Redis writes far shorter ones.
const MAX_LINE: usize = 64 << 10;

/// What a peer's header may make us allocate before any element has arrived.
const MAX_PREALLOCATED: usize = 256;

/// Why bytes could not be decoded. The stream cannot be resynchronised after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes are not RESP.
    #[error("malformed reply: {0}")]
    Malformed(&'static str),
    /// A limit was exceeded.
    #[error("reply beyond the limit: {limit} is {maximum}")]
    TooLarge {
        /// The field of [`Limits`] that was exceeded.
        limit: &'static str,
        /// Its value.
        maximum: usize,
    },
}

/// An incremental decoder for RESP3 and RESP2.
///
/// ```
/// use bytes::BytesMut;
/// use quorate_link::{Decoder, Frame, Limits};
///
/// let mut decoder = Decoder::new(&Limits::default());
/// let mut input = BytesMut::from(&b"*2\r\n:1\r\n$5\r\nhel"[..]);
/// assert_eq!(decoder.decode(&mut input), Ok(None));
/// input.extend_from_slice(b"lo\r\n");
/// let frame = decoder.decode(&mut input).unwrap().unwrap();
/// assert_eq!(frame, Frame::Array(vec![Frame::Integer(1), Frame::Bulk("hello".into())]));
/// ```
#[derive(Debug)]
pub struct Decoder {
    max_bulk: usize,
    max_elements: usize,
    max_depth: usize,
    /// Aggregates begun and not complete, outermost first.
    stack: Vec<Open>,
    /// A string whose header was read and whose bytes have not all arrived.
    bulk: Option<(BulkKind, usize)>,
    /// How far the current line was searched for its end.
    scanned: usize,
    /// Elements announced so far within the current top-level frame.
    elements: usize,
}

#[derive(Clone, Copy, Debug)]
enum BulkKind {
    Plain,
    Error,
    Verbatim,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Aggregate {
    Array,
    Set,
    Map,
    Push,
    /// Metadata in front of a value: read and dropped.
    Attribute,
}

#[derive(Debug)]
struct Open {
    kind: Aggregate,
    /// Values still to come; a pair counts as two.
    missing: usize,
    items: Vec<Frame>,
}

/// What a header line turned out to be.
enum Header {
    Value(Frame),
    Bulk(BulkKind, usize),
    Aggregate(Aggregate, usize),
}

impl Decoder {
    /// A decoder that refuses what exceeds `limits`.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self {
            max_bulk: limits.max_bulk,
            max_elements: limits.max_frame_elements,
            max_depth: limits.max_depth,
            stack: Vec::new(),
            bulk: None,
            scanned: 0,
            elements: 0,
        }
    }

    /// Takes the next frame out of `input`, or `None` if more bytes are needed.
    ///
    /// Bytes understood are removed from `input`; hand over the rest again, with more behind it.
    ///
    /// # Errors
    /// If the bytes are not RESP or exceed a limit. The decoder must not be used afterwards.
    pub fn decode(&mut self, input: &mut BytesMut) -> Result<Option<Frame>, DecodeError> {
        loop {
            let value = if let Some((kind, len)) = self.bulk {
                match self.take_bulk(kind, len, input)? {
                    Some(value) => value,
                    None => return Ok(None),
                }
            } else {
                let Some(end) = self.find_line_end(input)? else {
                    return Ok(None);
                };
                let header = self.header(input, end)?;
                match header {
                    Header::Value(value) => value,
                    Header::Bulk(kind, len) => {
                        self.bulk = Some((kind, len));
                        continue;
                    }
                    Header::Aggregate(kind, count) => match self.open(kind, count)? {
                        Some(empty) => empty,
                        None => continue,
                    },
                }
            };
            if let Some(complete) = self.fold(value)? {
                self.elements = 0;
                return Ok(Some(complete));
            }
        }
    }

    /// How many more bytes the announced string needs: a hint for how much to read.
    pub(crate) fn missing_bytes(&self, input: &BytesMut) -> usize {
        self.bulk
            .map_or(0, |(_, len)| (len + 2).saturating_sub(input.len()))
    }

    /// Whether a frame was begun: then the end of the stream is a broken reply, not a clean end.
    #[must_use]
    pub fn is_mid_frame(&self) -> bool {
        !self.stack.is_empty() || self.bulk.is_some() || self.scanned > 0
    }

    fn find_line_end(&mut self, input: &BytesMut) -> Result<Option<usize>, DecodeError> {
        let rest = &input[self.scanned..];
        let Some(found) = rest.iter().position(|&b| b == b'\r') else {
            self.scanned = input.len();
            return if self.scanned > MAX_LINE {
                Err(LINE_TOO_LONG)
            } else {
                Ok(None)
            };
        };
        let end = self.scanned + found;
        if end > MAX_LINE {
            return Err(LINE_TOO_LONG);
        }
        match input.get(end + 1) {
            Some(b'\n') => {
                self.scanned = 0;
                Ok(Some(end))
            }
            Some(_) => Err(DecodeError::Malformed("a line ends with CR alone")),
            None => {
                self.scanned = end;
                Ok(None)
            }
        }
    }

    /// Reads the line `input[..end]` and removes it.
    fn header(&self, input: &mut BytesMut, end: usize) -> Result<Header, DecodeError> {
        let Some((&sign, body)) = input[..end].split_first() else {
            return Err(DecodeError::Malformed("an empty line"));
        };
        let header = match sign {
            b'$' => self.bulk_header(BulkKind::Plain, body)?,
            b'!' => self.bulk_header(BulkKind::Error, body)?,
            b'=' => self.bulk_header(BulkKind::Verbatim, body)?,
            b'*' => self.aggregate_header(Aggregate::Array, body)?,
            b'~' => self.aggregate_header(Aggregate::Set, body)?,
            b'%' => self.aggregate_header(Aggregate::Map, body)?,
            b'>' => self.aggregate_header(Aggregate::Push, body)?,
            b'|' => self.aggregate_header(Aggregate::Attribute, body)?,
            b':' => Header::Value(Frame::Integer(integer(body)?)),
            b',' => Header::Value(Frame::Double(double(body)?)),
            b'#' => Header::Value(Frame::Boolean(boolean(body)?)),
            b'_' if body.is_empty() => Header::Value(Frame::Null),
            b'_' => return Err(DecodeError::Malformed("a null with a value")),
            b'+' => return Ok(Header::Value(Frame::Simple(take_line(input, end)))),
            b'-' => return Ok(Header::Value(Frame::Error(take_line(input, end)))),
            b'(' => {
                big_number(body)?;
                return Ok(Header::Value(Frame::BigNumber(take_line(input, end))));
            }
            _ => return Err(DecodeError::Malformed("an unknown type")),
        };
        input.advance(end + 2);
        Ok(header)
    }

    fn bulk_header(&self, kind: BulkKind, body: &[u8]) -> Result<Header, DecodeError> {
        match length(body)? {
            None if matches!(kind, BulkKind::Plain) => Ok(Header::Value(Frame::Null)),
            None => Err(DecodeError::Malformed("a negative length")),
            Some(len) if len > self.max_bulk => Err(DecodeError::TooLarge {
                limit: "max_bulk",
                maximum: self.max_bulk,
            }),
            Some(len) if len < 4 && matches!(kind, BulkKind::Verbatim) => {
                Err(DecodeError::Malformed("a verbatim string without a format"))
            }
            Some(len) => Ok(Header::Bulk(kind, len)),
        }
    }

    fn aggregate_header(&self, kind: Aggregate, body: &[u8]) -> Result<Header, DecodeError> {
        match length(body)? {
            None if kind == Aggregate::Array => Ok(Header::Value(Frame::Null)),
            None => Err(DecodeError::Malformed("a negative length")),
            Some(count) => Ok(Header::Aggregate(kind, count)),
        }
    }

    /// Begins an aggregate; returns it at once if it is empty.
    fn open(&mut self, kind: Aggregate, count: usize) -> Result<Option<Frame>, DecodeError> {
        let pairs = matches!(kind, Aggregate::Map | Aggregate::Attribute);
        let values = if pairs {
            count.saturating_mul(2)
        } else {
            count
        };
        self.elements = self.elements.saturating_add(values.max(1));
        if self.elements > self.max_elements {
            let maximum = self.max_elements;
            return Err(DecodeError::TooLarge {
                limit: "max_frame_elements",
                maximum,
            });
        }
        if values == 0 {
            // Empty metadata is no value: the value it belongs to is still to come.
            return Ok(if kind == Aggregate::Attribute {
                None
            } else {
                Some(build(kind, vec![])?)
            });
        }
        if self.stack.len() >= self.max_depth {
            return Err(DecodeError::TooLarge {
                limit: "max_depth",
                maximum: self.max_depth,
            });
        }
        let items = Vec::with_capacity(values.min(MAX_PREALLOCATED));
        self.stack.push(Open {
            kind,
            missing: values,
            items,
        });
        Ok(None)
    }

    fn take_bulk(
        &mut self,
        kind: BulkKind,
        len: usize,
        input: &mut BytesMut,
    ) -> Result<Option<Frame>, DecodeError> {
        if input.len() < len + 2 {
            return Ok(None);
        }
        if &input[len..len + 2] != b"\r\n" {
            return Err(DecodeError::Malformed("a string longer than announced"));
        }
        self.bulk = None;
        let mut data = input.split_to(len).freeze();
        input.advance(2);
        Ok(Some(match kind {
            BulkKind::Plain => Frame::Bulk(data),
            BulkKind::Error => Frame::Error(data),
            BulkKind::Verbatim => {
                let format = [data[0], data[1], data[2]];
                if data[3] != b':' {
                    return Err(DecodeError::Malformed("a verbatim string without a format"));
                }
                data.advance(4);
                Frame::Verbatim { format, data }
            }
        }))
    }

    /// Puts a value where it belongs; returns the top-level frame it completes, if any.
    fn fold(&mut self, mut value: Frame) -> Result<Option<Frame>, DecodeError> {
        loop {
            let Some(open) = self.stack.last_mut() else {
                return Ok(Some(value));
            };
            open.items.push(value);
            open.missing -= 1;
            if open.missing > 0 {
                return Ok(None);
            }
            let Some(done) = self.stack.pop() else {
                return Ok(None);
            };
            if done.kind == Aggregate::Attribute {
                return Ok(None);
            }
            value = build(done.kind, done.items)?;
        }
    }
}

const LINE_TOO_LONG: DecodeError = DecodeError::TooLarge {
    limit: "the length of a line",
    maximum: MAX_LINE,
};

fn build(kind: Aggregate, items: Vec<Frame>) -> Result<Frame, DecodeError> {
    Ok(match kind {
        Aggregate::Array => Frame::Array(items),
        Aggregate::Set => Frame::Set(items),
        Aggregate::Push => Frame::Push(items),
        Aggregate::Map => {
            let mut pairs = Vec::with_capacity(items.len() / 2);
            let mut rest = items.into_iter();
            while let (Some(key), Some(value)) = (rest.next(), rest.next()) {
                pairs.push((key, value));
            }
            Frame::Map(pairs)
        }
        Aggregate::Attribute => return Err(DecodeError::Malformed("metadata in place of a value")),
    })
}

/// Removes the line and its end from `input`, and returns it without its sign.
fn take_line(input: &mut BytesMut, end: usize) -> Bytes {
    input.advance(1);
    let line = input.split_to(end - 1).freeze();
    input.advance(2);
    line
}

/// A length or count; `-1` is the null of RESP2.
fn length(body: &[u8]) -> Result<Option<usize>, DecodeError> {
    if body == b"-1" {
        return Ok(None);
    }
    match body.first() {
        None => Err(DecodeError::Malformed("a length without digits")),
        Some(b'?') => Err(DecodeError::Malformed(
            "a streamed value, which Redis never sends",
        )),
        Some(b'+' | b'-') => Err(DecodeError::Malformed("a length with a sign")),
        Some(_) => {
            let value = integer(body)?;
            usize::try_from(value).map(Some).map_err(|_| NOT_A_NUMBER)
        }
    }
}

const NOT_A_NUMBER: DecodeError = DecodeError::Malformed("not a number");

fn integer(body: &[u8]) -> Result<i64, DecodeError> {
    let (negative, digits) = match body.split_first() {
        Some((b'-', rest)) => (true, rest),
        Some((b'+', rest)) => (false, rest),
        _ => (false, body),
    };
    if digits.is_empty() {
        return Err(NOT_A_NUMBER);
    }
    // Accumulated below zero, where i64 has one value more.
    let mut value: i64 = 0;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return Err(NOT_A_NUMBER);
        }
        value = value
            .checked_mul(10)
            .and_then(|v| v.checked_sub(i64::from(digit - b'0')))
            .ok_or(NOT_A_NUMBER)?;
    }
    if negative {
        Ok(value)
    } else {
        value.checked_neg().ok_or(NOT_A_NUMBER)
    }
}

fn double(body: &[u8]) -> Result<f64, DecodeError> {
    let text = std::str::from_utf8(body).map_err(|_| NOT_A_NUMBER)?;
    text.parse().map_err(|_| NOT_A_NUMBER)
}

fn boolean(body: &[u8]) -> Result<bool, DecodeError> {
    match body {
        b"t" => Ok(true),
        b"f" => Ok(false),
        _ => Err(DecodeError::Malformed("a boolean other than t or f")),
    }
}

fn big_number(body: &[u8]) -> Result<(), DecodeError> {
    let digits = match body.split_first() {
        Some((b'-' | b'+', rest)) => rest,
        _ => body,
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(NOT_A_NUMBER);
    }
    Ok(())
}
