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
        // The causes are kept apart from the message; a person wants them in one line.
        let mut message = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            message = format!("{message}: {cause}");
            source = cause.source();
        }
        match error.kind() {
            InvalidInput | Config => Self::usage(message),
            _ => Self::failed(message),
        }
    }
}
