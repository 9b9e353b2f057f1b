//! The values of one cache that are kept in the process.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, Weighter};

use super::versions::{Seen, Versions, nanos};
use crate::cache::early::Ahead;
use crate::cache::slot::Stored;
use crate::clock::Micros;

/// What an entry costs besides its value.
const OVERHEAD: u64 = 128;

/// A guess of how large values are, by which room for keys is made in advance.
const TYPICAL: u64 = 512;

/// What a spec says of it.
pub(crate) struct NearSpec<V> {
    pub(crate) bytes: u64,
    pub(crate) staleness: Duration,
    /// Makes it, knowing the type.
    pub(crate) open: Open<V>,
}

type Open<V> = fn(&Opened, &Arc<Versions>, &NearSpec<V>) -> Arc<dyn NearValues<V>>;

/// What is open of one cache, by the type of its values: handles with other types do not see each other's.
pub(crate) type Opened = Mutex<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>;

/// The values of one cache that are kept in the process.
pub(crate) trait NearValues<V>: Send + Sync {
    /// A value that nothing is known to have changed, with how long it is fresh.
    fn get(&self, name: &str) -> Option<(V, Ahead)>;

    /// Keeps a value for as long as it is fresh.
    fn keep(&self, name: &str, value: &V, terms: Terms, seen: Seen);
}

/// What is to be known of a value to keep it in the process.
pub(crate) struct Terms {
    bytes: u64,
    tagged: bool,
    /// For how long it is fresh, ns; `None`: it does not say.
    fresh: Option<u64>,
    /// How long it took to load.
    cost: Duration,
    /// When it was stored, by the home's clock.
    stored: Micros,
}

impl Terms {
    pub(super) fn of(stored: &Stored) -> Self {
        let says = stored.fresh_until != Micros::new(u64::MAX);
        Self {
            bytes: stored.value.len() as u64,
            tagged: !stored.tags.is_empty(),
            stored: stored.stored,
            fresh: says.then(|| nanos(stored.fresh_until.since(stored.now))),
            cost: stored.cost,
        }
    }
}

pub(crate) struct Near<V> {
    values: Cache<Box<str>, Kept<V>, ByBytes>,
    versions: Arc<Versions>,
}

/// It as one spec has it.
struct View<V> {
    near: Arc<Near<V>>,
    staleness: u64,
}

#[derive(Clone)]
struct Kept<V> {
    value: V,
    bytes: u64,
    seen: Seen,
    /// It has tags.
    tagged: bool,
    /// When it is no longer fresh.
    until: u64,
    /// How long it took to load.
    cost: Duration,
    /// When it was stored, by the home's clock.
    stored: Micros,
}

#[derive(Clone)]
struct ByBytes;

impl<V> Weighter<Box<str>, Kept<V>> for ByBytes {
    fn weight(&self, name: &Box<str>, kept: &Kept<V>) -> u64 {
        OVERHEAD + name.len() as u64 + kept.bytes
    }
}

/// The values that all handles of a cache with values of this type share. The bound is that of the first.
pub(crate) fn open<V: Clone + Send + Sync + 'static>(
    opened: &Opened,
    versions: &Arc<Versions>,
    spec: &NearSpec<V>,
) -> Arc<dyn NearValues<V>> {
    let staleness = nanos(spec.staleness);
    versions.will_be_kept_for(staleness);
    let mut opened = opened.lock();
    let known = opened.entry(TypeId::of::<V>()).or_insert_with(|| {
        Arc::new(Near::<V> {
            values: Cache::with(
                usize::try_from(spec.bytes / TYPICAL)
                    .unwrap_or(usize::MAX)
                    .max(16),
                spec.bytes,
                ByBytes,
                DefaultHashBuilder::default(),
                DefaultLifecycle::default(),
            ),
            versions: versions.clone(),
        })
    });
    let near = known.clone().downcast::<Near<V>>();
    let near = near.expect("it stands under its own type");
    Arc::new(View { near, staleness })
}

impl<V: Clone + Send + Sync> View<V> {
    /// What is kept and current, and the present.
    fn current(&self, name: &str) -> Option<(Kept<V>, u64)> {
        let (kept, versions) = (self.near.values.get(name)?, &self.near.versions);
        let now = versions.now();
        let current =
            kept.until > now && versions.is_current(&kept.seen, kept.tagged, now, self.staleness);
        if !current {
            return None;
        }
        versions.use_it();
        Some((kept, now))
    }
}

impl<V: Clone + Send + Sync> NearValues<V> for View<V> {
    fn get(&self, name: &str) -> Option<(V, Ahead)> {
        let (kept, now) = self.current(name)?;
        let ahead = Ahead {
            stored: kept.stored,
            left: Duration::from_nanos(kept.until - now),
            cost: kept.cost,
        };
        Some((kept.value, ahead))
    }

    fn keep(&self, name: &str, value: &V, terms: Terms, seen: Seen) {
        // A counter says nothing of its time.
        let Some(fresh) = terms.fresh else { return };
        let kept = Kept {
            value: value.clone(),
            bytes: terms.bytes,
            seen,
            tagged: terms.tagged,
            // From before it was asked for: the backend's own time began later.
            until: seen.at().saturating_add(fresh),
            cost: terms.cost,
            stored: terms.stored,
        };
        self.near.values.insert(name.into(), kept);
    }
}

impl<V> Clone for NearSpec<V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<V> Copy for NearSpec<V> {}

impl<V> fmt::Debug for NearSpec<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NearSpec")
            .field("bytes", &self.bytes)
            .field("staleness", &self.staleness)
            .finish_non_exhaustive()
    }
}
