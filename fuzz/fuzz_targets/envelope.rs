//! Arbitrary bytes on a topic's channel never panic, and what is read is what this version writes.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use quorate::events::reread;

fuzz_target!(|bytes: &[u8]| {
    let Ok(read) = reread(&Bytes::copy_from_slice(bytes)) else {
        return;
    };
    assert!(bytes.ends_with(&read.payload));
    if let Some(written) = read.written {
        let again = reread(&written).unwrap();
        assert_eq!(again.payload, read.payload);
        // What makes it a beacon is not written by `head`.
        let says = read.says.replacen("beacon: true", "beacon: false", 1);
        assert_eq!(again.says, says);
        assert_eq!(again.written, Some(written));
    }
});
