//! A cache of responses, as a service holds it.

use std::collections::HashSet;
use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::http::request::Parts;
use axum::http::{HeaderMap, response};
use parking_lot::Mutex;
use quorate::{Cache, Error, ErrorSource, Fleet, Result};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::builder::ResponseCacheBuilder;
use super::key::{ResponseKey, host};
use super::layer::CacheLayer;
use super::meters::Meters;
use super::mode::{Mode, Verdict};
use super::stored::{Held, Kept};

/// How deep what a response varies by may be nested: a variant that varies by more than its first one.
pub(super) const DEEPEST: usize = 4;

/// A cache of responses that all instances of a service share.
///
/// # Clone
/// Cheap; clones are the same cache.
///
/// # Concurrent calls
/// Of requests for the same response that nobody has, one is answered by the service, in the whole fleet; the others
/// wait for that answer, for so long [at the most](ResponseCacheBuilder::wait_for). One that is not to be shared is given to
/// nobody else: whoever waited then asks the service for itself, all at the same time, and so does [for a
/// while](ResponseCacheBuilder::pass_for) whoever comes next; the first answer that may be kept is, and ends that. Where the
/// service fails and something stale stands in for it, one at a time asks it, and the others are given that.
///
/// # Cancel safety
/// When a client goes away, a request that asks the service for all who want the same goes on without it, so that others and
/// the cache have what comes of it; how many do so, and for how long, is [bounded](ResponseCacheBuilder::unattended). One
/// that waits for somebody else's answer ends.
///
/// # Example
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> quorate::Result<()> {
/// use axum::Router;
/// use axum::extract::Path;
/// use axum::routing::get;
/// use quorate::Fleet;
/// use quorate_http::cache::{CacheControl, Declared, ResponseCache};
/// use std::time::Duration;
///
/// async fn user(Path(id): Path<u64>) -> (CacheControl, String) {
///     (CacheControl::new().tags([format!("user:{id}")]), format!("user {id}"))
/// }
///
/// let fleet = Fleet::embedded();
/// let pages = ResponseCache::builder(fleet.clone())
///     .declared(Declared::new(Duration::from_secs(60)))
///     .build()?;
/// let app: Router = Router::new().route("/users/{id}", get(user)).layer(pages.layer());
/// # let _ = app;
/// fleet.invalidate_tags(["user:7"]).await?; // the next request for it is answered anew
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct ResponseCache {
    pub(super) shared: Arc<Shared>,
}

/// What the clones of a cache share.
pub(super) struct Shared {
    pub(super) fleet: Fleet,
    pub(super) entries: Cache<str, Kept>,
    pub(super) mode: Mode,
    pub(super) max_body: usize,
    pub(super) buffers_streams: bool,
    pub(super) looks_at_host: bool,
    pub(super) pass_for: Duration,
    pub(super) wait_for: Duration,
    /// What goes on though nobody waits for it.
    pub(super) unattended: Arc<Semaphore>,
    pub(super) unattended_for: Duration,
    /// Entries for which this process makes a new one in the background. A short lock.
    pub(super) refreshing: Mutex<HashSet<String>>,
    pub(super) tasks: TaskTracker,
    pub(super) meters: Meters,
}

/// What is found for a request.
pub(super) enum Found {
    /// Nothing, under this key; whether there is something for other requests to the same URI.
    Nothing(ResponseKey, bool),
    /// A response that it may be given.
    Here(ResponseKey, Box<Held>),
    /// Under this key, that the last answer was not for others.
    Pass(ResponseKey),
    /// What this request may not touch.
    Another,
}

impl ResponseCache {
    /// How a cache of responses is made. Unless it says otherwise, responses say how long they are kept
    /// ([`Standard`](super::Standard)).
    pub fn builder(fleet: Fleet) -> ResponseCacheBuilder {
        ResponseCacheBuilder::new(fleet)
    }

    /// The layer: around it all is answered from the cache where that is possible.
    #[must_use]
    pub fn layer(&self) -> CacheLayer {
        CacheLayer::new(self.shared.clone())
    }

    /// Under which key the answer to a request without content is, if it does not vary by what only the response names.
    #[must_use]
    pub fn cache_key(&self, request: &Parts) -> ResponseKey {
        self.shared.key_of(request, &[])
    }
}

impl Shared {
    pub(super) fn key_of(&self, parts: &Parts, content: &[u8]) -> ResponseKey {
        self.hosted(self.mode.key_of(parts, content))
    }

    /// A key as this cache has it.
    pub(super) fn hosted(&self, key: ResponseKey) -> ResponseKey {
        if self.looks_at_host {
            key
        } else {
            key.without_host()
        }
    }

    /// Whom a request asks, as far as the key tells.
    pub(super) fn origin_of(&self, request: &Parts) -> String {
        if self.looks_at_host {
            host(request).to_ascii_lowercase()
        } else {
            String::new()
        }
    }

    /// What becomes of a response.
    pub(super) fn judge(
        &self,
        request: &Parts,
        response: &response::Parts,
        delay: Duration,
    ) -> Verdict {
        let origin = self.origin_of(request);
        self.mode.judge(request, response, delay, origin)
    }

    /// Tells whoever looks after the service of an error that no request fails by.
    pub(super) fn report(&self, error: &Error) {
        self.fleet.report(ErrorSource::Cache, error);
    }

    /// What is there for a request with these fields.
    pub(super) async fn find(&self, base: &ResponseKey, headers: &HeaderMap) -> Result<Found> {
        let mut key = base.clone();
        for depth in 0..DEEPEST {
            let Some(entry) = self.entries.entry(&key.entry()).await? else {
                return Ok(Found::Nothing(key, depth > 0));
            };
            if entry.value == Kept::Pass && entry.is_fresh() {
                return Ok(Found::Pass(key));
            }
            let Some(held) = Held::of(entry) else {
                return Ok(Found::Nothing(key, depth > 0));
            };
            if held.response.key != key.as_str() {
                return Ok(Found::Another);
            }
            if held.response.matches(headers) {
                return Ok(Found::Here(key, Box::new(held)));
            }
            key = held.response.key_of_variant(&key, headers);
        }
        Ok(Found::Another)
    }

    /// What comes of something, which goes on for a while if it is abandoned and then is for others, too. `None`: it does not.
    pub(super) async fn even_if_abandoned<T>(
        &self,
        abandoned: CancellationToken,
        is_for_others: impl Fn() -> bool,
        future: impl Future<Output = T>,
    ) -> Option<T> {
        let mut future = pin!(future);
        tokio::select! {
            done = &mut future => return Some(done),
            () = abandoned.cancelled() => {}
        }
        if !is_for_others() {
            return None;
        }
        let _permit = self.unattended.try_acquire().ok()?;
        tokio::time::timeout(self.unattended_for, future).await.ok()
    }
}

impl fmt::Debug for ResponseCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseCache")
            .field("entries", &self.shared.entries)
            .field("mode", &self.shared.mode)
            .finish_non_exhaustive()
    }
}
