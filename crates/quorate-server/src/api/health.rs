//! Whether the process lives, whether it is of use, and what it counts.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use quorate::ServerSummary;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;

/// How long the backend may take to answer while somebody asks whether we are ready.
const WITHIN: Duration = Duration::from_secs(2);

/// The process lives.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Alive {
    status: &'static str,
    version: &'static str,
}

/// Whether the backend can be used.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Ready {
    ready: bool,
    /// Where the state is kept, without anything secret. This and all that tells of the backend is only
    /// for those who have the token, if there is one.
    backend: Option<String>,
    /// `idle`, `connecting`, `ready`, `reconnecting`, `degraded`, `failover` or `closed`.
    state: &'static str,
    reason: Option<String>,
    /// How many times a connection has been established.
    epoch: u64,
    response_time_ms: f64,
    server: Option<Server>,
    error: Option<String>,
}

/// What the backend says of itself.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Server {
    flavour: String,
    version: String,
    mode: String,
    connected_clients: u64,
    used_memory_bytes: u64,
}

impl From<ServerSummary> for Server {
    fn from(summary: ServerSummary) -> Self {
        Self {
            flavour: summary.flavour,
            version: summary.version,
            mode: summary.mode,
            connected_clients: summary.connected_clients,
            used_memory_bytes: summary.used_memory,
        }
    }
}

/// Says that the process lives. Restart it if this fails.
#[utoipa::path(get, path = "/healthz", responses((status = 200, body = Alive)), tag = "operation")]
pub(crate) async fn alive() -> Json<Alive> {
    Json(Alive {
        status: "alive",
        version: env!("CARGO_PKG_VERSION"),
    })
}

/// Says whether the backend can be used. Send no traffic here while this fails.
#[utoipa::path(
    get,
    path = "/readyz",
    responses((status = 200, body = Ready), (status = 503, body = Ready)),
    tag = "operation",
)]
pub(crate) async fn ready(State(app): State<App>, headers: HeaderMap) -> (StatusCode, Json<Ready>) {
    let trusted = app.auth.admits(&headers);
    let health = app.fleet.health(WITHIN).await;
    let status = app.fleet.status().borrow().clone();
    let ready = health.healthy && status.state.is_connected();
    let code = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let document = Ready {
        ready,
        backend: trusted.then(|| app.backend.to_string()),
        state: status.state.as_str(),
        reason: trusted.then(|| status.reason.to_string()),
        epoch: status.epoch,
        response_time_ms: health.response_time.as_secs_f64() * 1e3,
        server: health.server.filter(|_| trusted).map(Server::from),
        error: health
            .error
            .filter(|_| trusted)
            .map(|error| error.to_string()),
    };
    (code, Json(document))
}

/// Everything that is counted, for Prometheus.
#[utoipa::path(
    get,
    path = "/metrics",
    responses((status = 200, body = String, content_type = "text/plain")),
    tag = "operation",
)]
pub(crate) async fn metrics(State(app): State<App>) -> Response {
    let content_type = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, content_type)], app.metrics.render()).into_response()
}
