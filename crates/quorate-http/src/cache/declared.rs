//! The declared mode: the service says how long its responses are kept.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::http::header::{AUTHORIZATION, COOKIE};
use axum::http::request::Parts;
use axum::http::{HeaderName, Method, response};
use quorate::{Error, Result};

use super::directives::{RequestDirectives, ResponseDirectives};
use super::freshness::initial_age;
use super::key::ResponseKey;
use super::mode::{Basics, LONGEST, Plan, Verdict, Wanted};
use super::status::Forward;
use super::stored::Terms;

type Text = Arc<dyn Fn(&Parts) -> String + Send + Sync>;
type Skip = Arc<dyn Fn(&Parts) -> bool + Send + Sync>;
type ShouldCache = Arc<dyn Fn(&Parts, &response::Parts) -> bool + Send + Sync>;

/// The declared mode: the service says how long its responses are kept, for all routes under the layer.
///
/// Whatever is declared, a response is not kept that sets a cookie, is partial, varies by `*`, or is marked `no-store` or
/// `private`; and a request with credentials (`Authorization`, `Cookie`) goes past the cache, unless the responses
/// [vary](Self::vary) by them or [do not depend](Self::ignore) on them.
///
/// # Example
/// ```
/// use quorate_http::cache::Declared;
/// use std::time::Duration;
///
/// let pages = Declared::new(Duration::from_secs(60))
///     .stale_while_revalidate(Duration::from_secs(30))
///     .stale_if_error(Duration::from_secs(3600))
///     .vary(["accept-language"])
///     .skip(|request| request.uri.path().starts_with("/admin"));
/// # let _ = pages;
/// ```
#[derive(Clone)]
#[must_use]
pub struct Declared {
    ttl: Duration,
    while_revalidating: Duration,
    if_error: Duration,
    methods: Vec<Method>,
    vary: Vec<String>,
    ignored: Vec<String>,
    text: Option<Text>,
    query: Option<Text>,
    skip: Option<Skip>,
    should_cache: Option<ShouldCache>,
    reload: bool,
    names: Names,
}

/// Names of fields, checked.
#[derive(Clone, Default)]
struct Names {
    vary: Vec<HeaderName>,
    ignored: Vec<HeaderName>,
}

impl Declared {
    /// Responses are fresh for `ttl`: at least 1 ms, at most a year.
    pub fn new(ttl: Duration) -> Self {
        Self {
            ttl,
            while_revalidating: Duration::ZERO,
            if_error: Duration::ZERO,
            methods: vec![Method::GET],
            vary: Vec::new(),
            ignored: Vec::new(),
            text: None,
            query: None,
            skip: None,
            should_cache: None,
            reload: true,
            names: Names::default(),
        }
    }

    /// For so long after that they are given while a new one is made, once in the fleet. At most a year; default not at
    /// all.
    pub const fn stale_while_revalidate(mut self, time: Duration) -> Self {
        self.while_revalidating = time;
        self
    }

    /// For so long after they were fresh they stand in for a service that fails (an error, or 500, 502, 503, 504). At most
    /// a year; default not at all.
    pub const fn stale_if_error(mut self, time: Duration) -> Self {
        self.if_error = time;
        self
    }

    /// The methods whose responses are kept, each apart, and with the request's content as a part of the key. Default
    /// `GET`, which also answers `HEAD`.
    pub fn methods(mut self, methods: impl IntoIterator<Item = Method>) -> Self {
        self.methods = methods.into_iter().collect();
        self
    }

    /// Fields of the request that the responses depend on, besides those that a response names in its own `Vary`.
    pub fn vary<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.vary.extend(names.into_iter().map(Into::into));
        self
    }

    /// What else the responses depend on: a tenant, a theme. It becomes a part of the key.
    pub fn vary_by(mut self, text: impl Fn(&Parts) -> String + Send + Sync + 'static) -> Self {
        self.text = Some(Arc::new(text));
        self
    }

    /// What stands in the key in place of the query: to put parameters in order, or leave out those that change nothing.
    /// Method, host, path and what the responses vary by are in the key in any case.
    pub fn key(mut self, query: impl Fn(&Parts) -> String + Send + Sync + 'static) -> Self {
        self.query = Some(Arc::new(query));
        self
    }

    /// The responses do not depend on these fields, though they carry credentials: `cookie`, `authorization`.
    pub fn ignore<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.ignored.extend(names.into_iter().map(Into::into));
        self
    }

    /// Requests that go past the cache.
    pub fn skip(mut self, skip: impl Fn(&Parts) -> bool + Send + Sync + 'static) -> Self {
        self.skip = Some(Arc::new(skip));
        self
    }

    /// Responses that are kept, by request and response, instead of those with a 2xx status.
    pub fn should_cache(
        mut self,
        should: impl Fn(&Parts, &response::Parts) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.should_cache = Some(Arc::new(should));
        self
    }

    /// Whether a request with `Cache-Control: no-cache` has the response made anew. Default yes.
    pub const fn reload(mut self, yes: bool) -> Self {
        self.reload = yes;
        self
    }

    pub(super) fn checked(mut self) -> Result<Self> {
        for (field, time) in [
            ("stale_while_revalidate", self.while_revalidating),
            ("stale_if_error", self.if_error),
        ] {
            if time > LONGEST {
                return Err(Error::config(field, "must be at most a year"));
            }
        }
        if self.ttl < Duration::from_millis(1) || self.ttl > LONGEST {
            return Err(Error::config("ttl", "must be from 1 ms to a year"));
        }
        if self.methods.is_empty() {
            return Err(Error::config("methods", "must name one"));
        }
        self.names = Names {
            vary: names("vary", &self.vary)?,
            ignored: names("ignore", &self.ignored)?,
        };
        Ok(self)
    }

    pub(super) fn key_of(&self, parts: &Parts, method: &Method, content: &[u8]) -> ResponseKey {
        let key = match &self.query {
            Some(query) => ResponseKey::with_query_as(parts, method, &query(parts)),
            None => ResponseKey::of_request(parts, method),
        };
        let key = key.with_fields_of(&self.names.vary, &parts.headers);
        let key = match &self.text {
            Some(text) => key.with_text(&text(parts)),
            None => key,
        };
        key.with_content(&parts.headers, content)
    }

    /// The method whose responses answer a request.
    pub(super) fn method_of(&self, parts: &Parts) -> Option<Method> {
        let method = if parts.method == Method::HEAD {
            &Method::GET
        } else {
            &parts.method
        };
        self.methods.contains(method).then(|| method.clone())
    }

    pub(super) fn plan(&self, parts: &Parts, directives: &RequestDirectives) -> Plan {
        if self.method_of(parts).is_none() {
            return Plan::Pass(Forward::Method);
        }
        let is_unknown = |name: &HeaderName| {
            let known = self.names.vary.contains(name) || self.names.ignored.contains(name);
            parts.headers.contains_key(name) && !known
        };
        let skips = self.skip.as_ref().is_some_and(|skip| skip(parts));
        if skips || [AUTHORIZATION, COOKIE].iter().any(is_unknown) {
            return Plan::Pass(Forward::Bypass);
        }
        Plan::Look(Wanted {
            reload: self.reload && directives.no_cache,
            // It is the service that says what is fresh enough.
            directives: RequestDirectives {
                only_if_cached: directives.only_if_cached,
                ..RequestDirectives::default()
            },
        })
    }

    pub(super) fn judge(
        &self,
        request: &Parts,
        response: &response::Parts,
        with: Basics,
    ) -> Verdict {
        let said = ResponseDirectives::of(&response.headers, &[]);
        let should = match &self.should_cache {
            Some(should) => should(request, response),
            None => response.status.is_success(),
        };
        let fresh = with.control.ttl.unwrap_or(self.ttl).min(LONGEST);
        let is_private = said.no_store || said.private || said.no_cache;
        if is_private || !should || fresh < Duration::from_millis(1) {
            return Verdict::Pass;
        }
        let never_stale = said.forbids_stale();
        let window = |time| if never_stale { Duration::ZERO } else { time };
        let terms = Terms {
            initial_age: initial_age(&response.headers, &with),
            fresh,
            while_revalidating: window(self.while_revalidating),
            if_error: window(self.if_error),
            never_stale,
            ..Terms::default()
        };
        Verdict::keep(terms, with, Vec::new())
    }
}

/// Names of header fields, as they are compared.
fn names(field: &str, names: &[String]) -> Result<Vec<HeaderName>> {
    let name = |name: &String| {
        let rule = || Error::config(field, "must be names of header fields");
        HeaderName::try_from(name).map_err(|error| rule().with_source(error))
    };
    names.iter().map(name).collect()
}

impl fmt::Debug for Declared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Declared")
            .field("ttl", &self.ttl)
            .field("stale_while_revalidate", &self.while_revalidating)
            .field("stale_if_error", &self.if_error)
            .field("methods", &self.methods)
            .field("vary", &self.vary)
            .field("ignore", &self.ignored)
            .field("reload", &self.reload)
            .finish_non_exhaustive()
    }
}
