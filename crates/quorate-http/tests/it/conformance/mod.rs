//! WebSocket as RFC 6455 has it, byte by byte, on the connections that clients get. What the field's own
//! suite checks beyond this: `cargo xtask conformance`.

mod closing;
mod control;
mod fragments;
mod framing;
mod handshake;
mod raw;
mod subject;
mod text;
mod vanishing;
