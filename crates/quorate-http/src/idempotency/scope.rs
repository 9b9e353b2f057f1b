//! Whose keys a request's key is one of.

use std::fmt;
use std::sync::Arc;

use axum::http::HeaderName;
use axum::http::request::Parts;

use crate::problem::{Code, Problem};
use crate::session::CurrentSession;

type Tell = Arc<dyn Fn(&Parts) -> Option<String> + Send + Sync>;

/// Whose keys a request's key is one of: two callers who make up the same key never see each other's responses.
#[derive(Clone)]
pub struct IdempotencyScope(Kind);

#[derive(Clone)]
enum Kind {
    Everybody,
    Header(HeaderName),
    Function(Tell),
    SessionUser,
}

impl IdempotencyScope {
    /// By a header, such as `Authorization` or that of an API key, which has to be the same when a request is sent again.
    /// Requests without it are answered with 401: they belong to nobody.
    ///
    /// What is kept is a hash: no secret is in the home.
    #[must_use]
    pub const fn header(name: HeaderName) -> Self {
        Self(Kind::Header(name))
    }

    /// By what a function makes of a request, such as the user that a layer further out put into its extensions. Requests for
    /// which it says nothing are answered with 401: they belong to nobody.
    pub fn function(tell: impl Fn(&Parts) -> Option<String> + Send + Sync + 'static) -> Self {
        Self(Kind::Function(Arc::new(tell)))
    }

    /// By the user of the request's [session](crate::session): a layer for sessions has to stand further out. Requests with a
    /// key whose session is anonymous, or that have none, are answered with 401.
    ///
    /// The session is asked for what it knows, so that who logs out and who logs in on another device is told apart as handlers do
    /// it. Looking is a use of the session, and the same round trip as that of a handler which looks. While the home cannot be asked, requests with a key are
    /// answered with 503, also where [sessions are anonymous then](crate::session::SessionLayer::anonymous_when_down).
    ///
    /// # Example
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> quorate::Result<()> {
    /// use axum::{Router, routing::post};
    /// use quorate::Fleet;
    /// use quorate_http::idempotency::{IdempotencyLayer, IdempotencyScope};
    /// use quorate_http::session::{SessionLayer, SessionUser};
    ///
    /// let fleet = Fleet::embedded();
    /// let once = IdempotencyLayer::builder(&fleet, IdempotencyScope::session_user()).build()?;
    /// let app: Router = Router::new()
    ///     .route("/orders", post(|SessionUser(user): SessionUser| async move { format!("ordered for {user}") }))
    ///     .layer(once)
    ///     .layer(SessionLayer::new(fleet.sessions())); // the last one added is the outermost
    /// # let _ = app;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub const fn session_user() -> Self {
        Self(Kind::SessionUser)
    }

    /// All callers share their keys. Only where nobody can guess the key of another, or one may see what another is answered:
    /// whoever sends a key with the same request is given the same response.
    #[must_use]
    pub const fn everybody() -> Self {
        Self(Kind::Everybody)
    }

    /// What tells the caller of a request from others.
    ///
    /// # Errors
    /// The answer to a request of nobody, or of whom nobody knows at the moment.
    pub(super) async fn of(&self, request: &Parts) -> Result<Vec<u8>, Problem> {
        let told = match &self.0 {
            Kind::Everybody => Some(Vec::new()),
            Kind::Header(name) => by_header(request, name),
            Kind::Function(tell) => tell(request).map(String::into_bytes),
            Kind::SessionUser => {
                let session = request.extensions.get::<CurrentSession>().cloned();
                let session = session.ok_or_else(|| {
                    let detail = "no session layer stands in front of the idempotency layer";
                    Problem::new(Code::Internal, detail)
                })?;
                let user = session.user_for_certain().await;
                user.map_err(|error| Problem::from(&error))?
                    .map(String::into_bytes)
            }
        };
        told.ok_or_else(|| {
            let detail = "a request with an Idempotency-Key must say who asks";
            Problem::new(Code::Unauthenticated, detail)
        })
    }
}

fn by_header(request: &Parts, name: &HeaderName) -> Option<Vec<u8>> {
    let mut told = Vec::new();
    request.headers.get(name)?;
    for value in request.headers.get_all(name) {
        told.extend_from_slice(&(value.len() as u64).to_le_bytes());
        told.extend_from_slice(value.as_bytes());
    }
    Some(told)
}

impl fmt::Debug for IdempotencyScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Everybody => f.write_str("Everybody"),
            Kind::Header(name) => f.debug_tuple("Header").field(name).finish(),
            Kind::Function(_) => f.write_str("Function"),
            Kind::SessionUser => f.write_str("SessionUser"),
        }
    }
}
