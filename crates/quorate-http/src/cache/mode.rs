//! What both modes decide, as pure functions: which requests are for the cache, and which responses are kept.

use std::time::{Duration, SystemTime};

use axum::http::header::{CONTENT_RANGE, SET_COOKIE, UPGRADE};
use axum::http::request::Parts;
use axum::http::{HeaderName, Method, StatusCode, response};
use quorate::Result;

use super::conditional::{needs_service, varies_by};
use super::control::CacheControl;
use super::date;
use super::declared::Declared;
use super::directives::RequestDirectives;
use super::key::{ResponseKey, has_one_host};
use super::standard::Standard;
use super::status::Forward;
use super::stored::{Held, Terms};
use crate::session;

/// The longest time that anything is kept: a year, as for any cache.
pub(super) const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// Who decides what is kept, and for how long.
#[derive(Clone, Debug)]
pub(super) enum Mode {
    Declared(Declared),
    Standard(Standard),
}

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// It goes past the cache.
    Pass(Forward),
    /// Likewise, and ends what is kept of what it changes.
    Unsafe,
    /// It is looked for.
    Look(Wanted),
}

/// What a request wants of the cache.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Made anew.
    pub(super) reload: bool,
    pub(super) directives: RequestDirectives,
}

/// How what is there is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// It is given.
    Give,
    /// It is given, and a new one is made in the background.
    GiveAndRefresh,
    /// Somebody asks the service for a new one, and all who want it wait for it.
    Load,
    /// The request wants a new one, though it is fresh.
    Reload,
    /// Each request asks the service for itself whether it still holds.
    Validate,
}

/// What becomes of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is kept.
    Keep(Box<Keep>),
    /// It is not, and neither would the next ones be.
    Pass,
    /// It is not, because of the request it answers.
    Own,
}

/// How a response is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Keep {
    pub(super) terms: Terms,
    pub(super) vary: Vec<HeaderName>,
    pub(super) tags: Vec<String>,
    /// How long it is fresh by its handler.
    pub(super) handler_ttl: Option<Duration>,
}

/// What is known of a response besides itself.
#[derive(Clone, Debug)]
pub(super) struct Basics {
    pub(super) now: SystemTime,
    /// How long it took to get it.
    pub(super) delay: Duration,
    /// What the handler said.
    pub(super) control: CacheControl,
    pub(super) vary: Vec<HeaderName>,
    /// Whose answer it is, as far as the key tells: its groups are of that origin.
    pub(super) origin: String,
}

impl Verdict {
    /// Keeps it, if a cache takes its tags.
    pub(super) fn keep(terms: Terms, with: Basics, tags: Vec<String>) -> Self {
        let handler_ttl = with.control.ttl;
        let mut control = with.control.tags(tags);
        control.tags.sort_unstable();
        control.tags.dedup();
        if !control.has_good_tags() {
            return Self::Pass;
        }
        Self::Keep(Box::new(Keep {
            terms,
            vary: with.vary,
            tags: control.tags,
            handler_ttl,
        }))
    }
}

impl Mode {
    pub(super) fn checked(self) -> Result<Self> {
        Ok(match self {
            Self::Declared(declared) => Self::Declared(declared.checked()?),
            Self::Standard(standard) => Self::Standard(standard.checked()?),
        })
    }

    pub(super) fn plan(&self, parts: &Parts) -> Plan {
        let directives = RequestDirectives::of(&parts.headers);
        let is_plain = !parts.headers.contains_key(UPGRADE) && parts.method != Method::CONNECT;
        let plan = match self {
            Self::Declared(declared) => declared.plan(parts, &directives),
            Self::Standard(_) => Standard::plan(parts, directives.clone()),
        };
        match plan {
            Plan::Look(_)
                if directives.no_store
                    || !is_plain
                    || !has_one_host(parts)
                    || needs_service(parts) =>
            {
                Plan::Pass(Forward::Bypass)
            }
            plan => plan,
        }
    }

    /// Under which key the answer to a request is.
    pub(super) fn key_of(&self, parts: &Parts, content: &[u8]) -> ResponseKey {
        match self {
            Self::Declared(declared) => {
                let method = declared.method_of(parts);
                let method = method.as_ref().unwrap_or(&parts.method);
                declared.key_of(parts, method, content)
            }
            Self::Standard(_) => ResponseKey::of_request(parts, &Method::GET),
        }
    }

    /// What becomes of a response, whatever else the mode says.
    pub(super) fn judge(
        &self,
        request: &Parts,
        response: &response::Parts,
        delay: Duration,
        origin: String,
    ) -> Verdict {
        let control = response.extensions.get::<CacheControl>();
        let control = control.cloned().unwrap_or_default();
        let is_whole = response.status != StatusCode::PARTIAL_CONTENT
            && response.status != StatusCode::NOT_MODIFIED
            && !response.status.is_informational()
            && !response.headers.contains_key(CONTENT_RANGE);
        let Some(vary) = varies_by(&response.headers) else {
            return Verdict::Pass;
        };
        // A layer in front of the cache adds the cookie only afterwards.
        let is_personal = response.headers.contains_key(SET_COOKIE) || session::was_used(request);
        if !is_whole || control.no_store || is_personal {
            return Verdict::Pass;
        }
        let with = Basics {
            now: date::now(),
            delay,
            control,
            vary,
            origin,
        };
        match self {
            Self::Declared(declared) => declared.judge(request, response, with),
            Self::Standard(standard) => standard.judge(request, response, with),
        }
    }
}

/// How what is there is used for a request.
pub(super) fn how(held: &Held, wanted: &Wanted) -> Use {
    let (terms, asked) = (held.response.terms, &wanted.directives);
    if terms.always_validate {
        return Use::Validate;
    }
    if wanted.reload {
        return Use::Reload;
    }
    let is_young = asked.max_age.is_none_or(|most| held.age <= seconds(most));
    let is_fresh_enough = asked
        .min_fresh
        .is_none_or(|least| held.fresh_for >= seconds(least));
    if held.is_fresh() {
        return if is_young && is_fresh_enough {
            Use::Give
        } else {
            Use::Reload
        };
    }
    let accepted = asked
        .max_stale
        .is_some_and(|most| most.is_none_or(|most| held.stale_by <= seconds(most)));
    if !is_young || asked.min_fresh.is_some() {
        return Use::Load;
    }
    if held.stale_by < terms.while_revalidating {
        Use::GiveAndRefresh
    } else if accepted && !terms.never_stale {
        Use::Give
    } else {
        Use::Load
    }
}

/// Whether what is there stands in for a service that fails.
pub(super) fn stands_in(held: &Held, wanted: &Wanted) -> bool {
    let terms = held.response.terms;
    let accepted = wanted
        .directives
        .stale_if_error
        .is_some_and(|most| held.stale_by <= seconds(most));
    !terms.never_stale && (accepted || held.stale_by < terms.if_error)
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
