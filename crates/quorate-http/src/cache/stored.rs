//! A response as it is kept.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, Method, StatusCode};
use bytes::Bytes;
use quorate::{CacheEntry, Micros};

use super::key::{ResponseKey, compared};

/// What stands under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// A response.
    Response(Box<StoredResponse>),
    /// The last answer was not for others: for a while nobody waits for the next one. It answers nobody.
    Pass,
    /// The service failed, where something stands in for it: told to those who waited, and remembered beside what stands in. It
    /// answers nobody.
    Failed,
}

/// A response, with what decides about its use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoredResponse {
    /// The whole key.
    pub(super) key: String,
    pub(super) method: Method,
    /// The path with its query.
    pub(super) path: String,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) trailers: HeaderMap,
    pub(super) body: Bytes,
    /// The fields of the request that it varies by, with the values they had.
    pub(super) vary: Vec<(HeaderName, Option<Bytes>)>,
    /// What its variants have in their keys: those of one that is gone are not found again.
    pub(super) id: u64,
    pub(super) terms: Terms,
    /// How long it is fresh by its handler, if that said so: for as long as it holds.
    pub(super) handler_ttl: Option<Duration>,
}

/// For how long a response may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct Terms {
    /// How old it was when it was stored.
    pub(super) initial_age: Duration,
    /// How long it is fresh from when it was stored.
    pub(super) fresh: Duration,
    /// For how long it had not been fresh any more when it was stored.
    pub(super) overdue: Duration,
    /// How long after that it is given while a new one is asked for.
    pub(super) while_revalidating: Duration,
    /// How long after that it stands in for an error.
    pub(super) if_error: Duration,
    /// How long after that it is kept to be validated.
    pub(super) to_validate: Duration,
    /// It is used only after the service said that it still holds.
    pub(super) always_validate: bool,
    /// It is not used stale unless the service said that it still holds, whatever a request accepts.
    pub(super) never_stale: bool,
}

impl Terms {
    /// How long it is of use after it was fresh.
    pub(super) fn stale_for(&self) -> Duration {
        self.while_revalidating
            .max(self.if_error)
            .max(self.to_validate)
    }
}

impl StoredResponse {
    /// Whether a request with these fields may be given it.
    pub(super) fn matches(&self, headers: &HeaderMap) -> bool {
        let same = |(name, value): &(HeaderName, Option<Bytes>)| {
            compared(headers, name).as_deref() == value.as_deref()
        };
        self.vary.iter().all(same)
    }

    /// Under which key the answer to a request with these fields is, which this is not.
    pub(super) fn key_of_variant(&self, base: &ResponseKey, headers: &HeaderMap) -> ResponseKey {
        let names: Vec<_> = self.vary.iter().map(|(name, _)| name.clone()).collect();
        base.variant(self.id).with_fields_of(&names, headers)
    }
}

/// The values of what a response varies by.
pub(super) fn varied(
    names: &[HeaderName],
    headers: &HeaderMap,
) -> Vec<(HeaderName, Option<Bytes>)> {
    let value = |name: &HeaderName| (name.clone(), compared(headers, name).map(Bytes::from));
    names.iter().map(value).collect()
}

/// A response that is there, with its times.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) response: StoredResponse,
    /// Its age, with the one it had when it was stored.
    pub(super) age: Duration,
    /// How much longer it is fresh.
    pub(super) fresh_for: Duration,
    /// For how long it has not been.
    pub(super) stale_by: Duration,
    pub(super) stored_at: Micros,
    pub(super) tags: Vec<String>,
}

impl Held {
    /// What an entry shows, if it holds a response.
    pub(super) fn of(entry: CacheEntry<Kept>) -> Option<Self> {
        let Kept::Response(response) = entry.value else {
            return None;
        };
        let terms = response.terms;
        let fresh_for = if terms.always_validate {
            Duration::ZERO
        } else {
            entry.fresh_for
        };
        Some(Self {
            age: terms.initial_age + entry.age,
            fresh_for,
            stale_by: if fresh_for.is_zero() {
                terms.overdue + entry.age.saturating_sub(terms.fresh)
            } else {
                Duration::ZERO
            },
            stored_at: entry.stored_at,
            tags: entry.tags,
            response: *response,
        })
    }

    /// What was stored this very moment.
    pub(super) fn new(response: StoredResponse) -> Self {
        let terms = response.terms;
        Self {
            age: terms.initial_age,
            fresh_for: if terms.always_validate {
                Duration::ZERO
            } else {
                terms.fresh
            },
            stale_by: terms.overdue,
            stored_at: Micros::default(),
            tags: Vec::new(),
            response,
        }
    }

    /// Whether it is this one that was found before.
    pub(super) fn is_same(&self, found: &Self) -> bool {
        let known = |held: &Self| (held.stored_at, held.response.id);
        known(self) == known(found)
    }

    pub(super) const fn is_fresh(&self) -> bool {
        !self.fresh_for.is_zero()
    }

    pub(super) fn meta(&self) -> EntryMeta {
        let response = &self.response;
        let (terms, body) = (response.terms, response.body.len());
        let expires = self.stored_at.plus(terms.fresh);
        EntryMeta {
            key: response.key.clone(),
            method: response.method.clone(),
            path: response.path.clone(),
            status: response.status,
            stored_at: self.stored_at,
            expires,
            stale_until: expires.plus(terms.stale_for()),
            bytes: u64::try_from(body).unwrap_or(u64::MAX),
            tags: self.tags.clone(),
        }
    }
}

/// What is known of a response that is kept, besides itself. Times are by the clock of the home.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EntryMeta {
    /// Its key.
    pub key: String,
    /// The method of its request.
    pub method: Method,
    /// The path of its request, with the query.
    pub path: String,
    /// Its status.
    pub status: StatusCode,
    /// When it was stored.
    pub stored_at: Micros,
    /// Until when it is fresh.
    pub expires: Micros,
    /// When it leaves the cache.
    pub stale_until: Micros,
    /// The size of its body.
    pub bytes: u64,
    /// What it is about.
    pub tags: Vec<String>,
}

/// A response that is kept. Made by [`ResponseCache::get`](super::ResponseCache::get).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CachedResponse {
    /// What is known of it.
    pub meta: EntryMeta,
    /// Its header fields.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl From<Held> for CachedResponse {
    fn from(held: Held) -> Self {
        Self {
            meta: held.meta(),
            headers: held.response.headers,
            body: held.response.body,
        }
    }
}
