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
use quorate::{Fleet, Store};
use tokio_util::task::TaskTracker;
use tower_layer::Layer;
use tower_service::Service;

use super::builder::{IdempotencyBuilder, Options};
use super::exchange;
use super::meters::Meters;
use super::record::Record;
use super::scope::IdempotencyScope;

/// Runs a request with an `Idempotency-Key` once, over all instances, and gives its response to whoever sends it again.
///
/// # What a request with a key is answered
/// * The first: by the handler, which runs to its end even if the client goes away.
/// * Later ones: the response of the first, with `Idempotent-Replayed: true`.
/// * While the first is running: 409 with `Retry-After`, at once or after [a while](IdempotencyBuilder::wait_for).
/// * With another method, path, query, type or body than the first: 422.
/// * While the home cannot be asked: 503, and nothing is run.
///
/// # What it cannot promise
/// An instance that is killed while a handler runs has perhaps done what it was to do. After the
/// [lease](IdempotencyBuilder::lease) the request can be sent again and is run again: let handlers do what they do in one
/// transaction. The same holds for an instance that was paused, or cut off from the home, for longer than the lease, and for what
/// the home loses. A panic in a handler, and a response that [says so](IdempotencyBuilder::final_when), let it be sent again
/// at once.
///
/// # Where it stands
/// Within whatever authenticates: a response that is kept is given without asking the service again. And within layers that
/// give out secrets, such as [sessions](crate::session), whose cookies it must not keep. A handler that logs in, or rotates a
/// session's id, must not be behind it: a response that is replayed tells no new id. What a session was to be changed by is
/// lost when the client goes away before the handler has ended. Within another layer of its kind, on the way of the same
/// request, it does nothing.
///
/// # Example
/// See [the module](super).
#[derive(Clone)]
pub struct IdempotencyLayer {
    shared: Arc<Shared>,
}

/// A service that runs a request once. Made by [`IdempotencyLayer`].
#[derive(Clone)]
pub struct IdempotencyService<S> {
    inner: S,
    shared: Arc<Shared>,
}

/// What all requests of a layer share.
pub(super) struct Shared {
    pub(super) fleet: Fleet,
    pub(super) store: Store<str, Record>,
    pub(super) options: Options,
    pub(super) meters: Meters,
    /// Handlers, and what is kept after them.
    pub(super) tasks: TaskTracker,
}

impl IdempotencyLayer {
    /// Builds one that keeps its records in the stores of `fleet`; keys belong to the callers that `scope` tells apart.
    pub fn builder(fleet: &Fleet, scope: IdempotencyScope) -> IdempotencyBuilder {
        IdempotencyBuilder::new(fleet, scope)
    }

    pub(super) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Waits until no handler is running any more and what they answered is kept, also where clients have gone away: at
    /// shutdown, after the server has stopped taking requests and before the fleet is closed.
    ///
    /// # Cancel safety
    /// Yes.
    pub async fn drain(&self) {
        // It only tells those who wait that nothing may be left; more can be started.
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }
}

impl<S> Layer<S> for IdempotencyLayer {
    type Service = IdempotencyService<S>;

    fn layer(&self, inner: S) -> IdempotencyService<S> {
        let shared = self.shared.clone();
        IdempotencyService { inner, shared }
    }
}

impl<S, Sent, Answered> Service<Request<Sent>> for IdempotencyService<S>
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
        // The service within is waited for only by requests that reach it.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Sent>) -> Self::Future {
        let (shared, mut inner) = (self.shared.clone(), self.inner.clone());
        let run = move |request| async move {
            poll_fn(|cx| inner.poll_ready(cx)).await?;
            Ok(inner.call(request).await?.map(Body::new))
        };
        Box::pin(exchange::handle(shared, run, request.map(Body::new)))
    }
}

impl fmt::Debug for IdempotencyLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdempotencyLayer")
            .field("name", &self.shared.store.name())
            .field("scope", &self.shared.options.scope)
            .finish_non_exhaustive()
    }
}

impl<S> fmt::Debug for IdempotencyService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdempotencyService")
    }
}
