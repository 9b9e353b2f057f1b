//! The client, against a server that follows a script and against the hub.

mod calls;
mod connecting;
mod hub;
mod kept;
mod resuming;
mod script;
mod streams;
mod typed;
