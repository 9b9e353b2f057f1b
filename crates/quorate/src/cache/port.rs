//! What a backend for caches must do.

use std::fmt::{Debug, Display};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::area::{CacheArea, CacheKey, CacheLook};
use super::slot::{FailedLoad, Fence, LoadId, NotAdded, Put, Stored, Take, Taken};
use crate::error::Result;
use crate::events::Channel;
use crate::key::Namespace;
use crate::port::CallOptions;
use crate::scan::{ScanCursor, ScanPage};

/// What a scan looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "backends must know them all")]
pub enum Sought {
    /// Entries.
    Entries,
    /// Entries and what is being loaded, with or without an entry: whatever there is to remove.
    EntriesAndLoads,
    /// What is being loaded, with or without an entry.
    Loads,
}

/// What a tracked read found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "backends make it")]
pub struct Tracked {
    /// What is there.
    pub stored: Option<Stored>,
    /// Whether a change of it will be told.
    pub is_told: bool,
}

/// Hears of what changes. Called from anywhere; must not block.
pub trait Changes: Debug + Send + Sync + 'static {
    /// This key has changed, or is not tracked any more: [`CacheKey::entry`] or [`CacheKey::tags`].
    fn changed(&self, key: &[u8]);

    /// Any key may have changed.
    fn all_changed(&self);
}

/// A backend for caches.
///
/// # Contract
/// * Entries with different keys are independent, but for the tags they share. Of one, operations have one
///   order, and a read sees every one that was answered before it began.
/// * An entry is gone when its time to keep is over, or when one of its tags was invalidated after it was stored:
///   once `invalidate` has answered, no read gives it any more, and what is stored afterwards is not touched. It
///   may be gone before: a cache may forget.
/// * `take` gives what is fresh; otherwise at most one asker holds the lease to load, until it ends, is given up, or
///   its value is stored. Asked again with the same id, the answer is the same. `renew` moves the end of a lease that
///   still holds, and never brings one back. With [`Wish::Early`](super::Wish::Early) the lease is given although the entry is fresh, if
///   it still is what was stored then, nobody holds the lease and no failure is remembered; with [`Wish::Anew`](super::Wish::Anew) whatever is there.
/// * `fail` ends a lease that holds, and remembers the failure: while there is an old value, `take` gives that
///   for the time of the throttle; while there is none, `take` tells of the failure for as long as it says, or until one of
///   its tags is invalidated. `put`, `remove`, `add` and the next lease make it forgotten.
/// * A value of a load ([`Fence::Load`]) is kept only while its lease holds, and only if since the load began nobody
///   wrote or removed the entry and none of the value's tags was invalidated.
/// * `put`, `remove` and `add` end the leases of the entries they touch, `remove` also those of loads of
///   entries that are not there. That, a stored value and a load given up are announced on the
///   channel named by `announced_on`.
/// * `end_loads` ends the leases of whoever loads, and leaves what is there, and what is remembered of failures. That is
///   announced likewise.
/// * `scan` gives every entry that is there from its first page to its last at least once, those that come or go
///   meanwhile perhaps, and no other. With [`Sought::EntriesAndLoads`] it gives the names of loads under way as
///   well, and perhaps those of entries that have ended; with [`Sought::Loads`] only those of loads under way, and perhaps
///   of loads that have failed.
/// * What was read by `get_tracked` with `is_told` is told to `track`'s listener when it changes, once at least, or when
///   that cannot be told any more: when its entry is written, removed or given another end, and, if it has
///   tags, when one of them is invalidated. Changes made through the same port are told before the call that
///   made them answers or is dropped; others at the latest before a `confirm` that began after them answers. That its time
///   is over is not told.
/// * Times are the backend's, and to the millisecond.
/// * `get_many` and the like answer in the order of the keys, and are not one moment.
/// * Every operation but `add` and a `put` of what is absent may be repeated when its reply was lost; a repeated
///   `remove` may find nothing left, and a repeated `put` of a load find its lease ended.
#[async_trait]
pub trait CachePort: Debug + Display + Send + Sync + 'static {
    /// Whether it is of use to `look` first: not where a server has to be asked.
    fn looks_at_once(&self) -> bool {
        false
    }

    /// What is there, where that can be told at once and costs no more than to look: `None` where it has to be asked for.
    fn look(&self, _entry: CacheLook<'_>) -> Option<Option<Stored>> {
        None
    }

    /// What is there.
    ///
    /// # Errors
    /// Those of the backend.
    async fn get(&self, key: &CacheKey, options: CallOptions) -> Result<Option<Stored>>;

    /// What is there of several.
    ///
    /// # Errors
    /// Those of the backend.
    async fn get_many(
        &self,
        keys: &[CacheKey],
        options: CallOptions,
    ) -> Result<Vec<Option<Stored>>>;

    /// Keeps a value. `false`: the fence did not let it.
    ///
    /// # Errors
    /// Those of the backend.
    async fn put(
        &self,
        key: &CacheKey,
        put: &Put,
        fence: Fence,
        options: CallOptions,
    ) -> Result<bool>;

    /// Keeps several values. When it fails, any of them may be kept.
    ///
    /// # Errors
    /// Those of the backend.
    async fn put_many(
        &self,
        entries: &[(CacheKey, Put, Fence)],
        options: CallOptions,
    ) -> Result<Vec<bool>>;

    /// What is there, or who is to load it. When it fails, leases may be taken.
    ///
    /// # Errors
    /// Those of the backend.
    async fn take(&self, keys: &[CacheKey], take: Take, options: CallOptions)
    -> Result<Vec<Taken>>;

    /// Lets loads go on for so long. `false`: it does not hold the lease any more.
    ///
    /// # Errors
    /// Those of the backend.
    async fn renew(
        &self,
        keys: &[CacheKey],
        id: LoadId,
        lease: Duration,
        options: CallOptions,
    ) -> Result<Vec<bool>>;

    /// Gives up loads. `false`: it did not hold the lease.
    ///
    /// # Errors
    /// Those of the backend.
    async fn give_up(
        &self,
        keys: &[CacheKey],
        id: LoadId,
        options: CallOptions,
    ) -> Result<Vec<bool>>;

    /// Ends loads, whoever's they are. How many of them there were.
    ///
    /// # Errors
    /// Those of the backend.
    async fn end_loads(&self, keys: &[CacheKey], options: CallOptions) -> Result<u64>;

    /// Gives up loads that failed, remembers that, and says what is there.
    ///
    /// # Errors
    /// Those of the backend.
    async fn fail(
        &self,
        keys: &[CacheKey],
        id: LoadId,
        failed: &FailedLoad,
        options: CallOptions,
    ) -> Result<Vec<Option<Stored>>>;

    /// Removes entries. How many of them there were.
    ///
    /// # Errors
    /// Those of the backend.
    async fn remove(&self, keys: &[CacheKey], options: CallOptions) -> Result<u64>;

    /// How long an entry is kept; `None` if there is none.
    ///
    /// # Errors
    /// Those of the backend.
    async fn remaining(&self, key: &CacheKey, options: CallOptions) -> Result<Option<Duration>>;

    /// Keeps an entry for so long from now, and as long fresh. `false`: there is none.
    ///
    /// # Errors
    /// Those of the backend.
    async fn expire(&self, key: &CacheKey, keep: Duration, options: CallOptions) -> Result<bool>;

    /// Adds to a counter, which begins at 0 and is then kept for so long.
    ///
    /// # Errors
    /// Those of the backend.
    async fn add(
        &self,
        key: &CacheKey,
        by: i64,
        keep: Duration,
        options: CallOptions,
    ) -> Result<Result<i64, NotAdded>>;

    /// Ends everything in a namespace that has one of the tags and was stored before.
    ///
    /// # Errors
    /// Those of the backend; some of it may have ended then.
    async fn invalidate(
        &self,
        namespace: &Namespace,
        tags: &[String],
        options: CallOptions,
    ) -> Result<()>;

    /// Some of the names in a cache that match a glob.
    ///
    /// # Errors
    /// Those of the backend.
    async fn scan(
        &self,
        area: &Arc<CacheArea>,
        glob: &str,
        sought: Sought,
        from: Option<&ScanCursor>,
        options: CallOptions,
    ) -> Result<ScanPage>;

    /// Where the end of a load is announced; `None` if it is not, so that waiting means asking again.
    fn announced_on(&self, key: &CacheKey) -> Option<Channel>;

    /// Tells `changes` from now on of what changes that was read by `get_tracked`. Called once.
    fn track(&self, changes: Arc<dyn Changes>);

    /// What is there of several, whose changes are told from then on.
    ///
    /// # Errors
    /// Those of the backend.
    async fn get_tracked(&self, keys: &[CacheKey], options: CallOptions) -> Result<Vec<Tracked>>;

    /// Answers when all changes before have been told.
    ///
    /// # Errors
    /// Those of the backend.
    async fn confirm(&self, options: CallOptions) -> Result<()>;
}
