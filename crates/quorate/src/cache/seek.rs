//! Looking for a value before it is loaded.

use super::area::CacheKey;
use super::early::Ahead;
use super::handle::Cache;
use super::loading::GET_OR_LOAD;
use super::read::{Read, ReadKind};
use super::slot::Stored;
use crate::context::Operation;
use crate::error::{Error, ErrorKind, Result};
use crate::hooks::ErrorSource;

/// What a look for a value found.
pub(super) enum Sought<V> {
    /// It is there and fresh.
    Fresh(Read<V>, Ahead),
    /// It has to be loaded. There may be a value that is no longer fresh.
    Missing(Option<Stored>),
}

impl<K: ?Sized, V> Cache<K, V> {
    /// Looks for a value: in the process, where values are kept there, and in the backend.
    pub(super) async fn seek(
        &self,
        key: &CacheKey,
        operation: &'static Operation,
    ) -> Result<Sought<V>> {
        self.known.meters.asked(key.name());
        if let Some(near) = &self.near {
            return self.seek_near(&**near, key, operation).await;
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
            self.known.meters.asked(key.name());
        }
        if let Some(near) = &self.near {
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
        self.shared.context.hooks.error(ErrorSource::Cache, error);
    }
}
