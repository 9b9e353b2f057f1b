//! A reply, decoded.

use std::fmt;

use bytes::Bytes;

/// One RESP value.
///
/// RESP2 replies use the subset they know: a RESP2 null bulk or null array is [`Frame::Null`].
///
/// # Memory
/// [`Bytes`] in a frame are slices of the buffer they were read into, so a small value kept for a
/// long time keeps up to one read buffer (64 KiB, or the size of a larger reply) alive. Copy what
/// is stored: `Bytes::copy_from_slice(&value)`.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub enum Frame {
    /// Nothing: a missing key, an aborted transaction.
    Null,
    /// A signed 64-bit integer.
    Integer(i64),
    /// A floating point number; infinities and NaN occur.
    Double(f64),
    /// True or false.
    Boolean(bool),
    /// A short status line such as `OK`.
    Simple(Bytes),
    /// A binary-safe string.
    Bulk(Bytes),
    /// An error, without its leading sign. At the top level of a reply the link returns it as
    /// [`LinkError`](crate::LinkError) instead; inside an array it stays a value.
    Error(Bytes),
    /// The decimal digits of an integer of any size.
    BigNumber(Bytes),
    /// Text with a three-byte format hint, such as `txt` or `mkd`.
    Verbatim {
        /// The format hint.
        format: [u8; 3],
        /// The text.
        data: Bytes,
    },
    /// An ordered list.
    Array(Vec<Self>),
    /// A set, in the order received.
    Set(Vec<Self>),
    /// Pairs, in the order received.
    Map(Vec<(Self, Self)>),
    /// Something the server sent unasked.
    Push(Vec<Self>),
}

impl Frame {
    /// Whether this is [`Frame::Null`].
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// Whether this is the status `OK`.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        matches!(self, Self::Simple(s) if s.as_ref() == b"OK")
    }

    /// The bytes of a string of any kind, or of an error line.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Simple(b) | Self::Bulk(b) | Self::Error(b) | Self::BigNumber(b) => Some(b),
            Self::Verbatim { data, .. } => Some(data),
            _ => None,
        }
    }

    /// Like [`as_bytes`](Self::as_bytes), as text; `None` if it is not UTF-8.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(self.as_bytes()?).ok()
    }

    /// An integer, also when the server sent it as a string of digits or as a boolean.
    #[must_use]
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::Integer(n) => Some(*n),
            Self::Boolean(b) => Some(i64::from(*b)),
            Self::Error(_) => None,
            _ => self.as_str()?.parse().ok(),
        }
    }

    /// A number, also when the server sent it as an integer or as text.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "the caller asked for a double")]
    pub fn as_double(&self) -> Option<f64> {
        match self {
            Self::Double(d) => Some(*d),
            Self::Integer(n) => Some(*n as f64),
            Self::Error(_) => None,
            _ => self.as_str()?.parse().ok(),
        }
    }

    /// A truth value; RESP2 servers send 0 and 1.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Boolean(b) => Some(*b),
            Self::Integer(0) => Some(false),
            Self::Integer(1) => Some(true),
            _ => None,
        }
    }

    /// The bytes of a string of any kind, without copying.
    #[must_use]
    pub fn into_bytes(self) -> Option<Bytes> {
        match self {
            Self::Simple(b) | Self::Bulk(b) | Self::Error(b) | Self::BigNumber(b) => Some(b),
            Self::Verbatim { data, .. } => Some(data),
            _ => None,
        }
    }

    /// The elements of an array, a set or a push.
    #[must_use]
    pub fn as_array(&self) -> Option<&[Self]> {
        match self {
            Self::Array(v) | Self::Set(v) | Self::Push(v) => Some(v),
            _ => None,
        }
    }

    /// The elements of an array, a set or a push, taken out of the frame.
    #[must_use]
    pub fn into_array(self) -> Option<Vec<Self>> {
        match self {
            Self::Array(v) | Self::Set(v) | Self::Push(v) => Some(v),
            _ => None,
        }
    }

    /// The pairs of a map, or of the flat array RESP2 sends instead of one.
    #[must_use]
    pub fn into_pairs(self) -> Option<Vec<(Self, Self)>> {
        match self {
            Self::Map(pairs) => Some(pairs),
            Self::Array(flat) if flat.len() % 2 == 0 => {
                let mut pairs = Vec::with_capacity(flat.len() / 2);
                let mut rest = flat.into_iter();
                while let (Some(k), Some(v)) = (rest.next(), rest.next()) {
                    pairs.push((k, v));
                }
                Some(pairs)
            }
            _ => None,
        }
    }
}

/// Shows structure and sizes, and the start of each string: replies may carry what belongs in no
/// log, and megabytes of it.
impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 64;
        let text = |f: &mut fmt::Formatter<'_>, name: &str, data: &[u8]| {
            let head = &data[..data.len().min(SHOWN)];
            write!(f, "{name}(\"{}\"", head.escape_ascii())?;
            if data.len() > SHOWN {
                write!(f, "… {} bytes", data.len())?;
            }
            f.write_str(")")
        };
        match self {
            Self::Null => f.write_str("Null"),
            Self::Integer(n) => write!(f, "Integer({n})"),
            Self::Double(d) => write!(f, "Double({d})"),
            Self::Boolean(b) => write!(f, "Boolean({b})"),
            Self::Simple(s) => text(f, "Simple", s),
            Self::Bulk(s) => text(f, "Bulk", s),
            Self::Error(s) => text(f, "Error", s),
            Self::BigNumber(s) => text(f, "BigNumber", s),
            Self::Verbatim { data, .. } => text(f, "Verbatim", data),
            Self::Array(v) => f.debug_tuple("Array").field(v).finish(),
            Self::Set(v) => f.debug_tuple("Set").field(v).finish(),
            Self::Map(v) => f.debug_tuple("Map").field(v).finish(),
            Self::Push(v) => f.debug_tuple("Push").field(v).finish(),
        }
    }
}
