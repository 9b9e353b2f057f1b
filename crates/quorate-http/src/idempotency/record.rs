//! What is kept of a request.

use axum::body::Body;
use axum::http::header::{
    CONNECTION, CONTENT_LENGTH, DATE, HeaderName, HeaderValue, PROXY_AUTHENTICATE, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use axum::http::{HeaderMap, Response, StatusCode, response};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Says of a response that it was given before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// Bytes that a record may have besides the body of a response.
pub(super) const HEAD: usize = 64 * 1024;

/// What a request is, without its key.
pub(super) type Fingerprint = [u8; 32];

/// What is kept of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Record {
    /// It is being handled.
    Running {
        fingerprint: Fingerprint,
        /// Tells one that handles it from another.
        owner: u128,
    },
    /// It was.
    Done {
        fingerprint: Fingerprint,
        /// `None`: too large to be kept, or streamed.
        response: Option<StoredResponse>,
    },
}

/// A response as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoredResponse {
    status: u16,
    headers: Vec<(String, Bytes)>,
    body: Bytes,
}

impl Record {
    pub(super) const fn fingerprint(&self) -> &Fingerprint {
        match self {
            Self::Running { fingerprint, .. } | Self::Done { fingerprint, .. } => fingerprint,
        }
    }
}

impl StoredResponse {
    /// `None` if its header fields are too large.
    pub(super) fn of(head: &response::Parts, body: Bytes) -> Option<Self> {
        let headers: Vec<_> = head
            .headers
            .iter()
            .filter(|(name, _)| is_kept(name))
            .map(|(name, value)| {
                (
                    name.as_str().to_owned(),
                    Bytes::copy_from_slice(value.as_bytes()),
                )
            })
            .collect();
        // With what MessagePack puts around each.
        let size = |(name, value): &(String, Bytes)| name.len() + value.len() + 16;
        let fits = headers.iter().map(size).sum::<usize>() < HEAD / 2;
        fits.then(|| Self {
            status: head.status.as_u16(),
            headers,
            body,
        })
    }

    /// The response once more; `None` if it cannot be one.
    pub(super) fn replayed(self) -> Option<Response<Body>> {
        let mut headers = HeaderMap::new();
        for (name, value) in self.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            headers.append(name, HeaderValue::from_maybe_shared(value).ok()?);
        }
        headers.insert(REPLAYED, HeaderValue::from_static("true"));
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = StatusCode::from_u16(self.status).ok()?;
        *response.headers_mut() = headers;
        Some(response)
    }
}

/// Not what is about one connection, or the moment.
fn is_kept(name: &HeaderName) -> bool {
    let of_connection = [
        CONNECTION,
        CONTENT_LENGTH,
        DATE,
        PROXY_AUTHENTICATE,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
    ];
    !of_connection.contains(name) && name != "keep-alive"
}
