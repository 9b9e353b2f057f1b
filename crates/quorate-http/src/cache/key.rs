//! What a response is kept under.

use std::fmt::{self, Write as _};

use axum::extract::OriginalUri;
use axum::http::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, COOKIE, HOST, PROXY_AUTHORIZATION,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use quorate::Micros;
use sha2::{Digest, Sha256};

/// The longest key that stands in the cache as it is; of a longer one its SHA-256 does.
const LONGEST: usize = 400;

/// What tells one response from every other: method, host, the whole path with its parameters, query, and what else
/// the answer depends on.
///
/// Two keys are the same only if all of it is. A field that carries a secret (`Authorization`, `Cookie`) is in it as its
/// SHA-256.
///
/// # Example
/// ```
/// use quorate_http::cache::ResponseKey;
///
/// let key = ResponseKey::get(&"https://shop.example/users/7?full=1".parse().unwrap());
/// assert_eq!(key.as_str(), "GET shop.example /users/7?full=1");
/// let german = key.with_field(&"accept-language".parse().unwrap(), Some("de"));
/// assert_eq!(german.as_str(), "GET shop.example /users/7?full=1 h:accept-language=de");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ResponseKey(String);

impl ResponseKey {
    /// Of a GET of this URI: its host (with the port, if it says one), path and query.
    #[must_use]
    pub fn get(uri: &Uri) -> Self {
        Self::new(&Method::GET, uri)
    }

    /// As [`get`](Self::get) for another method.
    #[must_use]
    pub fn new(method: &Method, uri: &Uri) -> Self {
        let host = uri.authority().map_or("", |authority| authority.as_str());
        Self::of(method, host, uri.path(), uri.query())
    }

    /// Of a request, without what it varies by.
    pub(super) fn of_request(parts: &Parts, method: &Method) -> Self {
        let uri = target(parts);
        Self::of(method, &host(parts), uri.path(), uri.query()).with_rewritten(parts)
    }

    fn with_rewritten(self, parts: &Parts) -> Self {
        match rewritten(parts) {
            None => self,
            Some(uri) => self.with('u', &uri.to_string()),
        }
    }

    /// As [`of_request`](Self::of_request) with a text in place of the query.
    pub(super) fn with_query_as(parts: &Parts, method: &Method, query: &str) -> Self {
        let uri = target(parts);
        let key = Self::of(method, &host(parts), uri.path(), None);
        key.with('k', query).with_rewritten(parts)
    }

    /// A path and a query of a URI contain no space, and whatever follows is escaped: so no two keys are alike.
    pub(super) fn of(method: &Method, host: &str, path: &str, query: Option<&str>) -> Self {
        let mut text = format!("{method} ");
        escape(host.to_ascii_lowercase().as_bytes(), &mut text);
        text.push(' ');
        text.push_str(path);
        if let Some(query) = query {
            text.push('?');
            text.push_str(query);
        }
        Self(text)
    }

    /// The key of a cache that looks at no host.
    pub(super) fn without_host(self) -> Self {
        let mut parts = self.0.splitn(3, ' ');
        let method = parts.next().unwrap_or_default();
        let rest = parts.nth(1).unwrap_or_default();
        Self(format!("{method}  {rest}"))
    }

    /// With the value of a field that the response depends on; `None`: a request without it. Several values of one
    /// field are one, with `,` between them.
    #[must_use]
    pub fn with_field(mut self, name: &HeaderName, value: Option<&str>) -> Self {
        let value = value.map(str::as_bytes);
        self.push_field(name, value);
        self
    }

    /// With a text that the response depends on: what [`Declared::vary_by`](super::Declared::vary_by) gave.
    #[must_use]
    pub fn with_text(self, text: &str) -> Self {
        self.with('x', text)
    }

    /// With the fields of a request that a response varies by.
    pub(super) fn with_fields_of(mut self, names: &[HeaderName], headers: &HeaderMap) -> Self {
        for name in names {
            let value = field_value(headers, name);
            self.push_field(name, value.as_deref());
        }
        self
    }

    /// With the content of a request, and what says how it is read.
    pub(super) fn with_content(self, headers: &HeaderMap, content: &[u8]) -> Self {
        if content.is_empty() {
            return self;
        }
        let digest = digest(content);
        let names = [CONTENT_TYPE, CONTENT_ENCODING];
        self.with('b', &digest).with_fields_of(&names, headers)
    }

    /// A variant of the response kept under this key, which has this id.
    pub(super) fn variant(&self, id: u64) -> Self {
        self.clone().with('v', &format!("{id:x}"))
    }

    /// Beside what is kept under this key since this moment: that its next answer is not waited for.
    pub(super) fn unshared(&self, stored_at: Micros) -> Self {
        self.clone().with('p', &format!("{:x}", stored_at.get()))
    }

    fn push_field(&mut self, name: &HeaderName, value: Option<&[u8]>) {
        self.0.push_str(" h:");
        self.0.push_str(name.as_str());
        let Some(value) = value else { return };
        self.0.push('=');
        if is_secret(name) {
            self.0.push_str("sha256*");
            self.0.push_str(&digest(value));
        } else {
            escape(value, &mut self.0);
        }
    }

    fn with(mut self, kind: char, text: &str) -> Self {
        self.0.push(' ');
        self.0.push(kind);
        self.0.push(':');
        escape(text.as_bytes(), &mut self.0);
        self
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What the entry is called in the cache: the key itself, or a method and a hash where that would not do. A key
    /// has a third part, so that the two cannot be confused.
    pub(super) fn entry(&self) -> String {
        let is_plain = self.0.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        if is_plain && self.0.len() <= LONGEST {
            return self.0.clone();
        }
        let method = self.0.split(' ').next().unwrap_or_default();
        // A method may be as long as its sender likes.
        let method = method.get(..32).unwrap_or(method);
        format!("{method} sha256:{}", digest(self.0.as_bytes()))
    }
}

impl fmt::Display for ResponseKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The URI as the client sent it, also within a nested router.
pub(super) fn target(parts: &Parts) -> &Uri {
    let original = parts.extensions.get::<OriginalUri>();
    original.map_or(&parts.uri, |OriginalUri(uri)| uri)
}

/// Whether a request says in one way only whom it asks. Where `Host` and the URI differ, or there are several, the service may
/// believe another one than the key names.
pub(super) fn has_one_host(parts: &Parts) -> bool {
    let mut lines = parts.headers.get_all(HOST).iter();
    let (first, second) = (lines.next(), lines.next());
    let asked = [target(parts).authority(), parts.uri.authority()];
    let same = |said: &HeaderValue| {
        asked.iter().flatten().all(|authority| {
            said.as_bytes()
                .eq_ignore_ascii_case(authority.as_str().as_bytes())
        })
    };
    second.is_none() && first.is_none_or(same)
}

/// What the service is asked, where something in front of it has made another path or query of what the client sent.
fn rewritten(parts: &Parts) -> Option<&Uri> {
    let (sent, asked) = (target(parts), &parts.uri);
    let is_nested = sent.query() == asked.query() && sent.path().ends_with(asked.path());
    // A router that is nested takes off what leads to it.
    let is_root = asked.path() == "/" && sent.query() == asked.query();
    (!is_nested && !is_root).then_some(asked)
}

/// Whom the request asked.
pub(super) fn host(parts: &Parts) -> String {
    if let Some(authority) = target(parts).authority() {
        return authority.as_str().to_owned();
    }
    let host = parts.headers.get(HOST).map(|host| host.as_bytes());
    String::from_utf8_lossy(host.unwrap_or_default()).into_owned()
}

/// All lines of a field as one value; `None` if there is none.
pub(super) fn field_value(headers: &HeaderMap, name: &HeaderName) -> Option<Vec<u8>> {
    let mut lines = headers.get_all(name).iter();
    let mut value = lines.next()?.as_bytes().trim_ascii().to_vec();
    for line in lines {
        value.push(b',');
        value.extend_from_slice(line.as_bytes().trim_ascii());
    }
    Some(value)
}

/// Whether the value of a field is nobody else's business.
fn is_secret(name: &HeaderName) -> bool {
    [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION].contains(name)
}

/// The value of a field as it is kept, to compare that of a request with: of one that carries a secret, its SHA-256.
pub(super) fn compared(headers: &HeaderMap, name: &HeaderName) -> Option<Vec<u8>> {
    let value = field_value(headers, name)?;
    if is_secret(name) {
        return Some(format!("sha256*{}", digest(&value)).into_bytes());
    }
    Some(value)
}

pub(super) fn digest(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(64);
    for byte in Sha256::digest(bytes) {
        write!(text, "{byte:02x}").expect("a String takes everything");
    }
    text
}

/// Appends bytes so that no two are alike: no space, and no `=` or `*`, is left as it is.
fn escape(bytes: &[u8], text: &mut String) {
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~/,;:?&@+".contains(byte) {
            text.push(char::from(*byte));
        } else {
            write!(text, "%{byte:02X}").expect("a String takes everything");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn uri(text: &str) -> Uri {
        text.parse().unwrap()
    }

    #[test]
    fn secrets_are_not_in_a_key() {
        let key = ResponseKey::get(&uri("http://a/")).with_field(&COOKIE, Some("id=secret"));
        assert!(!key.as_str().contains("secret"), "{key}");
        let other = ResponseKey::get(&uri("http://a/")).with_field(&COOKIE, Some("id=other"));
        assert_ne!(key, other);
    }

    fn parts(asked: &str, hosts: &[&str]) -> Parts {
        let mut request = axum::http::Request::get(asked);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn who_asks_two_hosts_asks_none() {
        assert!(has_one_host(&parts("/x", &["a.example"])));
        assert!(has_one_host(&parts("/x", &[])));
        assert!(has_one_host(&parts("http://a.example/x", &["A.example"])));
        assert!(!has_one_host(&parts("http://a.example/x", &["b.example"])));
        assert!(!has_one_host(&parts("/x", &["a.example", "b.example"])));
    }

    #[test]
    fn what_was_made_of_a_uri_is_in_the_key() {
        let of = |sent: &str, asked: &str| {
            let mut parts = parts(asked, &["a"]);
            parts.extensions.insert(OriginalUri(uri(sent)));
            ResponseKey::of_request(&parts, &Method::GET)
        };
        assert_eq!(
            of("/api/users/7?x", "/users/7?x").as_str(),
            "GET a /api/users/7?x"
        );
        assert_eq!(of("/api", "/").as_str(), "GET a /api");
        assert_ne!(of("/page", "/tenant-a/page"), of("/page", "/tenant-b/page"));
        assert_ne!(of("/page", "/page?tenant=a"), of("/page", "/page?tenant=b"));
    }

    #[test]
    fn what_no_entry_can_be_called_is_hashed() {
        let short = ResponseKey::get(&uri("http://a/x"));
        assert_eq!(short.entry(), short.as_str());
        let long = |end: char| {
            let path = format!("http://a/{}{end}", "x".repeat(1000));
            ResponseKey::get(&uri(&path)).entry()
        };
        assert!(long('1').starts_with("GET sha256:") && long('1').len() < 200);
        assert_ne!(long('1'), long('2'));
    }

    #[test]
    fn a_key_without_host_has_all_the_rest() {
        let key = ResponseKey::get(&uri("http://a.b:80/x?y=1")).with_text("t");
        assert_eq!(key.without_host().as_str(), "GET  /x?y=1 x:t");
    }

    proptest! {
        /// Whatever is in them, what stands in one place of a key is not taken for what stands in another.
        #[test]
        fn no_two_keys_are_alike(one in shape(), two in shape()) {
            prop_assert_eq!(one == two, built(&one) == built(&two));
            prop_assert_eq!(one == two, built(&one).entry() == built(&two).entry());
        }
    }

    type Shape = (String, Option<String>, Option<String>, Option<String>);

    fn shape() -> impl Strategy<Value = Shape> {
        let text = || proptest::option::of("[a =:%hx*,]{0,5}");
        (
            "/[ahx:=]{0,4}",
            proptest::option::of("[ahx:=]{0,3}"),
            text(),
            text(),
        )
    }

    fn built((path, query, field, text): &Shape) -> ResponseKey {
        let mut all = format!("http://a{path}");
        if let Some(query) = query {
            all = format!("{all}?{query}");
        }
        let name = HeaderName::from_static("h");
        // Without space around: a field's value never has it.
        let key = ResponseKey::get(&uri(&all)).with_field(&name, field.as_deref());
        match text {
            Some(text) => key.with_text(text),
            None => key,
        }
    }
}
