//! What our WebSocket connections make of everything that RFC 6455 allows and forbids: the cases of the
//! Autobahn test suite, against an echo on the same connections that clients get.

mod install;
mod report;
mod run;

pub(crate) use run::{Options, run};
