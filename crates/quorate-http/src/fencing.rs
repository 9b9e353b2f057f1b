//! Fencing tokens over HTTP: the header that carries one, and the resource's side, which refuses old ones.

use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use quorate::{FencingToken, Fleet, Store, StoreSpec};

use crate::problem::{Code, Problem};
use crate::rejection::Rejection;

/// The header of requests made under a lock: the fencing token, in decimal.
pub const FENCING_TOKEN: HeaderName = HeaderName::from_static("fencing-token");

/// The value of the header.
#[must_use]
pub fn fencing_header(token: FencingToken) -> HeaderValue {
    HeaderValue::from(token.get())
}

/// The token of a request.
///
/// # Errors
/// 400 if there is none, several, or one that is not a number of up to 20 digits.
pub fn fencing_token(headers: &HeaderMap) -> Result<FencingToken, Rejection> {
    let refuse = |rule: &str| {
        let message = format!("header {FENCING_TOKEN} {rule}");
        Rejection::from(Problem::new(Code::InvalidArgument, message))
    };
    let mut values = headers.get_all(FENCING_TOKEN).iter();
    let value = values.next().ok_or_else(|| refuse("must be given"))?;
    if values.next().is_some() {
        return Err(refuse("must be given once"));
    }
    let text = value.to_str().unwrap_or_default();
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let token = text.parse().ok().filter(|_| digits);
    token
        .map(FencingToken::new)
        .ok_or_else(|| refuse("must be a fencing token: a whole number"))
}

/// The fencing token of a request, as an argument of a handler. Requests without one are refused.
///
/// # Example
/// ```
/// use axum::{Router, routing::put};
/// use quorate_http::{Fence, Fenced, Rejection};
/// use std::sync::Arc;
///
/// async fn write(fence: Arc<Fence>, Fenced(token): Fenced) -> Result<&'static str, Rejection> {
///     fence.admit(token)?;
///     Ok("written")
/// }
///
/// let fence = Arc::new(Fence::new());
/// let app: Router = Router::new().route("/report", put(move |token: Fenced| write(fence.clone(), token)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "extractors are taken apart")]
pub struct Fenced(pub FencingToken);

impl<S: Send + Sync> FromRequestParts<S> for Fenced {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        fencing_token(&parts.headers).map(Self)
    }
}

/// Refuses tokens smaller than the greatest it has seen, for a resource that lives in this process.
///
/// One that outlives the process remembers the token where it remembers itself:
/// `UPDATE report SET body = $1, token = $2 WHERE id = $3 AND token <= $2`.
///
/// # Concurrent calls
/// A request that was admitted may be overtaken by one with a greater token before it has done its work: admit it where the
/// work is one step, such as under the mutex of what it changes.
#[derive(Debug, Default)]
pub struct Fence {
    greatest: AtomicU64,
}

impl Fence {
    /// One that has seen nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            greatest: AtomicU64::new(0),
        }
    }

    /// Admits a token that is at least as great as all before it.
    ///
    /// # Errors
    /// 409 with the code `FAILED_PRECONDITION`: somebody got the lock later, and was here already.
    pub fn admit(&self, token: FencingToken) -> Result<(), Rejection> {
        // One atomic step, so that two at once are in some order; nothing else is published by it.
        let before = self.greatest.fetch_max(token.get(), Ordering::AcqRel);
        if before > token.get() {
            return Err(stale(token, FencingToken::new(before)));
        }
        Ok(())
    }
}

/// Refuses tokens smaller than the greatest that any instance has seen, of each of many resources.
///
/// What was seen is remembered in a [store](quorate::Store) of the fleet, for 31 days after the last request: one round trip for
/// each. A resource that can remember the token itself, such as a row in a database, is safer: there the look at the token and the
/// work are one step.
///
/// # Clone
/// Cheap; clones are the same fence.
///
/// # Concurrent calls
/// A request that was admitted may be overtaken by one with a greater token before it has done its work. What keeps the order of
/// requests, such as one connection to the resource, does not need more; what does not has to check the token as well.
///
/// # Example
/// ```
/// use axum::{Router, extract::Path, routing::put};
/// use quorate::Fleet;
/// use quorate_http::{Fenced, FleetFence, Rejection};
///
/// async fn write(fence: FleetFence, report: String, Fenced(token): Fenced) -> Result<&'static str, Rejection> {
///     fence.admit(&report, token).await?;
///     Ok("written")
/// }
///
/// # fn main() -> quorate::Result<()> {
/// let fence = FleetFence::new(&Fleet::embedded(), "reports")?;
/// let handler = move |Path(report): Path<String>, token: Fenced| write(fence.clone(), report, token);
/// let app: Router = Router::new().route("/reports/{report}", put(handler));
/// # let _ = app;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct FleetFence {
    seen: Store<str, ()>,
}

impl FleetFence {
    /// That of all instances with this name: 1 to 100 letters, digits and `_ . / -`.
    ///
    /// # Errors
    /// `InvalidInput` if the name breaks the rule.
    pub fn new(fleet: &Fleet, name: &str) -> quorate::Result<Self> {
        if name.is_empty() || name.len() > 100 {
            return Err(quorate::Error::invalid("name", "must have 1 to 100 bytes"));
        }
        let spec = StoreSpec::try_new(format!("fence/{name}"))?;
        let seen = fleet.store(&spec);
        Ok(Self { seen })
    }

    /// Admits a token that is at least as great as all before it that came with this resource, whose name
    /// has 1 to 512 bytes.
    ///
    /// # Errors
    /// 409 with the code `FAILED_PRECONDITION`: somebody got the lock later, and was here already. 400 if the resource breaks
    /// the rule, and those of the backend.
    ///
    /// # Cancel safety
    /// When the future is dropped, the token may or may not count as seen. Repeating it is harmless.
    pub async fn admit(&self, resource: &str, token: FencingToken) -> Result<(), Rejection> {
        // There is no entry: what its fence remembers is all.
        let write = self.seen.delete(resource).fenced(token);
        match write.await? {
            quorate::store::Fenced::Stale { greatest, .. } => Err(stale(token, greatest)),
            _ => Ok(()),
        }
    }
}

fn stale(token: FencingToken, seen: FencingToken) -> Rejection {
    let message = format!("fencing token {token} is older than {seen}, seen before");
    Problem::new(Code::FailedPrecondition, message).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_goes_over_http_and_back() {
        let token = FencingToken::new(1_795_000_000_000_001);
        let headers = HeaderMap::from_iter([(FENCING_TOKEN, fencing_header(token))]);
        assert_eq!(fencing_token(&headers).unwrap(), token);
    }

    #[test]
    fn what_is_no_token_is_refused() {
        assert!(fencing_token(&HeaderMap::new()).is_err());
        for text in ["", "-1", "+1", "1.5", "x", "1 ", "99999999999999999999"] {
            let value = HeaderValue::from_str(text).unwrap();
            let headers = HeaderMap::from_iter([(FENCING_TOKEN, value)]);
            assert!(fencing_token(&headers).is_err(), "{text:?}");
        }
        let mut twice = HeaderMap::new();
        twice.append(FENCING_TOKEN, HeaderValue::from_static("1"));
        twice.append(FENCING_TOKEN, HeaderValue::from_static("2"));
        assert!(fencing_token(&twice).is_err());
    }

    #[test]
    fn an_old_token_is_refused_and_the_present_one_is_not() {
        let fence = Fence::new();
        for (token, admitted) in [(5, true), (5, true), (4, false), (6, true), (5, false)] {
            let answer = fence.admit(FencingToken::new(token));
            assert_eq!(answer.is_ok(), admitted, "{token}");
        }
    }
    #[tokio::test]
    async fn an_old_token_is_refused_by_every_instance() {
        let fleet = Fleet::embedded();
        let other = fleet.instance("other").await.unwrap();
        let fences = [&fleet, &other].map(|fleet| FleetFence::new(fleet, "reports").unwrap());
        let (old, new) = (FencingToken::new(9), FencingToken::new(10));
        let [here, there] = &fences;
        here.admit("may", new).await.unwrap();
        for fence in &fences {
            let refused = fence.admit("may", old).await.unwrap_err();
            assert_eq!(refused.problem().status(), 409);
            // Its holder comes again; other resources have fences of their own, and so have other names.
            fence.admit("may", new).await.unwrap();
            fence.admit("june", old).await.unwrap();
        }
        let elsewhere = FleetFence::new(&fleet, "drafts").unwrap();
        elsewhere.admit("may", old).await.unwrap();
        there.admit("may", FencingToken::new(11)).await.unwrap();
        assert!(here.admit("may", new).await.is_err());
        assert_eq!(
            here.admit("", new).await.unwrap_err().problem().status(),
            400
        );
        assert!(FleetFence::new(&fleet, "a b").is_err());
    }
}
