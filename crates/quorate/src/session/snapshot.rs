//! A session as it was when it was read.

use std::fmt;
use std::time::Duration;

use super::field::SessionKey;
use super::id::{IdDigest, SessionHandle};
use super::port::Found;
use crate::clock::Micros;
use crate::error::Result;

/// A session as it was when it was read. It holds nothing that proves the session.
#[derive(Clone, PartialEq)]
pub struct Session {
    handle: SessionHandle,
    found: Found,
    superseded: bool,
}

impl Session {
    /// As it was found by its handle, or by the id with this digest.
    pub(super) fn new(handle: SessionHandle, digest: Option<IdDigest>, mut found: Found) -> Self {
        found.record.drop_ended(found.now);
        let replaced = |digest| digest != found.record.digest;
        Self {
            handle,
            superseded: digest.is_some_and(replaced),
            found,
        }
    }

    /// Its public name.
    #[must_use]
    pub const fn handle(&self) -> SessionHandle {
        self.handle
    }

    /// Whether it was read by an id that was replaced a moment ago: its holder has another, or is about to be told.
    #[must_use]
    pub const fn is_superseded(&self) -> bool {
        self.superseded
    }

    /// Whose it is; `None` for an anonymous one.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.found.record.user.as_deref()
    }

    /// The device it was made on, as its maker said.
    #[must_use]
    pub fn device_info(&self) -> Option<&str> {
        self.found.record.device.as_deref()
    }

    /// When it was made, by the home's clock.
    #[must_use]
    pub const fn created_at(&self) -> Micros {
        self.found.record.created
    }

    /// When it was last used, to a minute or a twentieth of its time to live, whichever is less.
    #[must_use]
    pub const fn seen_at(&self) -> Micros {
        self.found.record.seen
    }

    /// When this was read, by the home's clock. The same as [`seen_at`](Self::seen_at) if that wrote a use down.
    #[must_use]
    pub const fn read_at(&self) -> Micros {
        self.found.now
    }

    /// When it ends unless it is used, by the home's clock.
    #[must_use]
    pub const fn expires_at(&self) -> Micros {
        self.found.record.ends
    }

    /// How long that was away when it was read.
    #[must_use]
    pub const fn expires_in(&self) -> Duration {
        self.found.record.ends.since(self.found.now)
    }

    /// How long it outlives a use.
    #[must_use]
    pub const fn ttl(&self) -> Duration {
        self.found.record.ttl
    }

    /// When it ends however much it is used.
    #[must_use]
    pub const fn ends_at_last(&self) -> Option<Micros> {
        self.found.record.absolute
    }

    /// The value of a field; `None` if there is none.
    ///
    /// # Errors
    /// `Decode` if what is stored is not one of these values.
    pub fn get<T>(&self, key: &SessionKey<T>) -> Result<Option<T>> {
        let field = self.found.record.fields.get(key.name());
        field.map(|field| key.decode(&field.value)).transpose()
    }

    /// The names of its fields, in order.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.found.record.fields.keys().map(String::as_str)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What fields hold may be anybody's secret.
        f.debug_struct("Session")
            .field("handle", &self.handle)
            .field("user", &self.user())
            .field("expires_in", &self.expires_in())
            .field("fields", &self.fields().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}
