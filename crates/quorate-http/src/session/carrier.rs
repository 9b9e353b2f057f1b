//! How an id comes with requests, and goes out with responses.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use quorate::SessionId;

use super::cookie::SessionCookie;
use crate::shown;

/// In which responses tell a client that has no cookies its new id; empty when there is none any more.
const SESSION_ID: HeaderName = HeaderName::from_static("session-id");

/// How ids come and go.
#[derive(Clone, Debug)]
pub(super) enum Carrier {
    Cookie(SessionCookie),
    Bearer,
}

/// An id that came with a request. Whether it proves a session, the home knows.
pub(super) struct Carried {
    pub(super) id: SessionId,
    /// Whether it should be given again: it was signed with a key that is to go.
    pub(super) is_dated: bool,
}

impl Carrier {
    /// What a request carries; `None` if that is no id.
    pub(super) fn read(&self, headers: &HeaderMap) -> Option<Carried> {
        match self {
            Self::Cookie(cookie) => cookie.read(headers),
            Self::Bearer => {
                let id = SessionId::parse(shown::bearer(headers)?)?;
                Some(Carried {
                    id,
                    is_dated: false,
                })
            }
        }
    }

    /// The header by which responses differ.
    pub(super) const fn varies_by(&self) -> HeaderValue {
        match self {
            Self::Cookie(_) => HeaderValue::from_static("cookie"),
            Self::Bearer => HeaderValue::from_static("authorization"),
        }
    }

    /// Tells a client its id.
    pub(super) fn give(&self, headers: &mut HeaderMap, id: &SessionId) {
        match self {
            Self::Cookie(cookie) => {
                headers.append(header::SET_COOKIE, cookie.line(id));
            }
            Self::Bearer => {
                let id = HeaderValue::try_from(id.expose()).expect("it is letters and digits");
                headers.insert(SESSION_ID, id);
            }
        }
    }

    /// Tells a client that it has no session any more.
    pub(super) fn take(&self, headers: &mut HeaderMap) {
        match self {
            Self::Cookie(cookie) => {
                headers.append(header::SET_COOKIE, cookie.removal());
            }
            Self::Bearer => {
                headers.insert(SESSION_ID, HeaderValue::from_static(""));
            }
        }
    }
}
