//! What is counted.

use metrics::Counter;

use crate::telemetry;

/// What became of a request with a key.
#[derive(Clone, Copy, Debug)]
pub(super) enum Answered {
    Ran,
    Replayed,
    Conflict,
    Mismatch,
    Failed,
}

/// Looked up once.
#[derive(Debug)]
pub(super) struct Meters {
    requests: [Counter; 5],
    lost: Counter,
}

impl Meters {
    pub(super) fn new(name: &str) -> Self {
        let results = ["ran", "replayed", "conflict", "mismatch", "failed"];
        Self {
            requests: results.map(|result| {
                metrics::counter!(telemetry::IDEMPOTENT_REQUESTS, "name" => name.to_owned(), "result" => result)
            }),
            lost: metrics::counter!(telemetry::IDEMPOTENT_LOST, "name" => name.to_owned()),
        }
    }

    pub(super) fn count(&self, answered: Answered) {
        self.requests[answered as usize].increment(1);
    }

    /// A response could not be kept.
    pub(super) fn lost(&self) {
        self.lost.increment(1);
    }
}
