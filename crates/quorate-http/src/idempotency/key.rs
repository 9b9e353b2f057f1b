//! The field `Idempotency-Key`, and what is kept of it.

use axum::http::{HeaderMap, HeaderName};
use sha2::{Digest, Sha256};

use crate::hex::hex;

/// The field.
pub(super) const FIELD: HeaderName = HeaderName::from_static("idempotency-key");

/// The longest key, in bytes.
const LONGEST: usize = 255;

/// The key of a request, `None` if it has none; or the rule that it breaks.
pub(super) fn key_of(headers: &HeaderMap) -> Result<Option<String>, &'static str> {
    let mut values = headers.get_all(FIELD).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err("must be given once");
    }
    let text = value.to_str().map_err(|_| "must be visible ASCII")?;
    let text = text.trim();
    // A string of RFC 9651, as the draft says; most clients send the bare text.
    let key = if text.starts_with('"') {
        let item = sfv::Parser::new(text).parse::<sfv::Item>();
        let item = item.map_err(|_| "must be text between quotes, or without them")?;
        match item.bare_item {
            sfv::BareItem::String(key) => String::from(key),
            _ => return Err("must be text between quotes, or without them"),
        }
    } else {
        text.to_owned()
    };
    if key.is_empty() || key.len() > LONGEST {
        return Err("must have 1 to 255 characters");
    }
    Ok(Some(key))
}

/// The entry for the key of a caller: a hash, for both may be secret.
pub(super) fn entry_of(caller: &[u8], key: &str) -> String {
    let mut hash = Sha256::new();
    hash.update((caller.len() as u64).to_le_bytes());
    hash.update(caller);
    hash.update(key.as_bytes());
    hex(&hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&str]) -> Result<Option<String>, &'static str> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(FIELD, value.parse().unwrap());
        }
        key_of(&headers)
    }

    #[test]
    fn keys_are_text_with_quotes_or_without() {
        assert_eq!(read(&[]), Ok(None));
        for same in [
            "8e03978e-40d5",
            "\"8e03978e-40d5\"",
            "\"8e03978e-40d5\";a=1",
        ] {
            assert_eq!(read(&[same]), Ok(Some("8e03978e-40d5".to_owned())));
        }
        assert_eq!(read(&["\"a\\\"b\""]), Ok(Some("a\"b".to_owned())));
    }

    #[test]
    fn what_is_no_key_is_refused_with_the_rule() {
        let long = "x".repeat(256);
        for (values, rule) in [
            (&["a", "b"][..], "must be given once"),
            (&[""], "must have 1 to 255 characters"),
            (&["\"\""], "must have 1 to 255 characters"),
            (&[&long], "must have 1 to 255 characters"),
            (&["\"a"], "must be text between quotes, or without them"),
            (&["é"], "must be visible ASCII"),
        ] {
            assert_eq!(read(values), Err(rule), "{values:?}");
        }
        assert!(read(&[&long[1..]]).is_ok());
    }

    #[test]
    fn callers_do_not_share_keys() {
        assert_ne!(entry_of(b"a", "bc"), entry_of(b"ab", "c"));
        assert_eq!(entry_of(b"a", "b").len(), 64);
    }
}
