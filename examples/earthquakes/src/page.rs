//! The page, and the stream it listens to.

use std::future::IntoFuture;
use std::io;
use std::time::Duration;

use axum::Router;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use quorate::Fleet;
use quorate_http::Hub;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Messages kept for a viewer whose line is slower than the replay: more than the week has, so that
/// even a replay without pauses is seen whole.
const BUFFER: usize = 2048;

/// How long viewers have to take their farewell.
const GRACE: Duration = Duration::from_secs(3);

/// Nothing but what this service itself serves may run or be loaded.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Serves the page of what is published to [`EARTHQUAKES`](crate::EARTHQUAKES) until `stop` is
/// cancelled, then tells the viewers to come back later and waits for them, for at most three seconds.
///
/// `GET /` is the page, `GET /live/sse?topic=earthquakes` what it listens to.
///
/// # Errors
/// Those of the socket.
///
/// # Cancel safety
/// When the future is dropped, so are all connections.
pub async fn serve(fleet: Fleet, listener: TcpListener, stop: CancellationToken) -> io::Result<()> {
    let hub = Hub::builder(fleet).open().buffer(BUFFER);
    let hub = hub.build().map_err(io::Error::other)?;
    let app = Router::new()
        .route(
            "/",
            get(async || asset("text/html", include_str!("../page/index.html"))),
        )
        .route(
            "/style.css",
            get(async || asset("text/css", include_str!("../page/style.css"))),
        )
        .route(
            "/page.js",
            get(async || script(include_str!("../page/page.js"))),
        )
        .route(
            "/map.js",
            get(async || script(include_str!("../page/map.js"))),
        )
        .route(
            "/land.js",
            get(async || script(include_str!("../page/land.js"))),
        )
        .nest("/live", hub.router());
    let drained = {
        let stop = stop.clone();
        async move {
            stop.cancelled().await;
            hub.drain().await;
        }
    };
    tokio::select! {
        served = axum::serve(listener, app).with_graceful_shutdown(drained).into_future() => served,
        // A viewer that takes nothing would hold the connection, and with it the process.
        () = async { stop.cancelled().await; tokio::time::sleep(GRACE).await } => Ok(()),
    }
}

fn script(text: &'static str) -> impl IntoResponse {
    asset("text/javascript", text)
}

fn asset(kind: &'static str, text: &'static str) -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, format!("{kind}; charset=utf-8")),
        (header::CONTENT_SECURITY_POLICY, POLICY.to_owned()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (header::CACHE_CONTROL, "no-cache".to_owned()),
    ];
    (headers, text)
}
