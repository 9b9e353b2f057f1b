//! What a backend for stores must do.

use std::fmt::{Debug, Display};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::area::{Area, StoreKey};
use super::entry::{Once, Remaining, Write, Written};
use crate::durability::{Durability, Reached};
use crate::error::Result;
use crate::lock::FencingToken;
use crate::port::CallOptions;
use crate::scan::{ScanCursor, ScanPage};

/// How a write is made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WriteOptions {
    /// The bounds of the call.
    pub call: CallOptions,
    /// Makes repeating it harmless.
    pub once: Option<Once>,
    /// The fencing token of who writes: one smaller than the greatest that was seen writes nothing.
    pub token: Option<FencingToken>,
    /// How safe it ought to be before it is answered; `None` to answer at once.
    pub durability: Option<Durability>,
}

impl WriteOptions {
    /// Within the bounds of a call, not remembered, answered at once.
    #[must_use]
    pub const fn new(call: CallOptions) -> Self {
        Self {
            call,
            once: None,
            token: None,
            durability: None,
        }
    }

    /// Makes repeating it harmless.
    #[must_use]
    pub fn once(mut self, once: Option<Once>) -> Self {
        self.once = once;
        self
    }

    /// Made only with a token that is as great as the greatest at least.
    #[must_use]
    pub const fn token(mut self, token: Option<FencingToken>) -> Self {
        self.token = token;
        self
    }

    /// Answered when it is so safe.
    #[must_use]
    pub fn durability(mut self, durability: Option<Durability>) -> Self {
        self.durability = durability;
        self
    }
}

/// A backend for stores.
///
/// # Contract
/// * Entries with different [`StoreKey::text`] are independent; of one, reads and writes have one order, and
///   a read sees every write that was answered before it began.
/// * `write` does what [`Entry::write`](super::Entry) says, at one moment. With [`Once`], an id that is still
///   remembered is answered as the first time and nothing is done, and the same id for another write is
///   [`Written::OtherWrite`]. Ids are remembered for as long as the write that brought them says, also when
///   the entry is gone.
/// * With a token that is smaller than the greatest that the entry was written with before, nothing is done, and the answer is
///   [`Written::Stale`]. The greatest is remembered for 31 days after the last write with a token, also when the entry is
///   gone. Writes without one pass.
/// * An entry is gone when its time to live is over, by the backend's clock and to the millisecond.
/// * Bytes come back as they were written; a counter is its decimal digits.
/// * `get_many` answers in the order of the keys. It and `set_many` are not one moment: other writes may come
///   in between. When `set_many` fails, any of its entries may have been set.
/// * `scan` gives every entry that is there from its first page to its last at least once, those that come
///   or go meanwhile perhaps, and no other.
/// * A write that asks for durability is answered as soon as that is reached, or its time is up: with what
///   was reached.
#[async_trait]
pub trait StorePort: Debug + Display + Send + Sync + 'static {
    /// Whether it is of use to `look` first: not where a server has to be asked.
    fn looks_at_once(&self) -> bool {
        false
    }

    /// The value of the entry with this [`StoreKey::text`], where that can be told at once and [`get`](Self::get) would
    /// not fail: `None` to be asked with that. For homes in the process, whose answer takes less time than asking does.
    fn look(&self, _key: &str) -> Option<Option<Bytes>> {
        None
    }

    /// The value of an entry.
    ///
    /// # Errors
    /// Those of the backend.
    async fn get(&self, key: &StoreKey, options: CallOptions) -> Result<Option<Bytes>>;

    /// The values of several entries.
    ///
    /// # Errors
    /// Those of the backend.
    async fn get_many(&self, keys: &[StoreKey], options: CallOptions)
    -> Result<Vec<Option<Bytes>>>;

    /// One transition of an entry.
    ///
    /// # Errors
    /// Those of the backend, and `Unsupported` for durability that it cannot give.
    async fn write(
        &self,
        key: &StoreKey,
        write: &Write,
        options: WriteOptions,
    ) -> Result<(Written, Reached)>;

    /// Gives several entries a value, whatever they had.
    ///
    /// # Errors
    /// Those of the backend.
    async fn set_many(
        &self,
        entries: &[(StoreKey, Bytes)],
        ttl: Option<Duration>,
        options: CallOptions,
    ) -> Result<()>;

    /// How long an entry stays; `None` if there is none.
    ///
    /// # Errors
    /// Those of the backend.
    async fn remaining(&self, key: &StoreKey, options: CallOptions) -> Result<Option<Remaining>>;

    /// Some of the keys of an area that begin with `prefix`.
    ///
    /// # Errors
    /// Those of the backend.
    async fn scan(
        &self,
        area: &Area,
        prefix: &str,
        from: Option<&ScanCursor>,
        options: CallOptions,
    ) -> Result<ScanPage>;
}
