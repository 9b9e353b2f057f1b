//! The link: its decoder against arbitrary bytes, and all of it against real servers.

#![allow(
    clippy::unwrap_used,
    reason = "an unwrap in vain fails the test, as it should"
)]

mod basics;
mod bounds;
mod close;
mod decoder;
mod fault_network;
mod fault_refusals;
mod fault_server;
mod frames;
mod old_server;
mod oracle;
mod push;
mod support;
mod tls;
mod tracking;
