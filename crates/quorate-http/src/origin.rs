//! Which web pages may talk to a service.

use std::sync::Arc;

use axum::http::{HeaderMap, header};
use quorate::{Error, Result};

/// Which origins a request may come from: the service's own, and those on a list.
///
/// Browsers name the page's origin in the header `Origin` with every WebSocket, every request that
/// changes something, and every request from another origin; programs send none and are let through.
/// So this keeps other people's pages from using the network position or the cookies of whoever looks
/// at them, and nothing more.
///
/// # Clone
/// Clones share the list.
///
/// # Example
/// ```
/// use axum::http::{HeaderMap, HeaderValue, header};
/// use quorate_http::OriginPolicy;
///
/// let policy = OriginPolicy::same_origin().allow("https://app.example.com").unwrap();
/// let mut headers = HeaderMap::new();
/// headers.insert(header::HOST, HeaderValue::from_static("api.example.com"));
/// headers.insert(header::ORIGIN, HeaderValue::from_static("https://evil.example"));
/// assert!(!policy.allows(&headers));
/// headers.insert(header::ORIGIN, HeaderValue::from_static("https://app.example.com"));
/// assert!(policy.allows(&headers));
/// ```
#[derive(Clone, Debug, Default)]
pub struct OriginPolicy {
    allowed: Arc<Vec<String>>,
}

impl OriginPolicy {
    /// Only pages of the service itself.
    #[must_use]
    pub fn same_origin() -> Self {
        Self::default()
    }

    /// Pages of `origin` too.
    ///
    /// # Errors
    /// `InvalidInput` if it is not of the form `https://host` or `https://host:port`.
    pub fn allow(mut self, origin: &str) -> Result<Self> {
        let rest = authority(origin)
            .ok_or_else(|| Error::invalid("origin", "must begin with `http://` or `https://`"))?;
        if rest.is_empty() || rest.contains(['/', '?', '#', '@', '*', ' ']) {
            return Err(Error::invalid(
                "origin",
                "must be `https://host` or `https://host:port`, without a path",
            ));
        }
        Arc::make_mut(&mut self.allowed).push(origin.to_ascii_lowercase());
        Ok(self)
    }

    /// The list.
    pub fn allowed(&self) -> impl Iterator<Item = &str> {
        self.allowed.iter().map(String::as_str)
    }

    /// Whether a request with these headers may pass.
    #[must_use]
    pub fn allows(&self, headers: &HeaderMap) -> bool {
        let Some(origin) = headers.get(header::ORIGIN) else {
            return true;
        };
        let Ok(origin) = origin.to_str() else {
            return false;
        };
        let origin = origin.to_ascii_lowercase();
        if self.allowed.contains(&origin) {
            return true;
        }
        // Browsers leave a default port out of both, so the texts are equal where the places are. The
        // scheme is not compared: behind a proxy that ends TLS this service sees only plain HTTP.
        let host = headers
            .get(header::HOST)
            .and_then(|host| host.to_str().ok());
        match (authority(&origin), host) {
            (Some(authority), Some(host)) => authority.eq_ignore_ascii_case(host),
            // `Origin: null` is a page without an origin: a sandboxed frame, a file.
            _ => false,
        }
    }
}

fn authority(origin: &str) -> Option<&str> {
    let strip = |scheme: &str| {
        let (head, rest) = origin.split_at_checked(scheme.len())?;
        head.eq_ignore_ascii_case(scheme).then_some(rest)
    };
    strip("http://").or_else(|| strip("https://"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn headers(origin: Option<&'static str>, host: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static(host));
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
        }
        headers
    }

    #[test]
    fn only_this_origin_and_the_listed_ones_pass() {
        let policy = OriginPolicy::same_origin()
            .allow("https://App.example:8443")
            .unwrap();
        for (origin, host, passes) in [
            (None, "localhost:8080", true),
            (Some("http://localhost:8080"), "localhost:8080", true),
            (Some("https://quorate.example"), "quorate.example", true),
            (Some("http://localhost:8081"), "localhost:8080", false),
            (Some("http://evil.example"), "localhost:8080", false),
            (Some("null"), "localhost:8080", false),
            (Some("https://app.example:8443"), "localhost:8080", true),
            (Some("http://app.example:8443"), "localhost:8080", false),
            (
                Some("http://localhost:8080.evil.example"),
                "localhost:8080",
                false,
            ),
        ] {
            assert_eq!(policy.allows(&headers(origin, host)), passes, "{origin:?}");
        }
    }

    #[test]
    fn the_list_takes_origins_only() {
        for bad in [
            "*",
            "app.example",
            "https://",
            "https://a/b",
            "https://*.a",
            "https://u@a",
        ] {
            assert!(OriginPolicy::same_origin().allow(bad).is_err(), "{bad}");
        }
    }
}
