//! Whose keys a request's key is one of.

use std::fmt;
use std::sync::Arc;

use axum::http::HeaderName;
use axum::http::request::Parts;

type Tell = Arc<dyn Fn(&Parts) -> Option<String> + Send + Sync>;

/// Whose keys a request's key is one of: two callers who make up the same key never see each other's responses.
#[derive(Clone)]
pub struct IdempotencyScope(Kind);

#[derive(Clone)]
enum Kind {
    Everybody,
    Header(HeaderName),
    Function(Tell),
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

    /// All callers share their keys. Only where nobody can guess the key of another, or one may see what another is answered:
    /// whoever sends a key with the same request is given the same response.
    #[must_use]
    pub const fn everybody() -> Self {
        Self(Kind::Everybody)
    }

    /// What tells the caller of a request from others; `None` if nothing does.
    pub(super) fn of(&self, request: &Parts) -> Option<Vec<u8>> {
        match &self.0 {
            Kind::Everybody => Some(Vec::new()),
            Kind::Header(name) => {
                let mut told = Vec::new();
                request.headers.get(name)?;
                for value in request.headers.get_all(name) {
                    told.extend_from_slice(&(value.len() as u64).to_le_bytes());
                    told.extend_from_slice(value.as_bytes());
                }
                Some(told)
            }
            Kind::Function(tell) => tell(request).map(String::into_bytes),
        }
    }
}

impl fmt::Debug for IdempotencyScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Everybody => f.write_str("Everybody"),
            Kind::Header(name) => f.debug_tuple("Header").field(name).finish(),
            Kind::Function(_) => f.write_str("Function"),
        }
    }
}
