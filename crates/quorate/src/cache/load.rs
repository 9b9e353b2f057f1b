//! A value loaded by its caller, if there is none.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::area::CacheKey;
use super::handle::Cache;
use super::loaded::Loaded;
use super::loading::{GET_OR_LOAD, Loading, WaitBound};
use super::put::Terms;
use super::read::Read;
use super::seek::Sought;
use super::slot::Wish;
use crate::error::{Error, Result};

/// The value of an entry, loaded if there is none. Made by [`Cache::get_or_load`].
///
/// # Errors
/// `InvalidInput` with the field and the rule, before anything is asked for; [`ErrorKind::Load`](crate::ErrorKind::Load) with the loader's own
/// error as its source; `Encode`. The cache's own failures are not errors here: the value is loaded all the same, and
/// they go to `on_error`.
///
/// # Cancel safety
/// When the future is dropped, the load ends, and somebody else who waits for it loads.
#[must_use = "nothing is read or loaded until it is awaited"]
pub struct GetOrLoad<'a, K: ?Sized, V, F> {
    cache: Cache<K, V>,
    key: Result<CacheKey>,
    load: F,
    terms: Terms,
    wish: Wish,
    patience: Option<Duration>,
    lives: PhantomData<&'a ()>,
}

impl<'a, K: ?Sized, V, F> GetOrLoad<'a, K, V, F> {
    pub(super) fn new(cache: Cache<K, V>, key: Result<CacheKey>, load: F) -> Self {
        let terms = cache.terms();
        Self {
            cache,
            key,
            load,
            terms,
            wish: Wish::Value,
            patience: None,
            lives: PhantomData,
        }
    }

    /// How long a loaded value is fresh, instead of what the spec says: at least 1 ms, at most a year.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.terms.ttl = ttl;
        self
    }

    /// What a loaded value is about. Invalidating one of the tags ends it. At most 32, of 1 to 255 bytes each.
    pub fn tags<T: Into<String>>(mut self, tags: impl IntoIterator<Item = T>) -> Self {
        self.terms.tags.extend(tags.into_iter().map(Into::into));
        self
    }

    /// Loads also where there is a fresh value, unless somebody does already. What is there stays until there is a new one.
    pub fn anew(mut self) -> Self {
        self.wish = Wish::Anew;
        self
    }

    /// How long it waits for somebody else's load, in this process and in others: then it is
    /// [`ErrorKind::Timeout`](crate::ErrorKind::Timeout), and this call has loaded nothing. Zero: it does not wait at all. How long its own
    /// load takes is not bounded by it. Default: as long as the load takes.
    ///
    /// # Example
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> quorate::Result<()> {
    /// use quorate::{CacheSpec, ErrorKind, Fleet};
    /// use std::time::Duration;
    ///
    /// const NAMES: CacheSpec<u64, String> = CacheSpec::new("names");
    ///
    /// let names = Fleet::embedded().cache(&NAMES);
    /// let name = names.get_or_load(&7, async {
    ///     // Somebody else asks while this one loads.
    ///     let other = async { Ok::<_, std::io::Error>("Bob".to_owned()) };
    ///     let asked = names.get_or_load(&7, other).wait_at_most(Duration::ZERO).await;
    ///     assert_eq!(asked.unwrap_err().kind(), ErrorKind::Timeout);
    ///     Ok::<_, std::io::Error>("Ann".to_owned())
    /// });
    /// assert_eq!(name.await?, "Ann");
    /// # Ok(()) }
    /// ```
    pub fn wait_at_most(mut self, time: Duration) -> Self {
        self.patience = Some(time);
        self
    }

    /// Awaited, gives the value with how it came about.
    ///
    /// # Errors
    /// Those of the call itself.
    ///
    /// # Cancel safety
    /// As that of the call itself.
    pub async fn read<L, E>(self) -> Result<Read<V>>
    where
        F: Future<Output = Result<L, E>>,
        L: Into<Loaded<V>>,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.run().await
    }

    async fn run<L, E>(self) -> Result<Read<V>>
    where
        F: Future<Output = Result<L, E>>,
        L: Into<Loaded<V>>,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let named = |error: Error| error.with_operation(GET_OR_LOAD.name);
        let key = self.key.map_err(named)?;
        self.terms.check().map_err(named)?;
        let cache = &self.cache;
        let bound = self.patience.map(WaitBound::from_now);
        // Nearly always it is there, and then this is all.
        if self.wish == Wish::Value {
            let sought = match cache.at_once_of(&key, &GET_OR_LOAD)? {
                Some(sought) => sought,
                None => cache.seek_or_report(&key).await?,
            };
            if let Sought::Fresh(read, _) = sought {
                cache.count(read.kind);
                return Ok(read);
            }
        }
        let loading = Loading {
            cache: cache.clone(),
            key,
            terms: self.terms,
            wish: self.wish,
            bound,
        };
        let load = async { self.load.await.map(Into::into).map_err(Into::into) };
        // On the heap: a hit, which is what there nearly always is, need not carry all of this.
        let read = Box::pin(loading.run(load)).await.map_err(named)?;
        cache.count(read.kind);
        Ok(read)
    }
}

impl<'a, K, V, F, L, E> IntoFuture for GetOrLoad<'a, K, V, F>
where
    K: ?Sized + Send + Sync + 'static,
    V: Send + Sync + 'static,
    F: Future<Output = Result<L, E>> + Send + 'a,
    L: Into<Loaded<V>> + Send,
    E: Into<Box<dyn std::error::Error + Send + Sync>> + Send,
{
    type Output = Result<V>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { Ok(self.run().await?.value) })
    }
}

impl<K: ?Sized, V, F> fmt::Debug for GetOrLoad<'_, K, V, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GetOrLoad")
            .field("cache", &self.cache)
            .field("terms", &self.terms)
            .finish_non_exhaustive()
    }
}
