//! Reading by way of what is kept in the process.

use super::values::{NearValues, Terms};
use super::versions::Seen;
use crate::cache::area::CacheKey;
use crate::cache::handle::Cache;
use crate::cache::port::Tracked;
use crate::cache::read::{Read, ReadKind};
use crate::cache::seek::Sought;
use crate::context::Operation;
use crate::error::Result;

/// Entries that are asked for at once, beyond which they are not kept: one sweep over everything must not put out what is
/// read often, and not hold up the connection that says what changes.
const FEW: usize = 64;

impl<K: ?Sized, V> Cache<K, V> {
    /// A value that is kept in the process, or in the backend; then it is kept in the process from now on.
    pub(in crate::cache) async fn seek_near(
        &self,
        near: &dyn NearValues<V>,
        key: &CacheKey,
        operation: &'static Operation,
    ) -> Result<Sought<V>> {
        let keys = std::slice::from_ref(key);
        let sought = self.seek_many_near(near, keys, operation).await?;
        Ok(sought.into_iter().next().unwrap_or(Sought::Missing(None)))
    }

    pub(in crate::cache) async fn seek_many_near(
        &self,
        near: &dyn NearValues<V>,
        keys: &[CacheKey],
        operation: &'static Operation,
    ) -> Result<Vec<Sought<V>>> {
        let near_hit = |key: &CacheKey| match near.get(key.name()) {
            Some((value, ahead)) => Sought::Fresh(Read::new(value, ReadKind::NearHit), ahead),
            None => Sought::Missing(None),
        };
        let mut sought: Vec<_> = keys.iter().map(near_hit).collect();
        let is_missing = |at: &usize| matches!(sought[*at], Sought::Missing(_));
        let missing: Vec<usize> = (0..keys.len()).filter(is_missing).collect();
        let asked: Vec<CacheKey> = missing.iter().map(|at| keys[*at].clone()).collect();
        let answers = match asked.len() {
            0 => Vec::new(),
            1..=FEW => self.ask(near, &asked, operation).await?,
            _ => {
                let stored = self.stored_many(&asked, operation).await?;
                stored.into_iter().map(|one| self.understand(one)).collect()
            }
        };
        for (at, answer) in missing.into_iter().zip(answers) {
            sought[at] = answer;
        }
        Ok(sought)
    }

    /// Asks the backend, and keeps what it says it will tell changes of.
    async fn ask(
        &self,
        near: &dyn NearValues<V>,
        keys: &[CacheKey],
        operation: &'static Operation,
    ) -> Result<Vec<Sought<V>>> {
        let versions = self.inner.shared.versions();
        self.inner.shared.keep_near();
        // Before it is asked for: what changes from here on is noticed.
        let look = |key: &CacheKey| versions.look(key.entry().as_bytes(), key.tags().as_bytes());
        let seen: Vec<Seen> = keys.iter().map(look).collect();
        let (context, port) = (&self.inner.shared.context, &self.inner.shared.port);
        let target = keys.first().map_or_else(|| self.name(), CacheKey::name);
        let tracked = context
            .run_within(self.limits, operation, target, |attempt| {
                port.get_tracked(keys, attempt.options())
            })
            .await?;
        if let Some(first) = seen.first()
            && tracked.iter().all(|tracked| tracked.is_told)
        {
            versions.confirm(first.at());
        }
        let kept = |((key, seen), tracked): ((&CacheKey, Seen), Tracked)| {
            let terms = tracked.stored.as_ref().map(Terms::of);
            let sought = self.understand(tracked.stored);
            if let (Sought::Fresh(read, _), Some(terms), true) = (&sought, terms, tracked.is_told) {
                near.keep(key.name(), &read.value, terms, seen);
            }
            sought
        };
        Ok(keys.iter().zip(seen).zip(tracked).map(kept).collect())
    }
}
