//! The routes, and what every request passes.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use metrics_exporter_prometheus::PrometheusHandle;
use quorate::{Codec, Fleet, Keep, Outcome, Sessions, Topic, TopicSpec};
use quorate_http::{Code, Hub, Problem, Rejection, TopicPath};
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::api::remembered::Remembered;
use crate::auth::{self, Auth, Sites};
use crate::config::ServeConfig;
use crate::{api, console, observe};

/// What handlers share.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) fleet: Fleet,
    pub(crate) hub: Hub,
    /// Topics that are kept, by name.
    kept: Arc<BTreeMap<String, Keep>>,
    pub(crate) auth: Auth,
    pub(crate) metrics: PrometheusHandle,
    pub(crate) backend: Arc<str>,
    /// What is known of caches and of limiters over the whole fleet.
    pub(crate) cache_figures: Remembered,
    pub(crate) limit_figures: Remembered,
    /// As services make them.
    pub(crate) sessions: Sessions,
    /// The largest payload the fleet publishes, in bytes.
    pub(crate) max_payload: u64,
    /// The largest body of a request, in bytes.
    pub(crate) max_body: usize,
    /// The longest a client may wait for a lock or a job: its answer must still come in time.
    pub(crate) max_wait: Duration,
    /// When the server stops: what would stream for ever ends.
    pub(crate) stopping: CancellationToken,
}

/// The fleet's own default for the largest payload.
const MAX_PAYLOAD: u64 = 1024 * 1024;

impl App {
    pub(crate) fn new(config: &ServeConfig, fleet: Fleet, metrics: PrometheusHandle) -> Self {
        // Who was let in may publish over HTTP, so it may here.
        let hub = Hub::builder(fleet.clone())
            .open()
            .authorize_publish(|_, _| std::future::ready(Ok(())));
        let mut hub = config.limits.hub(hub, config.origins.clone());
        for (name, keep) in &config.kept {
            hub = hub
                .keep(name, *keep)
                .expect("the configuration was checked");
        }
        for name in &config.present {
            hub = hub.presence(name).expect("the configuration was checked");
        }
        let mut sessions = fleet.sessions();
        if let Some(key) = &config.session_key {
            sessions = sessions.partition_key(key.reveal());
        }
        Self {
            cache_figures: Remembered::default(),
            limit_figures: Remembered::default(),
            sessions,
            hub: hub.build().expect("nothing is declared on it"),
            fleet,
            kept: Arc::new(config.kept.clone()),
            auth: Auth::new(config.token.clone()),
            metrics,
            backend: config.backend().into(),
            max_payload: config.fleet.max_payload.unwrap_or(MAX_PAYLOAD),
            max_body: config.limits.max_body_bytes,
            max_wait: config.limits.request_timeout.mul_f64(0.8),
            stopping: CancellationToken::new(),
        }
    }

    /// A topic, kept if the configuration says so.
    pub(crate) fn topic(&self, path: &TopicPath) -> quorate::Result<Topic<Bytes>> {
        let mut spec = TopicSpec::try_with_codec(path.name(), Codec::bytes())?;
        if let Some(keep) = self.keep(path) {
            spec = spec.try_keep(keep)?;
        }
        let topic = self.fleet.topic(&spec);
        match path.key() {
            Some(key) => topic.key(key),
            None => Ok(topic),
        }
    }

    /// Whether a topic is kept.
    pub(crate) fn keeps(&self, path: &TopicPath) -> bool {
        self.keep(path).is_some()
    }

    /// How much of a topic is kept. A name may have colons itself, so that one topic has more than one
    /// spelling as name and key: the longest name that fits counts, as in the hub.
    pub(crate) fn keep(&self, path: &TopicPath) -> Option<Keep> {
        let full = path.to_string();
        let shorter = full.rmatch_indices(':').map(|(at, _)| &full[..at]);
        let mut names = std::iter::once(&*full).chain(shorter);
        names.find_map(|name| self.kept.get(name)).copied()
    }

    /// Topics that are kept, by name.
    pub(crate) fn kept(&self) -> &BTreeMap<String, Keep> {
        &self.kept
    }

    /// All routes behind everything they have to be behind.
    pub(crate) fn router(&self, config: &ServeConfig) -> Router {
        let limits = &config.limits;
        let behind_token = api::routes()
            .with_state(self.clone())
            .nest("/v1", self.hub.router())
            .route_layer(middleware::from_fn_with_state(
                self.auth.clone(),
                auth::require,
            ));
        let open = api::open_routes()
            .with_state(self.clone())
            .merge(console::routes());
        let sites = Sites {
            origins: config.origins.clone(),
            hosts: config
                .token
                .is_none()
                .then(|| Arc::new(config.allowed_hosts.clone())),
        };
        let mut router = behind_token
            .merge(open)
            .fallback(async || {
                Rejection::from(Problem::new(
                    Code::NotFound,
                    "there is nothing at this path",
                ))
            })
            .method_not_allowed_fallback(async |request: Request| {
                Rejection::from(
                    Problem::new(
                        Code::InvalidArgument,
                        format!("{} is not for this path", request.method()),
                    )
                    .with_status(StatusCode::METHOD_NOT_ALLOWED),
                )
            })
            .layer(DefaultBodyLimit::max(limits.max_body_bytes))
            .layer(middleware::from_fn_with_state(
                limits.request_timeout,
                in_time,
            ))
            .layer(middleware::from_fn_with_state(sites, auth::only_own_sites));
        if config.origins.allowed().next().is_some() {
            router = router.layer(cors(config));
        }
        router
            .layer(middleware::from_fn(quorate_http::name_instances))
            .layer(middleware::from_fn(with_security_headers))
            .layer(CatchPanicLayer::custom(panicked))
            .layer(middleware::from_fn(observe::requests))
    }
}

/// Gives a request up after a while. What streams has begun its answer by then.
async fn in_time(State(limit): State<Duration>, request: Request, next: Next) -> Response {
    let safe = request.method().is_safe();
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let outcome = if safe {
                Outcome::NotApplied
            } else {
                Outcome::Unknown
            };
            Problem::new(Code::DeadlineExceeded, format!("took more than {limit:?}"))
                .with_outcome(outcome)
                .into_response()
        }
    }
}

async fn with_security_headers(request: Request, next: Next) -> Response {
    const HEADERS: [(HeaderName, &str); 5] = [
        // The page needs its own script and style and this server; everything else stays out.
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
             connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
    ];
    let mut response = next.run(request).await;
    for (name, value) in HEADERS {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Lets the pages on the list read the answers. They bring the token themselves: cookies stay home.
fn cors(config: &ServeConfig) -> CorsLayer {
    let origins = config
        .origins
        .allowed()
        .filter_map(|origin| HeaderValue::from_str(origin).ok());
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::IF_MATCH,
            header::IF_NONE_MATCH,
            HeaderName::from_static("idempotency-key"),
        ])
        .expose_headers(api::SHOWN)
        .max_age(Duration::from_secs(3600))
}

#[expect(clippy::needless_pass_by_value, reason = "the layer hands it over")]
fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let message = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("without a message");
    tracing::error!(panic = message, "a handler panicked");
    Problem::new(
        Code::Internal,
        "this is a fault of the server's; its log says more",
    )
    .with_outcome(Outcome::Unknown)
    .into_response()
}
