//! Whatever a client sends over its WebSocket is answered: it never panics, and is understood the same
//! however it is written.

#![no_main]

use libfuzzer_sys::fuzz_target;
use quorate_http::internals::read_frame;
use serde_json::Value;

fuzz_target!(|text: &str| {
    let (id, read) = read_frame(text);
    match id.as_deref().map(|id| serde_json::from_str(id).unwrap()) {
        None | Some(Value::Number(_)) => {}
        Some(Value::String(id)) => assert!(id.len() <= 64, "an id of {} bytes", id.len()),
        Some(other) => panic!("{other} is not an id"),
    }
    if let Err(problem) = &read {
        assert!(!problem.is_empty());
    }

    let padded = format!(" \t{text}\r\n");
    let (padded_id, padded_read) = read_frame(&padded);
    assert_eq!((&padded_id, padded_read.is_ok()), (&id, read.is_ok()));

    // What is understood has no member twice, so that writing it in our way loses nothing.
    if read.is_ok()
        && let Ok(value) = serde_json::from_str::<Value>(text)
    {
        let (again_id, again) = read_frame(&value.to_string());
        assert_eq!(again, Ok(()), "{value}");
        assert_eq!(again_id, id, "{value}");
    }
});
