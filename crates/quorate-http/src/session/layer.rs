//! The tower layer and its service.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::BoxError;
use axum::body::{Body, HttpBody};
use axum::http::request::Parts;
use axum::http::{Request, Response};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use quorate::{Result, Sessions};
use tower_layer::Layer;
use tower_service::Service;

use super::carrier::Carrier;
use super::cookie::SessionCookie;
use super::current::CurrentSession;

type Device = Arc<dyn Fn(&Parts) -> Option<String> + Send + Sync>;

/// Gives handlers the [session](CurrentSession) of their request, and saves what they changed before the response goes
/// out.
///
/// # What is asked of the home
/// Nothing, unless a handler looks or writes. Looking is a use of the session, and one round trip for all who look during a
/// request. What is written is saved in one call, and only what was changed, so that requests at the same time lose
/// nothing of each other's. It is not saved when the answer is a fault of the server (5xx).
///
/// # When saving fails
/// The client gets a problem document in place of the handler's response: 503 or what else belongs to the error. When the
/// session was ended meanwhile, 401: what was changed is not kept, and does not begin another session.
///
/// # Ids and cookies
/// A new id is told when a session begins, when somebody [logs in](CurrentSession::log_in), and when it is
/// [rotated](CurrentSession::rotate); a cookie is taken away only by who [logs out](CurrentSession::log_out). What
/// proves no session is as good as nothing, and the cookie stays: another request may be about to replace it.
///
/// # Caches
/// A response with a new id has `Cache-Control: no-store`. So has any other for which the session was looked at, unless the handler
/// said something else; and it has `Vary`. [`cache`](crate::cache) shares no such response, on whichever side of this layer it
/// stands.
///
/// # Example
/// See [the module](super).
#[derive(Clone)]
pub struct SessionLayer {
    pub(super) options: Arc<Options>,
}

/// A service that knows the sessions of its requests. Made by [`SessionLayer`].
#[derive(Clone)]
pub struct SessionService<S> {
    inner: S,
    options: Arc<Options>,
}

#[derive(Clone)]
pub(super) struct Options {
    pub(super) sessions: Sessions,
    pub(super) carrier: Carrier,
    pub(super) device: Option<Device>,
    pub(super) anonymous_when_down: bool,
}

impl SessionLayer {
    /// Sessions by the cookie `__Host-session`. How long they live, and how many a user may have, `sessions` says.
    #[must_use]
    pub fn new(sessions: Sessions) -> Self {
        Self {
            options: Arc::new(Options {
                sessions,
                carrier: Carrier::Cookie(SessionCookie::default()),
                device: None,
                anonymous_when_down: false,
            }),
        }
    }

    /// By this cookie.
    ///
    /// # Errors
    /// `Config` if it breaks a rule; the message names the field.
    pub fn cookie(self, cookie: SessionCookie) -> Result<Self> {
        let cookie = cookie.checked()?;
        Ok(self.with(|options| options.carrier = Carrier::Cookie(cookie)))
    }

    /// By `Authorization: Bearer …` instead of a cookie, for clients that are not browsers. A new id is told them in the
    /// field `Session-Id` of the response, which is empty when they have logged out.
    #[must_use]
    pub fn bearer(self) -> Self {
        self.with(|options| options.carrier = Carrier::Bearer)
    }

    /// What lists of sessions show of the device on which one begins, such as the `User-Agent`. What is longer than 1024
    /// bytes is cut off. Default nothing.
    #[must_use]
    pub fn device_info(
        self,
        tell: impl Fn(&Parts) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.with(|options| options.device = Some(Arc::new(tell)))
    }

    /// That a request is as if it had no session while the home cannot be asked, so that what needs none goes on. What it
    /// writes fails all the same, also when the home is back by then, and so do logins and logouts that cannot ask. Default: looking fails, and a handler that passes that on answers with 503.
    #[must_use]
    pub fn anonymous_when_down(self) -> Self {
        self.with(|options| options.anonymous_when_down = true)
    }

    fn with(mut self, change: impl FnOnce(&mut Options)) -> Self {
        change(Arc::make_mut(&mut self.options));
        self
    }
}

impl<S> Layer<S> for SessionLayer {
    type Service = SessionService<S>;

    fn layer(&self, inner: S) -> SessionService<S> {
        let options = self.options.clone();
        SessionService { inner, options }
    }
}

impl<S, Sent, Answered> Service<Request<Sent>> for SessionService<S>
where
    S: Service<Request<Sent>, Response = Response<Answered>> + Clone + Send + 'static,
    S::Future: Send,
    Sent: Send + 'static,
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
        let (options, mut inner) = (self.options.clone(), self.inner.clone());
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            let session = CurrentSession::of(options, &parts);
            parts.extensions.insert(session.clone());
            poll_fn(|cx| inner.poll_ready(cx)).await?;
            let response = inner.call(Request::from_parts(parts, body)).await?;
            Ok(session.finish(response.map(Body::new)).await)
        })
    }
}

impl fmt::Debug for SessionLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionLayer")
            .field("sessions", &self.options.sessions)
            .field("carrier", &self.options.carrier)
            .field("anonymous_when_down", &self.options.anonymous_when_down)
            .finish_non_exhaustive()
    }
}

impl<S> fmt::Debug for SessionService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionService")
    }
}
