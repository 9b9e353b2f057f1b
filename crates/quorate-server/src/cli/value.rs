//! Values and keys on the command line.

use std::io::{Read, Write};

use bytes::Bytes;
use quorate::store::Scan;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::failure::Failure;
use crate::json::{MOST_BYTES, compact, shown};

/// A value: what is given, or what comes over standard input.
pub(super) fn read(given: Option<String>) -> Result<Bytes, Failure> {
    let text = match given {
        Some(text) => text.into_bytes(),
        None => {
            let mut text = Vec::new();
            // One byte more: what is too large is refused, not cut.
            let mut input = std::io::stdin().lock().take(MOST_BYTES as u64 + 1);
            input
                .read_to_end(&mut text)
                .map_err(|error| Failure::failed(format!("cannot read standard input: {error}")))?;
            text
        }
    };
    compact(&text).map_err(Failure::usage)
}

/// Prints a value as it is, with the end of a line.
pub(super) fn print(value: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(value).and_then(|()| out.write_all(b"\n"));
    written
        .and_then(|()| out.flush())
        .map_err(|error| Failure::failed(format!("cannot write: {error}")))
}

/// Prints a document on a line of its own.
pub(super) fn print_json(document: &impl Serialize) -> Result<(), Failure> {
    let line = serde_json::to_vec(document).map_err(|error| Failure::failed(error.to_string()))?;
    print(&line)
}

/// A value in a document: as it is if it is JSON.
#[derive(Debug, Serialize)]
pub(super) struct Shown {
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
}

impl From<&Bytes> for Shown {
    fn from(value: &Bytes) -> Self {
        let (value, value_base64) = shown(value);
        Self {
            value,
            value_base64,
        }
    }
}

/// Prints keys, one on each line, as they are found.
pub(super) async fn print_keys(mut keys: Scan) -> Result<(), Failure> {
    while let Some(page) = keys.next_page().await? {
        let mut out = std::io::stdout().lock();
        let written = page.names.iter().try_for_each(|key| writeln!(out, "{key}"));
        // Whoever read our output has left: there is nobody to go on for.
        if written.and_then(|()| out.flush()).is_err() {
            break;
        }
    }
    Ok(())
}
