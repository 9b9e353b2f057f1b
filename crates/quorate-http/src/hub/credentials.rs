//! What a client shows of itself.

use std::fmt;
use std::net::SocketAddr;

use axum::http::HeaderMap;

use crate::shown;

/// What a client shows of itself: the headers of its request, or the token of its first frame.
///
/// `Debug` shows no secret.
#[derive(Clone)]
pub struct Credentials {
    headers: HeaderMap,
    token: Option<Box<str>>,
    address: Option<SocketAddr>,
}

impl Credentials {
    pub(crate) const fn of_request(headers: HeaderMap, address: Option<SocketAddr>) -> Self {
        Self {
            headers,
            token: None,
            address,
        }
    }

    pub(crate) fn of_frame(token: String, address: Option<SocketAddr>) -> Self {
        Self {
            headers: HeaderMap::new(),
            token: Some(token.into()),
            address,
        }
    }

    pub(crate) const fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The token of an `authenticate` frame. `None` while the connection is being made: then there are
    /// headers instead.
    #[must_use]
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// The token of the header `authorization: Bearer …`.
    #[must_use]
    pub fn bearer(&self) -> Option<&str> {
        shown::bearer(&self.headers)
    }

    /// A cookie, as it was sent.
    ///
    /// A browser sends cookies with what any page asks of your service: keep the hub's
    /// [`OriginPolicy`](crate::OriginPolicy) narrow where they count.
    #[must_use]
    pub fn cookie(&self, name: &str) -> Option<&str> {
        shown::cookies(&self.headers, name).next()
    }

    /// A header, if it is text. The first, where there are several.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Where the client connects from; see [`ClientInfo::address`](crate::ClientInfo::address).
    #[must_use]
    pub const fn address(&self) -> Option<SocketAddr> {
        self.address
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither tokens nor header values: any header may carry a secret.
        let names: Vec<_> = self.headers.keys().map(|name| name.as_str()).collect();
        f.debug_struct("Credentials")
            .field("token", &self.token.is_some())
            .field("headers", &names)
            .field("address", &self.address)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn credentials_are_found_and_never_shown() {
        let shown = Credentials::of_request(
            headers(&[
                ("authorization", "bEARER  s3cret "),
                ("cookie", "a=1; sid=c00kie"),
                ("cookie", "b=2;sid=other"),
            ]),
            None,
        );
        assert_eq!(shown.bearer(), Some("s3cret"));
        assert_eq!(shown.cookie("sid"), Some("c00kie"));
        assert_eq!(shown.cookie("b"), Some("2"));
        assert_eq!((shown.cookie("c"), shown.token()), (None, None));
        let frame = Credentials::of_frame("t0ken".to_owned(), None);
        assert_eq!((frame.token(), frame.bearer()), (Some("t0ken"), None));
        for text in [format!("{shown:?}"), format!("{frame:?}")] {
            for secret in ["s3cret", "c00kie", "other", "t0ken"] {
                assert!(!text.contains(secret), "{text}");
            }
        }
        for value in ["Basic s3cret", "Bearer", "Bearer ", ""] {
            let mut headers = HeaderMap::new();
            headers.insert("authorization", HeaderValue::from_static(value));
            assert_eq!(Credentials::of_request(headers, None).bearer(), None);
        }
    }
}
