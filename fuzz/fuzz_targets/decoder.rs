//! Arbitrary bytes never panic, and mean the same however they are cut.

#![no_main]

use arbitrary::Arbitrary;
use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use quorate_link::{DecodeError, Decoder, Frame, Limits};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    cuts: Vec<u8>,
    bytes: &'a [u8],
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.max_bulk = 1 << 16;
    limits.max_frame_elements = 1 << 12;
    limits.max_depth = 16;
    limits
}

fn decode(pieces: impl Iterator<Item = impl AsRef<[u8]>>) -> Result<Vec<Frame>, DecodeError> {
    let mut decoder = Decoder::new(&limits());
    let mut input = BytesMut::new();
    let mut frames = Vec::new();
    for piece in pieces {
        input.extend_from_slice(piece.as_ref());
        while let Some(frame) = decoder.decode(&mut input)? {
            frames.push(frame);
        }
    }
    Ok(frames)
}

/// NaN is not itself, so frames are compared by how they are shown.
fn shown(frames: &[Frame]) -> String {
    format!("{frames:?}")
}

fuzz_target!(|input: Input<'_>| {
    let whole = decode(std::iter::once(input.bytes));
    let mut rest = input.bytes;
    let mut pieces = Vec::new();
    for cut in input.cuts {
        let (piece, behind) = rest.split_at(usize::from(cut).min(rest.len()));
        pieces.push(piece);
        rest = behind;
    }
    pieces.push(rest);
    match (whole, decode(pieces.into_iter())) {
        (Ok(whole), Ok(pieces)) => assert_eq!(shown(&whole), shown(&pieces)),
        (Err(_), Err(_)) => {}
        (whole, pieces) => panic!("{whole:?} in one piece, {pieces:?} in several"),
    }
});
