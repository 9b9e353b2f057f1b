//! From the link's errors and replies to ours.

use std::time::Duration;

use quorate_link::{Frame, LinkError, LinkErrorKind};

use crate::clock::whole_micros;
use crate::error::{Error, ErrorKind, Outcome, Result};

/// An error of the link in this crate's terms. Nothing is lost: the link's error is the source.
pub(crate) fn from_link(error: LinkError) -> Error {
    let kind = match error.kind() {
        LinkErrorKind::Disconnected | LinkErrorKind::ConnectTimeout | LinkErrorKind::Tls => {
            ErrorKind::Disconnected
        }
        LinkErrorKind::Overloaded => ErrorKind::Overloaded,
        LinkErrorKind::Timeout => ErrorKind::Timeout,
        LinkErrorKind::ConnectionLost => ErrorKind::ConnectionLost,
        LinkErrorKind::Server => ErrorKind::Backend,
        LinkErrorKind::Protocol => ErrorKind::Protocol,
        LinkErrorKind::Closed => ErrorKind::Closed,
        LinkErrorKind::Config => ErrorKind::Config,
        LinkErrorKind::Unsupported => ErrorKind::Unsupported,
        LinkErrorKind::Auth => ErrorKind::Auth,
        _ => ErrorKind::Backend,
    };
    let outcome = match error.outcome() {
        quorate_link::Outcome::NotApplied => Outcome::NotApplied,
        quorate_link::Outcome::Unknown => Outcome::Unknown,
    };
    let built = Error::new(kind)
        .with_outcome(outcome)
        .with_retryable(error.is_retryable())
        .with_message(error.message());
    let built = match error.server_code() {
        Some(code) => built.with_code(code),
        None => built,
    };
    built.with_source(error)
}

/// The error for a reply of a shape that its command never has.
///
/// The command was carried out by then, so its effect is not known to be none.
pub(crate) fn unexpected(reply: &Frame) -> Error {
    Error::new(ErrorKind::Protocol)
        .with_outcome(Outcome::Unknown)
        .with_message(format!("unexpected reply: {}", shape(reply)))
}

/// A reply that is 0 or 1.
pub(crate) fn flag(reply: &Frame) -> Result<bool> {
    match reply.as_int() {
        Some(0) => Ok(false),
        Some(1) => Ok(true),
        _ => Err(unexpected(reply)),
    }
}

/// A duration as scripts take it.
pub(crate) fn micros(duration: Duration) -> String {
    whole_micros(duration).to_string()
}

/// The kind of a reply; its content may be anybody's data and stays out of messages.
fn shape(reply: &Frame) -> &'static str {
    match reply {
        Frame::Null => "null",
        Frame::Integer(_) => "an integer",
        Frame::Bulk(_) | Frame::Simple(_) => "a string",
        Frame::Array(_) => "an array",
        _ => "of another type",
    }
}
