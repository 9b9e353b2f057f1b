//! What is there of an entry, fresh or not.

use std::time::Duration;

use super::handle::Cache;
use super::slot::Stored;
use crate::clock::Micros;
use crate::context::{Operation, Repeat};
use crate::entry_key::EntryKey;
use crate::error::Result;

static ENTRY: Operation = Operation::new("cache.entry", "cache", "entry", Repeat::Harmless);

/// What is there of an entry. Made by [`Cache::entry`].
///
/// All times are by the clock of the home, the same for every instance.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheEntry<V> {
    /// The value.
    pub value: V,
    /// When it was stored; 0 for a counter, of which that is not known.
    pub stored_at: Micros,
    /// Time since then; zero for a counter.
    pub age: Duration,
    /// How much longer it is fresh; zero if it is not. A counter is fresh for as long as it is there.
    pub fresh_for: Duration,
    /// What it is about.
    pub tags: Vec<String>,
}

impl<V> CacheEntry<V> {
    /// Whether [`Cache::get`] would give it.
    #[must_use]
    pub const fn is_fresh(&self) -> bool {
        !self.fresh_for.is_zero()
    }

    fn of(value: V, stored: Stored) -> Self {
        let is_counter = stored.stored == Micros::default();
        let age = stored.now.since(stored.stored);
        Self {
            value,
            stored_at: stored.stored,
            age: if is_counter { Duration::ZERO } else { age },
            fresh_for: stored.fresh_until.since(stored.now),
            tags: stored.tags,
        }
    }
}

impl<K: EntryKey + ?Sized, V> Cache<K, V> {
    /// What is there of an entry, also if it is no longer fresh and only kept for when loading fails
    /// ([`fail_safe`](crate::CacheSpec::fail_safe), [`stale_for`](crate::Loaded::stale_for)). One round trip.
    ///
    /// What is stored and is no such value counts as not there.
    ///
    /// # Errors
    /// `InvalidInput` if the key breaks a rule, and those of the backend.
    ///
    /// # Cancel safety
    /// Yes.
    ///
    /// # Example
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> quorate::Result<()> {
    /// use quorate::{CacheSpec, Fleet};
    /// use std::time::Duration;
    ///
    /// const NAMES: CacheSpec<u64, String> = CacheSpec::new("names");
    ///
    /// let names = Fleet::embedded().cache(&NAMES);
    /// names.put(&7, &"Ann".to_owned()).ttl(Duration::from_secs(60)).tags(["user:7"]).await?;
    /// let entry = names.entry(&7).await?.expect("it was put");
    /// assert!(entry.is_fresh() && entry.fresh_for <= Duration::from_secs(60));
    /// assert_eq!((&*entry.value, &*entry.tags), ("Ann", &["user:7".to_owned()][..]));
    /// # Ok(()) }
    /// ```
    pub async fn entry(&self, key: &K) -> Result<Option<CacheEntry<V>>> {
        let key = self.key(key, &ENTRY)?;
        self.inner.known.meters.asked(key.name());
        let keys = std::slice::from_ref(&key);
        let (context, port) = (&self.inner.shared.context, &self.inner.shared.port);
        // As one of several: what is read alone may come without the time.
        let stored = context
            .run_within(self.limits, &ENTRY, key.name(), |attempt| {
                port.get_many(keys, attempt.options())
            })
            .await?;
        let stored = stored.into_iter().next().flatten();
        let entry = stored.and_then(|stored| {
            let value = self.decode(&stored.value)?;
            Some(CacheEntry::of(value, stored))
        });
        self.count_entry(entry.as_ref().map(CacheEntry::is_fresh));
        Ok(entry)
    }

    /// Counts a look at an entry, by whether there was one and it was fresh.
    fn count_entry(&self, found: Option<bool>) {
        let meters = &self.inner.known.meters;
        let counter = match found {
            Some(true) => &meters.hit,
            Some(false) => &meters.stale,
            None => &meters.miss,
        };
        counter.increment(1);
    }
}
