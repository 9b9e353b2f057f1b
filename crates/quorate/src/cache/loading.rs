//! One way to load what is not there: once in the process, and once in the fleet.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::area::CacheKey;
use super::calls::one;
use super::early::Ahead;
use super::failure::{Failure, LoaderError};
use super::flight::{Flights, Follow, Landed, Lead, Role};
use super::handle::Cache;
use super::lease::{Leased, Turns};
use super::loaded::Loaded;
use super::put::Terms;
use super::read::{Read, ReadKind, StaleReason};
use super::slot::{Fence, LoadId, Stored, Taken, Wish};
use super::tags::LONGEST_LOAD;
use crate::context::{Operation, Repeat};
use crate::error::{Error, ErrorKind, Result};
use crate::hooks::ErrorSource;

pub(super) static GET_OR_LOAD: Operation = Operation::new(
    "cache.get_or_load",
    "cache",
    "get_or_load",
    Repeat::Harmless,
);

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

/// The way to a value that is not there.
pub(super) struct Loading<K: ?Sized, V> {
    pub(super) cache: Cache<K, V>,
    pub(super) key: CacheKey,
    pub(super) terms: Terms,
    pub(super) wish: Wish,
}

impl<K: ?Sized, V> Loading<K, V> {
    /// Loads for this process, or waits for who does.
    pub(super) async fn run<F>(self, load: F) -> Result<Read<V>>
    where
        F: Future<Output = Result<Loaded<V>, LoaderError>>,
    {
        loop {
            match self.join() {
                Role::Lead(lead) => return self.lead(lead, load).await,
                Role::Follow(follow) => {
                    if let Some(read) = self.follow(follow).await {
                        return read;
                    }
                }
            }
        }
    }

    pub(super) fn join(&self) -> Role {
        Flights::join(&self.cache.shared.flights, self.key.entry())
    }

    /// What somebody else's load came to. `None`: it was given up, or what it loaded is none of our values.
    pub(super) async fn follow(&self, follow: Follow) -> Option<Result<Read<V>>> {
        match follow.landed(self.cache.spec.lease).await? {
            Landed::Failed(failure) => Some(Err(self.failed(&failure))),
            Landed::Value(value) => {
                let value = self.cache.decode(&value)?;
                Some(Ok(Read::new(value, ReadKind::Followed)))
            }
            Landed::Old(old) => {
                // Who wants a new one is not helped by the old one.
                let old = Some(old).filter(|_| self.wish != Wish::Anew)?;
                let value = self.cache.decode(&old.value)?;
                Some(Ok(Read::kept(value, &old, StaleReason::LoadFailed)))
            }
        }
    }

    /// Loads for this process, unless another one does.
    pub(super) async fn lead<F>(&self, lead: Lead, load: F) -> Result<Read<V>>
    where
        F: Future<Output = Result<Loaded<V>, LoaderError>>,
    {
        let pulse = lead.pulse();
        pulse
            .during(self.pause(), self.load_in_turn(lead, load))
            .await
    }

    async fn load_in_turn<F>(&self, lead: Lead, load: F) -> Result<Read<V>>
    where
        F: Future<Output = Result<Loaded<V>, LoaderError>>,
    {
        let (id, shared) = (LoadId::random(), &self.cache.shared);
        let mut turns = Turns::new(shared, &self.key);
        let (mut wish, mut has_waited, mut before) = (self.wish, false, None);
        loop {
            // Before it is asked for: whoever drops this meanwhile may hold it.
            let mut leased = Leased::new(shared, self.keys(), id);
            let taken = self.cache.take(self.keys(), id, wish).await;
            let hindered = match taken.and_then(one) {
                Ok(Taken::Load(old)) => {
                    return self.load(lead, Some(leased), old, load).await;
                }
                Ok(Taken::Wait(found, remaining)) => {
                    leased.settle();
                    // What somebody else loads meanwhile is new enough.
                    (wish, has_waited) = (Wish::Value, true);
                    before = found.map(|found| found.stored);
                    turns.wait(remaining).await
                }
                Ok(Taken::Fresh(stored))
                    if self.wish == Wish::Anew && before == Some(stored.stored) =>
                {
                    // Whoever it waited for loaded nothing.
                    leased.settle();
                    wish = Wish::Anew;
                    Ok(())
                }
                Ok(Taken::Failed(message)) => {
                    leased.settle();
                    return Err(self.land_failure(lead, Failure::told(message)));
                }
                Ok(Taken::Fresh(stored) | Taken::Throttled(stored)) => {
                    leased.settle();
                    if let Some(value) = self.cache.decode(&stored.value) {
                        return Ok(land_kept(lead, value, stored, has_waited));
                    }
                    // In the way of the next one.
                    self.cache.remove_keys(self.keys()).await.map(|_| ())
                }
                Err(error) => Err(error),
            };
            match hindered {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Closed || self.wish == Wish::Early => {
                    return Err(error);
                }
                Err(error) => {
                    // Without the fleet's consent, and without keeping what comes of it.
                    self.cache.report(&error);
                    return self.load(lead, None, None, load).await;
                }
            }
        }
    }

    /// Loads, with a lease of the fleet or, where there was none to be had, without.
    async fn load<F>(
        &self,
        lead: Lead,
        leased: Option<Leased>,
        old: Option<Stored>,
        load: F,
    ) -> Result<Read<V>>
    where
        F: Future<Output = Result<Loaded<V>, LoaderError>>,
    {
        let began = Instant::now();
        let loaded = match &leased {
            Some(leased) => self.while_renewing(leased.id, load).await,
            None => load.await,
        };
        let loaded = match loaded {
            Ok(loaded) => loaded,
            Err(error) => {
                let failure = Failure::of_loader(error);
                return self.fall_back(lead, leased, old.is_some(), failure).await;
            }
        };
        let (value, is_kept, terms) = match self.prepare(&loaded) {
            Ok(prepared) => prepared,
            // For everybody: the next one would load the same.
            Err(error) => return Err(self.land_failure(lead, Failure::of_value(error))),
        };
        if let (Some(leased), true) = (leased, is_kept) {
            let cost = began.elapsed();
            if !self.keep(leased, value.clone(), &terms, cost).await {
                // Who has asked since it was overtaken must not be given it: all who wait ask again.
                return Ok(Read::new(loaded.value, ReadKind::Loaded));
            }
        }
        lead.land(Landed::Value(value));
        Ok(Read::new(loaded.value, ReadKind::Loaded))
    }

    /// What was loaded, encoded; whether it is kept, and on which terms.
    fn prepare(&self, loaded: &Loaded<V>) -> Result<(Bytes, bool, Terms)> {
        let mut terms = self.terms.clone();
        terms.ttl = loaded.ttl.unwrap_or(terms.ttl);
        terms.fail_safe = loaded.stale_for.unwrap_or(terms.fail_safe);
        terms.tags.extend(loaded.tags.iter().cloned());
        terms.tags.sort_unstable();
        terms.tags.dedup();
        terms.check()?;
        let value = self.cache.encoded(&loaded.value)?;
        let is_kept = self.cache.admits(&value)? && loaded.is_kept;
        Ok((value, is_kept, terms))
    }

    /// Keeps the lease alive while a load goes on.
    async fn while_renewing<F: Future>(&self, id: LoadId, load: F) -> F::Output {
        let mut load = pin!(load);
        loop {
            tokio::select! {
                loaded = &mut load => return loaded,
                () = tokio::time::sleep(self.pause()) => {}
            }
            tokio::select! {
                loaded = &mut load => return loaded,
                renewed = self.cache.renew(self.keys(), id) => match renewed.and_then(one) {
                    Ok(true) => {}
                    // It was overtaken: its value is not kept, and only its own caller is given it.
                    Ok(false) => return load.await,
                    Err(error) => self.cache.report(&error),
                }
            }
        }
    }

    /// Between two signs of life.
    fn pause(&self) -> Duration {
        self.cache.spec.lease / 3
    }

    /// Keeps a loaded value, if nothing happened since its load began that would make it an old one. `false`: something
    /// did.
    async fn keep(&self, mut leased: Leased, value: Bytes, terms: &Terms, cost: Duration) -> bool {
        if cost >= LONGEST_LOAD {
            tracing::warn!(key = %self.key, ?cost, "a value took too long to load to be kept");
            return false;
        }
        let put = terms.put(value, cost);
        let fence = Fence::Load(leased.id);
        let kept = self.cache.keep(&[(self.key.clone(), put, fence)]).await;
        match kept.and_then(one) {
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
        }
    }

    /// After a failed load: the old value if one was kept for that and it still is there, or the failure.
    async fn fall_back(
        &self,
        lead: Lead,
        leased: Option<Leased>,
        had_old: bool,
        failure: Failure,
    ) -> Result<Read<V>> {
        let old = self.remember(leased, had_old, &failure).await;
        let usable = old.and_then(|old| Some((self.cache.decode(&old.value)?, old)));
        let Some((value, old)) = usable else {
            return Err(self.land_failure(lead, failure));
        };
        let error = self.failed(&failure);
        let read = Read::kept(value, &old, StaleReason::LoadFailed);
        lead.land(Landed::Old(old));
        if self.wish == Wish::Anew {
            // Who wants a new one is not helped by the old one.
            return Err(error);
        }
        self.cache.report(&error);
        Ok(read)
    }

    /// Gives up the lease of a failed load, and lets the fleet remember the failure for as long as the spec says. What is
    /// there now: it may have been removed, or invalidated, while the load went on.
    async fn remember(
        &self,
        leased: Option<Leased>,
        had_old: bool,
        failure: &Failure,
    ) -> Option<Stored> {
        let spec = &self.cache.spec;
        let is_remembered = !spec.cache_errors.is_zero() || (had_old && !spec.throttle.is_zero());
        let old = match leased {
            Some(mut leased) if is_remembered => {
                let (id, message) = (leased.id, failure.message());
                let found = self.cache.fail(self.keys(), id, &self.terms, message).await;
                if found.is_ok() {
                    leased.settle();
                }
                found.and_then(one)
            }
            // Its guard gives it up.
            _ if had_old => self.cache.stored(&self.key, &GET_OR_LOAD).await,
            _ => Ok(None),
        };
        old.unwrap_or_else(|error| {
            self.cache.report(&error);
            None
        })
    }

    /// Tells everybody who waits of a failure.
    fn land_failure(&self, lead: Lead, failure: Failure) -> Error {
        let error = self.failed(&failure);
        lead.land(Landed::Failed(failure));
        error
    }

    fn keys(&self) -> &[CacheKey] {
        std::slice::from_ref(&self.key)
    }

    fn failed(&self, failure: &Failure) -> Error {
        failure
            .error()
            .with_operation(GET_OR_LOAD.name)
            .with_target(self.key.name())
    }
}

/// Hands what is kept to all who wait.
fn land_kept<V>(lead: Lead, value: V, stored: Stored, has_waited: bool) -> Read<V> {
    let read = Read::kept(value, &stored, StaleReason::LoadFailed);
    if read.kind != ReadKind::Hit {
        lead.land(Landed::Old(stored));
        return read;
    }
    lead.land(Landed::Value(stored.value));
    if has_waited {
        Read::new(read.value, ReadKind::Followed)
    } else {
        read
    }
}
