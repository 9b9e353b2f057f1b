//! What a handler says of its job while it works.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::claim::Receipt;
use super::handle::Queue;
use super::note::Note;
use super::queues::{NOTE, NOTE_LINE};
use super::work::JobContext;
use crate::error::{Error, ErrorKind, Result};

impl JobContext {
    /// Says how far it is, for whoever looks at the job: anything that is JSON, of at most 16 KiB, in place of what was said before.
    ///
    /// `false`: the lease has ended, somebody else has the job, and nothing was said.
    ///
    /// # Errors
    /// `Encode`, `InvalidInput` for more than that, and those of the backend.
    ///
    /// # Cancel safety
    /// When the future is dropped, it may or may not have been said.
    pub async fn progress<T: Serialize + Sync + ?Sized>(&self, value: &T) -> Result<bool> {
        let note = Note::Progress(json(value).map_err(|error| error.with_operation(NOTE.name))?);
        self.note(note).await
    }

    /// Adds a line to the job's log, of at most 4 KiB. The last 100 lines, or 16 KiB of them, are kept as long as what becomes of the
    /// job.
    ///
    /// `false`: the lease has ended, somebody else has the job, and nothing was added.
    ///
    /// # Errors
    /// `InvalidInput` for a longer line, and those of the backend. After a lost reply the outcome is `Unknown`, and nothing is
    /// repeated: the line would be there twice.
    ///
    /// # Cancel safety
    /// When the future is dropped, the line may or may not be added.
    pub async fn log(&self, line: impl Into<String>) -> Result<bool> {
        let (note, home) = (Note::Log(line.into()), &self.0.home);
        home.queues
            .note(&NOTE_LINE, &home.key, (self.0.id, self.0.lease), note)
            .await
    }

    /// Keeps where the work stands, so that the next attempt can [go on](Self::last_checkpoint) from there: anything that is JSON, of at
    /// most 256 KiB, in place of what was kept before.
    ///
    /// `false`: the lease has ended, somebody else has the job, and nothing was kept: stop.
    ///
    /// # Errors
    /// `Encode`, `InvalidInput` for more than that, and those of the backend.
    ///
    /// # Cancel safety
    /// When the future is dropped, it may or may not be kept.
    ///
    /// # Example
    /// ```
    /// use quorate::{Job, JobError};
    ///
    /// async fn import(job: Job<Vec<String>>) -> Result<usize, JobError> {
    ///     let begin = job.last_checkpoint::<usize>()?.unwrap_or(0);
    ///     for (number, line) in job.input.iter().enumerate().skip(begin) {
    ///         insert(line).await;
    ///         if !job.checkpoint(&(number + 1)).await? {
    ///             return Err(JobError::retry("somebody else goes on"));
    ///         }
    ///     }
    ///     Ok(job.input.len())
    /// }
    /// # async fn insert(_: &str) {}
    /// ```
    pub async fn checkpoint<T: Serialize + Sync + ?Sized>(&self, state: &T) -> Result<bool> {
        let note = Note::Checkpoint(json(state).map_err(|error| error.with_operation(NOTE.name))?);
        self.note(note).await
    }

    /// Where the work stood when an attempt before this one last [kept](Self::checkpoint) it; `None` if none did.
    ///
    /// # Errors
    /// `Decode` if it is of another type.
    pub fn last_checkpoint<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        let read = |bytes: &Bytes| serde_json::from_slice(bytes);
        let checkpoint = self.0.checkpoint.as_ref().map(read);
        checkpoint.transpose().map_err(|error| {
            Error::new(ErrorKind::Decode)
                .with_operation(NOTE.name)
                .with_source(error)
        })
    }

    async fn note(&self, note: Note) -> Result<bool> {
        let home = &self.0.home;
        home.queues
            .note(&NOTE, &home.key, (self.0.id, self.0.lease), note)
            .await
    }
}

impl<I, O> Queue<I, O> {
    /// Notes something of a claimed job: how far it is (JSON, for whoever looks at it), a line of its log, where the next attempt goes
    /// on.
    ///
    /// `false`: the lease has ended, somebody else has the job, and nothing was noted.
    ///
    /// # Errors
    /// `InvalidInput` for what is too long, and those of the backend. After a lost reply nobody knows whether a line of the log is
    /// there; the rest is repeated.
    ///
    /// # Cancel safety
    /// When the future is dropped, it may or may not be noted.
    pub async fn note(&self, receipt: &Receipt, note: Note) -> Result<bool> {
        let operation = match note {
            Note::Log(_) => &NOTE_LINE,
            Note::Progress(_) | Note::Checkpoint(_) => &NOTE,
        };
        let key = self.key(operation)?;
        let held = (receipt.id(), receipt.lease());
        self.shared.note(operation, key, held, note).await
    }
}

fn json<T: Serialize + ?Sized>(value: &T) -> Result<Bytes> {
    let json = serde_json::to_vec(value);
    json.map(Bytes::from)
        .map_err(|error| Error::new(ErrorKind::Encode).with_source(error))
}
