//! Looking for a value before it is loaded.

use super::area::{CacheKey, CacheLook};
use super::early::Ahead;
use super::handle::Cache;
use super::loading::GET_OR_LOAD;
use super::near::NearValues;
use super::read::{Read, ReadKind};
use super::slot::Stored;
use crate::context::Operation;
use crate::entry_key::{EntryKey, with_text};
use crate::error::{Error, ErrorKind, Result};
use crate::hooks::ErrorSource;

/// What a look for a value found.
pub(super) enum Sought<V> {
    /// It is there and fresh.
    Fresh(Read<V>, Ahead),
    /// It has to be loaded. There may be a value that is no longer fresh.
    Missing(Option<Stored>),
}

impl<K: EntryKey + ?Sized, V> Cache<K, V> {
    /// What there is of a value, where that can be told at once. Neither waits nor allocates.
    pub(super) fn at_once(
        &self,
        key: &K,
        operation: &'static Operation,
    ) -> Result<Option<Sought<V>>> {
        if let Some(near) = &self.inner.near {
            return Ok(with_text(key, |name, _| self.look_near(&**near, name)));
        }
        // Where nothing can be told, its key is not even written.
        if !self.inner.shared.port.looks_at_once() {
            return Ok(None);
        }
        let sought = self
            .inner
            .known
            .area
            .with_entry(key, |entry| self.look(entry));
        // What is wrong with a key is told by who asks for it.
        self.looked_at(sought.flatten(), operation)
    }
}

impl<K: ?Sized, V> Cache<K, V> {
    /// The same, of a key that is known already.
    pub(super) fn at_once_of(
        &self,
        key: &CacheKey,
        operation: &'static Operation,
    ) -> Result<Option<Sought<V>>> {
        match &self.inner.near {
            Some(near) => Ok(self.look_near(&**near, key.name())),
            None => self.looked_at(self.look(key.look()), operation),
        }
    }

    fn look_near(&self, near: &dyn NearValues<V>, name: &str) -> Option<Sought<V>> {
        let (value, ahead) = near.get(name)?;
        self.inner.known.meters.asked(name);
        Some(Sought::Fresh(Read::new(value, ReadKind::NearHit), ahead))
    }

    fn look(&self, entry: CacheLook<'_>) -> Option<Sought<V>> {
        let stored = self.inner.shared.port.look(entry)?;
        self.inner.known.meters.asked(entry.name());
        Some(self.understand(stored))
    }

    fn looked_at(
        &self,
        sought: Option<Sought<V>>,
        operation: &'static Operation,
    ) -> Result<Option<Sought<V>>> {
        match sought {
            Some(sought) => self
                .inner
                .shared
                .context
                .at_once(operation)
                .map(|()| Some(sought)),
            None => Ok(None),
        }
    }

    /// Looks for a value: in the process, where values are kept there, and in the backend.
    pub(super) async fn seek(
        &self,
        key: &CacheKey,
        operation: &'static Operation,
    ) -> Result<Sought<V>> {
        self.inner.known.meters.asked(key.name());
        if let Some(near) = &self.inner.near {
            // On the heap: a read that goes past it need not carry it.
            return Box::pin(self.seek_near(&**near, key, operation)).await;
        }
        Ok(self.understand(self.stored(key, operation).await?))
    }

    /// Looks for several, in one round trip.
    pub(super) async fn seek_many(
        &self,
        keys: &[CacheKey],
        operation: &'static Operation,
    ) -> Result<Vec<Sought<V>>> {
        for key in keys {
            self.inner.known.meters.asked(key.name());
        }
        if let Some(near) = &self.inner.near {
            return self.seek_many_near(&**near, keys, operation).await;
        }
        let found = self.stored_many(keys, operation).await?;
        Ok(found.into_iter().map(|one| self.understand(one)).collect())
    }

    /// Looks for a value to load otherwise: what the cache itself cannot do is nobody's failure then.
    pub(super) async fn seek_or_report(&self, key: &CacheKey) -> Result<Sought<V>> {
        let sought = self.or_report(self.seek(key, &GET_OR_LOAD).await)?;
        Ok(sought.unwrap_or(Sought::Missing(None)))
    }

    /// Of several.
    pub(super) async fn seek_many_or_report(&self, keys: &[CacheKey]) -> Result<Vec<Sought<V>>> {
        let sought = self.or_report(self.seek_many(keys, &GET_OR_LOAD).await)?;
        let nothing = || keys.iter().map(|_| Sought::Missing(None)).collect();
        Ok(sought.unwrap_or_else(nothing))
    }

    /// What was stored, if it is fresh and decodes.
    pub(super) fn understand(&self, stored: Option<Stored>) -> Sought<V> {
        match stored {
            Some(stored) if stored.fresh_until > stored.now => match self.decode(&stored.value) {
                Some(value) => Sought::Fresh(Read::new(value, ReadKind::Hit), Ahead::of(&stored)),
                None => Sought::Missing(None),
            },
            old => Sought::Missing(old),
        }
    }

    /// Tells of an error, unless everybody has to know.
    fn or_report<T>(&self, result: Result<T>) -> Result<Option<T>> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error) if matches!(error.kind(), ErrorKind::Closed | ErrorKind::InvalidInput) => {
                Err(error)
            }
            Err(error) => {
                self.report(&error);
                Ok(None)
            }
        }
    }

    /// Tells whoever looks after the service of an error that the caller is spared.
    pub(super) fn report(&self, error: &Error) {
        self.inner
            .shared
            .context
            .hooks
            .error(ErrorSource::Cache, error);
    }
}
