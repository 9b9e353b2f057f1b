//! Tracked reads on a server: it says what changes of what was read.
//!
//! Tracking is switched on for a connection by the first tracked read over it. What is read says itself that it is to be tracked, so
//! that other reads of the same connection are not.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use quorate_link::{Link, TrackingSink};

use super::port::Changes;

/// Who is told of changes on a server.
pub(super) struct Tracking {
    link: Link,
    listener: OnceLock<Arc<dyn Changes>>,
    /// The server does not track over the present connection, though it could.
    is_refused: Arc<AtomicBool>,
}

/// Tells the listener of this process's own changes when it is dropped: when they may have been made, whether or not
/// the answer came.
pub(super) struct OwnChange<'t> {
    listener: &'t Arc<dyn Changes>,
    keys: Vec<String>,
}

/// Passes on what the server says.
struct Told {
    listener: Arc<dyn Changes>,
    is_refused: Arc<AtomicBool>,
}

impl Tracking {
    pub(super) fn new(link: Link) -> Self {
        Self {
            link,
            listener: OnceLock::new(),
            is_refused: Arc::default(),
        }
    }

    pub(super) fn listen(&self, listener: Arc<dyn Changes>) {
        if self.listener.set(listener.clone()).is_ok() {
            let is_refused = self.is_refused.clone();
            self.link.track(Arc::new(Told {
                listener,
                is_refused,
            }));
        }
    }

    /// Whether the server tracks what is read, as far as is known.
    pub(super) fn is_worth_trying(&self) -> bool {
        !self.is_refused.load(Ordering::Relaxed)
    }

    /// The server could have tracked what was read, and did not.
    pub(super) fn was_refused(&self) {
        if self.link.can_push() && !self.is_refused.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "the server does not say what changes of what is read (CLIENT TRACKING): near caches keep nothing"
            );
        }
    }

    /// The server would say it to the connection that made the change, but maybe later than it answers.
    pub(super) fn own_change(&self, keys: impl FnOnce() -> Vec<String>) -> Option<OwnChange<'_>> {
        let listener = self.listener.get()?;
        Some(OwnChange {
            listener,
            keys: keys(),
        })
    }
}

impl Drop for OwnChange<'_> {
    fn drop(&mut self) {
        for key in &self.keys {
            self.listener.changed(key.as_bytes());
        }
    }
}

impl TrackingSink for Told {
    fn invalidated(&self, keys: Option<&[Bytes]>) {
        match keys {
            Some(keys) => keys.iter().for_each(|key| self.listener.changed(key)),
            None => self.listener.all_changed(),
        }
    }

    fn disconnected(&self) {
        // Another one may be allowed to.
        self.is_refused.store(false, Ordering::Relaxed);
        self.listener.all_changed();
    }
}

impl fmt::Debug for Tracking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tracking")
    }
}
