//! What a cache is: its name, its types, and what holds for its entries unless a call says otherwise.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::near::{self, NearSpec};
use crate::bounds::OF_CACHES;
use crate::codec::Codec;
use crate::entry_key::check_area;
use crate::error::{Error, Result};

/// How long entries are fresh unless the spec or a call says otherwise.
const TTL: Duration = Duration::from_secs(3600);

/// How long a load is not tried again after one failed, where an old value stands in.
const THROTTLE: Duration = Duration::from_secs(30);

/// The lease of a load that shows no sign of life.
const LEASE: Duration = Duration::from_secs(10);

/// How long values in the process are given without a sign of the backend, unless the spec says otherwise.
const NEAR_STALENESS: Duration = Duration::from_secs(3);

/// The largest value, unless the spec says otherwise.
const MAX_BYTES: usize = 1024 * 1024;

/// What becomes of a value that is larger than the cache keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Oversized {
    /// It is not kept, and counted; who loaded it has it all the same.
    #[default]
    Skip,
    /// Keeping it is an error.
    Refuse,
}

/// The name of a cache, the types of its keys and values, and what holds for its entries: a `const` that all who
/// use it share.
///
/// # Example
/// ```
/// use quorate::CacheSpec;
/// use serde::{Deserialize, Serialize};
/// use std::time::Duration;
///
/// #[derive(Serialize, Deserialize)]
/// struct Profile { name: String }
///
/// /// `None` is kept as well: that there is no such user.
/// const PROFILES: CacheSpec<u64, Option<Profile>> = CacheSpec::new("profiles")
///     .ttl(Duration::from_secs(300))
///     .fail_safe(Duration::from_secs(3600));
/// # let _ = PROFILES;
/// ```
pub struct CacheSpec<K: ?Sized, V> {
    pub(super) name: Cow<'static, str>,
    pub(super) codec: Codec<V>,
    pub(super) ttl: Duration,
    pub(super) jitter: f64,
    pub(super) fail_safe: Duration,
    pub(super) throttle: Duration,
    pub(super) cache_errors: Duration,
    pub(super) early: f64,
    pub(super) lease: Duration,
    pub(super) max_bytes: usize,
    pub(super) oversized: Oversized,
    pub(super) near: Option<NearSpec<V>>,
    key: PhantomData<fn(&K)>,
}

impl<K: ?Sized, V: Serialize + DeserializeOwned> CacheSpec<K, V> {
    /// A cache called `name`, whose values are JSON and fresh for an hour.
    ///
    /// A name has 1 to 128 letters, digits and `_ . / -`. It is a part of every key.
    ///
    /// # Panics
    /// If the name breaks that rule; in a `const` this is a compile error. For names known only at run time
    /// there is [`try_new`](Self::try_new).
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self::with_codec(name, Codec::json())
    }

    /// A cache whose name is known at run time.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if the name breaks the rule of
    /// [`new`](Self::new).
    pub fn try_new(name: impl Into<String>) -> Result<Self> {
        Self::try_with_codec(name, Codec::json())
    }
}

impl<K: ?Sized, V> CacheSpec<K, V> {
    /// A cache called `name` with a codec of its own; for types that are not `serde`'s.
    ///
    /// # Panics
    /// If the name breaks the rule of [`new`](CacheSpec::new).
    #[must_use]
    pub const fn with_codec(name: &'static str, codec: Codec<V>) -> Self {
        if let Err(rule) = check_area(name.as_bytes()) {
            panic!("{}", rule);
        }
        Self::unchecked(Cow::Borrowed(name), codec)
    }

    /// [`with_codec`](Self::with_codec) for a name known at run time.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if the name breaks the rule of
    /// [`new`](CacheSpec::new).
    pub fn try_with_codec(name: impl Into<String>, codec: Codec<V>) -> Result<Self> {
        let name = name.into();
        check_area(name.as_bytes()).map_err(|rule| Error::invalid("cache", rule))?;
        Ok(Self::unchecked(Cow::Owned(name), codec))
    }

    const fn unchecked(name: Cow<'static, str>, codec: Codec<V>) -> Self {
        Self {
            name,
            codec,
            ttl: TTL,
            jitter: 0.0,
            fail_safe: Duration::ZERO,
            throttle: THROTTLE,
            cache_errors: Duration::ZERO,
            early: 0.0,
            lease: LEASE,
            max_bytes: MAX_BYTES,
            oversized: Oversized::Skip,
            near: None,
            key: PhantomData,
        }
    }

    /// Encodes values with `codec` instead.
    #[must_use]
    pub const fn codec(mut self, codec: Codec<V>) -> Self {
        self.codec = codec;
        self
    }

    /// How long entries are fresh unless a call says otherwise. Default one hour.
    ///
    /// # Panics
    /// If it is less than a millisecond or more than a year; in a `const` this is a compile error.
    #[must_use]
    pub const fn ttl(mut self, ttl: Duration) -> Self {
        if let Err(rule) = OF_CACHES.check(ttl) {
            panic!("{}", rule);
        }
        self.ttl = ttl;
        self
    }

    /// Takes a random share of up to `share` (0 to 1) off each time, so that what was stored together does not end
    /// together. Default 0.
    ///
    /// # Panics
    /// If it is not from 0 to 1; in a `const` this is a compile error.
    #[must_use]
    pub const fn jitter(mut self, share: f64) -> Self {
        assert!(share >= 0.0 && share <= 1.0, "jitter must be from 0 to 1");
        self.jitter = share;
        self
    }

    /// Keeps entries for so long after they were fresh, for when loading a new one fails: then the old one is given
    /// as [`ReadKind::Stale`](crate::ReadKind). Default not at all.
    ///
    /// # Panics
    /// If it is less than a millisecond or more than a year; in a `const` this is a compile error.
    #[must_use]
    pub const fn fail_safe(mut self, time: Duration) -> Self {
        if let Err(rule) = OF_CACHES.check(time) {
            panic!("{}", rule);
        }
        self.fail_safe = time;
        self
    }

    /// How long no instance tries to load again after a load failed, while an old value stands in for it (see
    /// [`fail_safe`](Self::fail_safe)). Zero: whoever asks next tries. Default 30 s.
    ///
    /// # Panics
    /// If it is more than a year; in a `const` this is a compile error.
    #[must_use]
    pub const fn throttle(mut self, time: Duration) -> Self {
        if let Err(rule) = OF_CACHES.check_or_zero(time) {
            panic!("{}", rule);
        }
        self.throttle = time;
        self
    }

    /// Tells whoever asks for an entry within `time` of a load that failed of that failure, on whichever instance, instead
    /// of loading again. A `put` or `remove` of the entry, a clear, or an invalidation of a tag that the call named
    /// ends that. An entry has no value meanwhile. Of the loader's error the message is kept, up to 1 KiB: it must hold
    /// no secret. Default not at all.
    ///
    /// # Panics
    /// If it is less than a millisecond or more than a year; in a `const` this is a compile error.
    #[must_use]
    pub const fn cache_errors(mut self, time: Duration) -> Self {
        if let Err(rule) = OF_CACHES.check(time) {
            panic!("{}", rule);
        }
        self.cache_errors = time;
        self
    }

    /// Lets a reader load a value again, in the background, before it ends; the more likely the nearer the end, and the
    /// longer the load takes: a value that is read often is loaded about as long before its end as its load takes,
    /// times `beta`. 1 is right for most; more is earlier. Only reads through [`LoadingCache`](crate::LoadingCache) do
    /// it, for values that were loaded. Each entry is then read by a script, as entries with tags are. Default 0, not at
    /// all.
    ///
    /// # Panics
    /// If it is not from 0 to 1 000; in a `const` this is a compile error.
    #[must_use]
    pub const fn early_refresh(mut self, beta: f64) -> Self {
        assert!(
            beta >= 0.0 && beta <= 1000.0,
            "early_refresh must be from 0 to 1000"
        );
        self.early = beta;
        self
    }

    /// How long the others wait for somebody who loads and shows no sign of life, before the next one loads. A load that
    /// goes on renews it. Default 10 s.
    ///
    /// # Panics
    /// If it is less than 10 ms or more than 10 minutes; in a `const` this is a compile error.
    #[must_use]
    pub const fn load_lease(mut self, time: Duration) -> Self {
        assert!(
            time.as_millis() >= 10 && time.as_millis() <= 600_000,
            "load_lease must be from 10 ms to 10 minutes"
        );
        self.lease = time;
        self
    }

    /// The largest value that is kept, in encoded bytes, and what becomes of larger ones. Default 1 MiB, and
    /// they are skipped.
    ///
    /// # Panics
    /// If it is zero or more than 512 MiB, which no server takes; in a `const` this is a compile error.
    #[must_use]
    pub const fn max_bytes(mut self, bytes: usize, oversized: Oversized) -> Self {
        assert!(
            bytes > 0 && bytes <= 512 * 1024 * 1024,
            "max_bytes must be from 1 to 512 MiB"
        );
        self.max_bytes = bytes;
        self.oversized = oversized;
        self
    }

    /// The cache's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl<K: ?Sized, V: Clone + Send + Sync + 'static> CacheSpec<K, V> {
    /// Keeps decoded values in the process as well, in up to about `bytes` (counted as encoded, with keys): reading one
    /// of them again asks nobody, and gives a clone. Where that costs, let `V` be an `Arc`. Default not at all.
    ///
    /// What others change is told by the backend, in the time that a message takes. If it cannot be heard of, values are
    /// given for at most [`near_staleness`](Self::near_staleness); what the own process changed is never given again.
    /// Counters are not kept so. Where the backend cannot tell (RESP2, a user who may not use
    /// `CLIENT TRACKING`), each read asks it.
    ///
    /// # Panics
    /// If it is less than 64 KiB; in a `const` this is a compile error.
    #[must_use]
    pub const fn near(mut self, bytes: u64) -> Self {
        assert!(bytes >= 64 * 1024, "near must be at least 64 KiB");
        let staleness = match self.near {
            Some(near) => near.staleness,
            None => NEAR_STALENESS,
        };
        self.near = Some(NearSpec {
            bytes,
            staleness,
            open: near::open::<V>,
        });
        self
    }

    /// How long at most a value of the process is given after it was changed elsewhere, if the backend cannot be heard
    /// of: a third of that often it is asked, while such values are read. Default 3 s.
    ///
    /// # Panics
    /// Before [`near`](Self::near), and if it is less than 100 ms or more than 10 minutes; in a `const` this is a compile
    /// error.
    #[must_use]
    pub const fn near_staleness(mut self, time: Duration) -> Self {
        assert!(
            time.as_millis() >= 100 && time.as_millis() <= 600_000,
            "near_staleness must be from 100 ms to 10 minutes"
        );
        match &mut self.near {
            Some(near) => near.staleness = time,
            None => panic!("near_staleness goes after near"),
        }
        self
    }
}

impl<K: ?Sized, V> Clone for CacheSpec<K, V> {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            key: PhantomData,
            ..*self
        }
    }
}

impl<K: ?Sized, V> fmt::Debug for CacheSpec<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheSpec")
            .field("name", &self.name)
            .field("codec", &self.codec)
            .field("ttl", &self.ttl)
            .field("jitter", &self.jitter)
            .field("fail_safe", &self.fail_safe)
            .field("throttle", &self.throttle)
            .field("cache_errors", &self.cache_errors)
            .field("early", &self.early)
            .field("lease", &self.lease)
            .field("max_bytes", &self.max_bytes)
            .field("oversized", &self.oversized)
            .field("near", &self.near)
            .finish()
    }
}
