//! Asking the service, and what of its answer is kept.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, DATE};
use axum::http::{Extensions, HeaderMap, HeaderValue, Method, Response, StatusCode, response};
use bytes::Bytes;
use parking_lot::Mutex;
use quorate::Loaded;
use tokio::time::Instant;

use super::answer;
use super::codec::HEAD;
use super::conditional::{
    ask_whether_it_holds, freshen, is_about, is_failure, is_refusal, remove_conditions,
    remove_unstorable,
};
use super::control::CacheControl;
use super::date;
use super::exchange::Exchange;
use super::key::{ResponseKey, target};
use super::mode::{Keep, Verdict, stands_in};
use super::nested::Around;
use super::status::{CACHE_STATUS, Handled};
use super::stored::{Held, Kept, StoredResponse, varied};
use super::unshared::since;
use crate::body::{Collected, collect, known_size, whole};

/// The least time that a cache keeps anything: what is not fresh is there to be validated.
const LEAST: Duration = Duration::from_millis(1);

/// What goes on for as long as somebody listens is never waited for.
const EVENTS: &[u8] = b"text/event-stream";

/// What whoever asked the service has of it, whatever became of it in the cache.
pub(super) enum Own<E> {
    /// An answer that is kept.
    Kept(Box<Held>, Extensions),
    /// What is there still holds.
    Holds(Box<Held>),
    /// An answer that is not kept.
    Response(Response<Body>),
    /// It failed, and what is there stands in for it.
    Failed(Option<StatusCode>),
    /// It failed.
    Error(E),
}

/// What others have of an answer.
pub(super) enum ForOthers {
    /// All of it, and it is kept.
    Kept(Loaded<Kept>),
    /// Nothing. It `replaces` what is kept, if that is of no use to anybody.
    Nothing { replaces: bool, tags: Vec<String> },
    /// What is there stands in for it.
    Held,
}

impl ForOthers {
    const fn nothing(replaces: bool) -> Self {
        let tags = Vec::new();
        Self::Nothing { replaces, tags }
    }
}

/// The content of a response.
enum Read {
    Whole(Bytes, Option<HeaderMap>),
    /// It is larger than what is kept, or may be: it is sent as it comes.
    TooLarge(Body),
    /// It broke off.
    Broken(Body),
}

impl<E: Send + 'static> Exchange<E> {
    /// Asks the service, and says what of its answer is for others. The answer itself is left in `own`.
    pub(super) async fn ask_for_all(
        self,
        key: ResponseKey,
        held: Option<Box<Held>>,
        own: Arc<Mutex<Option<Own<E>>>>,
    ) -> Loaded<Kept> {
        self.request.is_asking.store(true, Ordering::Relaxed);
        let held = held.as_deref();
        let (answer, others) = self.ask_and_judge(&key, held).await;
        *own.lock() = Some(answer);
        match others {
            ForOthers::Kept(loaded) => loaded,
            ForOthers::Nothing { replaces, tags } => self.unkept(&key, held, replaces, tags).await,
            ForOthers::Held => {
                let time = self.cache.pass_for;
                self.remember_unshared(&key, since(held), Kept::Failed, time)
                    .await;
                Loaded::new(Kept::Failed).no_store()
            }
        }
    }

    pub(super) async fn ask_and_judge(
        &self,
        key: &ResponseKey,
        held: Option<&Held>,
    ) -> (Own<E>, ForOthers) {
        let began = Instant::now();
        let response = match self.ask(held).await {
            Ok(response) => response,
            Err(error) => return self.failed(held, Own::Error(error), None),
        };
        let (parts, body) = response.into_parts();
        if let (StatusCode::NOT_MODIFIED, Some(held)) = (parts.status, held) {
            return self.still_holds(key, held, &parts, began.elapsed()).await;
        }
        let status = parts.status;
        let verdict = self
            .cache
            .judge(&self.request.parts, &parts, began.elapsed());
        let verdict = match verdict {
            Verdict::Keep(keep) => return self.keep(key, held, *keep, parts, body).await,
            not_kept => not_kept,
        };
        let tags = tags_of(&parts.extensions);
        let own = Own::Response(Response::from_parts(parts, body));
        if is_failure(status) {
            return self.failed(held, own, Some(status));
        }
        // What others still may be given stays.
        let is_for_all = verdict == Verdict::Pass && !is_refusal(status);
        let replaces = is_for_all && !held.is_some_and(|held| self.is_of_use(held));
        (own, ForOthers::Nothing { replaces, tags })
    }

    /// What comes of a service that failed: what is there stands in for it, if it may.
    fn failed(
        &self,
        held: Option<&Held>,
        own: Own<E>,
        status: Option<StatusCode>,
    ) -> (Own<E>, ForOthers) {
        if held.is_some_and(|held| self.stands_in(held)) {
            return (Own::Failed(status), ForOthers::Held);
        }
        (own, ForOthers::nothing(false))
    }

    /// A response that is kept, if its content is.
    async fn keep(
        &self,
        key: &ResponseKey,
        held: Option<&Held>,
        keep: Keep,
        mut parts: response::Parts,
        body: Body,
    ) -> (Own<E>, ForOthers) {
        let (bytes, trailers) = match self.read(&parts, body).await {
            Read::Whole(bytes, trailers) => (bytes, trailers),
            Read::Broken(body) => {
                let own = Own::Response(Response::from_parts(parts, body));
                return (own, ForOthers::nothing(false));
            }
            Read::TooLarge(body) => {
                let own = Own::Response(Response::from_parts(parts, body));
                let (replaces, tags) = (!held.is_some_and(|held| self.is_of_use(held)), keep.tags);
                return (own, ForOthers::Nothing { replaces, tags });
            }
        };
        remove_unstorable(&mut parts.headers);
        let date = || date::field(date::now());
        parts.headers.entry(DATE).or_insert_with(date);
        let stored = StoredResponse {
            key: key.as_str().to_owned(),
            method: self.method(),
            path: self.path(),
            status: parts.status,
            headers: parts.headers,
            trailers: trailers.unwrap_or_default(),
            body: bytes,
            vary: varied(&keep.vary, &self.request.parts.headers),
            id: self.id(key, held, &keep).await,
            terms: keep.terms,
            handler_ttl: keep.handler_ttl,
        };
        let kept = Held::new(stored.clone());
        let own = Own::Kept(Box::new(kept), parts.extensions);
        (own, ForOthers::Kept(loaded(stored, keep.tags)))
    }

    /// Asks the service for a whole response, or whether what is there holds.
    pub(super) async fn ask(&self, held: Option<&Held>) -> Result<Response<Body>, E> {
        let mut request = self.request.again();
        *request.method_mut() = self.method();
        // To another method a condition means 412, not 304.
        match held.filter(|_| request.method() == Method::GET) {
            Some(held) => ask_whether_it_holds(request.headers_mut(), &held.response.headers),
            None => remove_conditions(request.headers_mut()),
        }
        Around::enter(&mut request, &self.cache.entries, &self.request.entry);
        (self.run)(request).await
    }

    /// What is there, after the service said that it holds.
    async fn still_holds(
        &self,
        key: &ResponseKey,
        held: &Held,
        not_modified: &response::Parts,
        delay: Duration,
    ) -> (Own<E>, ForOthers) {
        if !is_about(&not_modified.headers, &held.response.headers) {
            // It is about something else: as if nothing were there.
            return Box::pin(self.ask_and_judge(key, None)).await;
        }
        let (stored, verdict) = self.freshened(held, not_modified, delay);
        let keep = match verdict {
            Verdict::Keep(keep) => keep,
            not_kept => {
                let held = Held::new(stored);
                let mut response = answer::from(&held, &self.request.parts, Handled::default());
                // What became of it is said by who is given it.
                response.headers_mut().remove(CACHE_STATUS);
                let replaces = not_kept == Verdict::Pass;
                return (Own::Response(response), ForOthers::nothing(replaces));
            }
        };
        let stored = StoredResponse {
            id: self.id(key, Some(held), &keep).await,
            ..stored
        };
        let kept = Held::new(stored.clone());
        let others = ForOthers::Kept(loaded(stored, keep.tags));
        (Own::Holds(Box::new(kept)), others)
    }

    /// What is there, with what the service now says of it; and how it is kept, if it is.
    pub(super) fn freshened(
        &self,
        held: &Held,
        not_modified: &response::Parts,
        delay: Duration,
    ) -> (StoredResponse, Verdict) {
        let mut stored = held.response.clone();
        freshen(&mut stored.headers, &not_modified.headers);
        // A date that was not said anew is that of an older answer.
        if !not_modified.headers.contains_key(DATE) {
            stored.headers.insert(DATE, date::field(date::now()));
        }
        let (mut parts, ()) = Response::new(()).into_parts();
        parts.status = stored.status;
        parts.headers = stored.headers.clone();
        parts.extensions = not_modified.extensions.clone();
        if let (None, Some(ttl)) = (parts.extensions.get::<CacheControl>(), stored.handler_ttl) {
            // What its handler said of it still holds, too.
            parts.extensions.insert(CacheControl::new().ttl(ttl));
        }
        let mut verdict = self.cache.judge(&self.request.parts, &parts, delay);
        if let Verdict::Keep(keep) = &mut verdict {
            stored.terms = keep.terms;
            stored.handler_ttl = keep.handler_ttl;
            stored.vary = varied(&keep.vary, &self.request.parts.headers);
            // What it was about when it was made, it still is.
            keep.tags.extend(held.tags.iter().cloned());
            keep.tags.sort_unstable();
            keep.tags.dedup();
            if !CacheControl::new().tags(keep.tags.clone()).has_good_tags() {
                verdict = Verdict::Pass;
            }
        }
        (stored, verdict)
    }

    /// Reads the content of a response, if it may be kept.
    async fn read(&self, parts: &response::Parts, body: Body) -> Read {
        let most = self.cache.max_body;
        let size = known_size(&parts.headers, &body);
        let is_endless = parts.headers.get(CONTENT_TYPE).is_some_and(|kind| {
            let kind = kind.as_bytes();
            kind.len() >= EVENTS.len() && kind[..EVENTS.len()].eq_ignore_ascii_case(EVENTS)
        });
        let fits = !is_endless
            && match size {
                Some(size) => usize::try_from(size).is_ok_and(|size| size <= most),
                None => self.cache.buffers_streams,
            };
        let fields = parts.headers.iter().chain(&self.request.parts.headers);
        let head = fields.map(|(name, value)| name.as_str().len() + value.len() + 16);
        if !fits || head.sum::<usize>() > HEAD / 2 {
            return Read::TooLarge(body);
        }
        match collect(body, most).await {
            Collected::Whole { bytes, trailers } => {
                // Less than was said: it broke off unnoticed.
                let length = u64::try_from(bytes.len()).ok();
                if size.is_some_and(|size| length != Some(size))
                    || is_another(&parts.headers, length)
                {
                    return Read::Broken(whole(bytes, trailers));
                }
                Read::Whole(bytes, trailers)
            }
            Collected::Part(body) if size.is_some() => Read::Broken(body),
            Collected::Part(body) => Read::TooLarge(body),
        }
    }

    /// The id of what is kept: that of what was there, so that its variants are found, unless it was removed meanwhile.
    async fn id(&self, key: &ResponseKey, held: Option<&Held>, keep: &Keep) -> u64 {
        let new = rand::random();
        let Some(held) = held.filter(|_| !keep.vary.is_empty()) else {
            return new;
        };
        // This load is under way: what is removed from now on is not overwritten by it.
        match self.cache.entries.entry(&key.entry()).await {
            Ok(entry) => match entry.map(|entry| entry.value) {
                Some(Kept::Response(found)) if found.id == held.response.id => found.id,
                _ => new,
            },
            Err(error) => {
                self.cache.report(&error);
                new
            }
        }
    }

    /// The method that is asked with.
    fn method(&self) -> Method {
        match self.request.parts.method {
            Method::HEAD => Method::GET,
            ref method => method.clone(),
        }
    }

    fn path(&self) -> String {
        let path = target(&self.request.parts).path_and_query();
        path.map_or_else(String::new, ToString::to_string)
    }

    /// Whether what is there may still be given to somebody.
    fn is_of_use(&self, held: &Held) -> bool {
        let terms = held.response.terms;
        held.is_fresh() || held.stale_by < terms.while_revalidating.max(terms.if_error)
    }

    /// Whether what is there stands in for a service that fails.
    pub(super) fn stands_in(&self, held: &Held) -> bool {
        stands_in(held, &self.request.wanted)
    }
}

/// Whether a response says to be of another length than it is, or says two.
fn is_another(headers: &HeaderMap, length: Option<u64>) -> bool {
    let said = headers.get_all(CONTENT_LENGTH).iter();
    let number = |value: &HeaderValue| value.to_str().ok()?.parse::<u64>().ok();
    said.into_iter().any(|value| number(value) != length)
}

/// A response on its way into the cache.
pub(super) fn loaded(stored: StoredResponse, tags: Vec<String>) -> Loaded<Kept> {
    let terms = stored.terms;
    Loaded::new(Kept::Response(Box::new(stored)))
        .ttl(terms.fresh.max(LEAST))
        .stale_for(terms.stale_for())
        .tags(tags)
}

/// What an answer is about, by its handler, as far as a cache takes it.
fn tags_of(said: &Extensions) -> Vec<String> {
    let control = said.get::<CacheControl>();
    let control = control.filter(|control| control.has_good_tags());
    control.map_or_else(Vec::new, |control| control.tags.clone())
}
