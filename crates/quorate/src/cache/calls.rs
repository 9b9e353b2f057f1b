//! The calls of loads, each for several entries in one round trip.

use super::area::CacheKey;
use super::handle::Cache;
use super::put::Terms;
use super::slot::{FailedLoad, Fence, LoadId, Put, Stored, Take, Taken, Wish};
use crate::context::{Operation, Repeat};
use crate::error::{Error, ErrorKind, Result};
use crate::port::CallOptions;

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
        let (context, port) = (&self.shared.context, &self.shared.port);
        let take = Take {
            id,
            lease: self.spec.lease,
            wish,
        };
        let taken = context
            .run_within(self.limits, &TAKE, self.target(keys), |attempt| {
                port.take(keys, take, CallOptions::until(attempt.deadline))
            })
            .await?;
        self.all(keys, taken)
    }

    /// Which leases still hold.
    pub(super) async fn renew(&self, keys: &[CacheKey], id: LoadId) -> Result<Vec<bool>> {
        let (context, port, lease) = (&self.shared.context, &self.shared.port, self.spec.lease);
        let renewed = context
            .run_within(self.limits, &RENEW, self.target(keys), |attempt| {
                port.renew(keys, id, lease, CallOptions::until(attempt.deadline))
            })
            .await?;
        self.all(keys, renewed)
    }

    /// Keeps what was loaded, where nothing happened since its load began that would make it an old one. `false`:
    /// something did.
    pub(super) async fn keep(&self, entries: &[(CacheKey, Put, Fence)]) -> Result<Vec<bool>> {
        let (context, port) = (&self.shared.context, &self.shared.port);
        let target = match entries {
            [(key, ..)] => key.name(),
            _ => self.name(),
        };
        context
            .run_within(self.limits, &KEEP, target, |attempt| {
                port.put_many(entries, CallOptions::until(attempt.deadline))
            })
            .await
    }

    /// Remembers that loads failed. What is there now: it may have been removed, or invalidated, while the load went on.
    pub(super) async fn fail(
        &self,
        keys: &[CacheKey],
        id: LoadId,
        terms: &Terms,
        message: &str,
    ) -> Result<Vec<Option<Stored>>> {
        let (context, port) = (&self.shared.context, &self.shared.port);
        let failed = FailedLoad {
            message: shortened(message),
            tags: terms.tags.clone(),
            throttle: self.spec.throttle,
            told: self.spec.cache_errors,
        };
        let found = context
            .run_within(self.limits, &FAIL, self.target(keys), |attempt| {
                port.fail(keys, id, &failed, CallOptions::until(attempt.deadline))
            })
            .await?;
        self.all(keys, found)
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
