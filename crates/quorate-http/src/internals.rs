//! What the fuzz targets and the conformance run of this repository reach for. Not part of the API: no
//! promise is made about anything here.

use std::time::Duration;

use axum::Router;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::routing::get;

use crate::frame;
use crate::socket::{self, SocketLimits};

/// Reads a client's frame: the id it would be answered with, as JSON, and what is wrong with it.
///
/// # Errors
/// The text of the problem that the client would be answered with.
pub fn read_frame(text: &str) -> (Option<String>, Result<(), String>) {
    let id = |id: Option<frame::RequestId>| id.map(|id| id.as_json().to_owned());
    match frame::read_request(text) {
        Ok(request) => (id(request.id), Ok(())),
        Err(refused) => {
            let text = refused.problem.detail().to_owned();
            (id(refused.id), Err(text))
        }
    }
}

/// `GET /`: a WebSocket that sends back what it is sent, on the connections that clients of this crate
/// get, but with messages of up to `message_bytes`.
pub fn echo(message_bytes: usize) -> Router {
    let limits = SocketLimits {
        message_bytes,
        unsent_bytes: message_bytes.saturating_mul(2),
    };
    let route = async move |upgrade: WebSocketUpgrade| {
        socket::configure(upgrade, limits).on_upgrade(send_back)
    };
    Router::new().route("/", get(route))
}

async fn send_back(mut socket: WebSocket) {
    /// How long the other side may take to close.
    const PATIENCE: Duration = Duration::from_secs(2);
    while let Some(received) = socket.recv().await {
        match received {
            Ok(message @ (Message::Text(_) | Message::Binary(_))) => {
                if socket.send(message).await.is_err() {
                    return;
                }
            }
            // The library below answers pings.
            Ok(Message::Ping(_) | Message::Pong(_)) => {}
            Ok(Message::Close(_)) => return socket::hang_up(&mut socket, None, PATIENCE).await,
            Err(error) => {
                let farewell = socket::refusal(&error);
                return socket::hang_up(&mut socket, farewell, PATIENCE).await;
            }
        }
    }
}
