//! What is counted of a cache of responses.

use metrics::Counter;

use crate::telemetry;

/// How a request was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answered {
    Hit,
    Stale,
    Revalidated,
    Collapsed,
    Miss,
    Pass,
    Bypass,
    Failed,
}

/// Looked up once: every request passes here.
#[derive(Debug)]
pub(super) struct Meters {
    requests: [Counter; 8],
}

impl Meters {
    pub(super) fn new(cache: &str) -> Self {
        let results = [
            "hit",
            "stale",
            "revalidated",
            "collapsed",
            "miss",
            "pass",
            "bypass",
            "failed",
        ];
        Self {
            requests: results.map(|result| {
                metrics::counter!(telemetry::CACHE_REQUESTS, "cache" => cache.to_owned(), "result" => result)
            }),
        }
    }

    pub(super) fn count(&self, answered: Answered) {
        self.requests[answered as usize].increment(1);
    }
}
