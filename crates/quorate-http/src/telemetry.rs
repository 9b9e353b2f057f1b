//! Names of metrics. They are API: renaming one is a breaking change.

/// Counter of requests that reached a cache of responses, by `cache` and `result`: `hit`, `stale`, `revalidated`, `collapsed`
/// (given somebody else's answer), `miss`, `pass` (asked without waiting for others), `bypass` (not for the cache), `failed` (without its
/// backend).
pub const CACHE_REQUESTS: &str = "quorate_http_cache_requests_total";
/// Counter of requests with an idempotency key, by `name` of the layer and `result`: `ran`, `replayed`, `conflict` (still
/// running), `mismatch` (the key is of another request), `failed` (the home could not be asked).
pub const IDEMPOTENT_REQUESTS: &str = "quorate_http_idempotent_requests_total";
/// Counter of responses that could not be kept, by `name` of the layer: sent again, such a request is run again.
pub const IDEMPOTENT_LOST: &str = "quorate_http_idempotent_lost_total";
/// Gauge of connected clients, by `transport` (`sse`, `ws`).
pub const CLIENTS: &str = "quorate_http_clients";
/// Counter of frames sent to clients, by `transport`.
pub const FRAMES: &str = "quorate_http_frames_sent_total";
/// Counter of frames received from clients.
pub const FRAMES_RECEIVED: &str = "quorate_http_frames_received_total";
/// Counter of messages dropped because a client was slower than they came.
pub const DROPPED: &str = "quorate_http_dropped_total";
/// Counter of messages that waited for a client and were replaced by a newer one of a latest-only topic.
pub const REPLACED: &str = "quorate_http_replaced_total";
/// Counter of clients disconnected by the server, by `transport` and `reason` (`slow`, `idle`,
/// `oversized`, `protocol`, `drain`, `closed`, `unauthenticated`, `expired`, `session_ended`, `revoked`, `rate`).
pub const DISCONNECTED: &str = "quorate_http_disconnected_total";
/// Counter of connections refused, by `transport` and `reason` (`full`, `origin`, `access`).
pub const REFUSED: &str = "quorate_http_refused_total";
/// Counter of attempts of the client to connect to a hub, by `result` (`ok`, `failed`).
#[cfg(feature = "client")]
pub const CLIENT_CONNECTIONS: &str = "quorate_client_connections_total";
/// Counter of messages that the client dropped because a subscription's buffer was full.
#[cfg(feature = "client")]
pub const CLIENT_DROPPED: &str = "quorate_client_dropped_total";
/// Counter of messages of a declared `event` that were not sent on, because they cannot be read as its type
/// or break its rule.
pub const MALFORMED: &str = "quorate_http_malformed_total";
/// Counter of requests that were handled, by `type` and `code` (`OK`, or the code of the error).
pub const REQUESTS: &str = "quorate_http_hub_requests_total";

/// How a client is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    WebSocket,
    Sse,
}

impl Transport {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::WebSocket => "ws",
            Self::Sse => "sse",
        }
    }
}

/// What a hub counts, looked up once: many clients pass here with every message.
#[derive(Debug)]
pub(crate) struct Meters {
    pub(crate) received: metrics::Counter,
    pub(crate) dropped: metrics::Counter,
    pub(crate) replaced: metrics::Counter,
    frames: [metrics::Counter; 2],
    clients: [metrics::Gauge; 2],
}

impl Meters {
    pub(crate) fn new() -> Self {
        let transports = [Transport::WebSocket, Transport::Sse].map(Transport::as_str);
        Self {
            received: metrics::counter!(FRAMES_RECEIVED),
            dropped: metrics::counter!(DROPPED),
            replaced: metrics::counter!(REPLACED),
            frames: transports.map(|name| metrics::counter!(FRAMES, "transport" => name)),
            clients: transports.map(|name| metrics::gauge!(CLIENTS, "transport" => name)),
        }
    }

    /// Frames sent to clients.
    pub(crate) fn frames(&self, transport: Transport) -> &metrics::Counter {
        &self.frames[transport as usize]
    }

    /// Clients connected now.
    pub(crate) fn clients(&self, transport: Transport) -> &metrics::Gauge {
        &self.clients[transport as usize]
    }
}

/// Counts a client that the server sent away.
pub(crate) fn disconnected(transport: Transport, reason: &'static str) {
    let transport = transport.as_str();
    metrics::counter!(DISCONNECTED, "transport" => transport, "reason" => reason).increment(1);
}

/// Counts a connection that was refused.
pub(crate) fn refused(transport: Transport, reason: &'static str) {
    let transport = transport.as_str();
    metrics::counter!(REFUSED, "transport" => transport, "reason" => reason).increment(1);
}
