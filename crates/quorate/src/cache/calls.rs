//! The calls of loads, each for several entries in one round trip.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;

use super::area::CacheKey;
use super::failure::Failure;
use super::handle::Cache;
use super::lease::Leased;
use super::loaded::Loaded;
use super::put::Terms;
use super::slot::{FailedLoad, Fence, LoadId, Put, Stored, Take, Taken, Wish};
use crate::context::{Operation, Repeat};
use crate::error::{Error, ErrorKind, Result};

static TAKE: Operation = Operation::new("cache.take", "cache", "take", Repeat::Harmless);
static RENEW: Operation = Operation::new("cache.renew", "cache", "renew", Repeat::Harmless);
static KEEP: Operation = Operation::new("cache.keep", "cache", "keep", Repeat::Harmless);
static FAIL: Operation = Operation::new("cache.fail", "cache", "fail", Repeat::Harmless);

/// The longest message of a failed load that is kept, in bytes.
const LONGEST_MESSAGE: usize = 1024;

impl<K: ?Sized, V> Cache<K, V> {
    /// What is there, or whether to load it.
    pub(super) async fn take(
        &self,
        keys: &[CacheKey],
        id: LoadId,
        wish: Wish,
    ) -> Result<Vec<Taken>> {
        let (context, port) = (&self.inner.shared.context, &self.inner.shared.port);
        let take = Take {
            id,
            lease: self.inner.spec.lease,
            wish,
        };
        let taken = context
            .run_within(self.limits, &TAKE, self.target(keys), |attempt| {
                port.take(keys, take, attempt.options())
            })
            .await?;
        self.all(keys, taken)
    }

    /// Which leases still hold.
    pub(super) async fn renew(&self, keys: &[CacheKey], id: LoadId) -> Result<Vec<bool>> {
        let (context, port, lease) = (
            &self.inner.shared.context,
            &self.inner.shared.port,
            self.inner.spec.lease,
        );
        let renewed = context
            .run_within(self.limits, &RENEW, self.target(keys), |attempt| {
                port.renew(keys, id, lease, attempt.options())
            })
            .await?;
        self.all(keys, renewed)
    }

    /// Keeps what was loaded, where nothing happened since its load began that would make it an old one. `false`:
    /// something did.
    pub(super) async fn keep(&self, entries: &[(CacheKey, Put, Fence)]) -> Result<Vec<bool>> {
        let (context, port) = (&self.inner.shared.context, &self.inner.shared.port);
        let target = match entries {
            [(key, ..)] => key.name(),
            _ => self.name(),
        };
        context
            .run_within(self.limits, &KEEP, target, |attempt| {
                port.put_many(entries, attempt.options())
            })
            .await
    }

    /// Gives up the leases of a failed load, and lets the fleet remember the failure for as long as the spec says. What is
    /// there now: it may have been removed, or invalidated, while the load went on.
    pub(super) async fn remember(
        &self,
        keys: &[CacheKey],
        leased: Option<Leased>,
        had_old: bool,
        terms: &Terms,
        failure: &Failure,
    ) -> Vec<Option<Stored>> {
        let (throttle, told) = (self.inner.spec.throttle, self.inner.spec.cache_errors);
        let is_remembered = !told.is_zero() || (had_old && !throttle.is_zero());
        let olds = match leased {
            Some(mut leased) if is_remembered => {
                let found = self.fail(keys, leased.id, terms, failure.message()).await;
                if found.is_ok() {
                    leased.settle();
                }
                found
            }
            // Their guard gives them up.
            _ if had_old => self.stored_many(keys, &FAIL).await,
            _ => Ok(Vec::new()),
        };
        olds.unwrap_or_else(|error| {
            self.report(&error);
            Vec::new()
        })
    }

    /// Remembers that loads failed. What is there now: it may have been removed, or invalidated, while the load went on.
    async fn fail(
        &self,
        keys: &[CacheKey],
        id: LoadId,
        terms: &Terms,
        message: &str,
    ) -> Result<Vec<Option<Stored>>> {
        let (context, port) = (&self.inner.shared.context, &self.inner.shared.port);
        let failed = FailedLoad {
            message: shortened(message),
            tags: terms.tags.clone(),
            throttle: self.inner.spec.throttle,
            told: self.inner.spec.cache_errors,
        };
        let found = context
            .run_within(self.limits, &FAIL, self.target(keys), |attempt| {
                port.fail(keys, id, &failed, attempt.options())
            })
            .await?;
        self.all(keys, found)
    }

    /// Keeps leases alive while a load goes on.
    pub(super) async fn while_renewing<F: Future>(
        &self,
        keys: &[CacheKey],
        id: LoadId,
        load: F,
    ) -> F::Output {
        let mut load = pin!(load);
        loop {
            tokio::select! {
                loaded = &mut load => return loaded,
                () = tokio::time::sleep(self.pause()) => {}
            }
            tokio::select! {
                loaded = &mut load => return loaded,
                renewed = self.renew(keys, id) => match renewed {
                    // All were overtaken: their values are not kept, and only their own caller is given them.
                    Ok(renewed) if !renewed.contains(&true) => return load.await,
                    Ok(_) => {}
                    Err(error) => self.report(&error),
                }
            }
        }
    }

    /// Between two signs of life.
    pub(super) fn pause(&self) -> Duration {
        self.inner.spec.lease / 3
    }

    /// What was loaded, encoded; whether it is kept, and on which terms.
    pub(super) fn prepare(
        &self,
        terms: &Terms,
        loaded: &Loaded<V>,
    ) -> Result<(Bytes, bool, Terms)> {
        let mut terms = terms.clone();
        terms.ttl = loaded.ttl.unwrap_or(terms.ttl);
        terms.fail_safe = loaded.stale_for.unwrap_or(terms.fail_safe);
        terms.tags.extend(loaded.tags.iter().cloned());
        terms.tags.sort_unstable();
        terms.tags.dedup();
        terms.check()?;
        let value = self.encoded(&loaded.value)?;
        let is_kept = self.admits(&value)? && loaded.is_kept;
        Ok((value, is_kept, terms))
    }

    /// What errors name.
    fn target<'k>(&'k self, keys: &'k [CacheKey]) -> &'k str {
        match keys {
            [key] => key.name(),
            _ => self.name(),
        }
    }

    /// One answer for each key: whatever backend it is, nobody may be given another one's.
    fn all<T>(&self, keys: &[CacheKey], answers: Vec<T>) -> Result<Vec<T>> {
        if answers.len() == keys.len() {
            return Ok(answers);
        }
        let rule = format!("{} answers for {} keys", answers.len(), keys.len());
        Err(Error::new(ErrorKind::Protocol)
            .with_target(self.name())
            .with_message(rule))
    }
}

/// The answer for the one key that was asked for.
pub(super) fn one<T>(answers: Vec<T>) -> Result<T> {
    let mut answers = answers.into_iter();
    match (answers.next(), answers.next()) {
        (Some(answer), None) => Ok(answer),
        _ => Err(Error::new(ErrorKind::Protocol).with_message("no answer, or more than one")),
    }
}

/// The beginning of a message, in whole characters.
fn shortened(message: &str) -> String {
    let mut end = message.len().min(LONGEST_MESSAGE);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    message[..end].to_owned()
}
