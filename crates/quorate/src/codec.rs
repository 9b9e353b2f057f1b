//! How values become bytes.

use std::fmt;

use bytes::Bytes;
use serde::Serialize;
use serde::de::{Deserialize, DeserializeOwned};

/// Why a value could not be encoded or decoded; the codec's own error.
pub type CodecError = Box<dyn std::error::Error + Send + Sync>;

/// A pair of functions between `T` and bytes, with a name and a media type.
///
/// # Example
/// ```
/// use quorate::{Codec, TopicSpec};
///
/// const NOTES: TopicSpec<String> = TopicSpec::with_codec("notes", Codec::text());
/// const HEX: Codec<u64> = Codec::custom(
///     "hex",
///     "text/plain",
///     |n| Ok(format!("{n:x}").into()),
///     |bytes| Ok(u64::from_str_radix(std::str::from_utf8(bytes)?, 16)?),
/// );
/// # let _ = NOTES;
/// assert_eq!(HEX.decode(&HEX.encode(&255).unwrap()).unwrap(), 255);
/// ```
pub struct Codec<T> {
    name: &'static str,
    content_type: &'static str,
    encode: Encode<T>,
    decode: fn(&Bytes) -> Result<T, CodecError>,
}

/// How a codec gives its bytes.
enum Encode<T> {
    /// In a buffer of their own.
    Own(fn(&T) -> Result<Bytes, CodecError>),
    /// Behind what stands in a buffer.
    Behind(fn(&T, &mut Vec<u8>) -> Result<(), CodecError>),
}

impl<T> Codec<T> {
    /// A codec of your own. `name` identifies it: two codecs for one type must differ in it.
    #[must_use]
    pub const fn custom(
        name: &'static str,
        content_type: &'static str,
        encode: fn(&T) -> Result<Bytes, CodecError>,
        decode: fn(&Bytes) -> Result<T, CodecError>,
    ) -> Self {
        Self {
            name,
            content_type,
            encode: Encode::Own(encode),
            decode,
        }
    }

    /// The codec's name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The media type of what it produces.
    #[must_use]
    pub const fn content_type(&self) -> &'static str {
        self.content_type
    }

    /// Turns `value` into bytes.
    ///
    /// # Errors
    /// Whatever the codec reports.
    pub fn encode(&self, value: &T) -> Result<Bytes, CodecError> {
        match self.encode {
            Encode::Own(encode) => encode(value),
            Encode::Behind(append) => {
                let mut bytes = Vec::with_capacity(128);
                append(value, &mut bytes)?;
                Ok(bytes.into())
            }
        }
    }

    /// Turns `value` into bytes behind those of `buffer`. After an error the buffer may end in half a
    /// value.
    pub(crate) fn encode_behind(&self, value: &T, buffer: &mut Vec<u8>) -> Result<(), CodecError> {
        match self.encode {
            Encode::Own(encode) => buffer.extend_from_slice(&encode(value)?),
            Encode::Behind(append) => append(value, buffer)?,
        }
        Ok(())
    }

    /// Turns bytes into a value.
    ///
    /// # Errors
    /// Whatever the codec reports.
    pub fn decode(&self, bytes: &Bytes) -> Result<T, CodecError> {
        (self.decode)(bytes)
    }
}

impl<T: Serialize + DeserializeOwned> Codec<T> {
    /// JSON, the default: readable by everybody.
    #[must_use]
    pub const fn json() -> Self {
        Self {
            name: "json",
            content_type: "application/json",
            encode: Encode::Behind(|value, buffer| Ok(serde_json::to_writer(buffer, value)?)),
            decode: |bytes| Ok(serde_json::from_slice(bytes)?),
        }
    }

    /// MessagePack with field names: smaller than JSON, and as tolerant of added fields. What is nested
    /// more than 128 deep is not read, as with JSON.
    #[must_use]
    pub const fn message_pack() -> Self {
        Self {
            name: "msgpack",
            content_type: "application/vnd.msgpack",
            encode: Encode::Behind(|value, buffer| {
                Ok(rmp_serde::encode::write_named(buffer, value)?)
            }),
            decode: |bytes| Ok(read_message_pack(bytes, MAX_DEPTH)?),
        }
    }
}

/// How deep a value may be nested: as deep as `serde_json` has it.
const MAX_DEPTH: usize = 128;

/// Reads MessagePack that is nested at most `depth` deep. Every level is a call: without a limit that
/// fits a thread's stack, whoever wrote the bytes could end the process.
pub(crate) fn read_message_pack<'a, T: Deserialize<'a>>(
    bytes: &'a [u8],
    depth: usize,
) -> Result<T, rmp_serde::decode::Error> {
    let mut reader = rmp_serde::Deserializer::from_read_ref(bytes);
    reader.set_max_depth(depth);
    T::deserialize(&mut reader)
}

impl Codec<String> {
    /// UTF-8 text as it is, without quotes.
    #[must_use]
    pub const fn text() -> Self {
        Self::custom(
            "text",
            "text/plain; charset=utf-8",
            |value| Ok(Bytes::copy_from_slice(value.as_bytes())),
            |bytes| Ok(std::str::from_utf8(bytes)?.to_owned()),
        )
    }
}

impl Codec<Bytes> {
    /// Bytes as they are.
    #[must_use]
    pub const fn bytes() -> Self {
        Self::custom(
            "bytes",
            "application/octet-stream",
            |value| Ok(value.clone()),
            |bytes| Ok(bytes.clone()),
        )
    }
}

// Not derived: a derive would ask `T: Clone`, and only function pointers are copied here.
impl<T> Clone for Encode<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Encode<T> {}

impl<T> Clone for Codec<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Codec<T> {}

impl<T> fmt::Debug for Codec<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Codec({})", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_built_in_codec_gives_back_what_it_was_given(text in ".*", bytes: Vec<u8>) {
            for codec in [Codec::text(), Codec::json(), Codec::message_pack()] {
                let encoded = codec.encode(&text).unwrap();
                prop_assert_eq!(codec.decode(&encoded).unwrap(), text.clone());
                let mut behind = b"before".to_vec();
                codec.encode_behind(&text, &mut behind).unwrap();
                prop_assert_eq!(&behind, &[b"before", &*encoded].concat());
            }
            let bytes = Bytes::from(bytes);
            let codec = Codec::bytes();
            prop_assert_eq!(codec.decode(&codec.encode(&bytes).unwrap()).unwrap(), bytes);
        }
    }

    /// Defect 3 of the register: `"42"` came back as a number, `"hello"` as a buffer.
    #[test]
    fn defect_03_strings_stay_strings() {
        for text in ["hello", "42", "", "\u{85}é"] {
            let encoded = Codec::text().encode(&text.to_owned()).unwrap();
            assert_eq!(encoded, text.as_bytes());
            assert_eq!(Codec::text().decode(&encoded).unwrap(), text);
        }
    }

    /// Whoever may publish must not be able to exhaust the stack of who reads.
    #[test]
    fn endless_depth_is_an_error() {
        const ARRAY_OF_ONE: u8 = 0x91;
        let nested = |depth: usize| {
            let mut bytes = vec![ARRAY_OF_ONE; depth];
            bytes.push(0);
            Bytes::from(bytes)
        };
        let codec = Codec::<serde_json::Value>::message_pack();
        assert!(codec.decode(&nested(100)).is_ok());
        assert!(codec.decode(&nested(100_000)).is_err());
        let json = Bytes::from("[".repeat(100_000));
        assert!(Codec::<serde_json::Value>::json().decode(&json).is_err());
    }
}
