//! How often a limiter allows and refuses.

use std::collections::HashMap;
use std::sync::Arc;

use metrics::Counter;
use parking_lot::Mutex;

use crate::telemetry;

/// Names that are told of by themselves. What comes from outside may name limiters, and each name is kept.
const MOST_KNOWN: usize = 1000;

/// What all others are told as.
const OTHERS: &str = "(others)";

/// What is counted, by limiter.
#[derive(Debug, Default)]
pub(crate) struct AllMeters(Mutex<HashMap<String, Arc<Meters>>>);

impl AllMeters {
    pub(super) fn of(&self, limiter: &str) -> Arc<Meters> {
        let mut known = self.0.lock();
        if let Some(meters) = known.get(limiter) {
            return meters.clone();
        }
        let name = if known.len() < MOST_KNOWN {
            limiter
        } else {
            OTHERS
        };
        let new = || Arc::new(Meters::of(name));
        known.entry(name.to_owned()).or_insert_with(new).clone()
    }
}

/// Handles looked up once for each limiter.
pub(super) struct Meters {
    allowed: Counter,
    denied: Counter,
    shadow: Counter,
    open: Counter,
    share: Counter,
}

impl Meters {
    fn of(limiter: &str) -> Self {
        let counter = |result: &'static str| metrics::counter!(telemetry::LIMIT_DECISIONS, "limiter" => limiter.to_owned(), "result" => result);
        Self {
            allowed: counter("allowed"),
            denied: counter("denied"),
            shadow: counter("shadow"),
            open: counter("open"),
            share: counter("share"),
        }
    }

    pub(super) fn allowed(&self) {
        self.allowed.increment(1);
    }

    pub(super) fn denied(&self) {
        self.denied.increment(1);
    }

    /// It would have been denied.
    pub(super) fn let_through(&self) {
        self.shadow.increment(1);
    }

    /// It was allowed without being counted.
    pub(super) fn open(&self) {
        self.open.increment(1);
    }

    /// It was decided by this instance's share.
    pub(super) fn share(&self) {
        self.share.increment(1);
    }
}

impl std::fmt::Debug for Meters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Meters")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_outside_are_kept_up_to_a_bound() {
        let meters = AllMeters::default();
        for number in 0..MOST_KNOWN + 50 {
            meters.of(&format!("limiter-{number}"));
        }
        assert_eq!(meters.0.lock().len(), MOST_KNOWN + 1);
        assert!(Arc::ptr_eq(
            &meters.of("limiter-0"),
            &meters.of("limiter-0")
        ));
        assert!(Arc::ptr_eq(&meters.of("new"), &meters.of(OTHERS)));
    }
}
