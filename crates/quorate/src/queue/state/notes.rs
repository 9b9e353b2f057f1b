//! What was noted of jobs: a pure function of what their workers say. `note.lua` mirrors it.

use std::collections::VecDeque;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::super::happened::JobEventKind;
use super::super::job::{ById, JobId, LeaseNumber};
use super::super::journal::{BEGUN, TOLD};
use super::super::news::News;
use super::super::note::{LogLine, MAX_LOG, MOST_LINES, Note};
use super::{QueueState, Told};
use crate::clock::Micros;

/// What was noted of one job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Notes {
    pub(super) progress: Option<Bytes>,
    pub(super) checkpoint: Option<Bytes>,
    pub(super) log: VecDeque<LogLine>,
}

/// What was noted of the jobs of a queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct AllNotes {
    of: ById<Notes>,
    /// Of whom that changed since this was last asked.
    changed: Vec<JobId>,
}

impl Notes {
    fn add(&mut self, line: LogLine) {
        self.log.push_back(line);
        let mut length: usize = self.log.iter().map(|line| line.text.len()).sum();
        while self.log.len() > MOST_LINES || length > MAX_LOG {
            length -= self.log.pop_front().map_or(length, |line| line.text.len());
        }
    }

    fn is_empty(&self) -> bool {
        self.progress.is_none() && self.checkpoint.is_none() && self.log.is_empty()
    }
}

impl AllNotes {
    pub(super) fn of(&self, id: JobId) -> Option<&Notes> {
        self.of.get(&id)
    }

    pub(super) fn checkpoint(&self, id: JobId) -> Option<Bytes> {
        self.of.get(&id)?.checkpoint.clone()
    }

    /// Lets the next delivery begin with a checkpoint, whatever that says.
    pub(super) fn has_begun(&mut self, id: JobId) {
        let checkpoint = &mut self.of.entry(id).or_default().checkpoint;
        if checkpoint.as_ref().is_none_or(|it| it == TOLD) {
            *checkpoint = Some(Bytes::from_static(BEGUN));
            self.changed.push(id);
        }
    }

    /// Whether there was a delivery that wrote into a journal, waited, or left a checkpoint.
    pub(super) fn is_begun(&self, id: JobId) -> bool {
        let checkpoint = self.of.get(&id).and_then(|notes| notes.checkpoint.as_ref());
        checkpoint.is_some_and(|it| it != TOLD)
    }

    /// Lets the next delivery know that there is something to read.
    pub(super) fn was_told(&mut self, id: JobId) {
        let checkpoint = &mut self.of.entry(id).or_default().checkpoint;
        if checkpoint.is_none() {
            *checkpoint = Some(Bytes::from_static(TOLD));
            self.changed.push(id);
        }
    }

    /// Forgets where the next delivery would begin: there will be none, or from the start.
    pub(super) fn forget_checkpoint(&mut self, id: JobId) {
        if let Some(notes) = self.of.get_mut(&id) {
            notes.checkpoint = None;
            self.changed.push(id);
            if notes.is_empty() {
                self.of.remove(&id);
            }
        }
    }

    pub(super) fn forget(&mut self, id: JobId) {
        if self.of.remove(&id).is_some() {
            self.changed.push(id);
        }
    }

    /// Of whom something was noted who is not `there`.
    pub(super) fn without(&self, there: impl Fn(JobId) -> bool) -> Vec<JobId> {
        self.of.keys().copied().filter(|id| !there(*id)).collect()
    }

    /// Of whom something changed since this was last asked.
    pub(super) const fn changed(&mut self) -> &mut Vec<JobId> {
        &mut self.changed
    }

    #[cfg(feature = "file")]
    pub(super) fn put_back(&mut self, id: JobId, notes: Notes) {
        self.of.insert(id, notes);
    }
}

impl QueueState {
    /// Notes something of a job. Returns whether this delivery of it still counts.
    pub(in crate::queue) fn note(
        &mut self,
        now: Micros,
        id: JobId,
        lease: LeaseNumber,
        note: Note,
    ) -> Told<bool> {
        if self.holds(now, id, lease).is_none() {
            return (false, Vec::new());
        }
        let attempt = self.jobs.get(&id).map_or(1, |job| job.tries + 1);
        let is_progress = matches!(note, Note::Progress(_));
        let notes = self.notes.of.entry(id).or_default();
        match note {
            Note::Progress(value) => notes.progress = Some(value),
            Note::Checkpoint(value) => notes.checkpoint = Some(value),
            Note::Log(text) => notes.add(LogLine {
                at: now,
                attempt,
                text,
            }),
        }
        self.notes.changed.push(id);
        if is_progress {
            self.watch.happened(now, id, || JobEventKind::Progress);
        }
        let is_awaited = self.awaited.get(&id).is_some_and(|until| *until > now);
        let news = (is_progress && is_awaited).then_some(News::Progress(id));
        (true, news.into_iter().collect())
    }
}
