//! What the caches of an instance share.

use std::sync::{Arc, OnceLock};

use super::area::CacheArea;
use super::figures::{CacheCounts, CacheFigures};
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
use crate::presence::Presences;
use crate::told::{self, Hot, OTHERS, Subject, Tell, Telling};

static INVALIDATE: Operation = Operation::new(
    "cache.invalidate_tags",
    "cache",
    "invalidate_tags",
    Repeat::Harmless,
);

/// What the caches of an instance share.
#[derive(Debug)]
pub(crate) struct Caches {
    pub(crate) context: Arc<Context>,
    pub(crate) port: Arc<dyn CachePort>,
    pub(crate) hub: Arc<Hub>,
    pub(super) flights: Arc<Flights>,
    known: Arc<told::Known<Known>>,
    clock: TestClock,
    /// How often keys have changed, once a cache wants to know.
    versions: OnceLock<Arc<Versions>>,
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
            known: told::Known::new(Some(telling)),
            clock,
            versions: OnceLock::new(),
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

    pub(super) fn known(&self, namespace: &Namespace, cache: &str) -> Arc<Known> {
        let new = |called: &str, what| Known {
            area: Arc::new(CacheArea::new(namespace, cache)),
            meters: Meters::new(called, what == Tell::Keys),
            near: Opened::default(),
        };
        let known = self.known.of(namespace, cache, |what| new(cache, what));
        // Works, and is counted with all others for which there was no room.
        known.unwrap_or_else(|| Arc::new(new(OTHERS, Tell::Nothing)))
    }
}

impl Subject for Known {
    type Counts = CacheCounts;

    const ROSTER: &'static str = "quorate/caches";

    fn counts(&self) -> CacheCounts {
        self.meters.counts()
    }

    fn hot(&self) -> Option<&Hot> {
        self.meters.hot.as_ref()
    }
}

/// What is known of the caches of a namespace, over all instances that tell.
pub(crate) async fn figures(
    presences: &Arc<Presences>,
    namespace: &Namespace,
) -> Result<Vec<CacheFigures>> {
    let sums = told::sums::<Known>(presences, namespace).await?;
    Ok(sums.into_iter().map(CacheFigures::from).collect())
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

    use parking_lot::Mutex;

    use super::*;
    use crate::told::MOST_KNOWN;
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
        assert_eq!(shared.known.all().len(), MOST_KNOWN);
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
