//! What concerns all caches of a namespace.

use super::Fleet;
use crate::cache::CacheFigures;
use crate::error::Result;

impl Fleet {
    /// Ends everything cached in this namespace, in whichever cache, that has one of the tags: once this returns,
    /// nobody reads it any more. It costs the same however much that is.
    ///
    /// # Errors
    /// `InvalidInput` for more than 32 tags, or one that has not 1 to 255 bytes; and those of the backend.
    ///
    /// # Cancel safety
    /// When the future is dropped, some of it may have ended.
    pub async fn invalidate_tags<T: Into<String>>(
        &self,
        tags: impl IntoIterator<Item = T>,
    ) -> Result<()> {
        let tags = tags.into_iter().map(Into::into).collect();
        crate::cache::invalidate_tags(&self.inner.caches, &self.namespace, tags).await
    }

    /// What is known of the caches of this namespace, over all instances that tell
    /// ([`FleetBuilder::tell_caches`](crate::FleetBuilder::tell_caches)), each as of at most
    /// [`tell_caches_every`](crate::FleetBuilder::tell_caches_every) ago.
    ///
    /// An instance that ended is gone from it within its `presence_lease`.
    ///
    /// # Errors
    /// Those of the backend.
    ///
    /// # Cancel safety
    /// Yes.
    pub async fn cache_figures(&self) -> Result<Vec<CacheFigures>> {
        crate::cache::figures(&self.inner.presences, &self.namespace).await
    }
}
