//! The tower layer and its service.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::BoxError;
use axum::body::{Body, HttpBody};
use axum::http::{Request, Response};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tower_layer::Layer;
use tower_service::Service;

use super::exchange::{self, Run};
use super::handle::Shared;

/// Answers requests from a cache. Made by [`ResponseCache::layer`](super::ResponseCache::layer).
#[derive(Clone)]
pub struct CacheLayer {
    shared: Arc<Shared>,
}

/// A service whose answers are kept. Made by [`CacheLayer`].
///
/// It is always ready; the service within is waited for only by requests that reach it.
#[derive(Clone)]
pub struct CacheService<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl CacheLayer {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

impl<S> Layer<S> for CacheLayer {
    type Service = CacheService<S>;

    fn layer(&self, inner: S) -> CacheService<S> {
        let shared = self.shared.clone();
        CacheService { inner, shared }
    }
}

impl<S, Sent, Answered> Service<Request<Sent>> for CacheService<S>
where
    S: Service<Request<Body>, Response = Response<Answered>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send + 'static,
    Sent: HttpBody<Data = Bytes> + Send + 'static,
    Sent::Error: Into<BoxError>,
    Answered: HttpBody<Data = Bytes> + Send + 'static,
    Answered::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<Body>, S::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Sent>) -> Self::Future {
        let run = run(self.inner.clone());
        let request = request.map(Body::new);
        Box::pin(exchange::handle(self.shared.clone(), run, request))
    }
}

/// The service within, for as many requests as there may be.
fn run<S, Answered>(service: S) -> Run<S::Error>
where
    S: Service<Request<Body>, Response = Response<Answered>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send + 'static,
    Answered: HttpBody<Data = Bytes> + Send + 'static,
    Answered::Error: Into<BoxError>,
{
    // Only to be cloned: services need not be `Sync`.
    let service = Mutex::new(service);
    Arc::new(move |request| {
        let mut service = service.lock().clone();
        Box::pin(async move {
            poll_fn(|cx| service.poll_ready(cx)).await?;
            Ok(service.call(request).await?.map(Body::new))
        })
    })
}

impl fmt::Debug for CacheLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CacheLayer")
    }
}

impl<S> fmt::Debug for CacheService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CacheService")
    }
}
