//! What every port shares.

use tokio::time::Instant;

/// Bounds of a call into a port.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct CallOptions {
    /// When the call must have ended.
    pub deadline: Instant,
    /// The present, where it was read just before the call.
    pub now: Option<Instant>,
}

impl CallOptions {
    /// Ends at `deadline`.
    #[must_use]
    pub const fn until(deadline: Instant) -> Self {
        Self {
            deadline,
            now: None,
        }
    }

    /// Says what the time is: a backend need not read the clock again before its first step.
    #[must_use]
    pub const fn as_of(mut self, now: Instant) -> Self {
        self.now = Some(now);
        self
    }

    /// The same bounds, as the link takes them for any step of a call.
    #[cfg(feature = "redis")]
    pub(crate) fn link(self) -> quorate_link::CallOptions {
        quorate_link::CallOptions::new().deadline(self.deadline)
    }
}
