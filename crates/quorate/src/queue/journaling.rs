//! What is written into the journals and inboxes of jobs, and read there.

use bytes::Bytes;

use super::job::{JobId, JobState};
use super::journal::{Append, Appended, JournalPage, ReadFrom};
use super::queues::{Queues, once, operation};
use crate::context::{Attempt, Operation};
use crate::error::Result;
use crate::key::Key;

static APPEND: Operation = operation("queue.append", "append");
static READ: Operation = operation("queue.read", "read");
/// Once more is one message more: those who read them know each by what it says of itself.
static TELL: Operation = operation("queue.tell", "tell");
/// Once more would say that it is not dead.
static REWIND: Operation = once("queue.rewind", "rewind");

impl Queues {
    /// Writes into the journals of jobs.
    pub(crate) async fn append(&self, queue: &Key, appends: &[Append]) -> Result<Vec<Appended>> {
        let append = |attempt: Attempt| self.port.append(queue, appends, attempt.options());
        self.context.run(&APPEND, queue.name(), None, append).await
    }

    /// Some of the journal and the inbox of a job.
    pub(crate) async fn read(
        &self,
        queue: &Key,
        id: JobId,
        from: ReadFrom,
    ) -> Result<Option<JournalPage>> {
        let read = |attempt: Attempt| self.port.read(queue, id, from, attempt.options());
        self.context.run(&READ, queue.name(), None, read).await
    }

    /// Puts a message into the inbox of a job.
    pub(crate) async fn tell(
        &self,
        queue: &Key,
        id: JobId,
        message: &Bytes,
    ) -> Result<Option<JobState>> {
        let tell = |attempt: Attempt| {
            let message = message.clone();
            self.port.tell(queue, id, message, attempt.options())
        };
        self.context.run(&TELL, queue.name(), None, tell).await
    }

    /// Makes a dead job ready again that remembers only the first entries of its journal.
    pub(crate) async fn rewind(&self, queue: &Key, id: JobId, entries: u64) -> Result<bool> {
        let rewind = |attempt: Attempt| self.port.rewind(queue, id, entries, attempt.options());
        self.context.run(&REWIND, queue.name(), None, rewind).await
    }
}
