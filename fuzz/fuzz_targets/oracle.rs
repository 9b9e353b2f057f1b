//! Where our decoder and that of the `redis-protocol` crate both understand, they agree.

#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use quorate_link::{Decoder, Frame, Limits};
use redis_protocol::resp3::decode::complete;
use redis_protocol::resp3::types::BytesFrame;

/// Whether the oracle's frame says the same as ours.
fn same(theirs: &BytesFrame, ours: &Frame) -> bool {
    let all = |theirs: &[BytesFrame], ours: &[Frame]| {
        theirs.len() == ours.len() && theirs.iter().zip(ours).all(|(t, o)| same(t, o))
    };
    match (theirs, ours) {
        (BytesFrame::Null, Frame::Null) => true,
        (BytesFrame::Number { data, .. }, Frame::Integer(n)) => data == n,
        (BytesFrame::Double { data, .. }, Frame::Double(d)) => {
            data == d || (data.is_nan() && d.is_nan())
        }
        (BytesFrame::Boolean { data, .. }, Frame::Boolean(b)) => data == b,
        (BytesFrame::SimpleString { data, .. }, Frame::Simple(s))
        | (BytesFrame::BlobString { data, .. }, Frame::Bulk(s))
        | (BytesFrame::BlobError { data, .. }, Frame::Error(s))
        | (BytesFrame::BigNumber { data, .. }, Frame::BigNumber(s)) => data == s,
        (BytesFrame::SimpleError { data, .. }, Frame::Error(s)) => data.as_bytes() == s.as_ref(),
        (BytesFrame::VerbatimString { data, .. }, Frame::Verbatim { data: s, .. }) => data == s,
        (BytesFrame::Array { data, .. }, Frame::Array(items))
        | (BytesFrame::Push { data, .. }, Frame::Push(items)) => all(data, items),
        // It keeps these in hash maps, where order and duplicates are lost.
        (BytesFrame::Map { data, .. }, Frame::Map(pairs)) => data.len() <= pairs.len(),
        (BytesFrame::Set { data, .. }, Frame::Set(items)) => data.len() <= items.len(),
        _ => false,
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut limits = Limits::default();
    limits.max_bulk = 1 << 16;
    limits.max_frame_elements = 1 << 12;
    limits.max_depth = 16;
    let mut input = BytesMut::from(bytes);
    // Ours first: the oracle recurses without a limit.
    let Ok(Some(ours)) = Decoder::new(&limits).decode(&mut input) else {
        return;
    };
    let Ok(Some((theirs, read))) = complete::decode_bytes(&Bytes::copy_from_slice(bytes)) else {
        return; // it knows no RESP2 nulls, and treats metadata differently
    };
    if read == bytes.len() - input.len() {
        assert!(same(&theirs, &ours), "{theirs:?} and {ours:?}");
    }
});
