//! The client, against a server that follows a script and against the hub.

mod calls;
mod connecting;
mod hub;
mod script;
mod streams;
