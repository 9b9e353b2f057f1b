//! A site behind a cache, and what it was asked.

use std::future::Future;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Request, Response, StatusCode};
use bytes::Bytes;
use http_body_util::BodyExt;
use parking_lot::Mutex;
use quorate::Fleet;
use quorate_http::cache::{ResponseCache, ResponseCacheBuilder};
use tower::ServiceExt;

/// A site behind a cache.
#[derive(Clone)]
pub(super) struct Site {
    pub(super) fleet: Fleet,
    pub(super) cache: ResponseCache,
    router: Router,
    seen: Arc<Mutex<Vec<Parts>>>,
}

/// What a client is given.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Site {
    /// A site that answers so, by the request and how often it was asked before.
    pub(super) fn new<F>(
        configure: impl FnOnce(ResponseCacheBuilder) -> ResponseCacheBuilder,
        respond: impl Fn(Parts, usize) -> F + Clone + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        Self::on(Fleet::embedded(), configure, respond)
    }

    /// Of this instance.
    pub(super) fn on<F>(
        fleet: Fleet,
        configure: impl FnOnce(ResponseCacheBuilder) -> ResponseCacheBuilder,
        respond: impl Fn(Parts, usize) -> F + Clone + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let seen = Arc::<Mutex<Vec<Parts>>>::default();
        let known = seen.clone();
        let answer = move |request: Request<Body>| {
            let (parts, _) = request.into_parts();
            let count = {
                let mut known = known.lock();
                known.push(parts.clone());
                known.len() - 1
            };
            respond(parts, count)
        };
        Self::around(fleet, configure, seen, answer)
    }

    /// A site that answers so, by the request and its content.
    pub(super) fn with_content<F>(
        configure: impl FnOnce(ResponseCacheBuilder) -> ResponseCacheBuilder,
        respond: impl Fn(Parts, Bytes) -> F + Clone + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let answer = move |request: Request<Body>| {
            let respond = respond.clone();
            async move {
                let (parts, body) = request.into_parts();
                respond(parts, body.collect().await.unwrap().to_bytes()).await
            }
        };
        Self::around(Fleet::embedded(), configure, Arc::default(), answer)
    }

    fn around<F>(
        fleet: Fleet,
        configure: impl FnOnce(ResponseCacheBuilder) -> ResponseCacheBuilder,
        seen: Arc<Mutex<Vec<Parts>>>,
        answer: impl Fn(Request<Body>) -> F + Clone + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let cache = configure(ResponseCache::builder(fleet.clone()))
            .build()
            .unwrap();
        let router = Router::new().fallback(answer).layer(cache.layer());
        Self {
            fleet,
            cache,
            router,
            seen,
        }
    }

    /// How often the service was asked.
    pub(super) fn runs(&self) -> usize {
        self.seen.lock().len()
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.send(&format!("GET {path}")).await
    }

    /// Sends a request: a method, a path, and fields behind `|`.
    pub(super) async fn send(&self, request: &str) -> Answer {
        let response = self.respond(request).await;
        let (parts, body) = response.into_parts();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: body.collect().await.unwrap().to_bytes(),
        }
    }

    pub(super) async fn respond(&self, request: &str) -> Response<Body> {
        let mut lines = request.split('|').map(str::trim);
        let (method, path) = lines.next().unwrap().split_once(' ').unwrap();
        let mut request = Request::builder().method(method).uri(path);
        for line in lines {
            let (name, value) = line.split_once(':').unwrap();
            request = request.header(name.trim(), value.trim());
        }
        let request = request.body(Body::empty()).unwrap();
        self.send_request(request).await
    }

    pub(super) async fn send_request(&self, request: Request<Body>) -> Response<Body> {
        self.router.clone().oneshot(request).await.unwrap()
    }
}

impl Answer {
    /// What `Cache-Status` says.
    pub(super) fn cache(&self) -> &str {
        self.header("cache-status").unwrap_or_default()
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// A response: a status, and fields behind `|`.
pub(super) fn response(text: &str, body: impl Into<Body>) -> Response<Body> {
    let mut lines = text.split('|').map(str::trim);
    let status: u16 = lines.next().unwrap().parse().unwrap();
    let mut response = Response::builder().status(status);
    for line in lines {
        let (name, value) = line.split_once(':').unwrap();
        response = response.header(name.trim(), value.trim());
    }
    response.body(body.into()).unwrap()
}
