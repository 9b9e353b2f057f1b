//! A cache that knows how to load what is not there.

use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{StreamExt, TryStreamExt, iter};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::area::CacheKey;
use super::early::Ahead;
use super::failure::LoaderError;
use super::flight::{Lead, Role};
use super::handle::Cache;
use super::loaded::Loaded;
use super::loading::{GET_OR_LOAD, Loading};
use super::read::{Read, StaleReason};
use super::seek::Sought;
use super::slot::{Stored, Wish};
use crate::clock::after;
use crate::entry_key::EntryKey;
use crate::error::{Error, ErrorKind, Outcome, Result};

/// Loads of one call for several that are under way at a time.
const AT_A_TIME: usize = 64;

type Load<K, V> = dyn Fn(<K as ToOwned>::Owned) -> BoxFuture<'static, Result<Loaded<V>, LoaderError>>
    + Send
    + Sync;

/// A cache with its loader: what is not there is loaded, by a task of the fleet's own. Made by
/// [`Cache::with_loader`].
///
/// A load goes on when the one who asked stops waiting, and is kept for the next one; a failure that nobody waits for any
/// more goes to `on_error`. `fleet.close()` ends it.
///
/// # Clone
/// Cheap; clones are the same cache.
///
/// # Concurrent calls
/// As of [`Cache::get_or_load`], with which it shares its loads: one per key in the fleet.
///
/// # Example
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> quorate::Result<()> {
/// use quorate::{CacheSpec, Fleet};
/// use std::time::Duration;
///
/// const NAMES: CacheSpec<u64, String> = CacheSpec::new("names")
///     .ttl(Duration::from_secs(60))
///     .fail_safe(Duration::from_secs(3600));
///
/// async fn load(id: u64) -> Result<String, std::io::Error> {
///     Ok(format!("user {id}")) // from the database
/// }
///
/// let names = Fleet::embedded()
///     .cache(&NAMES)
///     .with_loader(load)
///     .soft_timeout(Duration::from_millis(100)) // then the old name, if there is one
///     .hard_timeout(Duration::from_secs(2));
/// assert_eq!(names.get(&7).await?, "user 7");
/// # Ok(()) }
/// ```
pub struct LoadingCache<K: ToOwned + ?Sized, V> {
    cache: Cache<K, V>,
    load: Arc<Load<K, V>>,
    patience: Patience,
}

/// How long a caller waits for a load.
#[derive(Clone, Copy, Debug, Default)]
struct Patience {
    soft: Option<Duration>,
    hard: Option<Duration>,
}

impl Patience {
    /// How long, if there is an old value or not.
    fn with_old(self, is_old_there: bool) -> Option<Duration> {
        let soft = self.soft.filter(|_| is_old_there);
        soft.into_iter().chain(self.hard).min()
    }
}

impl<K: ToOwned + ?Sized, V> Cache<K, V> {
    /// This cache, with how to load what is not there.
    ///
    /// `load` gives a value, or a [`Loaded`] that says how it is kept. A panic in it is an error of the load. It must not
    /// ask for the same entry: it would wait for itself.
    pub fn with_loader<F, Fut, L, E>(&self, load: F) -> LoadingCache<K, V>
    where
        F: Fn(K::Owned) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<L, E>> + Send + 'static,
        K::Owned: Send + 'static,
        L: Into<Loaded<V>>,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let load = Arc::new(load);
        LoadingCache {
            cache: self.clone(),
            load: Arc::new(move |key| {
                let load = load.clone();
                // A panic in the background would leave those who wait without an answer.
                let loading = AssertUnwindSafe(async move { load(key).await }).catch_unwind();
                Box::pin(async move {
                    match loading.await {
                        Ok(loaded) => loaded.map(Into::into).map_err(Into::into),
                        Err(_) => Err("the loader panicked".into()),
                    }
                })
            }),
            patience: Patience::default(),
        }
    }
}

impl<K: ToOwned + ?Sized, V> LoadingCache<K, V> {
    /// How long a caller waits for a new value where an old one is there: then it is given the old one, as
    /// [`ReadKind::Stale`](crate::ReadKind::Stale), and the load goes on. Zero: it does not wait at all. Old values are there for as long as
    /// [`fail_safe`](crate::CacheSpec::fail_safe) says. Default: as long as the load takes.
    #[must_use]
    pub fn soft_timeout(mut self, time: Duration) -> Self {
        self.patience.soft = Some(time);
        self
    }

    /// How long a caller waits at most: then it is given the old value where there is one, and otherwise
    /// [`ErrorKind::Timeout`]; the load goes on. Default: as long as the load takes.
    #[must_use]
    pub fn hard_timeout(mut self, time: Duration) -> Self {
        self.patience.hard = Some(time);
        self
    }

    /// The cache, for everything else.
    #[must_use]
    pub const fn cache(&self) -> &Cache<K, V> {
        &self.cache
    }
}

impl<K, V> LoadingCache<K, V>
where
    K: EntryKey + ToOwned + ?Sized + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// The value of an entry, loaded if there is none.
    ///
    /// # Errors
    /// `InvalidInput` with the field and the rule, before anything is asked for; [`ErrorKind::Load`] with the loader's own
    /// error as its source; `Timeout` where a [`hard_timeout`](Self::hard_timeout) is set; `Encode`; `Closed`. The
    /// cache's own failures are not errors here: the value is loaded all the same, and they go to `on_error`.
    ///
    /// # Cancel safety
    /// Yes. A load goes on.
    pub async fn get(&self, key: &K) -> Result<V> {
        Ok(self.read(key).await?.value)
    }

    /// [`get`](Self::get), with how the value came about.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    ///
    /// # Cancel safety
    /// As [`get`](Self::get).
    pub async fn read(&self, key: &K) -> Result<Read<V>> {
        let at_once = self.cache.at_once(key, &GET_OR_LOAD)?;
        if let Some(Sought::Fresh(read, ahead)) = at_once {
            self.refresh_early(key, ahead);
            self.cache.count(read.kind);
            return Ok(read);
        }
        let entry = self.cache.key(key, &GET_OR_LOAD)?;
        let began = Instant::now();
        let sought = match at_once {
            Some(missing) => missing,
            None => {
                let seeking = self.cache.seek_or_report(&entry);
                self.in_time(began, &entry, seeking).await?
            }
        };
        self.settle(key, entry, sought, began).await
    }

    /// The values of several entries, in the order of the keys: those that are there in one round trip, the others
    /// loaded, at most 64 at a time. They are not of one moment.
    ///
    /// # Errors
    /// As [`get`](Self::get), for the first that fails; `InvalidInput` for more than 10 000 keys.
    ///
    /// # Cancel safety
    /// As [`get`](Self::get).
    pub async fn get_many<'k, I>(&self, keys: I) -> Result<Vec<V>>
    where
        I: IntoIterator<Item = &'k K>,
        K: 'k,
    {
        let keys: Vec<&K> = keys.into_iter().collect();
        let entries: Result<Vec<_>> = keys
            .iter()
            .map(|key| self.cache.key(key, &GET_OR_LOAD))
            .collect();
        let (entries, began) = (entries?, Instant::now());
        let Some(first) = entries.first() else {
            return Ok(Vec::new());
        };
        let seeking = self.cache.seek_many_or_report(&entries);
        let sought = self.in_time(began, first, seeking).await?;
        let mut settling: Vec<BoxFuture<'_, _>> = Vec::with_capacity(keys.len());
        for ((key, entry), sought) in keys.into_iter().zip(entries).zip(sought) {
            settling.push(Box::pin(self.settle(key, entry, sought, began)));
        }
        let values: Vec<Read<V>> = iter(settling).buffered(AT_A_TIME).try_collect().await?;
        Ok(values.into_iter().map(|read| read.value).collect())
    }

    /// Loads the value of an entry, also if there is one that is fresh, which others read until then. If it is being loaded
    /// already, that is waited for.
    ///
    /// # Errors
    /// As [`get`](Self::get). When the load fails, what is there stays; an old value is no answer.
    ///
    /// # Cancel safety
    /// As [`get`](Self::get).
    pub async fn refresh(&self, key: &K) -> Result<V> {
        let entry = self.cache.key(key, &GET_OR_LOAD)?;
        let loading = self.loading(entry, Wish::Anew);
        let loaded = self.load(&loading, key);
        let read = match self.patience.with_old(false) {
            None => loaded.await,
            Some(patience) => tokio::time::timeout(patience, loaded)
                .await
                .unwrap_or_else(|_| Err(too_slow(&loading.key, patience))),
        }?;
        self.cache.count(read.kind);
        Ok(read.value)
    }

    /// Looks for what is there, for as long as the caller waits where there is nothing.
    async fn in_time<T>(
        &self,
        began: Instant,
        key: &CacheKey,
        seeking: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let Some(patience) = self.patience.with_old(false) else {
            return seeking.await;
        };
        tokio::time::timeout_at(after(began, patience), seeking)
            .await
            .unwrap_or_else(|_| Err(too_slow(key, patience)))
    }

    /// The value that was looked for, loaded if it has to be.
    async fn settle(
        &self,
        key: &K,
        entry: CacheKey,
        sought: Sought<V>,
        began: Instant,
    ) -> Result<Read<V>> {
        let read = match sought {
            Sought::Fresh(read, ahead) => {
                self.refresh_early(key, ahead);
                read
            }
            Sought::Missing(old) => self.load_patiently(key, entry, old, began).await?,
        };
        self.cache.count(read.kind);
        Ok(read)
    }

    fn loading(&self, key: CacheKey, wish: Wish) -> Arc<Loading<K, V>> {
        Arc::new(Loading {
            cache: self.cache.clone(),
            key,
            terms: self.cache.terms(),
            wish,
            bound: None,
        })
    }

    /// Begins to load what is still fresh, if it is time to and nobody does.
    fn refresh_early(&self, key: &K, ahead: Ahead) {
        let beta = self.cache.inner.spec.early;
        if beta > 0.0
            && ahead.is_due(beta, rand::random())
            && let Ok(entry) = self.cache.entry_key(key)
        {
            let loading = self.loading(entry, Wish::Early(ahead.stored));
            if let Role::Lead(lead) = loading.join() {
                // Nobody waits for it.
                drop(self.begin(&loading, lead, key));
            }
        }
    }

    /// Loads, for as long as the caller waits.
    async fn load_patiently(
        &self,
        key: &K,
        entry: CacheKey,
        old: Option<Stored>,
        began: Instant,
    ) -> Result<Read<V>> {
        let loading = self.loading(entry, Wish::Value);
        let loaded = self.load(&loading, key);
        if self.patience.with_old(true).is_none() {
            return loaded.await;
        }
        let old = old.and_then(|old| Some((self.cache.decode(&old.value)?, old)));
        let Some(patience) = self.patience.with_old(old.is_some()) else {
            return loaded.await;
        };
        match tokio::time::timeout_at(after(began, patience), loaded).await {
            Ok(read) => read,
            Err(_) => match old {
                Some((value, old)) => Ok(Read::kept(value, &old, StaleReason::Slow)),
                None => Err(too_slow(&loading.key, patience)),
            },
        }
    }

    /// What the load under way comes to, which is begun if there is none.
    async fn load(&self, loading: &Arc<Loading<K, V>>, key: &K) -> Result<Read<V>> {
        loop {
            match loading.join() {
                Role::Lead(lead) => {
                    // An answer that does not come was ended with the fleet.
                    let told = self.begin(loading, lead, key).await;
                    return told.unwrap_or_else(|_| Err(Error::closed("the fleet")));
                }
                Role::Follow(follow) => {
                    if let Some(read) = loading.follow(follow).await {
                        return read;
                    }
                }
            }
        }
    }

    /// Loads in the background.
    fn begin(
        &self,
        loading: &Arc<Loading<K, V>>,
        lead: Lead,
        key: &K,
    ) -> oneshot::Receiver<Result<Read<V>>> {
        let (tell, told) = oneshot::channel();
        let load = (self.load)(key.to_owned());
        let loading = loading.clone();
        let context = &self.cache.inner.shared.context;
        let closed = context.closed().clone();
        context.spawn(async move {
            let read = tokio::select! {
                read = loading.lead(lead, load) => read,
                () = closed.cancelled() => return,
            };
            if let Err(Err(error)) = tell.send(read) {
                // Nobody waits any more.
                loading.cache.report(&error);
            }
        });
        told
    }
}

fn too_slow(key: &CacheKey, patience: Duration) -> Error {
    Error::new(ErrorKind::Timeout)
        .with_operation(GET_OR_LOAD.name)
        .with_target(key.name())
        .with_message(format!("the load takes longer than {patience:?}"))
        // It goes on.
        .with_outcome(Outcome::Unknown)
}

impl<K: ToOwned + ?Sized, V> Clone for LoadingCache<K, V> {
    fn clone(&self) -> Self {
        Self {
            cache: self.cache.clone(),
            load: self.load.clone(),
            patience: self.patience,
        }
    }
}

impl<K: ToOwned + ?Sized, V> fmt::Debug for LoadingCache<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadingCache")
            .field("cache", &self.cache)
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}
