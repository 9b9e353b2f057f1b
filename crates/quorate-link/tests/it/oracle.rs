//! Our decoder beside that of the `redis-protocol` crate: where both understand, they agree.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use quorate_link::{Decoder, Frame, Limits};
use redis_protocol::resp3::decode::complete;
use redis_protocol::resp3::types::{BytesFrame, VerbatimStringFormat};

use crate::frames::{any_frame, bytes_of};

/// What the oracle made of it, in our terms; `None` where it cannot be compared.
fn translate(frame: BytesFrame) -> Option<Frame> {
    let all = |items: Vec<BytesFrame>| items.into_iter().map(translate).collect::<Option<_>>();
    Some(match frame {
        BytesFrame::Null => Frame::Null,
        BytesFrame::Number { data, .. } => Frame::Integer(data),
        BytesFrame::Double { data, .. } => Frame::Double(data),
        BytesFrame::Boolean { data, .. } => Frame::Boolean(data),
        BytesFrame::SimpleString { data, .. } => Frame::Simple(data),
        BytesFrame::SimpleError { data, .. } => Frame::Error(data.into_inner()),
        BytesFrame::BlobError { data, .. } => Frame::Error(data),
        BytesFrame::BlobString { data, .. } => Frame::Bulk(data),
        BytesFrame::BigNumber { data, .. } => Frame::BigNumber(data),
        BytesFrame::VerbatimString { data, format, .. } => Frame::Verbatim {
            format: match format {
                VerbatimStringFormat::Text => *b"txt",
                VerbatimStringFormat::Markdown => *b"mkd",
            },
            data,
        },
        BytesFrame::Array { data, .. } => Frame::Array(all(data)?),
        BytesFrame::Push { data, .. } => Frame::Push(all(data)?),
        // It keeps these in hash maps and loses their order.
        _ => return None,
    })
}

fn comparable(frame: &Frame) -> bool {
    match frame {
        Frame::Map(_) | Frame::Set(_) => false,
        Frame::Verbatim { format, .. } => format == b"txt" || format == b"mkd",
        Frame::Array(items) => items.iter().all(comparable),
        // The oracle gives pushes only at the top level, and only with something in them.
        Frame::Push(_) => false,
        _ => true,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn we_agree_with_the_oracle(
        frame in any_frame().prop_filter("the oracle keeps these differently", comparable),
    ) {
        let bytes = bytes_of(std::slice::from_ref(&frame));
        let theirs = complete::decode_bytes(&Bytes::from(bytes.clone())).unwrap();
        let (theirs, read) = theirs.unwrap();
        let mut input = BytesMut::from(&bytes[..]);
        let ours = Decoder::new(&Limits::default()).decode(&mut input).unwrap().unwrap();
        prop_assert_eq!(read, bytes.len() - input.len());
        prop_assert_eq!(translate(theirs), Some(ours));
    }
}

#[test]
fn the_oracle_wants_more_where_we_do() {
    let bytes = b"*2\r\n$3\r\nabc\r\n$3\r\ndef\r\n";
    for cut in 0..bytes.len() {
        let part = &bytes[..cut];
        assert!(
            complete::decode_bytes(&Bytes::copy_from_slice(part))
                .unwrap()
                .is_none()
        );
        let mut input = BytesMut::from(part);
        assert_eq!(
            Decoder::new(&Limits::default()).decode(&mut input),
            Ok(None)
        );
    }
}
