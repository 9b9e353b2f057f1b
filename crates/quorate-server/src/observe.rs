//! Metrics and logs of the process.

use std::io::IsTerminal;
use std::time::Duration;

use axum::extract::{MatchedPath, Request};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use quorate::telemetry;
use quorate_http::telemetry as http;
use tokio::time::Instant;
use tracing_subscriber::EnvFilter;

use crate::failure::Failure;

/// Counter of requests, by `method`, `route` and `status`.
pub(crate) const REQUESTS: &str = "quorate_http_requests_total";
/// Histogram of the time until an answer begins, in seconds, by `method` and `route`.
pub(crate) const REQUEST_SECONDS: &str = "quorate_http_request_seconds";
/// Gauge of open connections.
pub(crate) const CONNECTIONS: &str = "quorate_http_connections";
/// Counter of connections refused because there were too many.
pub(crate) const CONNECTIONS_REFUSED: &str = "quorate_http_connections_refused_total";

/// From a call within the process to one that ran into its deadline.
const BUCKETS: [f64; 14] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 2.5,
    10.0,
];

/// How often what the exporter keeps of its histograms is tidied up.
pub(crate) const UPKEEP: Duration = Duration::from_secs(5);

/// Collects the metrics of this process. To be called before the fleet is made.
pub(crate) fn record_metrics() -> Result<PrometheusHandle, Failure> {
    let failed = |error| Failure::failed(format!("cannot record metrics: {error}"));
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &BUCKETS)
        .map_err(failed)?
        .install_recorder()
        .map_err(failed)?;
    describe();
    Ok(handle)
}

fn describe() {
    for (name, text) in [
        (telemetry::OPERATIONS, "Finished operations"),
        (telemetry::RETRIES, "Attempts beyond the first"),
        (telemetry::RECONNECTS, "Connections made again after a loss"),
        (telemetry::PUBLISHED, "Messages handed to the transport"),
        (
            telemetry::DELIVERED,
            "Messages put into subscriptions' buffers",
        ),
        (
            telemetry::DROPPED,
            "Messages dropped because a buffer was full",
        ),
        (telemetry::GAPS, "Gaps in subscriptions"),
        (telemetry::UNDECODABLE, "Messages that could not be decoded"),
        (telemetry::ERRORS, "Errors that no caller was waiting for"),
        (
            telemetry::LOCKS_LOST,
            "Leases lost before they were released",
        ),
        (
            telemetry::PRESENCE_REJOINED,
            "Times an instance found itself taken off a roster, and joined again",
        ),
        (
            telemetry::PRESENCE_RESYNCS,
            "Rosters read again because changes may have been missing",
        ),
        (http::FRAMES, "Frames sent to clients"),
        (http::FRAMES_RECEIVED, "Frames received from clients"),
        (
            http::DROPPED,
            "Messages dropped because a client was slower than they came",
        ),
        (
            http::REPLACED,
            "Messages replaced by a newer one of a latest-only topic while they waited",
        ),
        (http::DISCONNECTED, "Clients disconnected by the server"),
        (http::REFUSED, "Clients refused"),
        (REQUESTS, "HTTP requests"),
        (
            CONNECTIONS_REFUSED,
            "Connections refused because there were too many",
        ),
    ] {
        describe_counter!(name, text);
    }
    for (name, text) in [
        (telemetry::IN_FLIGHT, "Operations under way"),
        (
            telemetry::CONNECTION_STATE,
            "1 for the state the connection to the backend is in",
        ),
        (telemetry::SUBSCRIPTIONS, "Local subscriptions"),
        (telemetry::LOCKS_HELD, "Lock guards held by this process"),
        (
            telemetry::PRESENCE_MEMBERS,
            "Members that this process has on rosters",
        ),
        (http::CLIENTS, "Connected WebSocket and SSE clients"),
        (CONNECTIONS, "Open HTTP connections"),
    ] {
        describe_gauge!(name, text);
    }
    for (name, text) in [
        (telemetry::OPERATION_SECONDS, "Time an operation took"),
        (REQUEST_SECONDS, "Time until an answer begins"),
    ] {
        describe_histogram!(name, Unit::Seconds, text);
    }
    for transport in ["ws", "sse"] {
        // Shown as 0 from the start: a graph that begins with the first client looks like a fault.
        metrics::gauge!(http::CLIENTS, "transport" => transport).set(0.0);
    }
}

/// Writes logs to standard error, as `RUST_LOG` says. Unless it says something: what a server does, and
/// of a command only what goes wrong.
pub(crate) fn log(json: bool, server: bool) {
    let usual = if server { "info" } else { "warn" };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(usual));
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    // Fails only if logs are being written already, which suits us as well.
    let _ = if json {
        logs.json().try_init()
    } else {
        logs.try_init()
    };
}

/// Counts and times a request.
pub(crate) async fn requests(request: Request, next: Next) -> Response {
    let start = Instant::now();
    let method = method(request.method());
    // Never the path itself: clients choose it, and every one would be a series of its own.
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "none".to_owned(), |path| path.as_str().to_owned());
    let response = next.run(request).await;
    let status = response.status().as_u16().to_string();
    metrics::histogram!(REQUEST_SECONDS, "method" => method, "route" => route.clone())
        .record(start.elapsed());
    metrics::counter!(REQUESTS, "method" => method, "route" => route, "status" => status)
        .increment(1);
    response
}

fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "OTHER",
    }
}
