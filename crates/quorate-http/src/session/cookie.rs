//! The cookie that carries a session's id.

use std::fmt::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use quorate::{Error, Result, SessionId};
use sha2::Sha256;

use super::carrier::Carried;
use crate::shown;

/// The least a key may be, so that nobody tries them all.
const KEY_BYTES: usize = 32;

/// For how long browsers keep a cookie that stays: none longer.
const STAYS: Duration = Duration::from_secs(400 * 24 * 3600);

/// With which requests of other sites a browser sends the cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "browsers know these")]
pub enum SameSite {
    /// With none: who follows a link to the service comes without a session.
    Strict,
    /// With who follows a link, and not with what a page of another site sends or embeds.
    Lax,
    /// With all. Needs `Secure`, and a defence of your own against forged requests.
    None,
}

/// The cookie that carries a session's id.
///
/// It is `Secure`, `HttpOnly`, `SameSite=Lax`, for all paths and for this host only; so it is called
/// `__Host-session`, and browsers take it from nobody else. It goes when the browser is closed, unless it
/// [stays](Self::persistent).
///
/// # Example
/// ```
/// # fn main() -> quorate::Result<()> {
/// use quorate::Fleet;
/// use quorate_http::session::{SameSite, SessionCookie, SessionLayer};
///
/// let cookie = SessionCookie::new("id").same_site(SameSite::Strict).persistent();
/// let layer = SessionLayer::new(Fleet::embedded().sessions()).cookie(cookie)?;
/// # let _ = layer;
/// # Ok(()) }
/// ```
#[derive(Clone)]
#[must_use]
pub struct SessionCookie {
    name: String,
    path: String,
    domain: Option<String>,
    secure: bool,
    same_site: SameSite,
    persistent: bool,
    keys: Option<Vec<Arc<[u8]>>>,
}

impl Default for SessionCookie {
    fn default() -> Self {
        Self::new("session")
    }
}

impl SessionCookie {
    /// A cookie of this name: 1 to 64 letters, digits and `! # $ % & ' * + - . ^ _ | ~` and the grave accent.
    ///
    /// In front of it stands `__Host-` where it is secure, for all paths and without a domain, and `__Secure-`
    /// elsewhere where it is secure.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            path: "/".to_owned(),
            domain: None,
            secure: true,
            same_site: SameSite::Lax,
            persistent: false,
            keys: None,
        }
    }

    /// For which paths it is: this one, and those below. Default `/`.
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    /// That all hosts below this domain get it too. Default: only the host that gave it.
    pub fn domain(mut self, domain: impl Into<String>) -> Self {
        self.domain = Some(domain.into());
        self
    }

    /// That it is also sent without TLS, where everybody on the way can read it: for development on a host that
    /// browsers do not trust like `localhost`.
    pub const fn insecure(mut self) -> Self {
        self.secure = false;
        self
    }

    /// With which requests of other sites it is sent. Default [`Lax`](SameSite::Lax).
    pub const fn same_site(mut self, same_site: SameSite) -> Self {
        self.same_site = same_site;
        self
    }

    /// That the browser keeps it when it is closed: for 400 days, the most that browsers allow, from when the id was given. When
    /// the session ends, the home decides; what the browser keeps for longer proves nothing. A [login](super::CurrentSession::log_in)
    /// or a [rotation](super::CurrentSession::rotate) gives another id, for as long again.
    ///
    /// It is not given again when the session is used: that could overwrite the id which another response has just given.
    pub const fn persistent(mut self) -> Self {
        self.persistent = true;
        self
    }

    /// Signs it with the first of these keys, and takes it with a signature of any: put a new key in front, and take the old
    /// one out when the sessions of that time have ended. Each has at least 32 bytes.
    ///
    /// An id cannot be guessed anyway; a signature lets the layer turn forged ones away without asking the home.
    /// Without keys, nothing is signed and no signature is taken.
    pub fn signed<K: AsRef<[u8]>>(mut self, keys: impl IntoIterator<Item = K>) -> Self {
        let keys = keys.into_iter().map(|key| key.as_ref().into());
        self.keys = Some(keys.collect());
        self
    }

    /// The name with what stands in front of it.
    #[must_use]
    pub fn full_name(&self) -> String {
        let prefix = match (self.secure, self.path.as_str(), &self.domain) {
            (true, "/", None) => "__Host-",
            (true, ..) => "__Secure-",
            (false, ..) => "",
        };
        format!("{prefix}{}", self.name)
    }

    pub(super) fn checked(self) -> Result<Self> {
        let is_token =
            |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if !(1..=64).contains(&self.name.len()) || !self.name.bytes().all(is_token) {
            let rule = "must be 1 to 64 letters, digits and some signs";
            return Err(Error::config("cookie name", rule));
        }
        let is_plain = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b';';
        if !self.path.starts_with('/') || !self.path.bytes().all(is_plain) {
            let rule = "must begin with `/` and be ASCII without `;`";
            return Err(Error::config("cookie path", rule));
        }
        let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
        if let Some(domain) = &self.domain
            && (domain.is_empty() || !domain.bytes().all(is_host))
        {
            return Err(Error::config("cookie domain", "must be a name of hosts"));
        }
        if self.same_site == SameSite::None && !self.secure {
            let rule = "must not be `None` for a cookie that is not secure";
            return Err(Error::config("cookie same_site", rule));
        }
        if let Some(keys) = &self.keys
            && (keys.is_empty() || keys.iter().any(|key| key.len() < KEY_BYTES))
        {
            let rule = format_args!("must be at least one, of at least {KEY_BYTES} bytes each");
            return Err(Error::config("cookie keys", rule));
        }
        Ok(self)
    }

    /// The first id that stands in a cookie of this name, and is signed if it has to be.
    pub(super) fn read(&self, headers: &HeaderMap) -> Option<Carried> {
        let name = self.full_name();
        shown::cookies(headers, &name).find_map(|value| self.carried(&name, value))
    }

    fn carried(&self, name: &str, value: &str) -> Option<Carried> {
        let Some(keys) = &self.keys else {
            let id = SessionId::parse(value)?;
            return Some(Carried {
                id,
                is_dated: false,
            });
        };
        let (id, signature) = value.split_once('.')?;
        let signature = BASE64.decode(signature).ok()?;
        let fits = |key: &Arc<[u8]>| signing(key, name, id).verify_slice(&signature).is_ok();
        let nth = keys.iter().position(fits)?;
        let id = SessionId::parse(id)?;
        Some(Carried {
            id,
            is_dated: nth > 0,
        })
    }

    /// The line that gives the browser an id.
    pub(super) fn line(&self, id: &SessionId) -> HeaderValue {
        let (name, id) = (self.full_name(), id.expose());
        let value = match self.keys.as_ref().and_then(|keys| keys.first()) {
            Some(key) => {
                let signature = signing(key, &name, &id).finalize().into_bytes();
                format!("{id}.{}", BASE64.encode(signature))
            }
            None => id,
        };
        self.line_of(&name, &value, self.persistent.then_some(STAYS))
    }

    /// The line that takes it away.
    pub(super) fn removal(&self) -> HeaderValue {
        self.line_of(&self.full_name(), "", Some(Duration::ZERO))
    }

    fn line_of(&self, name: &str, value: &str, age: Option<Duration>) -> HeaderValue {
        let mut line = format!("{name}={value}; Path={}", self.path);
        if let Some(domain) = &self.domain {
            write!(line, "; Domain={domain}").expect("a String takes everything");
        }
        if let Some(age) = age {
            write!(line, "; Max-Age={}", age.as_secs()).expect("a String takes everything");
        }
        if self.secure {
            line.push_str("; Secure");
        }
        line.push_str("; HttpOnly; SameSite=");
        line.push_str(match self.same_site {
            SameSite::Strict => "Strict",
            SameSite::Lax => "Lax",
            SameSite::None => "None",
        });
        HeaderValue::try_from(line).expect("its parts were checked")
    }
}

/// Of the name as well: what was signed for one cookie is no other.
fn signing(key: &[u8], name: &str, id: &str) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length is a key");
    mac.update(name.as_bytes());
    mac.update(b"=");
    mac.update(id.as_bytes());
    mac
}

impl fmt::Debug for SessionCookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionCookie")
            .field("name", &self.full_name())
            .field("path", &self.path)
            .field("domain", &self.domain)
            .field("same_site", &self.same_site)
            .field("persistent", &self.persistent)
            .field("keys", &self.keys.as_ref().map(Vec::len))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate::Fleet;

    async fn id() -> SessionId {
        let sessions = Fleet::embedded().sessions();
        sessions.create("alice").await.unwrap().id
    }

    fn sent(pairs: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("cookie", HeaderValue::from_str(pairs).unwrap());
        headers
    }

    /// What a browser would send back.
    fn back(line: &HeaderValue) -> String {
        let line = line.to_str().unwrap();
        line.split_once(';').unwrap().0.to_owned()
    }

    #[tokio::test]
    async fn a_cookie_is_as_narrow_as_it_can_be() {
        let id = id().await;
        let text = id.expose();
        let line = |cookie: &SessionCookie| cookie.line(&id).to_str().unwrap().to_owned();
        let cookie = SessionCookie::default();
        assert_eq!(
            line(&cookie),
            format!("__Host-session={text}; Path=/; Secure; HttpOnly; SameSite=Lax")
        );
        assert_eq!(
            cookie.removal(),
            "__Host-session=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax"
        );
        let cookie = SessionCookie::new("id").domain("example.org").persistent();
        assert_eq!(
            line(&cookie.same_site(SameSite::Strict)),
            format!(
                "__Secure-id={text}; Path=/; Domain=example.org; Max-Age=34560000; Secure; HttpOnly; SameSite=Strict"
            )
        );
        let cookie = SessionCookie::new("id").path("/app");
        assert_eq!(cookie.full_name(), "__Secure-id");
        assert_eq!(
            line(&cookie.insecure()),
            format!("id={text}; Path=/app; HttpOnly; SameSite=Lax")
        );
    }

    #[test]
    fn what_browsers_would_not_take_is_refused_with_the_rule() {
        for (cookie, field) in [
            (SessionCookie::new(""), "name"),
            (SessionCookie::new("a;b"), "name"),
            (SessionCookie::new("x".repeat(65)), "name"),
            (SessionCookie::new("a").path("app"), "path"),
            (SessionCookie::new("a").path("/;Domain=evil"), "path"),
            (SessionCookie::new("a").path("/\n"), "path"),
            (SessionCookie::new("a").domain(""), "domain"),
            (SessionCookie::new("a").domain("a b"), "domain"),
            (
                SessionCookie::new("a").insecure().same_site(SameSite::None),
                "same_site",
            ),
            (SessionCookie::new("a").signed(["short"]), "keys"),
            (SessionCookie::new("a").signed([""; 0]), "keys"),
        ] {
            let error = cookie.checked().unwrap_err().to_string();
            assert!(error.contains(field), "{error}");
        }
    }

    #[tokio::test]
    async fn keys_are_rotated() {
        let id = id().await;
        let (old, new) = ([1; 32], [2; 32]);
        let signed = |keys: &[[u8; 32]]| SessionCookie::default().signed(keys);
        let before = back(&signed(&[old]).line(&id));
        let read = |keys: &[[u8; 32]], pairs: &str| signed(keys).read(&sent(pairs));
        assert!(!read(&[old], &before).unwrap().is_dated);
        let carried = read(&[new, old], &before).unwrap();
        assert!(carried.is_dated && carried.id.expose() == id.expose());
        assert!(read(&[new], &before).is_none());
        // Neither without a signature, nor with that of another id or cookie.
        let plain = back(&SessionCookie::default().line(&id));
        assert!(read(&[old], &plain).is_none());
        assert!(SessionCookie::default().read(&sent(&before)).is_none());
        let other = back(&SessionCookie::new("other").signed([old]).line(&id));
        let renamed = other.replace("__Host-other", "__Host-session");
        assert!(read(&[old], &renamed).is_none());
    }

    #[tokio::test]
    async fn of_several_cookies_the_first_that_is_one_counts() {
        let id = id().await;
        let cookie = SessionCookie::default();
        let pairs = format!("a=1; __Host-session=junk; {}; b", back(&cookie.line(&id)));
        let carried = cookie.read(&sent(&pairs)).unwrap();
        assert_eq!(carried.id.expose(), id.expose());
        for nothing in [
            "",
            "__Host-session",
            "__Host-session=",
            "session=x",
            "=;=;;",
        ] {
            assert!(cookie.read(&sent(nothing)).is_none(), "{nothing}");
        }
    }

    #[test]
    fn debug_shows_no_key() {
        let cookie = SessionCookie::default().signed([b"0123456789abcdef0123456789abcdef"]);
        let shown = format!("{cookie:?}");
        assert!(
            !shown.contains("0123") && !shown.contains("48, 49"),
            "{shown}"
        );
    }
}
