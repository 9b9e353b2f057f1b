//! Loading what is not there: once in the process, and once in the fleet.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::area::CacheKey;
use super::flight::{Landed, Lead, Role, SharedError};
use super::handle::Cache;
use super::lease::{Leased, Turns};
use super::loaded::Loaded;
use super::put::Terms;
use super::read::{Read, ReadKind, StaleReason};
use super::shared::Caches;
use super::slot::{Fence, LONGEST_LOAD, LoadId, Stored, Taken};
use crate::context::{Operation, Repeat};
use crate::error::{Error, ErrorKind, Result};
use crate::hooks::ErrorSource;
use crate::port::CallOptions;

static GET_OR_LOAD: Operation = Operation::new(
    "cache.get_or_load",
    "cache",
    "get_or_load",
    Repeat::Harmless,
);
static TAKE: Operation = Operation::new("cache.take", "cache", "take", Repeat::Harmless);
static RENEW: Operation = Operation::new("cache.renew", "cache", "renew", Repeat::Harmless);
static KEEP: Operation = Operation::new("cache.keep", "cache", "keep", Repeat::Harmless);

/// The value of an entry, loaded if there is none. Made by [`Cache::get_or_load`].
///
/// # Errors
/// `InvalidInput` with the field and the rule, before anything is asked for; [`ErrorKind::Load`] with the loader's own
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
    lives: std::marker::PhantomData<&'a ()>,
}

impl<'a, K: ?Sized, V, F> GetOrLoad<'a, K, V, F> {
    pub(super) fn new(cache: Cache<K, V>, key: Result<CacheKey>, load: F) -> Self {
        let terms = cache.terms();
        Self {
            cache,
            key,
            load,
            terms,
            lives: std::marker::PhantomData,
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
        // Nearly always it is there, and then this is all.
        let found = match cache.stored(&key, &GET_OR_LOAD).await {
            Ok(found) => found,
            Err(error) if error.kind() == ErrorKind::Closed => return Err(error),
            Err(error) => {
                cache.report(&error);
                None
            }
        };
        let fresh = found.filter(|stored| stored.fresh_until > stored.now);
        if let Some(value) = fresh.and_then(|stored| cache.decode(&stored.value)) {
            cache.count(ReadKind::Hit);
            return Ok(Read::new(value, ReadKind::Hit));
        }
        let loading = Loading {
            cache,
            key: &key,
            terms: self.terms,
        };
        let read = loading.run(self.load).await.map_err(named)?;
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

impl<K: ?Sized, V> Cache<K, V> {
    /// Tells whoever looks after the service of an error that the caller is spared.
    fn report(&self, error: &Error) {
        self.shared.context.hooks.error(ErrorSource::Cache, error);
    }
}

/// One caller's way to a value that is not there.
struct Loading<'c, K: ?Sized, V> {
    cache: &'c Cache<K, V>,
    key: &'c CacheKey,
    terms: Terms,
}

impl<K: ?Sized, V> Loading<'_, K, V> {
    async fn run<F, L, E>(self, load: F) -> Result<Read<V>>
    where
        F: Future<Output = Result<L, E>>,
        L: Into<Loaded<V>>,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let lead = loop {
            match self.cache.shared.flights.join(self.key.entry()) {
                Role::Lead(lead) => break lead,
                Role::Follow(follow) => match follow.landed().await {
                    // Who loaded has given up, or what it loaded is none of our values.
                    None => {}
                    Some(Landed::Failed(error)) => return Err(failed(error)),
                    Some(Landed::Value(value)) => {
                        if let Some(value) = self.cache.decode(&value) {
                            return Ok(Read::new(value, ReadKind::Followed));
                        }
                    }
                },
            }
        };
        self.lead(lead, load).await
    }

    /// Loads for this process, unless another one does.
    async fn lead<F, L, E>(self, lead: Lead, load: F) -> Result<Read<V>>
    where
        F: Future<Output = Result<L, E>>,
        L: Into<Loaded<V>>,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let id = LoadId::random();
        let mut turns = Turns::new(&self.cache.shared, self.key);
        let mut has_waited = false;
        loop {
            // Before it is asked for: whoever drops this meanwhile may hold it.
            let mut leased = Leased::new(&self.cache.shared, self.key, id);
            match self.take(id).await {
                Ok(Taken::Fresh(stored)) => {
                    leased.settle();
                    if let Some(value) = self.cache.decode(&stored.value) {
                        lead.land(Landed::Value(stored.value));
                        let kind = if has_waited {
                            ReadKind::Followed
                        } else {
                            ReadKind::Hit
                        };
                        return Ok(Read::new(value, kind));
                    }
                    // In the way of the next one.
                    let removed = self.cache.remove_keys(std::slice::from_ref(self.key));
                    if let Err(error) = removed.await {
                        self.cache.report(&error);
                        return self.load(lead, None, None, load).await;
                    }
                }
                Ok(Taken::Load(old)) => {
                    return self.load(lead, Some(leased), old, load).await;
                }
                Ok(Taken::Wait(_, remaining)) => {
                    leased.settle();
                    has_waited = true;
                    match turns.wait(remaining).await {
                        Ok(()) => {}
                        Err(error) if error.kind() == ErrorKind::Closed => return Err(error),
                        Err(error) => {
                            self.cache.report(&error);
                            return self.load(lead, None, None, load).await;
                        }
                    }
                }
                Err(error) if error.kind() == ErrorKind::Closed => return Err(error),
                Err(error) => {
                    // Without the fleet's consent, and without keeping what comes of it.
                    self.cache.report(&error);
                    return self.load(lead, None, None, load).await;
                }
            }
        }
    }

    async fn take(&self, id: LoadId) -> Result<Taken> {
        let Caches { context, port, .. } = &*self.cache.shared;
        let lease = self.cache.spec.lease;
        context
            .run_within(self.cache.limits, &TAKE, self.key.name(), |attempt| {
                port.take(self.key, id, lease, CallOptions::until(attempt.deadline))
            })
            .await
    }

    async fn renew(&self, id: LoadId) -> Result<bool> {
        let Caches { context, port, .. } = &*self.cache.shared;
        let lease = self.cache.spec.lease;
        context
            .run_within(self.cache.limits, &RENEW, self.key.name(), |attempt| {
                port.renew(self.key, id, lease, CallOptions::until(attempt.deadline))
            })
            .await
    }

    /// Loads, with a lease of the fleet or, where there was none to be had, without.
    async fn load<F, L, E>(
        &self,
        lead: Lead,
        leased: Option<Leased>,
        old: Option<Stored>,
        load: F,
    ) -> Result<Read<V>>
    where
        F: Future<Output = Result<L, E>>,
        L: Into<Loaded<V>>,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let began = Instant::now();
        let loaded = match &leased {
            Some(leased) => self.while_renewing(leased.id, load).await,
            None => load.await,
        };
        let loaded: Loaded<V> = match loaded {
            Ok(loaded) => loaded.into(),
            // The lease is given up by its guard.
            Err(error) => {
                let error = SharedError::new(error.into());
                return self.fall_back(lead, old.is_some(), error).await;
            }
        };
        let encoded = self.cache.encode(&loaded.value)?;
        if let (Some(leased), Some(value), true) = (leased, &encoded, loaded.is_kept) {
            let cost = began.elapsed();
            if !self.keep(leased, value.clone(), &loaded, cost).await? {
                // Who has asked since it was overtaken must not be given it: all who wait ask again.
                return Ok(Read::new(loaded.value, ReadKind::Loaded));
            }
        }
        if let Some(value) = encoded {
            lead.land(Landed::Value(value));
        }
        Ok(Read::new(loaded.value, ReadKind::Loaded))
    }

    /// Keeps the lease alive while a load goes on.
    async fn while_renewing<F: Future>(&self, id: LoadId, load: F) -> F::Output {
        let mut load = pin!(load);
        let pause = self.cache.spec.lease / 3;
        loop {
            tokio::select! {
                loaded = &mut load => return loaded,
                () = tokio::time::sleep(pause) => {}
            }
            tokio::select! {
                loaded = &mut load => return loaded,
                renewed = self.renew(id) => match renewed {
                    Ok(true) => {}
                    // It was overtaken: its value is not kept, and only its own caller is given it.
                    Ok(false) => return load.await,
                    Err(error) => self.cache.report(&error),
                }
            }
        }
    }

    /// Keeps a loaded value, if nothing happened since its load began that would make it an old one. `false`: something
    /// did.
    async fn keep(
        &self,
        mut leased: Leased,
        value: Bytes,
        loaded: &Loaded<V>,
        cost: Duration,
    ) -> Result<bool> {
        let mut terms = self.terms.clone();
        terms.ttl = loaded.ttl.unwrap_or(terms.ttl);
        terms.fail_safe = loaded.stale_for.unwrap_or(terms.fail_safe);
        terms.tags.extend(loaded.tags.iter().cloned());
        terms.tags.sort_unstable();
        terms.tags.dedup();
        terms.check()?;
        if cost >= LONGEST_LOAD {
            tracing::warn!(key = %self.key, ?cost, "a value took too long to load to be kept");
            return Ok(false);
        }
        let put = terms.put(value, cost);
        let Caches { context, port, .. } = &*self.cache.shared;
        let fence = Fence::Load(leased.id);
        let kept = context
            .run_within(self.cache.limits, &KEEP, self.key.name(), |attempt| {
                let options = CallOptions::until(attempt.deadline);
                port.put(self.key, &put, fence, options)
            })
            .await;
        Ok(match kept {
            Ok(true) => {
                // The lease has ended with it.
                leased.settle();
                true
            }
            Ok(false) => {
                tracing::debug!(key = %self.key, "a loaded value was overtaken");
                false
            }
            Err(error) => {
                self.cache.report(&error);
                true
            }
        })
    }

    /// After a failed load: the old value if one was kept for that and it still is there, or the failure.
    async fn fall_back(&self, lead: Lead, had_old: bool, error: SharedError) -> Result<Read<V>> {
        let mut old = None;
        if had_old {
            // Read again: it may have been removed, or invalidated, while the load went on.
            match self.cache.stored(self.key, &GET_OR_LOAD).await {
                Ok(stored) => old = stored,
                Err(error) => self.cache.report(&error),
            }
        }
        let usable = old.and_then(|old| Some((self.cache.decode(&old.value)?, old)));
        let Some((value, old)) = usable else {
            lead.land(Landed::Failed(error.clone()));
            return Err(failed(error));
        };
        let told = Error::new(ErrorKind::Load)
            .with_operation(GET_OR_LOAD.name)
            .with_target(self.key.name())
            .with_source(error);
        self.cache.report(&told);
        lead.land(Landed::Value(old.value));
        let kind = ReadKind::Stale {
            why: StaleReason::LoadFailed,
            age: old.now.since(old.stored),
        };
        Ok(Read::new(value, kind))
    }
}

fn failed(error: SharedError) -> Error {
    Error::new(ErrorKind::Load)
        .with_message(error.to_string())
        .with_source(error)
}
