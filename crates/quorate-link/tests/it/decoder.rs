//! The decoder by itself.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use quorate_link::{DecodeError, Decoder, Frame, Limits};

use crate::frames::{any_frame, bytes_of};

fn decoder() -> Decoder {
    Decoder::new(&Limits::default())
}

/// Everything in `bytes`, handed over in pieces that end where `cuts` say.
fn decode_in_pieces(bytes: &[u8], cuts: &[usize]) -> Result<Vec<Frame>, DecodeError> {
    let mut decoder = decoder();
    let mut input = BytesMut::new();
    let mut frames = Vec::new();
    let mut from = 0;
    for &cut in cuts.iter().chain([&bytes.len()]) {
        input.extend_from_slice(&bytes[from..cut]);
        from = cut;
        while let Some(frame) = decoder.decode(&mut input)? {
            frames.push(frame);
        }
    }
    Ok(frames)
}

fn one(bytes: &[u8]) -> Result<Option<Frame>, DecodeError> {
    decoder().decode(&mut BytesMut::from(bytes))
}

proptest! {
    // Fewer than usual: a frame is already dozens of values. The fuzz target has no such limit.
    #![proptest_config(ProptestConfig {
        cases: 64,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn frames_survive_their_bytes_however_these_are_cut(
        frames in prop::collection::vec(any_frame(), 1..8),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..16),
    ) {
        let bytes = bytes_of(&frames);
        let mut cuts: Vec<_> = cuts.iter().map(|c| c.index(bytes.len() + 1)).collect();
        cuts.sort_unstable();
        prop_assert_eq!(decode_in_pieces(&bytes, &cuts), Ok(frames));
    }

    #[test]
    fn frames_survive_byte_by_byte(frame in any_frame()) {
        let bytes = bytes_of(std::slice::from_ref(&frame));
        let cuts: Vec<_> = (0..bytes.len()).collect();
        prop_assert_eq!(decode_in_pieces(&bytes, &cuts), Ok(vec![frame]));
    }

    #[test]
    fn arbitrary_bytes_are_judged_alike_however_they_are_cut(
        bytes in prop::collection::vec(
            prop_oneof![3 => any::<u8>(), 5 => prop::sample::select(b"*$+-:_,#!=%~>|(\r\n0123t".to_vec())],
            0..64,
        ),
    ) {
        let whole = decode_in_pieces(&bytes, &[]);
        let cuts: Vec<_> = (0..bytes.len()).collect();
        let pieces = decode_in_pieces(&bytes, &cuts);
        match (&whole, &pieces) {
            (Ok(_), _) => prop_assert_eq!(&whole, &pieces),
            (Err(_), Err(_)) => {}
            (Err(_), Ok(_)) => prop_assert!(false, "{:?} became {:?} in pieces", whole, pieces),
        }
    }
}

#[test]
fn resp2_nulls_are_null() {
    assert_eq!(one(b"$-1\r\n"), Ok(Some(Frame::Null)));
    assert_eq!(one(b"*-1\r\n"), Ok(Some(Frame::Null)));
}

#[test]
fn metadata_is_read_and_dropped() {
    let frame = one(b"*2\r\n|1\r\n+ttl\r\n:3600\r\n:1\r\n|0\r\n:2\r\n");
    assert_eq!(
        frame,
        Ok(Some(Frame::Array(vec![
            Frame::Integer(1),
            Frame::Integer(2)
        ])))
    );
    assert_eq!(
        one(b"|1\r\n+a\r\n*0\r\n$1\r\nx\r\n"),
        Ok(Some(Frame::Bulk(Bytes::from("x"))))
    );
}

#[test]
fn an_error_may_be_long() {
    assert_eq!(
        one(b"!9\r\nERR\r\nlong\r\n"),
        Ok(Some(Frame::Error(Bytes::from("ERR\r\nlong"))))
    );
}

#[test]
fn extremes_of_integers_are_read() {
    assert_eq!(
        one(b":9223372036854775807\r\n"),
        Ok(Some(Frame::Integer(i64::MAX)))
    );
    assert_eq!(
        one(b":-9223372036854775808\r\n"),
        Ok(Some(Frame::Integer(i64::MIN)))
    );
    assert_eq!(one(b":+7\r\n"), Ok(Some(Frame::Integer(7))));
    for wrong in [
        &b":9223372036854775808\r\n"[..],
        b":\r\n",
        b":-\r\n",
        b":1x\r\n",
        b":--1\r\n",
    ] {
        assert!(one(wrong).is_err(), "{}", wrong.escape_ascii());
    }
}

#[test]
fn what_is_not_resp_is_refused() {
    for wrong in [
        &b"\r\n"[..],
        b"HTTP/1.1 400 Bad Request\r\n",
        b"$3\r\nabcd\r\n",
        b"$+3\r\nabc\r\n",
        b"$?\r\n",
        b"*?\r\n",
        b"$-2\r\n",
        b"%-1\r\n",
        b"!-1\r\n",
        b"#x\r\n",
        b"_x\r\n",
        b",\r\n",
        b"(12a\r\n",
        b"=3\r\nabc\r\n",
        b"=4\r\nabcd\r\n",
        b"+broken\rline\r\n",
        b"$99999999999999999999\r\n",
    ] {
        let verdict = one(wrong);
        assert!(
            matches!(verdict, Err(DecodeError::Malformed(_))),
            "{}: {verdict:?}",
            wrong.escape_ascii()
        );
    }
}

#[test]
fn limits_are_kept_before_memory_is_spent() {
    let mut limits = Limits::default();
    limits.max_bulk = 10;
    limits.max_frame_elements = 10;
    limits.max_depth = 3;
    let verdict = |bytes: &[u8]| Decoder::new(&limits).decode(&mut BytesMut::from(bytes));
    let limit = |bytes: &[u8]| match verdict(bytes) {
        Err(DecodeError::TooLarge { limit, .. }) => limit,
        other => panic!("{}: {other:?}", bytes.escape_ascii()),
    };
    assert_eq!(limit(b"$11\r\n"), "max_bulk");
    assert_eq!(limit(b"=11\r\n"), "max_bulk");
    assert_eq!(limit(b"*11\r\n"), "max_frame_elements");
    assert_eq!(limit(b"%6\r\n"), "max_frame_elements");
    assert_eq!(limit(b"*9223372036854775807\r\n"), "max_frame_elements");
    assert_eq!(
        limit(b"*2\r\n*8\r\n*1\r\n"),
        "max_frame_elements",
        "nested ones count together"
    );
    assert_eq!(limit(b"*1\r\n*1\r\n*1\r\n*1\r\n"), "max_depth");
    assert!(matches!(verdict(b"*1\r\n*1\r\n*1\r\n:1\r\n"), Ok(Some(_))));
    // The next frame begins with full allowance.
    let mut decoder = Decoder::new(&limits);
    let mut input =
        BytesMut::from(&b"*10\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n"[..]);
    input.extend_from_slice(&input.clone());
    assert!(decoder.decode(&mut input).unwrap().is_some());
    assert!(decoder.decode(&mut input).unwrap().is_some());
}

#[test]
fn deep_nesting_does_not_need_the_stack() {
    let mut limits = Limits::default();
    limits.max_depth = usize::MAX;
    let depth = 100_000;
    let bytes = b"*1\r\n".repeat(depth);
    let mut decoder = Decoder::new(&limits);
    assert_eq!(decoder.decode(&mut BytesMut::from(&bytes[..])), Ok(None));
    assert!(decoder.is_mid_frame());
    assert!(one(&bytes).is_err(), "by default it is refused");
}

#[test]
fn an_endless_line_is_refused() {
    let mut input = BytesMut::from(&b"+"[..]);
    let mut decoder = decoder();
    for _ in 0..100 {
        input.extend_from_slice(&[b'x'; 1024]);
        if decoder.decode(&mut input).is_err() {
            return;
        }
    }
    panic!("a hundred kilobytes without a line end were taken");
}

#[test]
fn strings_are_slices_of_the_input() {
    let mut input = BytesMut::from(&b"*2\r\n$3\r\nabc\r\n$3\r\ndef\r\n"[..]);
    let range = input.as_ptr_range();
    let frame = decoder().decode(&mut input).unwrap().unwrap();
    for item in frame.as_array().unwrap() {
        assert!(
            range.contains(&item.as_bytes().unwrap().as_ptr()),
            "it was copied"
        );
    }
}

#[test]
fn no_byte_is_looked_at_twice() {
    // An array of many small strings, arriving byte by byte: quadratic work would take minutes.
    let frames = [Frame::Array(vec![Frame::Bulk(Bytes::from("x")); 200_000])];
    let bytes = bytes_of(&frames);
    let cuts: Vec<_> = (0..bytes.len()).collect();
    assert_eq!(decode_in_pieces(&bytes, &cuts).unwrap().len(), 1);
}
