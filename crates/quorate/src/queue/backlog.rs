//! Whether a queue is behind, for who adds to it and for who could do something about it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::handle::Queue;
use super::job::JobState;
use super::probes::Probes;
use super::queues::{BACKLOG, Queues};
use crate::context::Attempt;
use crate::error::{Error, Result};
use crate::key::Key;

/// The shortest wait that is noticed, and the shortest time between two looks.
const LEAST: Duration = Duration::from_secs(1);
/// The longest.
const MOST: Duration = Duration::from_secs(24 * 3600);

/// How far a queue is behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Backlog {
    /// Whether a job has been ready for longer than was asked for, and nobody has it.
    pub is_behind: bool,
    /// For how long one has been ready, at least: as far as it was looked at.
    pub waited: Duration,
    /// How many jobs are ready.
    pub ready: u64,
}

impl<I, O> Queue<I, O> {
    /// Watches whether jobs wait for longer than `after`, from 1 s to a day: the last that is known, and a way to wait for the next change of
    /// that. It is another when the queue falls behind, and when it has caught up.
    ///
    /// It looks at the queue four times in `after`, at most once a second: all jobs of all instances together, whatever works on
    /// them; of a queue that is paused, too. What counts is since when a job has been ready, also of one that was delayed
    /// or has failed before. What a limit of its fairness group holds back is not counted. As that is found out by looking again, a queue that is behind already is noticed after `after`.
    ///
    /// It ends when nobody has what this returns any more, and when the fleet is closed.
    ///
    /// # Errors
    /// `InvalidInput` for a time that is out of range, and for a queue whose name breaks its rule; `Closed`, and those of the backend,
    /// which is looked at once. Later errors are told to `on_error`, and the last that is known stays.
    ///
    /// # Cancel safety
    /// Yes.
    ///
    /// # Example
    /// Who adds to a queue waits while that is behind:
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> quorate::Result<()> {
    /// use quorate::{Fleet, QueueSpec};
    /// use std::time::Duration;
    ///
    /// const PAGES: QueueSpec<String> = QueueSpec::new("pages");
    ///
    /// let pages = Fleet::embedded().queue(&PAGES);
    /// let mut backlog = pages.backlog(Duration::from_secs(30)).await?;
    /// for page in ["/a", "/b"] {
    ///     // It ends early only when the fleet is closed, and then the push says so.
    ///     let _ = backlog.wait_for(|backlog| !backlog.is_behind).await;
    ///     pages.push(&page.to_owned()).await?;
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn backlog(&self, after: Duration) -> Result<watch::Receiver<Backlog>> {
        check_after(after)?;
        let (key, shared) = (self.key(&BACKLOG)?.clone(), self.shared.clone());
        let mut looking = Looking {
            queues: shared.clone(),
            key,
            after,
            begun: Instant::now(),
            probes: Probes::default(),
        };
        let (told, backlog) = watch::channel(looking.look().await?);
        shared.context.spawn(async move { looking.run(told).await });
        Ok(backlog)
    }
}

/// Refuses a time that is no use, or costs too much.
pub(super) fn check_after(after: Duration) -> Result<()> {
    if after < LEAST || after > MOST {
        return Err(Error::invalid("after", "must be from 1 s to 24 hours"));
    }
    Ok(())
}

/// Who looks at a queue again and again.
struct Looking {
    queues: Arc<Queues>,
    key: Key,
    after: Duration,
    begun: Instant,
    probes: Probes,
}

impl Looking {
    /// Looks until nobody wants to know any more, or the fleet is closed.
    async fn run(mut self, told: watch::Sender<Backlog>) {
        let closed = self.queues.context.closed().clone();
        let pause = (self.after / 4).max(LEAST);
        loop {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = told.closed() => return,
                () = closed.cancelled() => return,
            }
            match self.look().await {
                Ok(now) => {
                    told.send_if_modified(|last| {
                        let has_turned = last.is_behind != now.is_behind;
                        *last = now;
                        has_turned
                    });
                }
                Err(error) => self.queues.report(&error),
            }
        }
    }

    async fn look(&mut self) -> Result<Backlog> {
        let stats = |attempt: Attempt| self.queues.port.stats(&self.key, attempt.options());
        let context = &self.queues.context;
        let stats = context.run(&BACKLOG, self.key.name(), None, stats).await?;
        let now = self.begun.elapsed();
        self.probes.saw(now, stats.last);
        while let Some(id) = self.probes.first() {
            match self.queues.look(&self.key, id, false).await? {
                Some(JobState::Ready) => break,
                // What a limit of its group holds back is not what the queue is behind with.
                _ => self.probes.pass(),
            }
        }
        let waited = self.probes.waited(now);
        Ok(Backlog {
            is_behind: waited > self.after,
            waited,
            ready: stats.ready,
        })
    }
}

/// Who is told when a queue falls behind, and when it has caught up.
pub(super) struct OnBacklog {
    pub(super) after: Duration,
    pub(super) tell: Box<dyn Fn(Backlog) + Send + Sync>,
}

impl OnBacklog {
    /// Tells until the worker ends, or the fleet is closed.
    pub(super) async fn run(self, queues: Arc<Queues>, key: Key) {
        let (told, mut backlog) = watch::channel(Backlog::default());
        let looking = Looking {
            queues,
            key,
            after: self.after,
            begun: Instant::now(),
            probes: Probes::default(),
        };
        let tell = async {
            while backlog.changed().await.is_ok() {
                let now = *backlog.borrow_and_update();
                (self.tell)(now);
            }
        };
        tokio::join!(looking.run(told), tell);
    }
}

impl fmt::Debug for OnBacklog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnBacklog")
            .field("after", &self.after)
            .finish_non_exhaustive()
    }
}
