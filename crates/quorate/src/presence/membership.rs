//! A member that is there.

use std::fmt;
use std::sync::Arc;

use super::handle::{Presences, UPDATE, check_info, leave};
use crate::error::Result;
use crate::key::Key;

/// A member on a roster. Dropping it takes the member off in the background.
///
/// The instance renews its lease on the roster for as long as it has members there. Where the lease has
/// ended all the same (the process was paused, the connection was away, the server lost its data) the
/// member joins again by itself as soon as that is possible, and the others see it leave and join.
#[must_use = "dropping the membership leaves the roster"]
pub struct Membership {
    presences: Arc<Presences>,
    key: Key,
    id: String,
    /// Tells this guard from another for the same id.
    guard: u64,
    /// Whether dropping still has to leave.
    leave_on_drop: bool,
}

impl Membership {
    pub(super) fn new(presences: Arc<Presences>, key: Key, id: &str, guard: u64) -> Self {
        Self {
            presences,
            key,
            id: id.to_owned(),
            guard,
            leave_on_drop: true,
        }
    }

    /// The member's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The roster's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.key.name()
    }

    /// Replaces the member's info, and returns when the home has it. `false`: a later join with the same id
    /// has taken over, or the member was taken off by its id; nothing was changed.
    ///
    /// # Errors
    /// `InvalidInput` if the info is too large, and those of the backend. After those the info is replaced
    /// in the background all the same.
    ///
    /// # Cancel safety
    /// When the future is dropped, the info is replaced in the background.
    pub async fn update(&self, info: impl AsRef<[u8]> + Send) -> Result<bool> {
        let named = |error: crate::Error| {
            error
                .with_operation(UPDATE.name)
                .with_target(self.key.name())
        };
        let info = check_info(info.as_ref()).map_err(named)?;
        self.presences.context.check_open().map_err(named)?;
        let replaced = self
            .presences
            .with_existing(&self.key, |seat| seat.replace(&self.id, info, self.guard));
        if replaced == Some(true) {
            self.presences
                .settle(&UPDATE, &self.key, &self.id, |_| ())
                .await?;
        }
        Ok(replaced == Some(true))
    }

    /// Leaves, and returns when that is certain. `false`: a later join with the same id has taken over, or
    /// the member was taken off by its id.
    ///
    /// # Errors
    /// Those of the backend. The member leaves in the background all the same, and with its instance at the
    /// latest.
    ///
    /// # Cancel safety
    /// When the future is dropped, the member leaves in the background.
    pub async fn leave(mut self) -> Result<bool> {
        let left = leave(&self.presences, &self.key, &self.id, Some(self.guard));
        let left = left.await;
        // Only now: a future dropped before its first step leaves it to the guard's drop.
        self.leave_on_drop = false;
        left
    }

    /// Keeps the member there without the guard: until
    /// [`Presence::leave`](super::Presence::leave) names it, or the instance is closed or gone.
    pub fn detach(mut self) {
        self.leave_on_drop = false;
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        if self.leave_on_drop {
            self.presences
                .with_existing(&self.key, |seat| seat.unwant(&self.id, Some(self.guard)));
        }
    }
}

impl fmt::Debug for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Membership")
            .field("name", &self.name())
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
