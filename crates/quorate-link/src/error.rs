//! What can go wrong on the link, and what is known about the command it happened to.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

/// What is known about the effect of an operation that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a third answer cannot exist: either it certainly did not happen, or we cannot say"
)]
pub enum Outcome {
    /// The operation certainly had no effect; repeating it is safe.
    NotApplied,
    /// The operation may or may not have had its effect; repeat it only if it is idempotent.
    Unknown,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotApplied => "not applied",
            Self::Unknown => "outcome unknown",
        })
    }
}

/// The class of a [`LinkError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LinkErrorKind {
    /// There was no usable connection until the deadline, or at once under
    /// [`WhenUnavailable::FailNow`](crate::WhenUnavailable::FailNow).
    Disconnected,
    /// The limit on commands or bytes in flight was reached and no room appeared in time.
    Overloaded,
    /// The command was sent and its reply did not arrive in time; or, with
    /// [`Outcome::NotApplied`], its deadline had passed before it was sent.
    Timeout,
    /// The connection broke after the command was handed to it.
    ConnectionLost,
    /// The server answered with an error; see [`LinkError::server_code`].
    Server,
    /// The peer sent something that is not RESP, or a reply beyond the configured limits.
    Protocol,
    /// The link was closed, or gave up because its reconnect policy said so.
    Closed,
    /// The configuration or an argument is invalid; the message names the field and the rule.
    Config,
    /// The server is too old or lacks what the link needs; the message says what to do.
    Unsupported,
    /// The TLS handshake failed or the certificate was refused.
    Tls,
    /// The server refused the credentials.
    Auth,
    /// A connection could not be established within the connect timeout.
    ConnectTimeout,
}

impl LinkErrorKind {
    /// A stable lower-case name, for metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disconnected => "disconnected",
            Self::Overloaded => "overloaded",
            Self::Timeout => "timeout",
            Self::ConnectionLost => "connection_lost",
            Self::Server => "server",
            Self::Protocol => "protocol",
            Self::Closed => "closed",
            Self::Config => "config",
            Self::Unsupported => "unsupported",
            Self::Tls => "tls",
            Self::Auth => "auth",
            Self::ConnectTimeout => "connect_timeout",
        }
    }
}

impl fmt::Display for LinkErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An error of the link.
///
/// # Clone
/// Cheap: one broken connection hands the same error to every command it carried.
#[derive(Clone)]
pub struct LinkError {
    inner: Arc<Inner>,
    // Beside the Arc, because commands of one lost connection share the rest but differ in this.
    outcome: Outcome,
}

struct Inner {
    kind: LinkErrorKind,
    message: Cow<'static, str>,
    code: Option<Box<str>>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl LinkError {
    pub(crate) fn new(
        kind: LinkErrorKind,
        outcome: Outcome,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                kind,
                message: message.into(),
                code: None,
                source: None,
            }),
            outcome,
        }
    }

    pub(crate) fn with_source(
        kind: LinkErrorKind,
        outcome: Outcome,
        message: impl Into<Cow<'static, str>>,
        source: impl StdError + Send + Sync + 'static,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                kind,
                message: message.into(),
                code: None,
                source: Some(Arc::new(source)),
            }),
            outcome,
        }
    }

    /// An error reply: `line` is what the server sent after the `-`.
    pub(crate) fn server(line: &[u8], script: bool) -> Self {
        let text = String::from_utf8_lossy(line).into_owned();
        let code = crate::server_code::code_of(&text);
        let outcome = crate::server_code::outcome(code, script);
        let code = Some(Box::from(code));
        Self {
            inner: Arc::new(Inner {
                kind: LinkErrorKind::Server,
                message: text.into(),
                code,
                source: None,
            }),
            outcome,
        }
    }

    pub(crate) fn config(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(LinkErrorKind::Config, Outcome::NotApplied, message)
    }

    pub(crate) fn closed() -> Self {
        Self::new(
            LinkErrorKind::Closed,
            Outcome::NotApplied,
            "the link is closed",
        )
    }

    /// The same error with another outcome: one lost connection, many commands.
    pub(crate) fn with_outcome(&self, outcome: Outcome) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            outcome,
        }
    }

    /// The class of this error.
    #[must_use]
    pub fn kind(&self) -> LinkErrorKind {
        self.inner.kind
    }

    /// What is known about the effect of the command.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// Whether the condition may pass by itself, so that trying again later can succeed.
    ///
    /// This says nothing about safety: whether a repetition may do the work twice is what
    /// [`outcome`](Self::outcome) answers.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self.inner.kind {
            LinkErrorKind::Disconnected
            | LinkErrorKind::Overloaded
            | LinkErrorKind::Timeout
            | LinkErrorKind::ConnectionLost
            | LinkErrorKind::ConnectTimeout => true,
            LinkErrorKind::Server => self
                .server_code()
                .is_some_and(crate::server_code::is_transient),
            LinkErrorKind::Protocol
            | LinkErrorKind::Closed
            | LinkErrorKind::Config
            | LinkErrorKind::Unsupported
            | LinkErrorKind::Tls
            | LinkErrorKind::Auth => false,
        }
    }

    /// The code of an error reply, such as `"READONLY"`; `None` unless the server answered.
    #[must_use]
    pub fn server_code(&self) -> Option<&str> {
        self.inner.code.as_deref()
    }

    /// The message without the class in front: for an error reply, the server's own line.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.inner.message
    }
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.inner.kind {
            LinkErrorKind::Server => write!(f, "the server answered: {}", self.inner.message),
            _ => f.write_str(&self.inner.message),
        }
    }
}

impl fmt::Debug for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkError")
            .field("kind", &self.inner.kind)
            .field("outcome", &self.outcome)
            .field("message", &self.inner.message)
            .field("source", &self.inner.source)
            .finish()
    }
}

impl StdError for LinkError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.inner
            .source
            .as_deref()
            .map(|s| s as &(dyn StdError + 'static))
    }
}
