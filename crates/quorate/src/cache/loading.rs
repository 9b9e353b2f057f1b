//! One way to load what is not there: once in the process, and once in the fleet.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::area::CacheKey;
use super::calls::one;
use super::failure::{Failure, LoaderError};
use super::flight::{Flights, Follow, Landed, Lead, Pulse, Role};
use super::handle::Cache;
use super::lease::{Leased, Turns};
use super::loaded::Loaded;
use super::put::Terms;
use super::read::{Read, ReadKind, StaleReason};
use super::slot::{Fence, LoadId, Stored, Taken, Wish};
use super::tags::LONGEST_LOAD;
use crate::clock::after;
use crate::context::{Operation, Repeat};
use crate::error::{Error, ErrorKind, Result};

pub(super) static GET_OR_LOAD: Operation = Operation::new(
    "cache.get_or_load",
    "cache",
    "get_or_load",
    Repeat::Harmless,
);

/// The way to a value that is not there.
pub(super) struct Loading<K: ?Sized, V> {
    pub(super) cache: Cache<K, V>,
    pub(super) key: CacheKey,
    pub(super) terms: Terms,
    pub(super) wish: Wish,
    pub(super) bound: Option<WaitBound>,
}

/// How long a load of somebody else is waited for.
#[derive(Clone, Copy, Debug)]
pub(super) struct WaitBound {
    time: Duration,
    until: Instant,
}

impl WaitBound {
    pub(super) fn from_now(time: Duration) -> Self {
        let until = after(Instant::now(), time);
        Self { time, until }
    }
}

impl<K: ?Sized, V> Loading<K, V> {
    /// Loads for this process, or waits for who does.
    pub(super) async fn run<F>(self, load: F) -> Result<Read<V>>
    where
        F: Future<Output = Result<Loaded<V>, LoaderError>>,
    {
        certain(self.run_if_any(async { load.await.map(Some) }).await)
    }

    /// The same with a loader that may have no value.
    pub(super) async fn run_if_any<F>(self, load: F) -> Result<Option<Read<V>>>
    where
        F: Future<Output = Result<Option<Loaded<V>>, LoaderError>>,
    {
        loop {
            match self.join() {
                Role::Lead(lead) => return self.lead_if_any(lead, load).await,
                Role::Follow(follow) => {
                    if let Some(read) = self.wait_for(self.follow(follow)).await? {
                        return read.map(Some);
                    }
                }
            }
        }
    }

    pub(super) fn join(&self) -> Role {
        Flights::join(
            &self.cache.inner.shared.flights,
            self.key.entry().to_owned(),
        )
    }

    /// What somebody else's load came to. `None`: it was given up, or what it loaded is none of our values.
    pub(super) async fn follow(&self, follow: Follow) -> Option<Result<Read<V>>> {
        match follow.landed(self.cache.inner.spec.lease).await? {
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
        certain(self.lead_if_any(lead, async { load.await.map(Some) }).await)
    }

    async fn lead_if_any<F>(&self, lead: Lead, load: F) -> Result<Option<Read<V>>>
    where
        F: Future<Output = Result<Option<Loaded<V>>, LoaderError>>,
    {
        let (pulses, pause) = ([lead.pulse()], self.cache.pause());
        Pulse::during(&pulses, pause, self.load_in_turn(lead, load)).await
    }

    async fn load_in_turn<F>(&self, lead: Lead, load: F) -> Result<Option<Read<V>>>
    where
        F: Future<Output = Result<Option<Loaded<V>>, LoaderError>>,
    {
        let (id, shared) = (LoadId::random(), &self.cache.inner.shared);
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
                    self.wait_for(turns.wait(remaining)).await?
                }
                Ok(Taken::Fresh(stored))
                    if self.wish == Wish::Anew && before == Some(stored.stored) =>
                {
                    // Whoever it waited for loaded nothing.
                    leased.settle();
                    wish = Wish::Anew;
                    Ok(())
                }
                Ok(Taken::Throttled(_)) if self.wish == Wish::Anew => {
                    // Whoever it waited for has failed: its turn.
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
                        return Ok(Some(land_kept(lead, value, stored, has_waited)));
                    }
                    // In the way of the next one.
                    self.cache.remove_keys(self.keys()).await.map(|_| ())
                }
                Err(error) => Err(error),
            };
            match hindered {
                Ok(()) => {}
                Err(error)
                    if error.kind() == ErrorKind::Closed || matches!(self.wish, Wish::Early(_)) =>
                {
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
    ) -> Result<Option<Read<V>>>
    where
        F: Future<Output = Result<Option<Loaded<V>>, LoaderError>>,
    {
        let began = Instant::now();
        let loaded = match &leased {
            Some(leased) => {
                let renewing = self.cache.while_renewing(self.keys(), leased.id, load);
                renewing.await
            }
            None => load.await,
        };
        let loaded = match loaded {
            Ok(Some(loaded)) => loaded,
            // Whoever waits asks its own loader.
            Ok(None) => return Ok(None),
            Err(error) => {
                let failure = Failure::of_loader(error);
                let read = self.fall_back(lead, leased, old.is_some(), failure).await;
                return read.map(Some);
            }
        };
        let (value, is_kept, terms) = match self.cache.prepare(&self.terms, &loaded) {
            Ok(prepared) => prepared,
            // For everybody: the next one would load the same.
            Err(error) => return Err(self.land_failure(lead, Failure::of_value(error))),
        };
        if let Some(leased) = leased {
            let is_new = if is_kept {
                let cost = began.elapsed();
                self.keep(leased, value.clone(), &terms, cost).await
            } else {
                self.still_leads(&leased).await
            };
            if !is_new {
                // Who has asked since it was overtaken must not be given it: all who wait ask again.
                return Ok(Some(Read::new(loaded.value, ReadKind::Loaded)));
            }
        }
        lead.land(Landed::Value(value));
        Ok(Some(Read::new(loaded.value, ReadKind::Loaded)))
    }

    /// Whether nobody wrote or removed the entry since its load began, as far as can be told.
    async fn still_leads(&self, leased: &Leased) -> bool {
        let renewed = self.cache.renew(self.keys(), leased.id).await;
        renewed.and_then(one).unwrap_or_else(|error| {
            self.cache.report(&error);
            true
        })
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
        let (keys, terms) = (self.keys(), &self.terms);
        let olds = self.cache.remember(keys, leased, had_old, terms, &failure);
        let old = olds.await.into_iter().next().flatten();
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

    /// Tells everybody who waits of a failure.
    fn land_failure(&self, lead: Lead, failure: Failure) -> Error {
        let error = self.failed(&failure);
        lead.land(Landed::Failed(failure));
        error
    }

    /// Waits for somebody else, for as long as that was said.
    async fn wait_for<T>(&self, others: impl Future<Output = T>) -> Result<T> {
        let Some(WaitBound { time, until }) = self.bound else {
            return Ok(others.await);
        };
        let too_slow = || {
            Error::new(ErrorKind::Timeout)
                .with_operation(GET_OR_LOAD.name)
                .with_target(self.key.name())
                .with_message(format!("somebody else's load takes longer than {time:?}"))
        };
        // A timer would still wait for the next millisecond.
        if time.is_zero() {
            return Err(too_slow());
        }
        tokio::time::timeout_at(until, others)
            .await
            .map_err(|_| too_slow())
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

/// What a loader gave that always gives something.
fn certain<V>(read: Result<Option<Read<V>>>) -> Result<Read<V>> {
    let nothing = || Error::new(ErrorKind::Load).with_message("the loader gave nothing");
    read?.ok_or_else(nothing)
}

/// Hands what is kept to all who wait.
pub(super) fn land_kept<V>(lead: Lead, value: V, stored: Stored, has_waited: bool) -> Read<V> {
    let read = Read::kept(value, &stored, StaleReason::LoadFailed);
    if read.kind != ReadKind::Hit {
        lead.land(Landed::Old(stored));
        return read;
    }
    if has_waited {
        lead.land(Landed::Value(stored.value));
        return Read::new(read.value, ReadKind::Followed);
    }
    // It was there before anybody asked: no answer for who wants a new one.
    lead.land(Landed::Old(stored));
    read
}
