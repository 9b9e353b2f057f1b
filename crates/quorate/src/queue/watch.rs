//! A job as it goes on, for people to look at.

use std::fmt;
use std::time::Duration;

use super::ear::JobWaiter;
use super::handle::Queue;
use super::job::{JobId, JobState};
use super::queues::INSPECT;
use super::record::JobRecord;
use super::view::JobView;
use crate::backoff::Backoff;
use crate::error::{Error, Result};

/// How often is looked for what nobody announces: that somebody has it, and what it logs.
const LOOK: Backoff = Backoff {
    initial: Duration::from_secs(1),
    factor: 1.0,
    max: Duration::from_secs(1),
    jitter: 0.3,
};

/// A job as it goes on. Made by [`Queue::watch`].
///
/// What is missed is what changed twice between two looks: of each change that stays, it tells. Its end and its progress are told at once,
/// the rest within about a second.
pub struct JobWatch<I, O = ()> {
    queue: Queue<I, O>,
    id: JobId,
    waiter: Option<JobWaiter>,
    last: Option<JobView>,
    is_over: bool,
}

impl<I, O> Queue<I, O> {
    /// Watches a job: how it is now, and whatever becomes of it until it is over.
    ///
    /// # Example
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> quorate::Result<()> {
    /// use quorate::{Fleet, QueueSpec};
    ///
    /// const EXPORTS: QueueSpec<String> = QueueSpec::new("exports");
    ///
    /// let exports = Fleet::embedded().queue(&EXPORTS);
    /// let job = exports.push(&"march".to_owned()).await?;
    /// # job.cancel().await?;
    /// let mut watch = exports.watch(job.id());
    /// while let Some(job) = watch.next().await? {
    ///     println!("{:?}, {:?} done", job.state, job.progress_as::<f64>()?);
    /// }
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn watch(&self, id: JobId) -> JobWatch<I, O> {
        JobWatch {
            queue: self.clone(),
            id,
            waiter: None,
            last: None,
            is_over: false,
        }
    }
}

impl<I, O> JobWatch<I, O> {
    /// The job as it is now, the first time, and then as soon as something of it has changed. `None`: it is over, and that was told; or
    /// there is no such job, or not any more.
    ///
    /// # Errors
    /// Those of the backend. The next call goes on.
    ///
    /// # Cancel safety
    /// Yes: nothing is left out that is still so at the next call.
    pub async fn next(&mut self) -> Result<Option<JobRecord<I, O>>> {
        if self.is_over {
            return Ok(None);
        }
        let (key, shared) = (self.queue.key(&INSPECT)?, &self.queue.shared);
        let id = self.id;
        // Before it is looked at: what comes after is heard.
        let waiter = self
            .waiter
            .get_or_insert_with(|| shared.watch_over(key, id));
        loop {
            // What is looked at so is announced for a while.
            let job = match shared.look(key, id, true).await? {
                Some(_) => self.queue.inspect(id).await?,
                None => None,
            };
            let Some(job) = job else {
                self.is_over = true;
                return Ok(None);
            };
            if self.last.as_ref() != Some(&*job) {
                self.is_over = matches!(job.state, JobState::Ended(_));
                self.last = Some(JobView::clone(&job));
                return Ok(Some(job));
            }
            tokio::select! {
                () = waiter.news.notified() => {}
                () = tokio::time::sleep(LOOK.delay(1)) => {}
                () = shared.context.closed().cancelled() => return Err(Error::closed("the fleet")),
            }
        }
    }
}

impl<I, O> fmt::Debug for JobWatch<I, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobWatch")
            .field("queue", &self.queue)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
