//! The tower layer and its service.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::BoxError;
use axum::body::{Body, HttpBody};
use axum::http::request::Parts;
use axum::http::{Request, Response, StatusCode};
use axum::response::IntoResponse;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use quorate::limit::{LimitRequest, Reserved, reserve};
use quorate::{Decision, Limiter};
use tower_layer::Layer;
use tower_service::Service;

use super::by::LimitBy;
use super::fields;
use crate::problem::{Code, Problem};

type Costs = Arc<dyn Fn(&Parts) -> u64 + Send + Sync>;

/// Turns away who asks too often: with 429, a problem document, `Retry-After`, and the fields `RateLimit` and
/// `RateLimit-Policy`, which other responses have as well.
///
/// A request is counted before it reaches the service, by all rules or by none. When the home cannot be asked, a limiter
/// does what it was [told](quorate::Limiter::when_down); without that, the answer is 503.
///
/// # Example
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> quorate::Result<()> {
/// use axum::{Router, routing::get};
/// use quorate::{Fleet, Policy};
/// use quorate_http::limit::{LimitBy, RateLimitLayer};
/// use std::time::Duration;
///
/// let fleet = Fleet::embedded();
/// let second = Duration::from_secs(1);
/// let by_address = fleet.limiter("http", [
///     Policy::token_bucket(20, second).burst(100),
///     Policy::sliding_counter(5000, second * 3600),
/// ]);
/// let app: Router = Router::new()
///     .route("/", get(|| async { "hello" }))
///     .layer(RateLimitLayer::new(by_address, LimitBy::address()));
/// # let _ = app;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct RateLimitLayer {
    rules: Arc<Rules>,
}

/// A service that turns away who asks too often. Made by [`RateLimitLayer`].
#[derive(Clone)]
pub struct RateLimitService<S> {
    inner: S,
    rules: Arc<Rules>,
}

#[derive(Clone)]
struct Rules {
    each: Vec<(Limiter, LimitBy)>,
    costs: Option<Costs>,
    legacy: bool,
}

impl RateLimitLayer {
    /// One rule: a limiter, and by what requests are told apart.
    #[must_use]
    pub fn new(limiter: Limiter, by: LimitBy) -> Self {
        Self {
            rules: Arc::new(Rules {
                each: vec![(limiter, by)],
                costs: None,
                legacy: false,
            }),
        }
    }

    /// A further rule, such as one by user besides one by address. Rules are asked in their order.
    #[must_use]
    pub fn and(self, limiter: Limiter, by: LimitBy) -> Self {
        self.with(|rules| rules.each.push((limiter, by)))
    }

    /// What a request costs. Default: 1.
    #[must_use]
    pub fn cost(self, cost: impl Fn(&Parts) -> u64 + Send + Sync + 'static) -> Self {
        self.with(|rules| rules.costs = Some(Arc::new(cost)))
    }

    /// Adds `X-RateLimit-Limit`, `X-RateLimit-Remaining` and `X-RateLimit-Reset` (seconds from now) as well, of the policy
    /// with the least left.
    #[must_use]
    pub fn legacy_fields(self) -> Self {
        self.with(|rules| rules.legacy = true)
    }

    fn with(mut self, change: impl FnOnce(&mut Rules)) -> Self {
        change(Arc::make_mut(&mut self.rules));
        self
    }
}

impl<S> Layer<S> for RateLimitLayer {
    type Service = RateLimitService<S>;

    fn layer(&self, inner: S) -> RateLimitService<S> {
        let rules = self.rules.clone();
        RateLimitService { inner, rules }
    }
}

impl<S, Sent, Answered> Service<Request<Sent>> for RateLimitService<S>
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
        // The service within is waited for only by requests that reach it.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Sent>) -> Self::Future {
        let (rules, mut inner) = (self.rules.clone(), self.inner.clone());
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            // Together: what the request is must not be borrowed while its limits are waited for.
            let asked = rules.requests(&parts);
            let decisions = match rules.decide(asked).await {
                Ok(decisions) => decisions,
                Err(refused) => return Ok(*refused),
            };
            poll_fn(|cx| inner.poll_ready(cx)).await?;
            let response = inner.call(Request::from_parts(parts, body)).await?;
            let mut response = response.map(Body::new);
            fields::add(response.headers_mut(), decisions.iter(), rules.legacy);
            Ok(response)
        })
    }
}

impl Rules {
    fn requests(&self, parts: &Parts) -> Result<Vec<LimitRequest>, Problem> {
        let mut requests = Vec::with_capacity(self.each.len());
        let cost = self.costs.as_ref().map_or(1, |costs| costs(parts));
        for (limiter, by) in &self.each {
            if let Some(key) = by.key(parts)? {
                requests.push(limiter.consume(&key).cost(cost));
            }
        }
        Ok(requests)
    }

    /// The decisions that allow a request, or the answer to one that is refused.
    async fn decide(
        &self,
        requests: Result<Vec<LimitRequest>, Problem>,
    ) -> Result<Vec<Decision>, Box<Response<Body>>> {
        let requests = requests.map_err(|problem| Box::new(problem.into_response()))?;
        match reserve(requests).await {
            Ok(Reserved::Allowed(decisions)) => Ok(decisions),
            Ok(Reserved::Denied { decision, .. }) => Err(Box::new(self.refusal(&decision))),
            Ok(_) => Err(Box::new(
                Problem::new(Code::Internal, "an answer this layer does not know").into_response(),
            )),
            Err(error) => Err(Box::new(Problem::from(&error).into_response())),
        }
    }

    fn refusal(&self, decision: &Decision) -> Response<Body> {
        let (retry_after, policy) = match decision {
            Decision::Deny {
                retry_after,
                policy,
                ..
            } => (*retry_after, policy.as_str()),
            _ => (Duration::ZERO, ""),
        };
        let problem = Problem::new(Code::ResourceExhausted, "too many requests")
            .with_status(StatusCode::TOO_MANY_REQUESTS)
            .with_member("policy", policy)
            // Not zero: who is refused is to wait.
            .with_retry_after(retry_after.max(Duration::from_millis(1)));
        let mut response = problem.into_response();
        fields::add(
            response.headers_mut(),
            std::iter::once(decision),
            self.legacy,
        );
        response
    }
}

impl fmt::Debug for RateLimitLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(
                self.rules
                    .each
                    .iter()
                    .map(|(limiter, by)| (limiter.name(), by)),
            )
            .finish()
    }
}

impl<S> fmt::Debug for RateLimitService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RateLimitService")
    }
}
