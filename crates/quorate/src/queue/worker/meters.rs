//! What is counted of a worker's jobs.

use metrics::{Counter, Histogram};

use super::super::job::Settlement;
use crate::telemetry;

/// Handles looked up once.
pub(super) struct Meters {
    pub(super) seconds: Histogram,
    succeeded: Counter,
    failed: Counter,
    deferred: Counter,
    dead: Counter,
    cancelled: Counter,
    lost: Counter,
}

impl Meters {
    pub(super) fn new(queue: &str) -> Self {
        let counter = |result: &'static str| metrics::counter!(telemetry::QUEUE_JOBS, "queue" => queue.to_owned(), "result" => result);
        Self {
            seconds: metrics::histogram!(telemetry::QUEUE_JOB_SECONDS, "queue" => queue.to_owned()),
            succeeded: counter("succeeded"),
            failed: counter("failed"),
            deferred: counter("deferred"),
            dead: counter("dead"),
            cancelled: counter("cancelled"),
            lost: counter("lost"),
        }
    }

    /// Counts what became of a job; `None`: its lease was lost.
    pub(super) fn count(&self, settlement: Option<&Settlement>) {
        let counter = match settlement {
            Some(Settlement::Succeeded { .. }) => &self.succeeded,
            Some(Settlement::Failed { .. }) => &self.failed,
            Some(Settlement::Deferred(_) | Settlement::Waiting { .. }) => &self.deferred,
            Some(Settlement::Dead(_)) => &self.dead,
            Some(Settlement::Cancelled) => &self.cancelled,
            None => &self.lost,
        };
        counter.increment(1);
    }
}
