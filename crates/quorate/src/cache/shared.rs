//! What the caches of an instance share.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Once, OnceLock};

use parking_lot::Mutex;

use super::announcer::{Telling, announce};
use super::area::CacheArea;
use super::figures::TellCaches;
use super::flight::Flights;
use super::meters::Meters;
use super::near::{self, Opened, Versions};
use super::port::CachePort;
use super::put::check_tags;
use crate::clock::TestClock;
use crate::context::{Context, Operation, Repeat};
use crate::error::Result;
use crate::events::Hub;
use crate::key::Namespace;

static INVALIDATE: Operation = Operation::new(
    "cache.invalidate_tags",
    "cache",
    "invalidate_tags",
    Repeat::Harmless,
);

/// Caches whose handles share something. Where names come from outside, there may be any number.
const MOST_KNOWN: usize = 1000;

/// What the others are counted as: no cache can be called that.
const OTHERS: &str = "(others)";

/// What the caches of an instance share.
#[derive(Debug)]
pub(crate) struct Caches {
    pub(crate) context: Arc<Context>,
    pub(crate) port: Arc<dyn CachePort>,
    pub(crate) hub: Arc<Hub>,
    pub(super) flights: Arc<Flights>,
    // A short lock, taken when a handle is made: what handles of one cache share outlives each of them.
    known: Mutex<HashMap<(Namespace, String), Arc<Known>>>,
    clock: TestClock,
    /// How often keys have changed, once a cache wants to know.
    versions: OnceLock<Arc<Versions>>,
    pub(super) telling: Telling,
    /// Telling begins with the first cache that is used.
    tells: Once,
}

/// What the handles of one cache share.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) area: Arc<CacheArea>,
    pub(super) meters: Meters,
    pub(super) near: Opened,
}

impl Caches {
    pub(crate) fn new(
        context: Arc<Context>,
        port: Arc<dyn CachePort>,
        hub: Arc<Hub>,
        clock: TestClock,
        telling: Telling,
    ) -> Self {
        Self {
            context,
            port,
            hub,
            flights: Arc::default(),
            known: Mutex::default(),
            clock,
            versions: OnceLock::new(),
            telling,
            tells: Once::new(),
        }
    }

    /// How often keys have changed, from the first time on that this is asked.
    pub(super) fn versions(&self) -> &Arc<Versions> {
        self.versions.get_or_init(|| {
            let versions = Arc::new(Versions::new(self.clock.clone()));
            self.port.track(versions.clone());
            versions
        })
    }

    /// Makes sure that the backend is asked whether all changes have been told.
    pub(super) fn keep_near(&self) {
        near::start(&self.context, &self.port, self.versions());
    }

    pub(super) fn known(self: &Arc<Self>, namespace: &Namespace, cache: &str) -> Arc<Known> {
        self.tell();
        let follows_keys = self.telling.what == TellCaches::Keys;
        let mut known = self.known.lock();
        let name = (namespace.clone(), cache.to_owned());
        let is_full = known.len() >= MOST_KNOWN;
        let new = |called: &str, follows_keys| {
            Arc::new(Known {
                area: Arc::new(CacheArea::new(namespace, cache)),
                meters: Meters::new(called, follows_keys),
                near: Opened::default(),
            })
        };
        match known.entry(name) {
            Entry::Occupied(found) => found.get().clone(),
            // Works, and is counted with all others for which there was no room.
            Entry::Vacant(_) if is_full => new(OTHERS, false),
            Entry::Vacant(free) => free.insert(new(cache, follows_keys)).clone(),
        }
    }

    /// All that were used.
    pub(super) fn all_known(&self) -> Vec<Arc<Known>> {
        self.known.lock().values().cloned().collect()
    }

    fn tell(self: &Arc<Self>) {
        if self.telling.what == TellCaches::Nothing {
            return;
        }
        self.tells.call_once(|| {
            // Where there is no runtime nothing has been read either.
            let closed = self.context.closed().clone();
            let telling = announce(Arc::downgrade(self), self.telling.every, closed);
            self.context.spawn(telling);
        });
    }
}

/// Ends everything in a namespace that has one of the tags.
pub(crate) async fn invalidate_tags(
    shared: &Caches,
    namespace: &Namespace,
    tags: Vec<String>,
) -> Result<()> {
    check_tags(&tags).map_err(|error| error.with_operation(INVALIDATE.name))?;
    if tags.is_empty() {
        return Ok(());
    }
    shared
        .context
        .run(&INVALIDATE, &tags[0], None, |attempt| {
            let options = attempt.options();
            shared.port.invalidate(namespace, &tags, options)
        })
        .await
}

#[cfg(test)]
mod tests {
    use metrics::{
        Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    };

    use super::*;
    use crate::{CacheSpec, Fleet};

    /// The caches that something is counted of.
    #[derive(Default)]
    struct Counted(Mutex<Vec<String>>);

    impl Recorder for Counted {
        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            let label = key.labels().find(|label| label.key() == "cache");
            self.0
                .lock()
                .extend(label.map(|label| label.value().to_owned()));
            Counter::noop()
        }

        fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::noop()
        }

        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::noop()
        }

        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    }

    #[tokio::test]
    async fn caches_beyond_the_bound_work_and_are_counted_together() {
        let fleet = Fleet::embedded();
        let cache = |name: usize| {
            let spec = CacheSpec::<str, u64>::try_new(format!("c{name}")).unwrap();
            fleet.cache(&spec)
        };
        let counted = Counted::default();
        let caches: Vec<_> =
            metrics::with_local_recorder(&counted, || (0..MOST_KNOWN + 2).map(cache).collect());
        let mut counted = counted.0.into_inner();
        counted.sort_unstable();
        counted.dedup();
        assert_eq!(counted.len(), MOST_KNOWN + 1);
        assert_eq!(counted[0], OTHERS);
        let shared = &caches[0].inner.shared;
        assert_eq!(shared.all_known().len(), MOST_KNOWN);
        // Each of them is a cache of its own.
        for (name, cache) in caches.iter().enumerate() {
            cache.put("a", &(name as u64)).await.unwrap();
        }
        for name in [0, MOST_KNOWN - 1, MOST_KNOWN, MOST_KNOWN + 1] {
            let found = cache(name).get("a").await.unwrap();
            assert_eq!(found, Some(name as u64));
        }
        // Those that are known stay so.
        assert!(Arc::ptr_eq(&cache(0).inner.known, &caches[0].inner.known));
    }
}
