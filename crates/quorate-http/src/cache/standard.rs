//! The standard mode: responses say how long they are kept, as RFC 9111 has it for a shared cache.

use std::time::Duration;

use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{HeaderName, Method, response};
use quorate::{Error, Result};

use super::conditional::has_validator;
use super::directives::{RequestDirectives, ResponseDirectives, strings};
use super::freshness::{
    explicit_lifetime, heuristic_lifetime, initial_age, is_heuristically_cacheable, is_understood,
};
use super::groups;
use super::mode::{Basics, LONGEST, Plan, Verdict, Wanted};
use super::status::Forward;
use super::stored::Terms;

/// The standard mode: responses say how long they are kept, as RFC 9111 has it for a shared cache, with
/// `stale-while-revalidate` and `stale-if-error` (RFC 5861), `CDN-Cache-Control` (RFC 9213) and cache groups (RFC 9875).
///
/// # Example
/// ```
/// use quorate_http::cache::Standard;
/// use std::time::Duration;
///
/// let mode = Standard::new().revalidate_for(Duration::from_secs(600)).heuristic(0.0, Duration::ZERO);
/// # let _ = mode;
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Standard {
    share: f64,
    most: Duration,
    revalidate_for: Duration,
    targets: Vec<String>,
    names: Vec<HeaderName>,
}

impl Default for Standard {
    fn default() -> Self {
        Self::new()
    }
}

impl Standard {
    /// As the RFCs say.
    pub fn new() -> Self {
        Self {
            share: 0.1,
            most: Duration::from_secs(24 * 3600),
            revalidate_for: Duration::from_secs(3600),
            targets: vec!["cdn-cache-control".to_owned()],
            names: Vec::new(),
        }
    }

    /// Responses that do not say how long they are fresh are so for this share (0 to 1) of the time since they last
    /// changed, and for `most` at the most. Default a tenth and a day; 0 for never.
    pub const fn heuristic(mut self, share: f64, most: Duration) -> Self {
        self.share = share;
        self.most = most;
        self
    }

    /// How long a response that can be validated is kept after it was fresh, to ask whether it still holds. At most a
    /// year; default an hour.
    pub const fn revalidate_for(mut self, time: Duration) -> Self {
        self.revalidate_for = time;
        self
    }

    /// The fields that replace `Cache-Control` and `Expires` for this cache, the first that is there and can be read.
    /// Default `CDN-Cache-Control`.
    pub fn targets<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.targets = names.into_iter().map(Into::into).collect();
        self
    }

    pub(super) fn checked(mut self) -> Result<Self> {
        if !(0.0..=1.0).contains(&self.share) {
            return Err(Error::config("heuristic", "must be a share from 0 to 1"));
        }
        if self.revalidate_for > LONGEST || self.most > LONGEST {
            let field = if self.most > LONGEST {
                "heuristic"
            } else {
                "revalidate_for"
            };
            return Err(Error::config(field, "must be at most a year"));
        }
        let name = |name: &String| {
            HeaderName::try_from(name).map_err(|error| {
                Error::config("targets", "must be names of header fields").with_source(error)
            })
        };
        self.names = self.targets.iter().map(name).collect::<Result<_>>()?;
        Ok(self)
    }

    pub(super) fn plan(parts: &Parts, directives: RequestDirectives) -> Plan {
        match parts.method {
            Method::GET | Method::HEAD => Plan::Look(Wanted {
                reload: directives.no_cache,
                directives,
            }),
            Method::OPTIONS | Method::TRACE => Plan::Pass(Forward::Method),
            _ => Plan::Unsafe,
        }
    }

    pub(super) fn judge(
        &self,
        request: &Parts,
        response: &response::Parts,
        with: Basics,
    ) -> Verdict {
        let headers = &response.headers;
        let said = ResponseDirectives::of(headers, &self.names);
        let is_understood = is_understood(response.status);
        let may_store = if said.must_understand {
            is_understood
        } else {
            !said.no_store
        };
        if !may_store || said.private {
            return Verdict::Pass;
        }
        let may_share = said.public || said.s_maxage.is_some() || said.must_revalidate;
        if request.headers.contains_key(AUTHORIZATION) && !may_share {
            return Verdict::Own;
        }
        let explicit = with.control.ttl;
        let explicit = explicit.or_else(|| explicit_lifetime(headers, &said, with.now));
        let lifetime = match explicit {
            Some(lifetime) => lifetime,
            None if is_heuristically_cacheable(response.status) || said.public => {
                heuristic_lifetime(headers, self.share, self.most, with.now)
            }
            None => return Verdict::Pass,
        };
        let terms = self.terms(
            &said,
            lifetime,
            initial_age(headers, &with),
            has_validator(headers),
        );
        // It could not be used even once.
        if (terms.always_validate || terms.fresh.is_zero()) && terms.stale_for().is_zero() {
            return Verdict::Pass;
        }
        let groups = strings(headers, &groups::CACHE_GROUPS);
        let tags = groups.iter().map(|group| groups::tag(&with.origin, group));
        let tags = tags.collect();
        Verdict::keep(terms, with, tags)
    }

    fn terms(
        &self,
        said: &ResponseDirectives,
        lifetime: Duration,
        initial_age: Duration,
        can_validate: bool,
    ) -> Terms {
        let never_stale = said.forbids_stale();
        let window = |seconds: Option<u64>| match seconds {
            Some(seconds) if !never_stale => Duration::from_secs(seconds).min(LONGEST),
            _ => Duration::ZERO,
        };
        let fresh = lifetime.min(LONGEST).saturating_sub(initial_age);
        // For how long it has not been fresh already: its windows began then.
        let overdue = initial_age.saturating_sub(lifetime).min(LONGEST);
        // What is less than a millisecond is not kept.
        let fresh = if fresh.as_millis() == 0 {
            Duration::ZERO
        } else {
            fresh
        };
        let while_revalidating = match window(said.stale_while_revalidate) {
            over if over <= overdue => Duration::ZERO,
            window => window,
        };
        Terms {
            initial_age: initial_age.min(LONGEST),
            overdue,
            fresh,
            while_revalidating,
            if_error: window(said.stale_if_error),
            to_validate: if can_validate {
                self.revalidate_for
            } else {
                Duration::ZERO
            },
            always_validate: said.no_cache || (fresh.is_zero() && while_revalidating.is_zero()),
            never_stale,
        }
    }
}
