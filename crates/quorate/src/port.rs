//! What every port shares.

use tokio::time::Instant;

/// Bounds of a call into a port.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct CallOptions {
    /// When the call must have ended.
    pub deadline: Instant,
}

impl CallOptions {
    /// Ends at `deadline`.
    #[must_use]
    pub const fn until(deadline: Instant) -> Self {
        Self { deadline }
    }

    /// The same bounds, as the link takes them.
    #[cfg(feature = "redis")]
    pub(crate) fn link(self) -> quorate_link::CallOptions {
        quorate_link::CallOptions::new().deadline(self.deadline)
    }
}
