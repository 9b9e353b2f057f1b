//! What jobs have beside their input, their journals and their inboxes: a pure function of what is said. `append.lua`, `read.lua`, `tell.lua`
//! and `rewind.lua` mirror it.

#[cfg(all(test, feature = "file"))]
mod tests;

use std::ops::Range;

use bytes::Bytes;

use super::super::job::{ById, JobEnd, JobId, JobState};
use super::super::journal::{
    Append, Appended, JournalPage, MAX_READ, MOST_MESSAGES, MOST_READ, ReadFrom, inbox_is_full,
    journal_is_shorter,
};
use super::super::news::News;
use super::{QueueState, Told};
use crate::clock::Micros;
use crate::error::Result;

/// Something that was written, and when.
pub(super) type Line = (Micros, Bytes);

/// What is kept beside one job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Journal {
    entries: Vec<Line>,
    messages: Vec<Line>,
}

/// In which of them a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Entry,
    Message,
}

/// A line, by its number from 0.
pub(super) type LineName = (JobId, Kind, u64);

/// What is kept beside the jobs of a queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Journals {
    of: ById<Journal>,
    /// Lines that came or went since this was last asked.
    changed: Vec<(JobId, Kind, Range<usize>)>,
}

impl Journal {
    fn lines(&mut self, kind: Kind) -> &mut Vec<Line> {
        match kind {
            Kind::Entry => &mut self.entries,
            Kind::Message => &mut self.messages,
        }
    }
}

impl Journals {
    pub(super) fn entries(&self, id: JobId) -> &[Line] {
        self.of.get(&id).map_or(&[], |it| &it.entries)
    }

    pub(super) fn messages(&self, id: JobId) -> &[Line] {
        self.of.get(&id).map_or(&[], |it| &it.messages)
    }

    fn add(&mut self, id: JobId, kind: Kind, new: impl Iterator<Item = Line>) {
        let lines = self.of.entry(id).or_default().lines(kind);
        let before = lines.len();
        lines.extend(new);
        self.changed.push((id, kind, before..lines.len()));
    }

    /// Forgets all but the first entries of one.
    fn truncate(&mut self, id: JobId, entries: usize) {
        if let Some(journal) = self.of.get_mut(&id) {
            let before = journal.entries.len();
            journal.entries.truncate(entries);
            self.changed.push((id, Kind::Entry, entries..before));
            if journal.entries.is_empty() && journal.messages.is_empty() {
                self.of.remove(&id);
            }
        }
    }

    pub(super) fn forget(&mut self, id: JobId) {
        if let Some(journal) = self.of.remove(&id) {
            let (entries, messages) = (journal.entries.len(), journal.messages.len());
            self.changed.push((id, Kind::Entry, 0..entries));
            self.changed.push((id, Kind::Message, 0..messages));
        }
    }

    /// Beside whom something is kept who is not `there`.
    pub(super) fn without(&self, there: impl Fn(JobId) -> bool) -> Vec<JobId> {
        self.of.keys().copied().filter(|id| !there(*id)).collect()
    }

    pub(super) const fn is_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    pub(super) fn forget_changed(&mut self) {
        self.changed.clear();
    }

    /// The lines that came or went since this was last asked, some of them more than once.
    pub(super) fn take_changed(&mut self) -> Vec<LineName> {
        let changed = self.changed.drain(..);
        let named = |(id, kind, lines): (JobId, Kind, Range<usize>)| {
            lines.map(move |nth| (id, kind, nth as u64))
        };
        changed.flat_map(named).collect()
    }
}

#[cfg(feature = "file")]
impl Journals {
    pub(super) fn line(&self, (id, kind, nth): LineName) -> Option<&Line> {
        let lines = match kind {
            Kind::Entry => self.entries(id),
            Kind::Message => self.messages(id),
        };
        lines.get(usize::try_from(nth).ok()?)
    }

    /// That a line is not to be there any more.
    pub(super) fn is_gone(&mut self, (id, kind, nth): LineName) {
        let nth = usize::try_from(nth).unwrap_or(usize::MAX);
        self.changed.push((id, kind, nth..nth.saturating_add(1)));
    }

    /// Takes a line back, in whatever order they come. `None`: there are no such lines.
    pub(super) fn put_back(&mut self, (id, kind, nth): LineName, line: Line) -> Option<()> {
        use super::super::journal::MOST_ENTRIES;
        let most = match kind {
            Kind::Entry => MOST_ENTRIES,
            Kind::Message => MOST_MESSAGES,
        };
        let nth = usize::try_from(nth).ok().filter(|_| nth < most)?;
        let lines = self.of.entry(id).or_default().lines(kind);
        if lines.len() <= nth {
            lines.resize(nth + 1, Line::default());
        }
        lines[nth] = line;
        Some(())
    }
}

impl QueueState {
    /// Writes into the journals of jobs, in their order.
    pub(in crate::queue) fn append(&mut self, now: Micros, appends: &[Append]) -> Vec<Appended> {
        let appends = appends.iter();
        appends.map(|it| self.append_to_one(now, it)).collect()
    }

    fn append_to_one(&mut self, now: Micros, it: &Append) -> Appended {
        if self.holds(now, it.id, it.lease).is_none() {
            return Appended::Lost;
        }
        let behind = usize::try_from(it.at).ok();
        match behind.and_then(|at| self.journals.entries(it.id).get(at..)) {
            Some([]) => {}
            Some(there) => {
                let is_same = there.len() >= it.entries.len()
                    && there
                        .iter()
                        .zip(&it.entries)
                        .all(|(one, other)| one.1 == other);
                let last = there.get(it.entries.len().saturating_sub(1));
                return match last {
                    Some((since, _)) if is_same => Appended::Written(*since),
                    _ => Appended::Conflict,
                };
            }
            None => return Appended::Conflict,
        }
        let new = it.entries.iter().map(|entry| (now, entry.clone()));
        self.journals.add(it.id, Kind::Entry, new);
        if it.at == 0 {
            self.notes.has_begun(it.id);
        }
        if let Some(job) = self.jobs.get_mut(&it.id).filter(|job| job.tries > 0) {
            (job.tries, job.error) = (0, None);
            self.changed.push(it.id);
        }
        Appended::Written(now)
    }

    /// Some of what is kept beside a job. `None`: there is no such job, or not any more.
    pub(in crate::queue) fn read(
        &self,
        now: Micros,
        id: JobId,
        from: ReadFrom,
    ) -> Option<JournalPage> {
        self.look(now, id)?;
        let (entries, messages) = (self.journals.entries(id), self.journals.messages(id));
        let mut left = MAX_READ;
        Some(JournalPage {
            now,
            entries: page(entries, from.entry, &mut left),
            length: entries.len() as u64,
            messages: page(messages, from.message, &mut left),
            told: messages.len() as u64,
        })
    }

    /// Puts a message into the inbox of a job, unless that is over. Returns where it is then.
    pub(in crate::queue) fn tell(
        &mut self,
        now: Micros,
        id: JobId,
        message: Bytes,
    ) -> Told<Result<Option<JobState>>> {
        let state = match self.look(now, id) {
            Some(state) if !matches!(state, JobState::Ended(_)) => state,
            over => return (Ok(over), Vec::new()),
        };
        if self.journals.messages(id).len() as u64 >= MOST_MESSAGES {
            return (Err(inbox_is_full()), Vec::new());
        }
        let line = std::iter::once((now, message));
        self.journals.add(id, Kind::Message, line);
        let is_begun = self.notes.is_begun(id);
        self.notes.was_told(id);
        match state {
            JobState::Active { .. } => (Ok(Some(state)), vec![News::Message(id)]),
            JobState::Due(_) if is_begun => {
                self.make_ready(id);
                (Ok(Some(JobState::Ready)), self.wake(now, true))
            }
            state => (Ok(Some(state)), Vec::new()),
        }
    }

    /// Makes a dead job ready again that remembers only the first entries of its journal. Returns whether there is such a one.
    pub(in crate::queue) fn rewind(
        &mut self,
        now: Micros,
        id: JobId,
        entries: u64,
    ) -> Told<Result<bool>> {
        let length = self.journals.entries(id).len() as u64;
        if !matches!(self.look(now, id), Some(JobState::Ended(JobEnd::Dead(_)))) {
            return (Ok(false), Vec::new());
        }
        if entries > length {
            return (Err(journal_is_shorter(length)), Vec::new());
        }
        let first = usize::try_from(entries).unwrap_or(usize::MAX);
        self.journals.truncate(id, first);
        let (_, news) = self.redrive(now, &[id]);
        (Ok(true), news)
    }
}

/// Lines behind the first `from`, as many as one call reads, of as many bytes as are left.
fn page(lines: &[Line], from: u64, left: &mut usize) -> Vec<Line> {
    let from = usize::try_from(from).unwrap_or(usize::MAX);
    let lines = lines.iter().skip(from).take(MOST_READ);
    let fits = |(_, text): &&Line| {
        let is_enough = text.len() <= *left;
        // What is behind the first that does not fit does not, either.
        *left = if is_enough { *left - text.len() } else { 0 };
        is_enough
    };
    lines.take_while(fits).cloned().collect()
}
