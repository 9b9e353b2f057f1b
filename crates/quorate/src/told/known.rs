//! What an instance uses, and tells of: its caches, or its limiters.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::announcer::{Telling, announce};
use super::figures::{Counts, Tell};
use super::hot::Hot;
use crate::key::Namespace;

/// Those that are known by name. Where names come from outside, there may be any number.
pub(crate) const MOST_KNOWN: usize = 1000;

/// What the others are counted as: nothing can be called that.
pub(crate) const OTHERS: &str = "(others)";

/// One that is told of.
pub(crate) trait Subject: Debug + Send + Sync + 'static {
    type Counts: Counts + Send + Sync + 'static;

    /// The roster on which instances tell of them: a member for each.
    const ROSTER: &'static str;

    fn counts(&self) -> Self::Counts;

    /// Which keys are asked for; only where that is to be told.
    fn hot(&self) -> Option<&Hot>;
}

/// Those that an instance uses, by namespace and name.
#[derive(Debug)]
pub(crate) struct Known<S> {
    // A short lock, taken when a handle is made: what handles of one share outlives each of them.
    all: Mutex<All<S>>,
    telling: Option<Telling>,
    /// Telling begins with the first that is used.
    tells: AtomicBool,
}

#[derive(Debug)]
struct All<S> {
    named: HashMap<Namespace, HashMap<String, Arc<S>>>,
    count: usize,
}

impl<S: Subject> Known<S> {
    /// `None`: nothing is told.
    pub(crate) fn new(telling: Option<Telling>) -> Arc<Self> {
        let all = All {
            named: HashMap::new(),
            count: 0,
        };
        Arc::new(Self {
            all: Mutex::new(all),
            telling: telling.filter(|it| it.what != Tell::Nothing),
            tells: AtomicBool::new(false),
        })
    }

    pub(super) const fn telling(&self) -> Option<&Telling> {
        self.telling.as_ref()
    }

    /// The one of that name, made if it is not known yet; `None` where there are too many already.
    pub(crate) fn of(
        self: &Arc<Self>,
        namespace: &Namespace,
        name: &str,
        make: impl FnOnce(Tell) -> S,
    ) -> Option<Arc<S>> {
        let what = self.tell();
        let mut all = self.all.lock();
        let found = all.named.get(namespace).and_then(|named| named.get(name));
        if let Some(found) = found {
            return Some(found.clone());
        }
        if all.count >= MOST_KNOWN {
            return None;
        }
        all.count += 1;
        let made = Arc::new(make(what));
        let named = all.named.entry(namespace.clone()).or_default();
        named.insert(name.to_owned(), made.clone());
        Some(made)
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<(Namespace, String, Arc<S>)> {
        let all = self.all.lock();
        let each = all.named.iter().flat_map(|(namespace, named)| {
            let each = named.iter();
            each.map(|(name, it)| (namespace.clone(), name.clone(), it.clone()))
        });
        each.collect()
    }

    /// Begins to tell, if that is to be done; and what.
    fn tell(self: &Arc<Self>) -> Tell {
        let Some(telling) = &self.telling else {
            return Tell::Nothing;
        };
        if !self.tells.swap(true, Ordering::Relaxed) {
            let closed = telling.context.closed().clone();
            let announcing = announce(Arc::downgrade(self), telling.every, closed);
            // Where there is no runtime yet, it begins with the next one that is asked for here.
            let began = telling.context.spawn(announcing);
            self.tells.store(began, Ordering::Relaxed);
        }
        telling.what
    }
}
