//! One request on its way through the cache.

use std::future::pending;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::{Body, HttpBody};
use axum::http::request::Parts;
use axum::http::{Method, Request, Response, StatusCode};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::answer;
use super::handle::{Found, Shared};
use super::key::ResponseKey;
use super::load::{Asking, Turn};
use super::meters::Answered;
use super::mode::{Plan, Use, Wanted, how};
use super::nested::Around;
use super::status::{Forward, Handled};
use super::stored::{Held, Kept};
use super::unsafe_methods;
use super::unshared::since;
use crate::body::{Collected, collect, whole};

/// The service within.
pub(super) type Run<E> =
    Arc<dyn Fn(Request<Body>) -> BoxFuture<'static, Result<Response<Body>, E>> + Send + Sync>;

/// A request that is looked for in the cache. It outlives what becomes of it: whoever waited in vain for somebody
/// else's answer still asks the service.
pub(super) struct Exchange<E> {
    pub(super) cache: Arc<Shared>,
    pub(super) run: Run<E>,
    pub(super) request: Arc<Asked>,
}

/// A request, with all of its content.
pub(super) struct Asked {
    pub(super) parts: Parts,
    pub(super) content: Bytes,
    pub(super) wanted: Wanted,
    /// Under which entry its answer, or the first of its variants, is.
    pub(super) entry: String,
    /// Whether the service was asked for all who want the same. Only the task of the request reads and writes it.
    pub(super) is_asking: AtomicBool,
}

/// Answers a request.
pub(super) async fn handle<E: Send + 'static>(
    cache: Arc<Shared>,
    run: Run<E>,
    request: Request<Body>,
) -> Result<Response<Body>, E> {
    let (parts, body) = request.into_parts();
    let wanted = match cache.mode.plan(&parts) {
        Plan::Look(wanted) => wanted,
        Plan::Pass(why) => return past(&cache, &run, parts, body, why).await,
        Plan::Unsafe => return unsafe_methods::handle(&cache, &run, parts, body).await,
    };
    let content = match content(&cache, &parts, body).await {
        Ok(content) => content,
        Err(body) => return past(&cache, &run, parts, body, Forward::Bypass).await,
    };
    let key = cache.key_of(&parts, &content);
    let entry = key.entry();
    if Around::has(&parts.extensions, &cache.entries, &entry) {
        return past(&cache, &run, parts, content.into(), Forward::Bypass).await;
    }
    let request = Arc::new(Asked {
        parts,
        content,
        wanted,
        entry,
        is_asking: AtomicBool::new(false),
    });
    let exchange = Exchange {
        cache,
        run,
        request,
    };
    exchange.answer(&key).await
}

/// The content of a request; `Err`: it is not to be a part of a key.
async fn content(cache: &Shared, parts: &Parts, body: Body) -> Result<Bytes, Body> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    if matches!(parts.method, Method::GET | Method::HEAD) {
        return Err(body);
    }
    match collect(body, cache.max_body).await {
        Collected::Whole {
            bytes,
            trailers: None,
        } => Ok(bytes),
        Collected::Whole { bytes, trailers } => Err(whole(bytes, trailers)),
        Collected::Part(body) => Err(body),
    }
}

/// Past the cache.
pub(super) async fn past<E>(
    cache: &Shared,
    run: &Run<E>,
    parts: Parts,
    body: Body,
    why: Forward,
) -> Result<Response<Body>, E> {
    cache.meters.count(Answered::Bypass);
    let mut response = run(Request::from_parts(parts, body)).await?;
    Handled::forwarded(why).write(response.headers_mut());
    Ok(response)
}

impl<E: Send + 'static> Exchange<E> {
    async fn answer(self, base: &ResponseKey) -> Result<Response<Body>, E> {
        let found = self.cache.find(base, &self.request.parts.headers).await;
        let miss = Handled::forwarded(Forward::Miss);
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                self.cache.report(&error);
                return self.alone(miss.because("error"), Answered::Failed).await;
            }
        };
        match found {
            Found::Pass(key) if self.asks_service() => {
                Box::pin(self.unshared(&key, None, miss.because("pass"))).await
            }
            Found::Pass(_) | Found::Another => {
                self.alone(miss.because("pass"), Answered::Pass).await
            }
            Found::Nothing(key, is_variant) => {
                let why = if is_variant {
                    Forward::VaryMiss
                } else {
                    Forward::UriMiss
                };
                self.load(key, None, why).await
            }
            Found::Here(key, held) => self.with(key, held).await,
        }
    }

    /// With what is there.
    async fn with(self, key: ResponseKey, held: Box<Held>) -> Result<Response<Body>, E> {
        match how(&held, &self.request.wanted) {
            Use::Give => Ok(self.give(&held)),
            Use::GiveAndRefresh => {
                let response = self.give(&held);
                self.refresh(key, held);
                Ok(response)
            }
            Use::Load => self.load(key, Some(held), Forward::Stale).await,
            Use::Validate => self.validate(&key, *held).await,
            // What is there stays for others until there is a new one.
            Use::Reload => self.load(key, Some(held), Forward::Request).await,
        }
    }

    /// Gives what is there.
    fn give(&self, held: &Held) -> Response<Body> {
        let handled = if held.is_fresh() {
            self.cache.meters.count(Answered::Hit);
            Handled::hit(Ok(held.fresh_for))
        } else {
            self.cache.meters.count(Answered::Stale);
            Handled::hit(Err(held.stale_by))
        };
        answer::from(held, &self.request.parts, handled)
    }

    /// Whether the request lets the cache ask the service, through a load that others wait for.
    fn asks_service(&self) -> bool {
        !self.request.wanted.directives.only_if_cached && self.request.parts.method != Method::HEAD
    }

    /// Asks the service, once for all who want the same.
    async fn load(
        self,
        key: ResponseKey,
        held: Option<Box<Held>>,
        why: Forward,
    ) -> Result<Response<Body>, E> {
        if !self.asks_service() {
            // What would be loaded is the answer to a GET.
            let handled = Handled::forwarded(why);
            return self.for_itself(&key, held.as_deref(), handled).await;
        }
        let abandoned = CancellationToken::new();
        let _attending = abandoned.clone().drop_guard();
        let (cache, panicked) = (self.cache.clone(), self.clone());
        let asked = self.request.clone();
        let (loading, since) = (key.clone(), since(held.as_deref()));
        let load = async move {
            let cache = self.cache.clone();
            let loaded = Box::pin(self.loaded(key, held, why));
            let is_for_others = || asked.is_asking.load(Ordering::Relaxed);
            cache
                .even_if_abandoned(abandoned, is_for_others, loaded)
                .await
        };
        match cache.tasks.spawn(load.in_current_span()).await {
            Ok(Some(answer)) => answer,
            Err(error) if error.is_panic() => {
                let time = cache.pass_for;
                panicked
                    .remember_unshared(&loading, since, Kept::Pass, time)
                    .await;
                resume_unwind(error.into_panic())
            }
            // The runtime ends, and this request with it.
            Ok(None) | Err(_) => pending().await,
        }
    }

    /// Makes a new one in the background, unless somebody does already.
    fn refresh(self, key: ResponseKey, held: Box<Held>) {
        let entry = key.entry();
        let Ok(permit) = self.cache.unattended.clone().try_acquire_owned() else {
            return;
        };
        if !self.cache.refreshing.lock().insert(entry.clone()) {
            return;
        }
        let cache = self.cache.clone();
        let refreshing = Refreshing {
            cache: cache.clone(),
            entry,
        };
        let limit = cache.unattended_for;
        let task = async move {
            let (_permit, _refreshing) = (permit, refreshing);
            let wait = self.cache.wait_for;
            // While somebody else asks, this one waits, so that the next requests need not look whether somebody does. It asks for
            // nobody but the cache: where it has no turn, there is nothing to ask for.
            let turn = Box::pin(self.turn(&key, Some(&held), false, wait));
            if let Ok(Turn::Own(own)) = tokio::time::timeout(limit, turn).await {
                let asking = Asking::shared(Handled::forwarded(Forward::Stale));
                // Nobody is given it: the next request finds what is there.
                drop(self.own(own, Some(&held), asking));
            }
        };
        drop(cache.tasks.spawn(task.in_current_span()));
    }

    /// Asks the service for this request only, and keeps nothing.
    pub(super) async fn alone(
        &self,
        handled: Handled,
        answered: Answered,
    ) -> Result<Response<Body>, E> {
        if self.request.wanted.directives.only_if_cached {
            return Ok(answer::without_body(StatusCode::GATEWAY_TIMEOUT, &handled));
        }
        self.cache.meters.count(answered);
        let mut response = (self.run)(self.request.again()).await?;
        handled.write(response.headers_mut());
        Ok(response)
    }
}

impl Asked {
    /// The request as it came.
    pub(super) fn again(&self) -> Request<Body> {
        let content = Body::from(self.content.clone());
        Request::from_parts(self.parts.clone(), content)
    }
}

impl<E> Clone for Exchange<E> {
    fn clone(&self) -> Self {
        Self {
            cache: self.cache.clone(),
            run: self.run.clone(),
            request: self.request.clone(),
        }
    }
}

/// An entry that this process refreshes.
struct Refreshing {
    cache: Arc<Shared>,
    entry: String,
}

impl Drop for Refreshing {
    fn drop(&mut self) {
        self.cache.refreshing.lock().remove(&self.entry);
    }
}
