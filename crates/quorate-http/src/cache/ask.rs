//! Asking the service, and what of its answer is kept.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, DATE};
use axum::http::{Extensions, HeaderMap, HeaderValue, Method, Response, StatusCode, response};
use bytes::Bytes;
use parking_lot::Mutex;
use quorate::Loaded;
use tokio::time::Instant;

use super::answer;
use super::body::{Collected, collect, known_size, whole};
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
use super::status::{CACHE_STATUS, Handled};
use super::stored::{Held, Kept, StoredResponse, varied};

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
        let (answer, kept) = self.ask_and_judge(&key, held.as_deref()).await;
        *own.lock() = Some(answer);
        kept
    }

    async fn ask_and_judge(
        &self,
        key: &ResponseKey,
        held: Option<&Held>,
    ) -> (Own<E>, Loaded<Kept>) {
        let began = Instant::now();
        let response = match self.ask(held).await {
            Ok(response) => response,
            Err(_) if held.is_some_and(|held| self.stands_in(held)) => {
                return (Own::Failed(None), failed());
            }
            Err(error) => return (Own::Error(error), failed()),
        };
        let (parts, body) = response.into_parts();
        if let (StatusCode::NOT_MODIFIED, Some(held)) = (parts.status, held) {
            return self.still_holds(key, held, &parts, began.elapsed()).await;
        }
        let is_failure = is_failure(parts.status);
        if is_failure && held.is_some_and(|held| self.stands_in(held)) {
            return (Own::Failed(Some(parts.status)), failed());
        }
        let verdict = self
            .cache
            .mode
            .judge(&self.request.parts, &parts, began.elapsed());
        match verdict {
            Verdict::Keep(keep) => self.keep(key, held, *keep, parts, body).await,
            _ if is_failure => (Own::Response(Response::from_parts(parts, body)), failed()),
            // What others still may be given stays.
            Verdict::Pass
                if !is_refusal(parts.status) && !held.is_some_and(|held| self.is_of_use(held)) =>
            {
                self.not_kept(Response::from_parts(parts, body))
            }
            Verdict::Pass | Verdict::Own => {
                (Own::Response(Response::from_parts(parts, body)), own())
            }
        }
    }

    /// A response that is kept, if its content is.
    async fn keep(
        &self,
        key: &ResponseKey,
        held: Option<&Held>,
        keep: Keep,
        mut parts: response::Parts,
        body: Body,
    ) -> (Own<E>, Loaded<Kept>) {
        let (bytes, trailers) = match self.read(&parts, body).await {
            Read::Whole(bytes, trailers) => (bytes, trailers),
            Read::Broken(body) => {
                return (Own::Response(Response::from_parts(parts, body)), failed());
            }
            Read::TooLarge(body) => return self.not_kept(Response::from_parts(parts, body)),
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
        };
        let kept = Held::new(stored.clone());
        let own = Own::Kept(Box::new(kept), parts.extensions);
        (own, loaded(stored, keep.tags))
    }

    /// What nobody else is given, and not for a while: so that requests for it do not wait for each other.
    fn not_kept(&self, response: Response<Body>) -> (Own<E>, Loaded<Kept>) {
        let pass = Loaded::new(Kept::Pass)
            .ttl(self.cache.pass_for)
            .stale_for(Duration::ZERO);
        (Own::Response(response), pass)
    }

    /// Asks the service for a whole response, or whether what is there holds.
    pub(super) async fn ask(&self, held: Option<&Held>) -> Result<Response<Body>, E> {
        let mut request = self.request.again();
        *request.method_mut() = self.method();
        match held {
            Some(held) => ask_whether_it_holds(request.headers_mut(), &held.response.headers),
            None => remove_conditions(request.headers_mut()),
        }
        (self.run)(request).await
    }

    /// What is there, after the service said that it holds.
    async fn still_holds(
        &self,
        key: &ResponseKey,
        held: &Held,
        not_modified: &response::Parts,
        delay: Duration,
    ) -> (Own<E>, Loaded<Kept>) {
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
                return match not_kept {
                    Verdict::Own => (Own::Response(response), own()),
                    _ => self.not_kept(response),
                };
            }
        };
        let stored = StoredResponse {
            id: self.id(key, Some(held), &keep).await,
            ..stored
        };
        let kept = Held::new(stored.clone());
        (Own::Holds(Box::new(kept)), loaded(stored, keep.tags))
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
        let mut verdict = self.cache.mode.judge(&self.request.parts, &parts, delay);
        if let Verdict::Keep(keep) = &mut verdict {
            stored.terms = keep.terms;
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
fn loaded(stored: StoredResponse, tags: Vec<String>) -> Loaded<Kept> {
    let terms = stored.terms;
    Loaded::new(Kept::Response(Box::new(stored)))
        .ttl(terms.fresh.max(LEAST))
        .stale_for(terms.stale_for())
        .tags(tags)
}

/// What those are told who waited for a service that failed.
fn failed() -> Loaded<Kept> {
    Loaded::new(Kept::Failed).no_store()
}

/// What those are told who waited for an answer that is only of its own request. The next one may be answered with
/// something that is kept.
fn own() -> Loaded<Kept> {
    Loaded::new(Kept::Pass).no_store()
}
