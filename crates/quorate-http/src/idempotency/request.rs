//! A request with a key.

use axum::body::Body;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{Request, StatusCode};
use sha2::{Digest, Sha256};

use super::builder::Options;
use super::key::{entry_of, key_of};
use super::record::Fingerprint;
use crate::body::{Collected, collect, whole};
use crate::problem::{Code, Problem};

/// How a request is to be handled.
pub(super) enum Asked {
    /// As if there were no layer.
    Plain(Request<Body>),
    /// Once.
    Keyed(Keyed),
}

/// Marks a request that a layer is handling.
#[derive(Clone, Copy)]
struct Taken;

/// A request with a key.
pub(super) struct Keyed {
    /// Where its record is.
    pub(super) entry: String,
    pub(super) fingerprint: Fingerprint,
    pub(super) request: Request<Body>,
}

impl Options {
    /// What a request asks for, or why it is refused.
    pub(super) async fn asked(&self, request: Request<Body>) -> Result<Asked, Problem> {
        if !self.methods.contains(request.method()) {
            return Ok(Asked::Plain(request));
        }
        let refused =
            |rule: &str| Problem::new(Code::InvalidArgument, format!("Idempotency-Key {rule}"));
        // One further out on its way has taken it: within it, this one would wait for itself.
        if request.extensions().get::<Taken>().is_some() {
            return Ok(Asked::Plain(request));
        }
        let Some(key) = key_of(request.headers()).map_err(refused)? else {
            return if self.is_required {
                Err(refused("must be given"))
            } else {
                Ok(Asked::Plain(request))
            };
        };
        let (mut parts, body) = request.into_parts();
        let caller = self.scope.of(&parts).await?;
        let Collected::Whole { bytes, trailers } = collect(body, self.most_asked).await else {
            let most = self.most_asked;
            let detail = format!(
                "with an Idempotency-Key, the body must come whole and have at most {most} bytes"
            );
            let problem = Problem::new(Code::InvalidArgument, detail);
            return Err(problem.with_status(StatusCode::PAYLOAD_TOO_LARGE));
        };
        let fingerprint = fingerprint(&parts, &bytes);
        parts.extensions.insert(Taken);
        Ok(Asked::Keyed(Keyed {
            entry: entry_of(&caller, &key),
            fingerprint,
            request: Request::from_parts(parts, whole(bytes, trailers)),
        }))
    }
}

/// Two requests with the same are the same request.
fn fingerprint(parts: &Parts, body: &[u8]) -> Fingerprint {
    let mut hash = Sha256::new();
    let mut add = |part: &[u8]| {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    };
    add(parts.method.as_str().as_bytes());
    // Within a nested router the URI has lost its beginning.
    let original = parts.extensions.get::<axum::extract::OriginalUri>();
    let uri = original.map_or(&parts.uri, |uri| &uri.0);
    add(uri.path().as_bytes());
    add(uri.query().unwrap_or_default().as_bytes());
    for name in [CONTENT_TYPE, CONTENT_ENCODING] {
        let value = parts.headers.get(name);
        add(value.map_or(b"", |value| value.as_bytes()));
    }
    add(body);
    hash.finalize().into()
}
