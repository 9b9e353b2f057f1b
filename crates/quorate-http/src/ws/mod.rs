//! WebSocket: subscribe and receive.

mod session;

use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::http::HeaderMap;
use axum::response::Response;

use crate::gateway::Gateway;
use crate::rejection::Rejection;

const TRANSPORT: &str = "ws";

/// What a client may name as its subprotocol. One that names none gets the newest version.
const SUBPROTOCOL: &str = "quorate.v1";

/// Both buffers of a connection. axum's own read buffer takes 128 KiB from every idle client.
const SOCKET_BUFFER: usize = 4 * 1024;

/// A client's frames are refused politely up to this many times the limit, and beyond it the
/// connection is broken off without looking at them.
const POLITENESS: usize = 4;

pub(crate) async fn route(
    State(gateway): State<Gateway>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Rejection> {
    gateway.check_origin(&headers, TRANSPORT)?;
    let upgrade = upgrade?;
    let client = gateway.admit(TRANSPORT)?;
    let options = &gateway.shared.options;
    // What is being sent waits in the subscriptions' buffers; here is room for one batch.
    let largest_batch = options.buffer_bytes.saturating_mul(4).max(1024 * 1024);
    let upgrade = upgrade
        .protocols([SUBPROTOCOL])
        .read_buffer_size(SOCKET_BUFFER)
        .write_buffer_size(SOCKET_BUFFER)
        .max_write_buffer_size(largest_batch)
        .max_frame_size(options.max_frame_bytes.saturating_mul(POLITENESS))
        .max_message_size(options.max_frame_bytes.saturating_mul(POLITENESS))
        .on_failed_upgrade(|error| tracing::debug!(%error, "websocket upgrade failed"));
    Ok(upgrade.on_upgrade(move |socket| session::run(gateway, client, socket)))
}
