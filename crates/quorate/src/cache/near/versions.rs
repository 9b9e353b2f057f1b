//! How often keys have changed, and how long ago it was certain that no change is missing.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::cache::port::Changes;
use crate::clock::TestClock;

/// Counters that all keys share. Two keys with one of them only make each other's values be read again.
const COUNTERS: usize = 4096;

/// How often keys have changed.
pub(crate) struct Versions {
    hasher: RandomState,
    /// Of entries.
    entries: Box<[AtomicU64]>,
    /// Of what is known of tags: an invalidation raises one for each partition, which must not look like so many entries.
    tags: Box<[AtomicU64]>,
    /// How often everything may have changed.
    all: AtomicU64,
    began: Instant,
    moved: TestClock,
    /// When the newest question was asked that the backend has answered, having told all changes before.
    certain: AtomicU64,
    /// The shortest time that values of any cache may be stale.
    staleness: AtomicU64,
    is_kept: AtomicBool,
    is_used: AtomicBool,
    used: Notify,
}

/// What was known of a key before it was read. While that is all that is known, what was read is what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    entry: Version,
    tags: Version,
    all: u64,
    at: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version {
    counter: u16,
    count: u64,
}

impl Versions {
    pub(crate) fn new(moved: TestClock) -> Self {
        Self {
            hasher: RandomState::new(),
            entries: counters(),
            tags: counters(),
            all: AtomicU64::new(0),
            began: Instant::now(),
            moved,
            certain: AtomicU64::new(0),
            staleness: AtomicU64::new(u64::MAX),
            is_kept: AtomicBool::new(false),
            is_used: AtomicBool::new(false),
            used: Notify::new(),
        }
    }

    /// Nanoseconds since the beginning.
    pub(crate) fn now(&self) -> u64 {
        let moved = Duration::from_micros(self.moved.offset_micros());
        nanos(self.began.elapsed() + moved)
    }

    /// Looks at a key that is about to be read, and at that of its partition's tags.
    pub(crate) fn look(&self, entry: &[u8], tags: &[u8]) -> Seen {
        Seen {
            at: self.now(),
            entry: self.version(&self.entries, entry),
            tags: self.version(&self.tags, tags),
            all: self.all.load(Ordering::Acquire),
        }
    }

    /// Whether nothing newer is known at `now` than when the key was looked at, and that has been certain for less than
    /// `staleness`.
    pub(crate) fn is_current(&self, seen: &Seen, tagged: bool, now: u64, staleness: u64) -> bool {
        let same = |counters: &[AtomicU64], version: &Version| {
            let counter = counters.get(usize::from(version.counter));
            counter.is_some_and(|counter| counter.load(Ordering::Acquire) == version.count)
        };
        let certain = self.certain.load(Ordering::Acquire);
        now.saturating_sub(certain) <= staleness
            && seen.all == self.all.load(Ordering::Acquire)
            && same(&self.entries, &seen.entry)
            && (!tagged || same(&self.tags, &seen.tags))
    }

    /// All changes before `at` have been told.
    pub(crate) fn confirm(&self, at: u64) {
        self.certain.fetch_max(at, Ordering::AcqRel);
    }

    /// There are values that may be stale for so long.
    pub(super) fn will_be_kept_for(&self, staleness: u64) {
        self.staleness.fetch_min(staleness, Ordering::AcqRel);
    }

    /// The shortest time that values may be stale.
    pub(super) fn staleness(&self) -> u64 {
        self.staleness.load(Ordering::Acquire)
    }

    /// Whether the caller is the one who asks the backend from now on.
    pub(super) fn begin_keeping(&self) -> bool {
        // Nearly always somebody does.
        !self.is_kept.load(Ordering::Relaxed) && !self.is_kept.swap(true, Ordering::AcqRel)
    }

    /// The caller cannot.
    pub(super) fn end_keeping(&self) {
        self.is_kept.store(false, Ordering::Release);
    }

    /// A value of the process was given.
    pub(crate) fn use_it(&self) {
        // Nearly always it was used a moment ago.
        if !self.is_used.load(Ordering::Relaxed) && !self.is_used.swap(true, Ordering::AcqRel) {
            self.used.notify_one();
        }
    }

    /// Whether a value was given since this was asked last.
    pub(super) fn was_used(&self) -> bool {
        self.is_used.swap(false, Ordering::AcqRel)
    }

    /// Waits until a value is given.
    pub(super) async fn used(&self) {
        self.used.notified().await;
    }

    fn version(&self, counters: &[AtomicU64], key: &[u8]) -> Version {
        let counter = self.counter(key);
        let count = counters[usize::from(counter)].load(Ordering::Acquire);
        Version { counter, count }
    }

    fn counter(&self, key: &[u8]) -> u16 {
        u16::try_from(self.hasher.hash_one(key) % COUNTERS as u64).unwrap_or(0)
    }
}

impl Seen {
    /// When it was looked at.
    pub(super) const fn at(&self) -> u64 {
        self.at
    }
}

fn counters() -> Box<[AtomicU64]> {
    (0..COUNTERS).map(|_| AtomicU64::new(0)).collect()
}

pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl Changes for Versions {
    fn changed(&self, key: &[u8]) {
        let counter = usize::from(self.counter(key));
        if key.ends_with(b"}:tags") {
            self.tags[counter].fetch_add(1, Ordering::AcqRel);
            // An entry may be called so, too; what is known of tags is always called so.
            if key.windows(4).all(|part| part != b"}:e:") {
                return;
            }
        }
        self.entries[counter].fetch_add(1, Ordering::AcqRel);
    }

    fn all_changed(&self) {
        self.all.fetch_add(1, Ordering::AcqRel);
    }
}

impl std::fmt::Debug for Versions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Versions")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn versions() -> (TestClock, Versions) {
        let clock = TestClock::new();
        (clock.clone(), Versions::new(clock))
    }

    #[tokio::test(start_paused = true)]
    async fn what_changes_after_the_look_is_noticed() {
        let (_, versions) = versions();
        let current = |seen: &Seen, tagged| versions.is_current(seen, tagged, 0, SECOND);
        let seen = versions.look(b"a", b"ns:cache:{1}:tags");
        assert!(current(&seen, true));
        versions.changed(b"ns:cache:{1}:tags");
        assert!(current(&seen, false));
        assert!(!current(&seen, true));
        versions.changed(b"a");
        assert!(!current(&seen, false));
        let seen = versions.look(b"a", b"ns:cache:{1}:tags");
        assert!(current(&seen, true));
        versions.all_changed();
        assert!(!current(&seen, false));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_confirmed_is_not_current_for_long() {
        let (clock, versions) = versions();
        let seen = versions.look(b"a", b"ns:cache:{1}:tags");
        let current = || versions.is_current(&seen, true, versions.now(), SECOND);
        clock.advance(Duration::from_secs(1));
        assert!(current());
        clock.advance(Duration::from_millis(1));
        assert!(!current());
        versions.confirm(versions.now());
        assert!(current());
    }
}
