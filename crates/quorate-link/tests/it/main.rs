//! The link against real servers.

mod basics;
mod bounds;
mod close;
mod fault_network;
mod fault_refusals;
mod fault_server;
mod push;
mod support;
mod tls;
