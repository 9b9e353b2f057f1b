//! Bodies, as far as they have to be read before it is decided what becomes of them.

use std::collections::VecDeque;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_LENGTH, HeaderValue};
use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};

/// A body that was read.
#[derive(Debug)]
pub(crate) enum Collected {
    /// To its end.
    Whole {
        bytes: Bytes,
        trailers: Option<HeaderMap>,
    },
    /// Not to its end, because it is larger than what may be read, or broke off: what was read, and the rest.
    Part(Body),
}

/// Reads a body of at most `most` bytes.
pub(crate) async fn collect(body: Body, most: usize) -> Collected {
    let mut body = pin!(body);
    let (mut bytes, mut trailers) = (BytesMut::new(), None);
    while let Some(frame) = next(body.as_mut()).await {
        match frame.map(Frame::into_data) {
            Ok(Ok(data)) => {
                let fits = bytes.len() + data.len() <= most;
                bytes.extend_from_slice(&data);
                if !fits {
                    return Collected::Part(resumed(bytes, None, body.as_mut()));
                }
            }
            Ok(Err(frame)) => trailers = frame.into_trailers().ok(),
            Err(error) => return Collected::Part(resumed(bytes, Some(error), body.as_mut())),
        }
    }
    Collected::Whole {
        bytes: bytes.freeze(),
        trailers,
    }
}

async fn next(mut body: Pin<&mut Body>) -> Option<Result<Frame<Bytes>, axum::Error>> {
    std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await
}

/// A body that begins with what was read of another.
fn resumed(read: BytesMut, error: Option<axum::Error>, mut rest: Pin<&mut Body>) -> Body {
    let rest = std::mem::replace(&mut *rest, Body::empty());
    let mut first = VecDeque::from([Ok(Frame::data(read.freeze()))]);
    first.extend(error.map(Err));
    Body::new(Resumed { first, rest })
}

/// What was read of a body, and the rest of it.
struct Resumed {
    first: VecDeque<Result<Frame<Bytes>, axum::Error>>,
    rest: Body,
}

impl HttpBody for Resumed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match self.first.pop_front() {
            Some(frame) => Poll::Ready(Some(frame)),
            None => Pin::new(&mut self.rest).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_empty() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let data = |frame: &Result<Frame<Bytes>, _>| {
            let data = frame.as_ref().ok().and_then(Frame::data_ref);
            data.map_or(0, |data| u64::try_from(data.len()).unwrap_or(u64::MAX))
        };
        let read: u64 = self.first.iter().map(data).sum();
        let rest = self.rest.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(read));
        let has_trailers =
            |frame: &Result<Frame<Bytes>, _>| frame.as_ref().is_ok_and(Frame::is_trailers);
        // A body whose size is known is sent without trailers.
        if let Some(upper) = rest.upper()
            && !self.first.iter().any(has_trailers)
        {
            hint.set_upper(upper.saturating_add(read));
        }
        hint
    }
}

/// A body that was read to its end, once more.
pub(crate) fn whole(bytes: Bytes, trailers: Option<HeaderMap>) -> Body {
    match trailers.filter(|trailers| !trailers.is_empty()) {
        None => Body::from(bytes),
        Some(trailers) => {
            let first = [Frame::data(bytes), Frame::trailers(trailers)];
            Body::new(Resumed {
                first: first.into_iter().map(Ok).collect(),
                rest: Body::empty(),
            })
        }
    }
}

/// The size of a body that says so, itself or in `Content-Length`.
pub(crate) fn known_size(headers: &HeaderMap, body: &Body) -> Option<u64> {
    let said = |value: &HeaderValue| value.to_str().ok()?.parse().ok();
    let exact = body.size_hint().exact();
    exact.or_else(|| headers.get(CONTENT_LENGTH).and_then(said))
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;
    use http_body_util::BodyExt;

    fn streamed(parts: Vec<Result<&'static str, &'static str>>) -> Body {
        Body::from_stream(stream::iter(parts))
    }

    #[tokio::test]
    async fn what_fits_is_read_whole() {
        let collected = collect(streamed(vec![Ok("ab"), Ok("cd")]), 4).await;
        assert!(matches!(collected, Collected::Whole { bytes, .. } if bytes == "abcd"));
    }

    #[tokio::test]
    async fn what_does_not_fit_is_passed_on_with_the_rest() {
        let body = streamed(vec![Ok("ab"), Ok("cd"), Ok("ef")]);
        let Collected::Part(body) = collect(body, 3).await else {
            panic!("it is too large");
        };
        assert_eq!(body.collect().await.unwrap().to_bytes(), "abcdef");
    }

    #[tokio::test]
    async fn what_breaks_off_breaks_off_where_it_did() {
        let body = streamed(vec![Ok("ab"), Err("broken")]);
        let Collected::Part(mut body) = collect(body, 30).await else {
            panic!("it is not whole");
        };
        let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(first, "ab");
        assert!(body.frame().await.unwrap().is_err());
    }

    #[tokio::test]
    async fn trailers_are_kept() {
        let trailers: HeaderMap = [("x".parse().unwrap(), HeaderValue::from_static("1"))]
            .into_iter()
            .collect();
        let body = whole(Bytes::from_static(b"ab"), Some(trailers.clone()));
        assert_eq!(body.size_hint().lower(), 2);
        let Collected::Whole {
            bytes,
            trailers: read,
        } = collect(body, 30).await
        else {
            panic!("it fits");
        };
        assert_eq!((&*bytes, read), (&b"ab"[..], Some(trailers)));
    }

    #[test]
    fn a_size_is_known_or_said() {
        let mut headers = HeaderMap::new();
        assert_eq!(known_size(&headers, &Body::from("abc")), Some(3));
        let body = streamed(vec![Ok("abc")]);
        assert_eq!(known_size(&headers, &body), None);
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("3"));
        assert_eq!(known_size(&headers, &body), Some(3));
    }
}
