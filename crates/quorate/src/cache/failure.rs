//! Why a load came to nothing, in a form that several can be told.

use std::fmt;
use std::sync::Arc;

use crate::error::{Error, ErrorKind};

/// A loader's own error.
pub(super) type LoaderError = Box<dyn std::error::Error + Send + Sync>;

/// Why a load came to nothing.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    kind: ErrorKind,
    message: Option<String>,
    source: Option<SharedError>,
}

impl Failure {
    /// The loader failed.
    pub(super) fn of_loader(error: LoaderError) -> Self {
        Self {
            kind: ErrorKind::Load,
            message: Some(error.to_string()),
            source: Some(SharedError(error.into())),
        }
    }

    /// The loader failed, somewhere in the fleet.
    pub(super) fn told(message: String) -> Self {
        Self {
            kind: ErrorKind::Load,
            message: Some(message),
            source: None,
        }
    }

    pub(super) fn message(&self) -> &str {
        self.message.as_deref().unwrap_or_default()
    }

    /// What was loaded cannot be used.
    pub(super) fn of_value(error: Error) -> Self {
        let (kind, message, source) = error.into_parts();
        Self {
            kind,
            message,
            source: source.map(|source| SharedError(source.into())),
        }
    }

    /// For one of those who are told.
    pub(super) fn error(&self) -> Error {
        let mut error = Error::new(self.kind);
        if let Some(message) = &self.message {
            error = error.with_message(message);
        }
        match &self.source {
            Some(source) => error.with_source(source.clone()),
            None => error,
        }
    }
}

/// An error that several are told of.
#[derive(Clone)]
struct SharedError(Arc<dyn std::error::Error + Send + Sync>);

impl fmt::Display for SharedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for SharedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for SharedError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}
