//! A cache as users hold it.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::area::CacheKey;
use super::load::GetOrLoad;
use super::near::NearValues;
use super::put::{PutEntries, PutEntry, Terms};
use super::read::{Read, ReadKind};
use super::seek::Sought;
use super::shared::{Caches, Known};
use super::slot::Stored;
use super::spec::{CacheSpec, Oversized};
use crate::backoff::RetryPolicy;
use crate::bounds::{OF_CACHES, check_count};
use crate::context::{Limits, Operation, Repeat};
use crate::entry_key::{EntryKey, with_text};
use crate::error::{Error, ErrorKind, Result};
use crate::key::Namespace;

static GET: Operation = Operation::new("cache.get", "cache", "get", Repeat::Harmless);
static GET_MANY: Operation =
    Operation::new("cache.get_many", "cache", "get_many", Repeat::Harmless);
static REMOVE: Operation = Operation::new("cache.remove", "cache", "remove", Repeat::Harmless);
static REMAINING: Operation =
    Operation::new("cache.remaining", "cache", "remaining", Repeat::Harmless);
static EXISTS: Operation = Operation::new("cache.exists", "cache", "exists", Repeat::Harmless);
static EXPIRE: Operation = Operation::new("cache.expire", "cache", "expire", Repeat::Harmless);

/// Values that can be loaded again, kept for a while, the same for every instance.
///
/// # Clone
/// Cheap; clones are the same cache.
///
/// # Concurrent calls
/// Of one entry, a value that is loaded is kept only if nobody wrote or removed the entry, or invalidated one
/// of its tags, since the load began: a slow load never brings an old value back.
///
/// # Example
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> quorate::Result<()> {
/// use quorate::{CacheSpec, Fleet};
/// use std::time::Duration;
///
/// const NAMES: CacheSpec<u64, String> = CacheSpec::new("names").ttl(Duration::from_secs(300));
///
/// let fleet = Fleet::embedded();
/// let names = fleet.cache(&NAMES);
/// let name = names.get_or_load(&7, load_name(7)).tags(["user:7"]).await?; // one load in the whole fleet
/// assert_eq!(name, "Ann");
/// fleet.invalidate_tags(["user:7"]).await?; // from now on nobody reads it any more
/// assert_eq!(names.get(&7).await?, None);
/// # async fn load_name(_: u64) -> Result<String, std::io::Error> { Ok("Ann".to_owned()) }
/// # Ok(()) }
/// ```
pub struct Cache<K: ?Sized, V> {
    // One pointer: each call that loads clones the handle.
    pub(super) inner: Arc<Inner<K, V>>,
    pub(super) limits: Limits,
}

/// What all handles of one spec that were cloned from each other share.
pub(super) struct Inner<K: ?Sized, V> {
    pub(super) shared: Arc<Caches>,
    pub(super) spec: CacheSpec<K, V>,
    pub(super) known: Arc<Known>,
    /// The values of it that are kept in the process.
    pub(super) near: Option<Arc<dyn NearValues<V>>>,
}

impl<K: ?Sized, V> Cache<K, V> {
    pub(crate) fn new(shared: Arc<Caches>, namespace: &Namespace, spec: &CacheSpec<K, V>) -> Self {
        let known = shared.known(namespace, &spec.name);
        let near = spec
            .near
            .map(|near| (near.open)(&known.near, shared.versions(), &near));
        let inner = Inner {
            known,
            near,
            shared,
            spec: spec.clone(),
        };
        Self {
            inner: Arc::new(inner),
            limits: Limits::default(),
        }
    }

    /// The cache's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.spec.name
    }

    /// Whether both are handles of one cache: of the same fleet, with the same namespace and name.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let (one, another) = (&self.inner.known.area, &other.inner.known.area);
        Arc::ptr_eq(&self.inner.shared, &other.inner.shared)
            && one.namespace() == another.namespace()
            && one.cache() == another.cache()
    }

    /// Bounds each call of this handle with all its attempts, instead of the fleet's own deadline. How long a load
    /// takes is the loader's own affair.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.limits.deadline = Some(deadline);
        self
    }

    /// Tries calls of this handle again by this policy instead of the fleet's.
    #[must_use]
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.limits.retry = Some(policy);
        self
    }

    /// How values are kept unless a call says otherwise.
    pub(super) fn terms(&self) -> Terms {
        Terms {
            ttl: self.inner.spec.ttl,
            jitter: self.inner.spec.jitter,
            fail_safe: self.inner.spec.fail_safe,
            tags: Vec::new(),
            if_absent: false,
            is_timed: self.inner.spec.early > 0.0,
        }
    }

    /// The value, encoded; `None` if it is larger than the cache keeps.
    pub(super) fn encode(&self, value: &V) -> Result<Option<Bytes>> {
        let bytes = self.encoded(value)?;
        Ok(self.admits(&bytes)?.then_some(bytes))
    }

    /// The value, encoded, however large it is.
    pub(super) fn encoded(&self, value: &V) -> Result<Bytes> {
        let encoded = self.inner.spec.codec.encode(value);
        encoded.map_err(|source| Error::new(ErrorKind::Encode).with_source(source))
    }

    /// Whether the cache keeps a value of this size.
    pub(super) fn admits(&self, bytes: &Bytes) -> Result<bool> {
        let most = self.inner.spec.max_bytes;
        if bytes.len() <= most {
            self.inner.known.meters.admitted(bytes.len());
            return Ok(true);
        }
        match self.inner.spec.oversized {
            Oversized::Refuse => {
                let rule = format_args!("must be at most {most} bytes, and has {}", bytes.len());
                Err(Error::invalid("value", rule))
            }
            Oversized::Skip => {
                self.inner.known.meters.oversized.increment(1);
                Ok(false)
            }
        }
    }

    /// The value that was stored. What does not decode is as good as not there, and counted.
    pub(super) fn decode(&self, value: &Bytes) -> Option<V> {
        match self.inner.spec.codec.decode(value) {
            Ok(value) => Some(value),
            Err(error) => {
                self.inner.known.meters.undecodable.increment(1);
                tracing::debug!(cache = self.name(), %error, "a cached value does not decode");
                None
            }
        }
    }

    /// Counts a read.
    pub(super) fn count(&self, kind: ReadKind) {
        self.inner.known.meters.of(kind).increment(1);
    }

    pub(super) async fn stored(
        &self,
        key: &CacheKey,
        operation: &'static Operation,
    ) -> Result<Option<Stored>> {
        let (context, port) = (&self.inner.shared.context, &self.inner.shared.port);
        context
            .run_within(self.limits, operation, key.name(), |attempt| {
                port.get(key, attempt.options())
            })
            .await
    }

    /// Of several, in the order of the keys.
    pub(super) async fn stored_many(
        &self,
        keys: &[CacheKey],
        operation: &'static Operation,
    ) -> Result<Vec<Option<Stored>>> {
        check_count(keys.len()).map_err(|error| error.with_operation(operation.name))?;
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let (context, port) = (&self.inner.shared.context, &self.inner.shared.port);
        context
            .run_within(self.limits, operation, self.name(), |attempt| {
                port.get_many(keys, attempt.options())
            })
            .await
    }

    pub(super) async fn remove_keys(&self, keys: &[CacheKey]) -> Result<u64> {
        let (context, port) = (&self.inner.shared.context, &self.inner.shared.port);
        context
            .run_within(self.limits, &REMOVE, self.name(), |attempt| {
                port.remove(keys, attempt.options())
            })
            .await
    }

    /// Counts what was found, or that nothing was.
    fn counted(&self, sought: Sought<V>) -> Read<Option<V>> {
        let (value, kind) = match sought {
            Sought::Fresh(read, _) => (Some(read.value), read.kind),
            Sought::Missing(_) => (None, ReadKind::Miss),
        };
        self.count(kind);
        Read::new(value, kind)
    }
}

impl<K: EntryKey + ?Sized, V> Cache<K, V> {
    /// The value of an entry, if it is there and fresh.
    ///
    /// What is stored and is no such value counts as not there.
    ///
    /// # Errors
    /// `InvalidInput` if the key breaks a rule, and those of the backend.
    ///
    /// # Cancel safety
    /// Yes.
    pub async fn get(&self, key: &K) -> Result<Option<V>> {
        Ok(self.read(key).await?.value)
    }

    /// [`get`](Self::get), with how it came about.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    ///
    /// # Cancel safety
    /// Yes.
    pub async fn read(&self, key: &K) -> Result<Read<Option<V>>> {
        if let Some(sought) = self.at_once(key, &GET)? {
            return Ok(self.counted(sought));
        }
        let key = self.key(key, &GET)?;
        Ok(self.counted(self.seek(&key, &GET).await?))
    }

    /// The values of several entries, in the order of the keys, in one round trip. They are not of one moment.
    ///
    /// # Errors
    /// As [`get`](Self::get), for the first that fails; `InvalidInput` for more than 10 000 keys.
    ///
    /// # Cancel safety
    /// Yes.
    pub async fn get_many<'k, I>(&self, keys: I) -> Result<Vec<Option<V>>>
    where
        I: IntoIterator<Item = &'k K>,
        K: 'k,
    {
        let keys: Result<Vec<_>> = keys
            .into_iter()
            .map(|key| self.key(key, &GET_MANY))
            .collect();
        let found = self.seek_many(&keys?, &GET_MANY).await?;
        let values = found.into_iter().map(|found| self.counted(found).value);
        Ok(values.collect())
    }

    /// The value of an entry; if there is none, what `load` gives, which is then kept.
    ///
    /// `load` runs once however many ask, in this process and in all others of the fleet: the others wait and are handed
    /// the value. If whoever loads dies, the next one does when the lease of the load ends, and at once if its
    /// future is dropped. A failed load is told to all who waited in its process, and not kept.
    ///
    /// `load` must not ask for the same entry: it would wait for itself.
    ///
    /// While the backend cannot be used, everybody loads for itself.
    pub fn get_or_load<'a, F, L, E>(&self, key: &K, load: F) -> GetOrLoad<'a, K, V, F>
    where
        F: Future<Output = Result<L, E>> + Send + 'a,
    {
        GetOrLoad::new(self.clone(), self.key_of(key), load)
    }

    /// Keeps a value.
    pub fn put(&self, key: &K, value: &V) -> PutEntry {
        let prepared = self
            .key_of(key)
            .and_then(|key| Ok((key, self.encode(value)?)));
        PutEntry::new(
            self.inner.shared.clone(),
            prepared,
            self.terms(),
            self.limits,
        )
    }

    /// Keeps several values, in one round trip; at most 10 000. They are not kept at one moment.
    pub fn put_many<'e, I>(&self, entries: I) -> PutEntries
    where
        I: IntoIterator<Item = (&'e K, &'e V)>,
        K: 'e,
        V: 'e,
    {
        let mut prepared = Ok(Vec::new());
        for (key, value) in entries {
            let encoded = self
                .key_of(key)
                .and_then(|key| Ok((key, self.encode(value)?)));
            match (encoded, &mut prepared) {
                (Ok((key, Some(value))), Ok(prepared)) => prepared.push((key, value)),
                (Err(error), Ok(_)) => prepared = Err(error),
                _ => {}
            }
        }
        let terms = self.terms();
        PutEntries::new(
            self.inner.shared.clone(),
            self.name(),
            prepared,
            terms,
            self.limits,
        )
    }

    /// Removes an entry, and says whether there was one. No load that is under way keeps its value.
    ///
    /// # Errors
    /// `InvalidInput` if the key breaks a rule, and those of the backend.
    ///
    /// # Cancel safety
    /// When the future is dropped, the entry may or may not be removed.
    pub async fn remove(&self, key: &K) -> Result<bool> {
        let key = self.key(key, &REMOVE)?;
        Ok(self.remove_keys(&[key]).await? > 0)
    }

    /// Removes several entries, in one round trip, and says how many there were.
    ///
    /// # Errors
    /// As [`remove`](Self::remove); `InvalidInput` for more than 10 000 keys.
    ///
    /// # Cancel safety
    /// As [`remove`](Self::remove).
    pub async fn remove_many<'k, I>(&self, keys: I) -> Result<u64>
    where
        I: IntoIterator<Item = &'k K>,
        K: 'k,
    {
        let keys: Result<Vec<_>> = keys.into_iter().map(|key| self.key(key, &REMOVE)).collect();
        let keys = keys?;
        check_count(keys.len()).map_err(|error| error.with_operation(REMOVE.name))?;
        self.remove_keys(&keys).await
    }

    /// Whether there is an entry, fresh or not.
    ///
    /// # Errors
    /// As [`remaining`](Self::remaining).
    ///
    /// # Cancel safety
    /// Yes.
    pub async fn exists(&self, key: &K) -> Result<bool> {
        Ok(self.time_left(key, &EXISTS).await?.is_some())
    }

    /// How long an entry is kept; `None` if there is none.
    ///
    /// # Errors
    /// `InvalidInput` if the key breaks a rule, and those of the backend.
    ///
    /// # Cancel safety
    /// Yes.
    pub async fn remaining(&self, key: &K) -> Result<Option<Duration>> {
        self.time_left(key, &REMAINING).await
    }

    async fn time_left(&self, key: &K, operation: &'static Operation) -> Result<Option<Duration>> {
        let key = self.key(key, operation)?;
        let (context, port) = (&self.inner.shared.context, &self.inner.shared.port);
        context
            .run_within(self.limits, operation, key.name(), |attempt| {
                port.remaining(&key, attempt.options())
            })
            .await
    }

    /// Keeps an entry for `ttl` from now, and as long fresh. `false`: there is none.
    ///
    /// # Errors
    /// `InvalidInput` if the key breaks a rule, or `ttl` is less than a millisecond or more than a year; and those of the
    /// backend.
    ///
    /// # Cancel safety
    /// When the future is dropped, the end may or may not be moved.
    pub async fn expire(&self, key: &K, ttl: Duration) -> Result<bool> {
        let key = self.key(key, &EXPIRE)?;
        let ttl = OF_CACHES.checked("ttl", ttl);
        let ttl = ttl.map_err(|error| error.with_operation(EXPIRE.name))?;
        let (context, port) = (&self.inner.shared.context, &self.inner.shared.port);
        context
            .run_within(self.limits, &EXPIRE, key.name(), |attempt| {
                port.expire(&key, ttl, attempt.options())
            })
            .await
    }

    /// The key of an entry, as backends take it.
    ///
    /// # Errors
    /// `InvalidInput` if the key breaks a rule.
    pub fn entry_key(&self, key: &K) -> Result<CacheKey> {
        self.key_of(key)
    }

    pub(super) fn key(&self, key: &K, operation: &'static Operation) -> Result<CacheKey> {
        self.key_of(key)
            .map_err(|error| error.with_operation(operation.name))
    }

    fn key_of(&self, key: &K) -> Result<CacheKey> {
        with_text(key, |name, _| self.inner.known.area.key(name))
    }
}

impl<K: ?Sized, V> Clone for Cache<K, V> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            limits: self.limits,
        }
    }
}

impl<K: ?Sized, V> fmt::Debug for Cache<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("spec", &self.inner.spec)
            .field("port", &format_args!("{}", self.inner.shared.port))
            .finish()
    }
}
