//! Who may come in.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use quorate::Secret;
use quorate_http::{Code, OriginPolicy, Problem, Rejection};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

const COOKIE: &str = "quorate_session";
/// How long a browser stays logged in.
const SESSION: Duration = Duration::from_secs(12 * 3600);

/// The token, if there is one, and what is derived from it.
///
/// A browser cannot add headers to a WebSocket, so it gets a cookie for the token. The cookie is its
/// expiry and a MAC over it with the token as the key: every instance with the same token takes it, and
/// none has to remember it.
#[derive(Clone, Debug)]
pub(crate) struct Auth {
    token: Option<Arc<Secret>>,
}

impl Auth {
    pub(crate) fn new(token: Option<Secret>) -> Self {
        Self {
            token: token.map(Arc::new),
        }
    }

    pub(crate) fn is_required(&self) -> bool {
        self.token.is_some()
    }

    /// Whether a request with these headers may pass.
    pub(crate) fn admits(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.token else {
            return true;
        };
        bearer(headers).is_some_and(|presented| same(presented, token))
            || cookies(headers).any(|cookie| self.admits_cookie(cookie, Timestamp::now()))
    }

    /// The cookie for who presents the token.
    pub(crate) fn log_in(&self, presented: &str, secure: bool) -> Option<HeaderValue> {
        let token = self.token.as_ref()?;
        same(presented, token).then(|| {
            let value = self.session(Timestamp::now() + SESSION);
            set_cookie(&value, SESSION.as_secs(), secure)
        })
    }

    /// The cookie that replaces it at the end.
    pub(crate) fn log_out(&self, secure: bool) -> HeaderValue {
        set_cookie("", 0, secure)
    }

    fn session(&self, ends: Timestamp) -> String {
        let ends = ends.as_second().to_string();
        let mac = self.mac(&ends).finalize().into_bytes();
        let mut value = format!("{ends}.");
        for byte in mac {
            value.push_str(&format!("{byte:02x}"));
        }
        value
    }

    fn admits_cookie(&self, cookie: &str, now: Timestamp) -> bool {
        let Some((ends, mac)) = cookie.split_once('.') else {
            return false;
        };
        let valid = unhex(mac).is_some_and(|mac| self.mac(ends).verify_slice(&mac).is_ok());
        valid && ends.parse().is_ok_and(|ends: i64| ends > now.as_second())
    }

    fn mac(&self, ends: &str) -> Hmac<Sha256> {
        let key = self.token.as_ref().map_or("", |token| token.reveal());
        let mut mac =
            Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("a key may have any length");
        // So that a MAC made for another purpose with the same token is none for this one.
        mac.update(b"quorate session, ends ");
        mac.update(ends.as_bytes());
        mac
    }
}

/// Compares without telling, by the time it takes, how much of it is right.
fn same(presented: &str, token: &Secret) -> bool {
    let [presented, token] = [presented, token.reveal()].map(Sha256::digest);
    presented.ct_eq(&token).into()
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn cookies(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers
        .get_all(header::COOKIE)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter_map(|(name, value)| (name == COOKIE).then_some(value))
}

fn set_cookie(value: &str, seconds: u64, secure: bool) -> HeaderValue {
    let secure = if secure { "; Secure" } else { "" };
    let text =
        format!("{COOKIE}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
    HeaderValue::from_str(&text).expect("made of visible ASCII characters")
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return None;
    }
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok())
        .collect()
}

/// Lets only those in who have the token, if there is one.
pub(crate) async fn require(
    State(auth): State<Auth>,
    request: Request,
    next: Next,
) -> Result<Response, Rejection> {
    if !auth.admits(request.headers()) {
        return Err(Problem::new(
            Code::Unauthenticated,
            "send the token as `Authorization: Bearer …`, or log in on the page at /",
        )
        .into());
    }
    Ok(next.run(request).await)
}

/// Which sites may talk to this server.
#[derive(Clone, Debug)]
pub(crate) struct Sites {
    pub(crate) origins: OriginPolicy,
    /// Names this server is reached by; `None`: any.
    pub(crate) hosts: Option<Arc<Vec<String>>>,
}

/// Keeps other people's pages out: neither by requests from another origin (the browser says which),
/// nor by a name of theirs that suddenly means this machine (DNS rebinding).
pub(crate) async fn only_own_sites(
    State(sites): State<Sites>,
    request: Request,
    next: Next,
) -> Result<Response, Rejection> {
    let headers = request.headers();
    let refuse = |detail: &str| Err(Problem::new(Code::PermissionDenied, detail).into());
    if let Some(known) = &sites.hosts
        && !headers
            .get(header::HOST)
            .and_then(|host| host.to_str().ok())
            .is_some_and(|host| is_known_host(host, known))
    {
        return refuse(
            "without a token this server answers only to local names; add others to `allowed_hosts`",
        );
    }
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    let foreign =
        !headers.contains_key(header::ORIGIN) && matches!(site, Some(b"cross-site" | b"same-site"));
    if foreign || !sites.origins.allows(headers) {
        return refuse("pages of this origin may not talk to this server; see `allowed_origins`");
    }
    Ok(next.run(request).await)
}

fn is_known_host(host: &str, known: &[String]) -> bool {
    let host = host.to_ascii_lowercase();
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let local = name == "localhost"
        || name.ends_with(".localhost")
        || name
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    local || known.iter().any(|known| known.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: header::HeaderName, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_str(value).unwrap());
        headers
    }

    #[test]
    fn the_token_opens_and_nothing_else_does() {
        let auth = Auth::new(Some("0123456789abcdef".into()));
        for (value, opens) in [
            ("Bearer 0123456789abcdef", true),
            ("bearer 0123456789abcdef", true),
            ("Bearer 0123456789abcdeF", false),
            ("Bearer", false),
            ("Basic 0123456789abcdef", false),
            ("", false),
        ] {
            assert_eq!(
                auth.admits(&headers(header::AUTHORIZATION, value)),
                opens,
                "{value}"
            );
        }
        assert!(!auth.admits(&HeaderMap::new()));
        assert!(Auth::new(None).admits(&HeaderMap::new()));
    }

    #[test]
    fn a_cookie_opens_until_it_ends_and_cannot_be_made_without_the_token() {
        let auth = Auth::new(Some("0123456789abcdef".into()));
        assert!(auth.log_in("wrong", false).is_none());
        let cookie = auth.log_in("0123456789abcdef", true).unwrap();
        let cookie = cookie.to_str().unwrap();
        assert!(
            cookie.contains("HttpOnly; SameSite=Strict; Secure"),
            "{cookie}"
        );
        let pair = cookie.split(';').next().unwrap();
        assert!(auth.admits(&headers(header::COOKIE, &format!("a=b; {pair}"))));
        let other = Auth::new(Some("another-token-123".into()));
        assert!(!other.admits(&headers(header::COOKIE, pair)));

        let now = Timestamp::now();
        let value = auth.session(now + Duration::from_secs(2));
        assert!(auth.admits_cookie(&value, now));
        assert!(!auth.admits_cookie(&value, now + Duration::from_secs(3)));
        let later = value.replacen(char::is_numeric, "9", 1);
        assert!(!auth.admits_cookie(&later, now), "{later}");
        for bad in [
            "",
            ".",
            "9999999999.",
            "9999999999.zz",
            "9999999999.é",
            "x.00",
        ] {
            assert!(!auth.admits_cookie(bad, now), "{bad}");
        }
    }

    #[test]
    fn without_a_token_only_local_names_are_answered() {
        let known = ["box.lan".to_owned()];
        for (host, expected) in [
            ("localhost:8080", true),
            ("127.0.0.1", true),
            ("127.9.9.9:1", true),
            ("[::1]:8080", true),
            ("app.localhost", true),
            ("BOX.lan:8080", true),
            ("evil.example", false),
            ("localhost.evil.example:8080", false),
            ("192.168.0.1", false),
            ("", false),
        ] {
            assert_eq!(is_known_host(host, &known), expected, "{host}");
        }
    }
}
