//! What happens in a queue, for who listens: a pure function. `watch.lua` and `library.lua` mirror it.

use std::time::Duration;

use super::super::happened::{EventBatch, JobEvent, JobEventKind};
use super::super::job::{JobEnd, JobId};
use super::QueueState;
use crate::clock::Micros;

/// How long it is told what happens after somebody asked for that.
pub const WATCHED: Duration = Duration::from_secs(10);

/// Whether somebody listens, and what is to be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Watch {
    until: Micros,
    /// Of the last batch.
    number: u64,
    events: Vec<JobEvent>,
}

impl Watch {
    /// Something has become of a job: to be told if somebody listens.
    pub(super) fn happened(&mut self, now: Micros, id: JobId, kind: impl FnOnce() -> JobEventKind) {
        if self.until > now {
            let (at, kind) = (now, kind());
            self.events.push(JobEvent { id, at, kind });
        }
    }

    /// The same of its end.
    pub(super) fn ended(&mut self, now: Micros, id: JobId, end: &JobEnd) {
        self.happened(now, id, || match end {
            JobEnd::Succeeded(_) => JobEventKind::Succeeded,
            JobEnd::Dead(error) => JobEventKind::Dead {
                error: error.clone(),
            },
            JobEnd::Cancelled => JobEventKind::Cancelled,
            JobEnd::Expired => JobEventKind::Expired,
        });
    }
}

impl QueueState {
    /// Has told what happens from now on, for [`WATCHED`]. Returns the number of the last batch.
    pub(in crate::queue) fn watch(&mut self, now: Micros) -> u64 {
        let watch = &mut self.watch;
        if watch.until <= now {
            // What happened meanwhile was not told: who listened before finds that a number is missing.
            watch.number = (watch.number + 1).max(now.get());
        }
        watch.until = now.plus(WATCHED);
        self.until = self.until.max(watch.until);
        watch.number
    }

    /// What happened in this step, if that is to be told.
    pub(in crate::queue) fn take_happened(&mut self) -> Option<EventBatch> {
        let watch = &mut self.watch;
        if watch.events.is_empty() {
            return None;
        }
        watch.number += 1;
        Some(EventBatch {
            number: watch.number,
            events: std::mem::take(&mut watch.events),
        })
    }
}
