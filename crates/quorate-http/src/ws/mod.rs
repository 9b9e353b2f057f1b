//! WebSocket: how a connection becomes a session.

mod asked;
mod session;
mod verbs;

use std::net::SocketAddr;

use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{ConnectInfo, State};
use axum::http::{Extensions, HeaderMap};
use axum::response::Response;

use crate::frame::{Hello, PROTOCOL, millis};
use crate::hub::Hub;
use crate::rejection::Rejection;
use crate::socket::{self, SocketLimits};
use crate::telemetry::Transport;

/// What a client may name as its subprotocol. One that names none gets the newest version.
const SUBPROTOCOL: &str = "quorate.v1";

/// A client's frames are refused politely up to this many times the limit, and beyond it the
/// connection is broken off without looking at them.
const POLITENESS: usize = 4;

/// Whether a client has said who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Authentication {
    /// Nobody asks.
    None,
    /// It has to, before anything else.
    Required,
    Done,
}

impl Authentication {
    const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Required => "required",
            Self::Done => "done",
        }
    }
}

pub(crate) async fn route(
    State(hub): State<Hub>,
    headers: HeaderMap,
    extensions: Extensions,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Rejection> {
    hub.check_origin(&headers, Transport::WebSocket)?;
    let upgrade = upgrade?;
    let address = extensions
        .get::<ConnectInfo<SocketAddr>>()
        .map(|info| info.0);
    // Before the hook is asked: whoever waits for it counts.
    let place = hub.admit(Transport::WebSocket)?;
    let known = hub
        .identify(&headers, address, Transport::WebSocket)
        .await?;
    let authentication = match known {
        Some(_) => Authentication::Done,
        None if hub.shared.gatekeeper.required() => Authentication::Required,
        None => Authentication::None,
    };
    let options = &hub.shared.options;
    let limits = SocketLimits {
        message_bytes: options.max_frame_bytes.saturating_mul(POLITENESS),
        // What waits, waits in the outbox. A frame handed over is taken, however large it is.
        unsent_bytes: usize::MAX,
    };
    let upgrade = socket::configure(upgrade, limits).protocols([SUBPROTOCOL]);
    Ok(upgrade.on_upgrade(move |socket| {
        let connected = place.take(&hub, address, known, |client| {
            let options = &hub.shared.options;
            let hello = Hello {
                event: "hello",
                protocol: PROTOCOL,
                client: &client.id,
                instance: hub.shared.fleet.service(),
                authentication: authentication.as_str(),
                heartbeat_ms: millis(options.heartbeat),
                max_subscriptions: options.max_subscriptions,
                max_frame_bytes: options.max_frame_bytes,
                max_requests: options.max_requests,
            };
            Some(hello.to_text())
        });
        session::run(hub, connected, authentication, socket)
    }))
}
