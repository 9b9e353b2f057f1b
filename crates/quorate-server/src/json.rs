//! Values of stores and caches, as people and programs write them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

/// The most bytes of one value: no server takes more.
pub(crate) const MOST_BYTES: usize = 512 * 1024 * 1024;

/// Whether a value is JSON. What other programs and codecs store may be anything.
pub(crate) fn is_json(value: &[u8]) -> bool {
    check(value).is_ok()
}

/// A value in a document: as it is if it is JSON, in base64 if not.
pub(crate) fn shown(value: &[u8]) -> (Option<Box<RawValue>>, Option<String>) {
    let text = is_json(value).then(|| String::from_utf8_lossy(value).trim().to_owned());
    let json = text.and_then(|text| RawValue::from_string(text).ok());
    let base64 = json.is_none().then(|| STANDARD.encode(value));
    (json, base64)
}

/// Checks JSON, and takes out the white space between its parts.
pub(crate) fn compact(text: &[u8]) -> Result<Bytes, String> {
    check(text)?;
    let (mut quoted, mut escaped) = (false, false);
    let means_something = |byte: &u8| {
        if quoted {
            quoted = escaped || *byte != b'"';
            escaped = !escaped && *byte == b'\\';
            return true;
        }
        quoted = *byte == b'"';
        !matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
    };
    let compact: Vec<u8> = text.iter().copied().filter(means_something).collect();
    Ok(compact.into())
}

fn check(text: &[u8]) -> Result<(), String> {
    serde_json::from_slice::<IgnoredAny>(text)
        .map_err(|error| format!("value must be JSON: {error}"))?;
    // Of what is ignored, it does not look at the text.
    std::str::from_utf8(text).map_err(|_| "value must be JSON: it is not UTF-8".to_owned())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_white_space_that_means_nothing_goes() {
        for (text, expected) in [
            ("1", "1"),
            (
                " {\"a b\" : [1 , 2.50],\n\"c\":\"x \\\" y\\\\\" }\t",
                "{\"a b\":[1,2.50],\"c\":\"x \\\" y\\\\\"}",
            ),
            ("\"  \"", "\"  \""),
            ("[ ]", "[]"),
        ] {
            assert_eq!(compact(text.as_bytes()).unwrap(), expected);
        }
        for text in ["", "{", "1 2", "{'a': 1}", "nul"] {
            assert!(
                compact(text.as_bytes())
                    .unwrap_err()
                    .starts_with("value must be JSON")
            );
        }
        assert!(compact(b"\"\xff\"").is_err());
    }
}
