//! Names of metrics. They are API: renaming one is a breaking change.

/// Gauge of connected clients, by `transport` (`sse`, `ws`).
pub const CLIENTS: &str = "quorate_http_clients";
/// Counter of frames sent to clients, by `transport`.
pub const FRAMES: &str = "quorate_http_frames_sent_total";
/// Counter of clients disconnected by the server, by `transport` and `reason` (`slow`, `idle`,
/// `oversized`, `protocol`, `drain`, `closed`).
pub const DISCONNECTED: &str = "quorate_http_disconnected_total";
/// Counter of connections refused, by `transport` and `reason` (`full`, `origin`).
pub const REFUSED: &str = "quorate_http_refused_total";
