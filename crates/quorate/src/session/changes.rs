//! Changes of fields that are collected now and made later.

use std::fmt;
use std::time::Duration;

use super::field::SessionKey;
use super::partition::Change;
use crate::error::Result;

/// Changes of a session's fields, collected to be made together later. The last one of a field counts.
///
/// For what stands between a handler and the home, such as an HTTP layer that saves once for each request.
///
/// # Example
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> quorate::Result<()> {
/// use quorate::session::SessionChanges;
/// use quorate::{Fleet, SessionKey};
///
/// const CART: SessionKey<Vec<u32>> = SessionKey::new("cart");
///
/// let mut changes = SessionChanges::new();
/// changes.set(&CART, &vec![7])?;
/// assert_eq!(changes.get(&CART)?, Some(Some(vec![7])));
///
/// let sessions = Fleet::embedded().sessions();
/// let id = sessions.create("alice").await?.id;
/// assert!(sessions.update(&id).changes(changes).await?);
/// # Ok(()) }
/// ```
#[derive(Clone, Default)]
pub struct SessionChanges {
    changes: Vec<Change>,
}

impl SessionChanges {
    /// None.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            changes: Vec::new(),
        }
    }

    /// Gives a field a value.
    ///
    /// # Errors
    /// `Encode` if the value cannot be written.
    pub fn set<T>(&mut self, key: &SessionKey<T>, value: &T) -> Result<()> {
        self.add(key.set(value, None)?);
        Ok(())
    }

    /// Gives a field a value, which it has for `ttl` from when the changes are made: at least 1 ms, at most 100
    /// years.
    ///
    /// # Errors
    /// `Encode` if the value cannot be written, `InvalidInput` if the time breaks the rule.
    pub fn set_for<T>(&mut self, key: &SessionKey<T>, value: &T, ttl: Duration) -> Result<()> {
        self.add(key.set(value, Some(ttl))?);
        Ok(())
    }

    /// Takes a field away.
    pub fn remove<T>(&mut self, key: &SessionKey<T>) {
        let name = key.name().to_owned();
        self.add(Change::Remove { name });
    }

    /// What a field will hold: `None` if it is not changed, `Some(None)` if it is taken away.
    ///
    /// # Errors
    /// `Decode` if it was set as another type.
    pub fn get<T>(&self, key: &SessionKey<T>) -> Result<Option<Option<T>>> {
        let is_it = |change: &&Change| change.name() == key.name();
        match self.changes.iter().find(is_it) {
            None => Ok(None),
            Some(Change::Set { value, .. }) => Ok(Some(Some(key.decode(value)?))),
            Some(Change::Remove { .. } | Change::Take { .. }) => Ok(Some(None)),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Whether nothing of them is there when they are made in an empty session.
    #[must_use]
    pub fn sets_nothing(&self) -> bool {
        let sets = |change: &Change| matches!(change, Change::Set { .. });
        !self.changes.iter().any(sets)
    }

    pub(super) fn into_inner(self) -> Vec<Change> {
        self.changes
    }

    fn add(&mut self, change: Change) {
        self.changes
            .retain(|earlier| earlier.name() != change.name());
        self.changes.push(change);
    }
}

impl fmt::Debug for SessionChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What fields hold may be anybody's secret.
        f.debug_set()
            .entries(self.changes.iter().map(Change::name))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNT: SessionKey<u32> = SessionKey::new("count");
    const TEXT: SessionKey<String> = SessionKey::new("count");
    const OTHER: SessionKey<u32> = SessionKey::new("other");

    #[test]
    fn the_last_change_of_a_field_counts() {
        let mut changes = SessionChanges::new();
        assert!(changes.is_empty() && changes.get(&COUNT).unwrap().is_none());
        changes.set(&COUNT, &1).unwrap();
        changes.set(&OTHER, &9).unwrap();
        changes.set_for(&COUNT, &2, Duration::from_secs(1)).unwrap();
        assert_eq!(changes.get(&COUNT).unwrap(), Some(Some(2)));
        changes.get(&TEXT).unwrap_err();
        changes.remove(&COUNT);
        assert_eq!(changes.get(&COUNT).unwrap(), Some(None));
        assert_eq!(changes.into_inner().len(), 2);
    }

    #[test]
    fn a_time_that_breaks_the_rule_changes_nothing() {
        let mut changes = SessionChanges::new();
        changes.set_for(&COUNT, &2, Duration::ZERO).unwrap_err();
        assert!(changes.is_empty());
    }

    #[test]
    fn debug_shows_no_value() {
        let mut changes = SessionChanges::new();
        changes
            .set(&SessionKey::<String>::new("code"), &"s3cret".to_owned())
            .unwrap();
        assert_eq!(format!("{changes:?}"), "{\"code\"}");
    }
}
