//! Arbitrary frames and their bytes.

use bytes::Bytes;
use proptest::prelude::*;
use quorate_link::Frame;

/// Any frame, nested up to `depth` levels.
pub(crate) fn any_frame() -> impl Strategy<Value = Frame> {
    leaf().prop_recursive(4, 64, 8, |inner| {
        let items = || prop::collection::vec(inner.clone(), 0..8);
        prop_oneof![
            items().prop_map(Frame::Array),
            items().prop_map(Frame::Set),
            items().prop_map(Frame::Push),
            prop::collection::vec((inner.clone(), inner.clone()), 0..4).prop_map(Frame::Map),
        ]
    })
}

fn leaf() -> impl Strategy<Value = Frame> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..64).prop_map(Bytes::from);
    let line = || "[ -~]{0,32}".prop_map(Bytes::from);
    prop_oneof![
        Just(Frame::Null),
        any::<i64>().prop_map(Frame::Integer),
        any::<bool>().prop_map(Frame::Boolean),
        prop::num::f64::NORMAL.prop_map(Frame::Double),
        Just(Frame::Double(f64::INFINITY)),
        Just(Frame::Double(f64::NEG_INFINITY)),
        line().prop_map(Frame::Simple),
        line().prop_map(Frame::Error),
        bytes().prop_map(Frame::Bulk),
        "-?[0-9]{1,40}".prop_map(|digits| Frame::BigNumber(Bytes::from(digits))),
        (any::<[u8; 3]>(), bytes()).prop_map(|(format, data)| Frame::Verbatim { format, data }),
    ]
}

/// The bytes of a frame, as a RESP3 server would send it.
pub(crate) fn write(frame: &Frame, out: &mut Vec<u8>) {
    let line = |out: &mut Vec<u8>, sign: u8, body: &[u8]| {
        out.push(sign);
        out.extend_from_slice(body);
        out.extend_from_slice(b"\r\n");
    };
    let count = |out: &mut Vec<u8>, sign: u8, n: usize| line(out, sign, n.to_string().as_bytes());
    match frame {
        Frame::Null => line(out, b'_', b""),
        Frame::Integer(n) => line(out, b':', n.to_string().as_bytes()),
        Frame::Boolean(b) => line(out, b'#', if *b { b"t" } else { b"f" }),
        Frame::Double(d) => line(out, b',', d.to_string().as_bytes()),
        Frame::Simple(s) => line(out, b'+', s),
        Frame::Error(s) => line(out, b'-', s),
        Frame::BigNumber(s) => line(out, b'(', s),
        Frame::Bulk(s) => {
            count(out, b'$', s.len());
            out.extend_from_slice(s);
            out.extend_from_slice(b"\r\n");
        }
        Frame::Verbatim { format, data } => {
            count(out, b'=', data.len() + 4);
            out.extend_from_slice(format);
            line(out, b':', data);
        }
        Frame::Array(items) => nested(out, b'*', items),
        Frame::Set(items) => nested(out, b'~', items),
        Frame::Push(items) => nested(out, b'>', items),
        Frame::Map(pairs) => {
            count(out, b'%', pairs.len());
            for (key, value) in pairs {
                write(key, out);
                write(value, out);
            }
        }
        other => panic!("no bytes are known for {other:?}"),
    }
}

fn nested(out: &mut Vec<u8>, sign: u8, items: &[Frame]) {
    out.push(sign);
    out.extend_from_slice(items.len().to_string().as_bytes());
    out.extend_from_slice(b"\r\n");
    for item in items {
        write(item, out);
    }
}

pub(crate) fn bytes_of(frames: &[Frame]) -> Vec<u8> {
    let mut out = Vec::new();
    for frame in frames {
        write(frame, &mut out);
    }
    out
}
