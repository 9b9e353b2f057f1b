//! A store as users hold it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::area::{Area, StoreKey};
use super::entry::{Expiry, Remaining, When, Write};
use super::port::StorePort;
use super::spec::StoreSpec;
use super::write::{ConditionalWrite, Increment, Pending, RemoveEntry, SetEntry, SetMany};
use crate::backoff::RetryPolicy;
use crate::bounds::{OF_STORES, check_count};
use crate::codec::CodecError;
use crate::context::{Context, Limits, Operation, Repeat};
use crate::entry_key::{EntryKey, with_text};
use crate::error::{Error, ErrorKind, Result};
use crate::key::Namespace;

static GET: Operation = Operation::new("store.get", "store", "get", Repeat::Harmless);
static GET_MANY: Operation =
    Operation::new("store.get_many", "store", "get_many", Repeat::Harmless);
static REMAINING: Operation =
    Operation::new("store.remaining", "store", "remaining", Repeat::Harmless);
static EXISTS: Operation = Operation::new("store.exists", "store", "exists", Repeat::Harmless);
static SET: Operation = Operation::new("store.set", "store", "set", Repeat::Harmless);
static DELETE: Operation = Operation::new("store.delete", "store", "delete", Repeat::Harmless);
static EXPIRE: Operation = Operation::new("store.expire", "store", "expire", Repeat::Harmless);
static SET_IF_ABSENT: Operation = Operation::new(
    "store.set_if_absent",
    "store",
    "set_if_absent",
    Repeat::OnlyIfNotApplied,
);
static COMPARE_AND_SET: Operation = Operation::new(
    "store.compare_and_set",
    "store",
    "compare_and_set",
    Repeat::OnlyIfNotApplied,
);
static COMPARE_AND_DELETE: Operation = Operation::new(
    "store.compare_and_delete",
    "store",
    "compare_and_delete",
    Repeat::OnlyIfNotApplied,
);
static INCREMENT: Operation = Operation::new(
    "store.increment",
    "store",
    "increment",
    Repeat::OnlyIfNotApplied,
);

/// What the stores of an instance share.
#[derive(Debug)]
pub(crate) struct Stores {
    pub(crate) context: Arc<Context>,
    pub(crate) port: Arc<dyn StorePort>,
}

/// Values by key, the same for every instance.
///
/// Keys with different names are independent: each entry is a unit of its own, and nothing is atomic over
/// two of them.
///
/// # Clone
/// Cheap; clones are the same store.
///
/// # Concurrent calls
/// Writes to one entry happen one after the other, each at one moment of the home. Two services that read a
/// value, change it, and [`set`](Self::set) it lose the first one's change: [`compare_and_set`](Self::compare_and_set)
/// and [`increment`](Store::increment) do not.
///
/// # Lost replies
/// When the reply to a write is lost, it may or may not have been made. `set`, `delete` and `expire` are then
/// tried again, because doing them twice is the same as once (a `delete` may then say `false` for an entry that
/// its own first attempt removed). The others fail with [`Outcome::Unknown`](crate::Outcome), unless they have an
/// idempotency key: then they are repeated, happen once, and are answered as the first time.
///
/// # Example
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> quorate::Result<()> {
/// use quorate::{Fleet, StoreSpec};
/// use std::time::Duration;
///
/// const LEADERS: StoreSpec<str, String> = StoreSpec::new("leaders");
/// const VISITS: StoreSpec<u64, i64> = StoreSpec::new("visits").ttl(Duration::from_secs(3600));
///
/// let fleet = Fleet::embedded();
/// let leaders = fleet.store(&LEADERS);
/// assert!(leaders.set_if_absent("eu", &"a".to_owned()).idempotent().await?);
/// assert!(!leaders.compare_and_set("eu", Some(&"x".to_owned()), &"b".to_owned()).await?);
/// assert_eq!(leaders.get("eu").await?.as_deref(), Some("a"));
///
/// let visits = fleet.store(&VISITS);
/// assert_eq!(visits.increment(&7, 2).await?, 2);
/// # Ok(()) }
/// ```
pub struct Store<K: ?Sized, V> {
    pub(super) shared: Arc<Stores>,
    pub(super) spec: Arc<StoreSpec<K, V>>,
    pub(super) area: Arc<Area>,
    pub(super) limits: Limits,
}

impl<K: ?Sized, V> Store<K, V> {
    pub(crate) fn new(shared: Arc<Stores>, namespace: &Namespace, spec: &StoreSpec<K, V>) -> Self {
        let area = if spec.name.is_empty() {
            Area::raw(namespace)
        } else {
            Area::named(namespace, &spec.name)
        };
        Self {
            shared,
            spec: Arc::new(spec.clone()),
            area: Arc::new(area),
            limits: Limits::default(),
        }
    }

    /// The store's name; empty if its keys are raw.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// Bounds each call of this handle with all its attempts, instead of the fleet's own deadline.
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
}

impl<K: EntryKey + ?Sized, V> Store<K, V> {
    /// The value of an entry; `None` if there is none.
    ///
    /// # Errors
    /// `InvalidInput` if the key breaks a rule, `Decode` if what is stored is not one of these values, and those of
    /// the backend.
    ///
    /// # Cancel safety
    /// Yes.
    pub async fn get(&self, key: &K) -> Result<Option<V>> {
        if let Some(value) = self.at_once(key)? {
            let decode = |value| self.spec.codec.decode(&value);
            let wrong = |source| match self.key(key, &GET) {
                Ok(key) => self.undecodable(source, &key, &GET),
                Err(error) => error,
            };
            return value.map(decode).transpose().map_err(wrong);
        }
        let key = self.key(key, &GET)?;
        let (context, port) = (&self.shared.context, &self.shared.port);
        let value = context
            .run_within(self.limits, &GET, key.shown(), |attempt| {
                port.get(&key, attempt.options())
            })
            .await?;
        value
            .map(|value| self.decode(&value, &key, &GET))
            .transpose()
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
        let keys = keys?;
        check_count(keys.len()).map_err(|error| error.with_operation(GET_MANY.name))?;
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let (context, port) = (&self.shared.context, &self.shared.port);
        let values = context
            .run_within(self.limits, &GET_MANY, self.name(), |attempt| {
                port.get_many(&keys, attempt.options())
            })
            .await?;
        let decode = |(key, value): (&StoreKey, Option<Bytes>)| {
            let value = value.map(|value| self.decode(&value, key, &GET_MANY));
            value.transpose()
        };
        keys.iter().zip(values).map(decode).collect()
    }

    /// Whether there is an entry.
    ///
    /// # Errors
    /// As [`remaining`](Self::remaining).
    ///
    /// # Cancel safety
    /// Yes.
    pub async fn exists(&self, key: &K) -> Result<bool> {
        Ok(self.look(key, &EXISTS).await?.is_some())
    }

    /// How long an entry stays unless it is written again; `None` if there is none.
    ///
    /// # Errors
    /// `InvalidInput` if the key breaks a rule, and those of the backend.
    ///
    /// # Cancel safety
    /// Yes.
    pub async fn remaining(&self, key: &K) -> Result<Option<Remaining>> {
        self.look(key, &REMAINING).await
    }

    /// The value of an entry, where that can be told at once. Neither waits nor allocates. What is wrong with a key is
    /// told by who asks for it.
    fn at_once(&self, key: &K) -> Result<Option<Option<Bytes>>> {
        // Where nothing can be told, its key is not even written.
        if !self.shared.port.looks_at_once() {
            return Ok(None);
        }
        let look = |key: &str| self.shared.port.look(key);
        match self.area.with_key(key, look).flatten() {
            Some(value) => self.shared.context.at_once(&GET).map(|()| Some(value)),
            None => Ok(None),
        }
    }

    async fn look(&self, key: &K, operation: &'static Operation) -> Result<Option<Remaining>> {
        let key = self.key(key, operation)?;
        let (context, port) = (&self.shared.context, &self.shared.port);
        context
            .run_within(self.limits, operation, key.shown(), |attempt| {
                port.remaining(&key, attempt.options())
            })
            .await
    }

    /// Gives an entry a value, whatever it had. It lives as long as the spec says, or as `ttl` does.
    pub fn set(&self, key: &K, value: &V) -> SetEntry {
        let write = self.to_set(value, When::Always);
        SetEntry::new(self.pending(&SET, key, write))
    }

    /// Gives several entries a value, whatever they had, in one round trip; at most 10 000.
    ///
    /// They are not set at one moment, and when it fails some of them may be set.
    pub fn set_many<'e, I>(&self, entries: I) -> SetMany
    where
        I: IntoIterator<Item = (&'e K, &'e V)>,
        K: 'e,
        V: 'e,
    {
        let encode = |(key, value): (&K, &V)| Ok((self.key_of(key)?, self.encode(value)?));
        let entries: Result<Vec<_>> = entries.into_iter().map(encode).collect();
        let (shared, ttl) = (self.shared.clone(), self.spec.ttl);
        SetMany::new(shared, self.name(), entries, ttl, self.limits)
    }

    /// Gives an entry a value if there is none. The answer says whether it did.
    pub fn set_if_absent(&self, key: &K, value: &V) -> ConditionalWrite {
        let write = self.to_set(value, When::Absent);
        ConditionalWrite::new(self.pending(&SET_IF_ABSENT, key, write))
    }

    /// Gives an entry a value if it has the value `expected`, or if there is none where `expected` is `None`.
    /// The answer says whether it did.
    ///
    /// Values are compared as they are encoded: a codec must write equal values alike, which JSON does for all
    /// but maps without an order.
    pub fn compare_and_set(&self, key: &K, expected: Option<&V>, value: &V) -> ConditionalWrite {
        let write = self
            .expected(expected)
            .and_then(|when| self.to_set(value, when));
        ConditionalWrite::new(self.pending(&COMPARE_AND_SET, key, write))
    }

    /// Removes an entry. The answer says whether there was one.
    pub fn delete(&self, key: &K) -> RemoveEntry {
        let write = Write::Delete { when: When::Always };
        RemoveEntry::new(self.pending(&DELETE, key, Ok(write)))
    }

    /// Removes an entry if it has the value `expected`, compared as by [`compare_and_set`](Self::compare_and_set). The
    /// answer says whether it did.
    pub fn compare_and_delete(&self, key: &K, expected: &V) -> RemoveEntry {
        let write = self
            .expected(Some(expected))
            .map(|when| Write::Delete { when });
        RemoveEntry::new(self.pending(&COMPARE_AND_DELETE, key, write))
    }

    /// Lets an entry live for `ttl` from now. The answer says whether there is one.
    pub fn expire(&self, key: &K, ttl: Duration) -> RemoveEntry {
        let write = OF_STORES.checked("ttl", ttl).map(|ttl| Write::Expire {
            expiry: Expiry::After(ttl),
        });
        RemoveEntry::new(self.pending(&EXPIRE, key, write))
    }

    /// Lets an entry live until somebody removes it. The answer says whether there is one.
    pub fn persist(&self, key: &K) -> RemoveEntry {
        let expiry = Expiry::Never;
        RemoveEntry::new(self.pending(&EXPIRE, key, Ok(Write::Expire { expiry })))
    }

    fn pending(&self, operation: &'static Operation, key: &K, write: Result<Write>) -> Pending {
        let prepared = self.key_of(key).and_then(|key| Ok((key, write?)));
        let remember = self.spec.remember;
        Pending::new(
            self.shared.clone(),
            operation,
            prepared,
            remember,
            self.limits,
        )
    }

    fn to_set(&self, value: &V, when: When) -> Result<Write> {
        Ok(Write::Set {
            value: self.encode(value)?,
            expiry: self.spec.ttl.map_or(Expiry::Never, Expiry::After),
            when,
        })
    }

    fn expected(&self, value: Option<&V>) -> Result<When> {
        Ok(match value {
            None => When::Absent,
            Some(value) => When::Equals(self.encode(value)?),
        })
    }

    /// The key of an entry, as backends take it.
    ///
    /// # Errors
    /// `InvalidInput` if the key breaks a rule.
    pub fn entry_key(&self, key: &K) -> Result<StoreKey> {
        self.key_of(key)
    }

    fn key(&self, key: &K, operation: &'static Operation) -> Result<StoreKey> {
        self.key_of(key)
            .map_err(|error| error.with_operation(operation.name))
    }

    fn key_of(&self, key: &K) -> Result<StoreKey> {
        with_text(key, |name, _| self.area.key(name))
    }

    fn encode(&self, value: &V) -> Result<Bytes> {
        let encoded = self.spec.codec.encode(value);
        let bytes = encoded.map_err(|source| Error::new(ErrorKind::Encode).with_source(source))?;
        let most = self.spec.max_bytes;
        if bytes.len() > most {
            let rule = format_args!("must be at most {most} bytes, and has {}", bytes.len());
            return Err(Error::invalid("value", rule));
        }
        Ok(bytes)
    }

    fn decode(&self, value: &Bytes, key: &StoreKey, operation: &'static Operation) -> Result<V> {
        let decoded = self.spec.codec.decode(value);
        decoded.map_err(|source| self.undecodable(source, key, operation))
    }

    fn undecodable(
        &self,
        source: CodecError,
        key: &StoreKey,
        operation: &'static Operation,
    ) -> Error {
        Error::new(ErrorKind::Decode)
            .with_operation(operation.name)
            .with_target(key.shown())
            .with_message(format!("the value is no {}", self.spec.codec.name()))
            .with_source(source)
    }
}

impl<K: EntryKey + ?Sized> Store<K, i64> {
    /// Adds `by` to a counter, which begins at 0, and gives its new value.
    ///
    /// A counter that is made by it lives as long as the spec says; one that is there keeps its end, unless
    /// [`ttl`](Increment::ttl) moves it.
    pub fn increment(&self, key: &K, by: i64) -> Increment {
        let write = self.counts().map(|()| Write::Add {
            by,
            expiry: self.spec.ttl.map_or(Expiry::Keep, Expiry::AfterIfNew),
        });
        Increment::new(self.pending(&INCREMENT, key, write))
    }

    /// Takes `by` from a counter: [`increment`](Self::increment) by its negative.
    pub fn decrement(&self, key: &K, by: i64) -> Increment {
        match by.checked_neg() {
            Some(by) => self.increment(key, by),
            None => {
                let error = Error::invalid("by", "must be more than the least number of 64 bits");
                Increment::new(self.pending(&INCREMENT, key, Err(error)))
            }
        }
    }

    /// Counters are digits: a codec that writes numbers in another way could not read them.
    fn counts(&self) -> Result<()> {
        match self.spec.codec.encode(&-10) {
            Ok(text) if text == "-10" => Ok(()),
            _ => Err(Error::invalid(
                "codec",
                "must write numbers in digits where they are counted",
            )),
        }
    }
}

impl<K: ?Sized, V> Clone for Store<K, V> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
            spec: self.spec.clone(),
            area: self.area.clone(),
            limits: self.limits,
        }
    }
}

impl<K: ?Sized, V> fmt::Debug for Store<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("spec", &self.spec)
            .field("port", &format_args!("{}", self.shared.port))
            .finish()
    }
}
