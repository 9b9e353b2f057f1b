//! What has become of the jobs of a queue, counted: a pure function.

use serde::{Deserialize, Serialize};

use super::super::job::JobEnd;

/// How much has happened in a queue for as long as that is remembered: without jobs, that is 7 days.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct QueueTotals {
    /// Jobs that were queued.
    pub pushed: u64,
    /// Jobs that are done.
    pub succeeded: u64,
    /// Deliveries that failed, or of which the lease ran out.
    pub failed: u64,
    /// Jobs that failed for good.
    pub dead: u64,
    /// Jobs that were cancelled.
    pub cancelled: u64,
    /// Jobs that nobody began in time.
    pub expired: u64,
    /// Deliveries that were deferred.
    pub deferred: u64,
}

impl QueueTotals {
    /// Counts a job that is over.
    pub(super) const fn count(&mut self, end: &JobEnd) {
        match end {
            JobEnd::Succeeded(_) => self.succeeded += 1,
            JobEnd::Dead(_) => self.dead += 1,
            JobEnd::Cancelled => self.cancelled += 1,
            JobEnd::Expired => self.expired += 1,
        }
    }
}
