//! What operators do with a queue: look at it, and change what nobody has.

use super::ask::Removed;
use super::check::FsckQueue;
use super::handle::Queue;
use super::job::JobId;
use super::list::JobList;
use super::queues::{EDIT, INSPECT, PURGE, REDRIVE, REMOVE, STATS};
use super::record::JobRecord;
use super::view::{JobPlace, QueueStats};
use crate::context::Attempt;
use crate::error::{Error, Result};

impl<I, O> Queue<I, O> {
    /// The queue in numbers: how many jobs are where, how long the next one has waited, and what has happened so far.
    ///
    /// # Errors
    /// Those of the backend.
    ///
    /// # Cancel safety
    /// Yes.
    pub async fn stats(&self) -> Result<QueueStats> {
        let (key, shared) = (self.key(&STATS)?, &self.shared);
        let stats = |attempt: Attempt| shared.port.stats(key, attempt.options());
        shared.context.run(&STATS, key.name(), None, stats).await
    }

    /// The jobs of a place, in its order.
    ///
    /// # Example
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> quorate::Result<()> {
    /// use futures_util::TryStreamExt;
    /// use quorate::queue::JobPlace;
    /// use quorate::{Fleet, QueueSpec};
    ///
    /// const EMAILS: QueueSpec<String> = QueueSpec::new("emails");
    ///
    /// let emails = Fleet::embedded().queue(&EMAILS);
    /// let mut dead = emails.list(JobPlace::Dead);
    /// while let Some(job) = dead.try_next().await? {
    ///     println!("{}: {:?} for {:?}", job.id, job.state, job.input()?);
    ///     emails.redrive(&[job.id]).await?;
    /// }
    /// # Ok(()) }
    /// ```
    pub fn list(&self, place: JobPlace) -> JobList<I, O> {
        JobList::new(self, place)
    }

    /// A job with all that is known of it; `None` if there is none, or not any more.
    ///
    /// # Errors
    /// Those of the backend.
    ///
    /// # Cancel safety
    /// Yes.
    pub async fn inspect(&self, id: JobId) -> Result<Option<JobRecord<I, O>>> {
        let (key, shared) = (self.key(&INSPECT)?, &self.shared);
        let inspect = |attempt: Attempt| shared.port.inspect(key, id, attempt.options());
        let view = shared.context.run(&INSPECT, key.name(), None, inspect);
        Ok(view.await?.map(|view| JobRecord::new(view, &self.spec)))
    }

    /// Makes dead jobs ready again, as if they had never been delivered: with all their attempts, and their last checkpoint. Says of each
    /// whether it was dead. At most 1 000.
    ///
    /// # Errors
    /// `InvalidInput` for more, and those of the backend.
    ///
    /// # Cancel safety
    /// When the future is dropped, they may or may not be ready.
    pub async fn redrive(&self, ids: &[JobId]) -> Result<Vec<bool>> {
        let (key, shared) = (self.key(&REDRIVE)?, &self.shared);
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let redrive = |attempt: Attempt| shared.port.redrive(key, ids, attempt.options());
        shared
            .context
            .run(&REDRIVE, key.name(), None, redrive)
            .await
    }

    /// The same of those that died first, so many at most, from 1 to 1 000. Returns how many they were.
    ///
    /// # Errors
    /// `InvalidInput` for more or none, and those of the backend.
    ///
    /// # Cancel safety
    /// When the future is dropped, they may or may not be ready.
    pub async fn redrive_dead(&self, most: usize) -> Result<usize> {
        let (key, shared) = (self.key(&REDRIVE)?, &self.shared);
        let redrive = |attempt: Attempt| shared.port.redrive_dead(key, most, attempt.options());
        shared
            .context
            .run(&REDRIVE, key.name(), None, redrive)
            .await
    }

    /// Gives a job another input that waits or is dead; what else was said of it at its push stays. Returns whether there is such a
    /// one. Of two who do so at once, the last counts.
    ///
    /// # Errors
    /// `Encode`, `InvalidInput` for an input that is too large, and those of the backend.
    ///
    /// # Cancel safety
    /// When the future is dropped, it may have either input.
    pub async fn edit(&self, id: JobId, input: &I) -> Result<bool> {
        let (key, shared) = (self.key(&EDIT)?, &self.shared);
        let named = |error: Error| error.with_operation(EDIT.name).with_target(self.name());
        let encoded = self.spec.encode_input(input).map_err(named)?;
        let Some(job) = self.inspect(id).await? else {
            return Ok(false);
        };
        let input = job.with_input(encoded);
        let edit = |attempt: Attempt| {
            let input = input.clone();
            shared.port.edit(key, id, input, attempt.options())
        };
        shared.context.run(&EDIT, key.name(), None, edit).await
    }

    /// Takes jobs away that nobody has, with all that is known of them; what waited counts as cancelled. Says of each what became of it.
    /// At most 1 000.
    ///
    /// # Errors
    /// `InvalidInput` for more, and those of the backend.
    ///
    /// # Cancel safety
    /// When the future is dropped, they may or may not be gone.
    pub async fn remove(&self, ids: &[JobId]) -> Result<Vec<Removed>> {
        let (key, shared) = (self.key(&REMOVE)?, &self.shared);
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let remove = |attempt: Attempt| shared.port.remove(key, ids, attempt.options());
        shared.context.run(&REMOVE, key.name(), None, remove).await
    }

    /// The same of the first of a place, so many at most, from 1 to 1 000. Returns how many they were.
    ///
    /// # Errors
    /// `InvalidInput` for more or none, for the place where somebody has the jobs, and those of the backend.
    ///
    /// # Cancel safety
    /// When the future is dropped, they may or may not be gone.
    pub async fn purge(&self, place: JobPlace, most: usize) -> Result<usize> {
        let (key, shared) = (self.key(&PURGE)?, &self.shared);
        let purge = |attempt: Attempt| shared.port.purge(key, place, most, attempt.options());
        shared.context.run(&PURGE, key.name(), None, purge).await
    }

    /// Looks for what does not belong together in the queue, which goes on meanwhile.
    ///
    /// # Example
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> quorate::Result<()> {
    /// use quorate::{Fleet, QueueSpec};
    ///
    /// const EMAILS: QueueSpec<String> = QueueSpec::new("emails");
    ///
    /// let emails = Fleet::embedded().queue(&EMAILS);
    /// emails.push(&"hello".to_owned()).await?;
    /// let found = emails.fsck().repair().await?;
    /// assert!(found.checked > 0 && found.strays.is_empty());
    /// # Ok(()) }
    /// ```
    pub fn fsck(&self) -> FsckQueue<I, O> {
        FsckQueue::new(self)
    }
}
