//! Whether the client is connected.

use tokio::time::Instant;

use super::error::ClientError;

/// Whether the client is connected, and what it does about it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ClientState {
    /// A connection is being made.
    Connecting,
    /// Connected, and authenticated where the server asks for it.
    Ready,
    /// There is no connection, and the next attempt begins at a set time.
    #[non_exhaustive]
    Waiting {
        /// When.
        until: Instant,
        /// Why the last connection ended, or could not be made.
        error: ClientError,
    },
    /// Over for good.
    #[non_exhaustive]
    Closed {
        /// Why, if nobody asked for it: the server does not want this client back, or wants it to say who
        /// it is and there is no token.
        error: Option<ClientError>,
    },
}

impl ClientState {
    /// Whether it is [`Ready`](Self::Ready).
    #[must_use]
    pub const fn is_ready(&self) -> bool {
        matches!(self, Self::Ready)
    }

    /// Whether it is [`Closed`](Self::Closed).
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        matches!(self, Self::Closed { .. })
    }
}
