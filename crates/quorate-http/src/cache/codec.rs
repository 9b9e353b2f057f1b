//! How a response becomes bytes.
//!
//! A version, a kind, and for a response its parts in the order of the fields, numbers little-endian, texts and bytes
//! behind their length, the body last. What does not end exactly where it should is no response.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use bytes::{BufMut, Bytes};
use quorate::{Codec, CodecError};

use super::stored::{Kept, StoredResponse, Terms};

const VERSION: u8 = 2;
const PASS: u8 = 0;
const FAILED: u8 = 1;
const RESPONSE: u8 = 2;

const ALWAYS_VALIDATE: u8 = 1;
const NEVER_STALE: u8 = 2;

/// Entries of the cache.
pub(super) const CODEC: Codec<Kept> =
    Codec::custom("http-response", "application/octet-stream", encode, decode);

/// Bytes that an entry may have besides a body.
pub(super) const HEAD: usize = 256 * 1024;

fn encode(kept: &Kept) -> Result<Bytes, CodecError> {
    let response = match kept {
        Kept::Pass => return Ok(Bytes::from_static(&[VERSION, PASS])),
        Kept::Failed => return Ok(Bytes::from_static(&[VERSION, FAILED])),
        Kept::Response(response) => response,
    };
    let mut to = Vec::with_capacity(response.body.len() + 1024);
    to.extend_from_slice(&[VERSION, RESPONSE]);
    to.put_u16_le(response.status.as_u16());
    let Terms {
        initial_age,
        fresh,
        overdue,
        while_revalidating,
        if_error,
        to_validate,
        always_validate,
        never_stale,
    } = response.terms;
    for time in [
        initial_age,
        fresh,
        overdue,
        while_revalidating,
        if_error,
        to_validate,
    ] {
        to.put_u64_le(u64::try_from(time.as_millis())?);
    }
    let always = if always_validate { ALWAYS_VALIDATE } else { 0 };
    to.put_u8(always | if never_stale { NEVER_STALE } else { 0 });
    to.put_u8(u8::from(response.handler_ttl.is_some()));
    let handler_ttl = response.handler_ttl.unwrap_or_default();
    to.put_u64_le(u64::try_from(handler_ttl.as_millis())?);
    to.put_u64_le(response.id);
    for text in [&response.key, response.method.as_str(), &response.path] {
        put(&mut to, text.as_bytes())?;
    }
    to.put_u16_le(u16::try_from(response.vary.len())?);
    for (name, value) in &response.vary {
        put(&mut to, name.as_str().as_bytes())?;
        to.put_u8(u8::from(value.is_some()));
        put(&mut to, value.as_deref().unwrap_or_default())?;
    }
    for headers in [&response.headers, &response.trailers] {
        to.put_u16_le(u16::try_from(headers.len())?);
        for (name, value) in headers {
            put(&mut to, name.as_str().as_bytes())?;
            put(&mut to, value.as_bytes())?;
        }
    }
    put(&mut to, &response.body)?;
    Ok(to.into())
}

fn put(to: &mut Vec<u8>, bytes: &[u8]) -> Result<(), CodecError> {
    to.put_u32_le(u32::try_from(bytes.len())?);
    to.extend_from_slice(bytes);
    Ok(())
}

fn decode(bytes: &Bytes) -> Result<Kept, CodecError> {
    let mut from = Reader(bytes.clone());
    if from.byte()? != VERSION {
        return Err("of another version".into());
    }
    let kept = match from.byte()? {
        PASS => Kept::Pass,
        FAILED => Kept::Failed,
        RESPONSE => Kept::Response(Box::new(from.response()?)),
        _ => return Err("of another kind".into()),
    };
    if from.0.is_empty() {
        Ok(kept)
    } else {
        Err("longer than it says".into())
    }
}

/// Takes what was put, in the same order.
struct Reader(Bytes);

impl Reader {
    fn response(&mut self) -> Result<StoredResponse, CodecError> {
        let status = StatusCode::from_u16(self.u16()?)?;
        let mut times = [Duration::ZERO; 6];
        for time in &mut times {
            *time = Duration::from_millis(self.u64()?);
        }
        let [
            initial_age,
            fresh,
            overdue,
            while_revalidating,
            if_error,
            to_validate,
        ] = times;
        let flags = self.byte()?;
        let is_said = self.byte()? != 0;
        let handler_ttl = Duration::from_millis(self.u64()?);
        let id = self.u64()?;
        let (key, method, path) = (self.text()?, self.block()?, self.text()?);
        let vary = self.vary()?;
        Ok(StoredResponse {
            key,
            method: Method::from_bytes(&method)?,
            path,
            status,
            headers: self.headers()?,
            trailers: self.headers()?,
            body: self.block()?,
            vary,
            id,
            terms: Terms {
                initial_age,
                fresh,
                overdue,
                while_revalidating,
                if_error,
                to_validate,
                always_validate: flags & ALWAYS_VALIDATE != 0,
                never_stale: flags & NEVER_STALE != 0,
            },
            handler_ttl: is_said.then_some(handler_ttl),
        })
    }

    fn vary(&mut self) -> Result<Vec<(HeaderName, Option<Bytes>)>, CodecError> {
        let count = self.u16()?;
        let mut vary = Vec::new();
        for _ in 0..count {
            let name = HeaderName::from_bytes(&self.block()?)?;
            let is_there = self.byte()? != 0;
            let value = self.block()?;
            vary.push((name, is_there.then_some(value)));
        }
        Ok(vary)
    }

    fn headers(&mut self) -> Result<HeaderMap, CodecError> {
        let count = self.u16()?;
        let mut headers = HeaderMap::new();
        for _ in 0..count {
            let name = HeaderName::from_bytes(&self.block()?)?;
            let value = HeaderValue::from_maybe_shared(self.block()?)?;
            headers.try_append(name, value)?;
        }
        Ok(headers)
    }

    fn text(&mut self) -> Result<String, CodecError> {
        Ok(String::from_utf8(self.block()?.into())?)
    }

    fn block(&mut self) -> Result<Bytes, CodecError> {
        let length = u32::from_le_bytes(self.array()?);
        self.take(usize::try_from(length)?)
    }

    fn byte(&mut self) -> Result<u8, CodecError> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    fn u16(&mut self) -> Result<u16, CodecError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, CodecError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], CodecError> {
        Ok(self.take(N)?.as_ref().try_into()?)
    }

    fn take(&mut self, length: usize) -> Result<Bytes, CodecError> {
        if length > self.0.len() {
            return Err("shorter than it says".into());
        }
        Ok(self.0.split_to(length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn response() -> impl Strategy<Value = StoredResponse> {
        let fields = vec(("[a-z]{1,8}", "[ -~]{0,10}"), 0..5);
        let fields = fields.prop_map(|lines| {
            let line = |(name, value): (String, String)| {
                (
                    HeaderName::try_from(name).unwrap(),
                    HeaderValue::try_from(value).unwrap(),
                )
            };
            lines.into_iter().map(line).collect::<HeaderMap>()
        });
        let vary = vec(("[a-z]{1,8}", proptest::option::of("[ -~]{0,9}")), 0..3);
        let numbers = (200_u16..599, 0_u64..1 << 40, any::<[bool; 2]>());
        (
            fields.clone(),
            fields,
            vary,
            vec(any::<u8>(), 0..64),
            numbers,
        )
            .prop_map(
                |(
                    headers,
                    trailers,
                    vary,
                    body,
                    (status, time, [always_validate, never_stale]),
                )| {
                    let vary = vary.into_iter().map(|(name, value)| {
                        (HeaderName::try_from(name).unwrap(), value.map(Bytes::from))
                    });
                    StoredResponse {
                        key: "GET a /b?c".to_owned(),
                        method: Method::GET,
                        path: "/b?c".to_owned(),
                        status: StatusCode::from_u16(status).unwrap(),
                        headers,
                        trailers,
                        body: body.into(),
                        vary: vary.collect(),
                        id: time,
                        terms: Terms {
                            initial_age: Duration::from_millis(time),
                            fresh: Duration::from_millis(time / 2),
                            overdue: Duration::from_millis(time / 11),
                            while_revalidating: Duration::from_millis(time / 3),
                            if_error: Duration::from_millis(time / 5),
                            to_validate: Duration::from_millis(time / 7),
                            always_validate,
                            never_stale,
                        },
                        handler_ttl: always_validate.then(|| Duration::from_millis(time / 13)),
                    }
                },
            )
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_read(response in response()) {
            let kept = Kept::Response(Box::new(response));
            let bytes = CODEC.encode(&kept).unwrap();
            prop_assert_eq!(CODEC.decode(&bytes).unwrap(), kept);
        }

        #[test]
        fn what_is_cut_or_longer_is_refused(response in response(), at in 0.0..1.0_f64) {
            let bytes = CODEC.encode(&Kept::Response(Box::new(response))).unwrap();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a place in it")]
            let cut = (bytes.len() as f64 * at) as usize;
            prop_assert!(CODEC.decode(&bytes.slice(..cut)).is_err());
            let longer = [&*bytes, b"x"].concat();
            prop_assert!(CODEC.decode(&longer.into()).is_err());
        }

        #[test]
        fn anything_is_read_or_refused(mut bytes in vec(any::<u8>(), 0..80), head in any::<bool>()) {
            if head {
                bytes.splice(..0, [VERSION, RESPONSE]);
            }
            let _ = CODEC.decode(&bytes.into());
        }
    }

    #[test]
    fn what_is_no_response_is_one_of_two() {
        for kept in [Kept::Pass, Kept::Failed] {
            assert_eq!(CODEC.decode(&CODEC.encode(&kept).unwrap()).unwrap(), kept);
        }
        assert!(CODEC.decode(&Bytes::from_static(&[VERSION, 9])).is_err());
        assert!(CODEC.decode(&Bytes::from_static(&[9, PASS])).is_err());
    }
}
