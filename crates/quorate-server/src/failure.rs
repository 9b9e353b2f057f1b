//! How a command ends when it does not succeed.

use std::fmt;
use std::process::ExitCode;

/// What is printed, and the exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    /// Something went wrong.
    pub(crate) const FAILED: u8 = 1;
    /// The input breaks a rule.
    pub(crate) const USAGE: u8 = 2;

    /// There is no such entry, or a condition does not hold.
    pub(crate) const NOT_THERE: u8 = 4;

    /// The input breaks a rule: the message names the field and the rule.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::with_code(Self::USAGE, message)
    }

    /// Something went wrong.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::with_code(Self::FAILED, message)
    }

    pub(crate) fn with_code(code: u8, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    /// The same, after `published` lines of standard input had gone out.
    pub(crate) fn at(self, place: impl fmt::Display, published: u64) -> Self {
        let Self { code, message } = self;
        Self::with_code(
            code,
            format!("{place}: {message} ({published} published before it)"),
        )
    }

    /// The exit code.
    pub(crate) fn code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<quorate::Error> for Failure {
    fn from(error: quorate::Error) -> Self {
        use quorate::ErrorKind::{Config, InvalidInput};
        let message = one_line(&error);
        match error.kind() {
            InvalidInput | Config => Self::usage(message),
            _ => Self::failed(message),
        }
    }
}

/// An error and its causes, for a person. Many a message has its cause in it already.
fn one_line(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !line.contains(&text) {
            line = format!("{line}: {text}");
        }
        source = cause.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate::{Error, ErrorKind};

    #[test]
    fn each_cause_is_told_once() {
        let refused = || std::io::Error::other("connection refused");
        let within = Error::new(ErrorKind::Disconnected)
            .with_message("cannot connect to h: connection refused")
            .with_source(refused());
        let twice = Error::new(ErrorKind::Timeout).with_source(within);
        let line = Failure::from(twice).to_string();
        assert_eq!(line.matches("connection refused").count(), 1, "{line}");

        let apart = Error::new(ErrorKind::Disconnected).with_source(refused());
        let line = Failure::from(apart).to_string();
        assert!(line.ends_with(": connection refused"), "{line}");
    }
}
