//! Values on their way into a cache.

use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::area::CacheKey;
use super::shared::Caches;
use super::slot::{Fence, Put};
use crate::bounds::{OF_CACHES, check_count};
use crate::context::{Limits, Operation, Repeat};
use crate::error::{Error, Result};

static PUT: Operation = Operation::new("cache.put", "cache", "put", Repeat::Harmless);
static PUT_IF_ABSENT: Operation = Operation::new(
    "cache.put_if_absent",
    "cache",
    "put_if_absent",
    Repeat::OnlyIfNotApplied,
);
static PUT_MANY_IF_ABSENT: Operation = Operation::new(
    "cache.put_many_if_absent",
    "cache",
    "put_many_if_absent",
    Repeat::OnlyIfNotApplied,
);
static PUT_MANY: Operation =
    Operation::new("cache.put_many", "cache", "put_many", Repeat::Harmless);

/// The most tags of one entry, and of one invalidation.
pub(super) const MOST_TAGS: usize = 32;
/// The longest tag, in bytes.
const LONGEST_TAG: usize = 255;

/// How values are kept.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    pub(super) ttl: Duration,
    pub(super) jitter: f64,
    pub(super) fail_safe: Duration,
    pub(super) tags: Vec<String>,
    pub(super) if_absent: bool,
    /// Whether reads need to know the time.
    pub(super) is_timed: bool,
}

impl Terms {
    /// What to keep of a value, and for how long.
    pub(super) fn put(&self, value: Bytes, cost: Duration) -> Put {
        let shorter = 1.0 - self.jitter * rand::random::<f64>();
        let fresh = self.ttl.mul_f64(shorter).max(Duration::from_millis(1));
        Put {
            value,
            fresh,
            keep: fresh + self.fail_safe,
            cost,
            tags: self.tags.clone(),
            is_timed: self.is_timed,
        }
    }

    pub(super) fn check(&self) -> Result<()> {
        OF_CACHES.checked("ttl", self.ttl)?;
        if !self.fail_safe.is_zero() {
            OF_CACHES.checked("stale_for", self.fail_safe)?;
        }
        check_tags(&self.tags)
    }

    const fn fence(&self) -> Fence {
        if self.if_absent {
            Fence::Absent
        } else {
            Fence::Always
        }
    }
}

/// The rule for tags.
pub(super) fn check_tags(tags: &[String]) -> Result<()> {
    if tags.len() > MOST_TAGS {
        return Err(Error::invalid(
            "tags",
            format_args!("must be at most {MOST_TAGS}"),
        ));
    }
    for tag in tags {
        if tag.is_empty() || tag.len() > LONGEST_TAG {
            let rule = format_args!("must have from 1 to {LONGEST_TAG} bytes each");
            return Err(Error::invalid("tags", rule));
        }
        if tag.chars().any(char::is_control) {
            return Err(Error::invalid(
                "tags",
                "must not contain control characters",
            ));
        }
    }
    Ok(())
}

macro_rules! terms {
    () => {
        /// How long it is fresh, instead of what the spec says: at least 1 ms, at most a year.
        pub fn ttl(mut self, ttl: Duration) -> Self {
            self.terms.ttl = ttl;
            self
        }

        /// How long it is kept after that for when loading the next one fails, instead of what the spec's
        /// [`fail_safe`](crate::CacheSpec::fail_safe) says: at least 1 ms and at most a year, or zero for not at all.
        pub fn stale_for(mut self, time: Duration) -> Self {
            self.terms.fail_safe = time;
            self
        }

        /// What it is about. Invalidating one of the tags ends it. At most 32, of 1 to 255 bytes each.
        pub fn tags<T: Into<String>>(mut self, tags: impl IntoIterator<Item = T>) -> Self {
            self.terms.tags.extend(tags.into_iter().map(Into::into));
            self.terms.tags.sort_unstable();
            self.terms.tags.dedup();
            self
        }

        /// Keeps it only if there is no entry.
        pub fn if_absent(mut self) -> Self {
            self.terms.if_absent = true;
            self
        }
    };
}

/// Puts a value into a cache. Awaited, it says whether it is kept: not if there was an entry and it was to be put
/// only where there is none, nor if it is larger than the cache keeps.
///
/// # Errors
/// `InvalidInput` with the field and the rule, before anything is sent; `Encode`; and those of the backend.
///
/// # Cancel safety
/// When the future is dropped, the value may or may not be kept.
#[must_use = "nothing is kept until it is awaited"]
#[derive(Debug)]
pub struct PutEntry {
    shared: Arc<Caches>,
    /// The value, unless it is larger than the cache keeps.
    prepared: Result<(CacheKey, Option<Bytes>)>,
    terms: Terms,
    limits: Limits,
}

impl PutEntry {
    pub(super) fn new(
        shared: Arc<Caches>,
        prepared: Result<(CacheKey, Option<Bytes>)>,
        terms: Terms,
        limits: Limits,
    ) -> Self {
        Self {
            shared,
            prepared,
            terms,
            limits,
        }
    }

    terms!();

    async fn send(self) -> Result<bool> {
        let operation = if self.terms.if_absent {
            &PUT_IF_ABSENT
        } else {
            &PUT
        };
        let named = |error: Error| error.with_operation(operation.name);
        let (key, value) = self.prepared.map_err(named)?;
        self.terms.check().map_err(named)?;
        let Some(value) = value else {
            return Ok(false);
        };
        let put = self.terms.put(value, Duration::ZERO);
        let (context, port) = (&self.shared.context, &self.shared.port);
        context
            .run_within(self.limits, operation, key.name(), |attempt| {
                let options = attempt.options();
                port.put(&key, &put, self.terms.fence(), options)
            })
            .await
    }
}

impl IntoFuture for PutEntry {
    type Output = Result<bool>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

/// Puts several values into a cache, in one round trip. Awaited, it says how many are kept.
///
/// # Errors
/// `InvalidInput` with the field and the rule, before anything is sent; `Encode`; and those of the backend.
///
/// # Cancel safety
/// When the future is dropped, any of the values may or may not be kept.
#[must_use = "nothing is kept until it is awaited"]
#[derive(Debug)]
pub struct PutEntries {
    shared: Arc<Caches>,
    cache: String,
    prepared: Result<Vec<(CacheKey, Bytes)>>,
    terms: Terms,
    limits: Limits,
}

impl PutEntries {
    pub(super) fn new(
        shared: Arc<Caches>,
        cache: &str,
        prepared: Result<Vec<(CacheKey, Bytes)>>,
        terms: Terms,
        limits: Limits,
    ) -> Self {
        Self {
            shared,
            cache: cache.to_owned(),
            prepared,
            terms,
            limits,
        }
    }

    terms!();

    async fn send(self) -> Result<usize> {
        let operation = if self.terms.if_absent {
            &PUT_MANY_IF_ABSENT
        } else {
            &PUT_MANY
        };
        let named = |error: Error| error.with_operation(operation.name);
        let prepared = self.prepared.map_err(named)?;
        self.terms.check().map_err(named)?;
        check_count(prepared.len()).map_err(named)?;
        let fence = self.terms.fence();
        let put = |(key, value)| (key, self.terms.put(value, Duration::ZERO), fence);
        let entries: Vec<_> = prepared.into_iter().map(put).collect();
        let (context, port) = (&self.shared.context, &self.shared.port);
        let kept = context
            .run_within(self.limits, operation, &self.cache, |attempt| {
                port.put_many(&entries, attempt.options())
            })
            .await?;
        Ok(kept.into_iter().filter(|kept| *kept).count())
    }
}

impl IntoFuture for PutEntries {
    type Output = Result<usize>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}
