//! One instance of the chat.

use std::future::IntoFuture;
use std::time::Duration;

use anyhow::Result;
use axum::serve::ListenerExt;
use quorate::Fleet;
use quorate_http::{ConnectionTokens, Hub};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::rooms::{ROOM, TITLE, TYPING};
use crate::{login, page, requests};

/// How long pages have to take their farewell.
const GRACE: Duration = Duration::from_secs(3);

/// Serves the chat until `stop` is cancelled, then tells the pages to go to another instance, each at its
/// own moment, and waits for them, for at most three seconds.
///
/// `GET /` is the page, `POST /login` gives it a token, and under `/live` is the hub.
///
/// # Errors
/// Those of the hub's declarations, and of the socket.
///
/// # Cancel safety
/// When the future is dropped, so are all connections.
pub async fn serve(
    fleet: Fleet,
    listener: TcpListener,
    tokens: ConnectionTokens,
    stop: CancellationToken,
) -> Result<()> {
    let hub = Hub::builder(fleet)
        .authenticate(tokens.clone())
        .event(&ROOM)
        .event(&TITLE)
        .event(&TYPING)
        .requests(requests::router())
        .build()?;
    let app = page::routes()
        .merge(login::routes(tokens))
        .nest("/live", hub.router());
    let drained = {
        let stop = stop.clone();
        async move {
            stop.cancelled().await;
            hub.drain().await;
        }
    };
    // Messages are small: none is to wait until the one before is confirmed.
    let listener = listener.tap_io(|tcp| drop(tcp.set_nodelay(true)));
    tokio::select! {
        served = axum::serve(listener, app).with_graceful_shutdown(drained).into_future() => Ok(served?),
        // A page that takes nothing would hold the connection, and with it the process.
        () = async { stop.cancelled().await; tokio::time::sleep(GRACE).await } => Ok(()),
    }
}
